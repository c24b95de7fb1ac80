-- Designs that are refused at the call, that fail, that are someone else's. Committed step by step: no transaction around.
\ir include/helpers.sql
SET client_min_messages = warning;
SELECT no_plan();

\set script :models '/small-cnn-script.pt'
SELECT count(DISTINCT label) AS classes FROM pictures \gset
CREATE TABLE good AS SELECT id, jpeg, label FROM pictures WHERE id % 8 = 0;

-- A call of ic_design that is good but for what is added to it.
CREATE FUNCTION design_call(model text, additions text, images text DEFAULT 'good') RETURNS text LANGUAGE sql AS $$
    SELECT format('SELECT ic_design(%L, %L, %s)', images, model, additions)
$$;

-- ---- arguments

SELECT complains(format('SELECT ic_design(''good'', %L)', :'script'), '22023', 'a design needs a budget',
                 '%latency => ''2ms''%', 'no budget');
SELECT complains(design_call(:'script', additions), '22023', '%' || part || '%', hint, additions) FROM (VALUES
    ('latency => ''0''', 'latency', '%2ms%'),
    ('latency => ''-1ms''', 'latency', '%2ms%'),
    ('latency => ''1 month''', 'latency', '%2ms%'),
    ('storage => 0', 'storage', '%bytes%'),
    ('max_accuracy_loss => 1', 'max_accuracy_loss', '%RGB%'),
    ('max_accuracy_loss => -0.01', 'max_accuracy_loss', '%RGB%'),
    ('max_accuracy_loss => ''NaN''', 'max_accuracy_loss', '%RGB%'),
    ('storage => 1000, latency_batch => 0', 'latency_batch 0', 'Choose one from 1 to 1024.'),
    ('storage => 1000, size => 0', 'size 0', 'Choose one from 8 to 8184.'),
    ('storage => 1000, size => 8192', 'size 8192', 'Choose one from 8 to 8184.'),
    ('storage => 1000, size => 100', 'size 100 is not a multiple of 8', '%'),
    ('storage => 1000, epochs => 0', 'epochs 0', '%'),
    ('storage => 1000, transfer_epochs => -1', 'transfer_epochs -1', '%'),
    ('storage => 1000, buckets => 1', 'buckets 1', '%'),
    ('storage => 1000, buckets => 4, sampled_buckets => 5', 'sampled_buckets 5', 'Choose one from 2 to 4.'),
    ('storage => 1000, trials_per_bucket => 0', 'trials_per_bucket 0', '%'),
    ('storage => 1000, validation => 0', 'validation 0', 'Choose one above 0 and below 1.'),
    ('storage => 1000, validation => 1', 'validation 1', 'Choose one above 0 and below 1.'),
    ('storage => 1000, validation => ''NaN''', 'validation nan', 'Choose one above 0 and below 1.'),
    ('storage => 1000, max_images => 1', 'max_images 1', '%'),
    ('storage => 1000, batch_size => 1', 'batch_size 1', '%'),
    ('storage => 1000, schedule => ''cosine''', 'schedule "cosine"', 'Choose one-cycle or constant.'),
    ('storage => 1000, class_weights => ''heavy''', 'class_weights "heavy"', 'Choose none or balanced.'),
    ('storage => 1000, augmentation => ''jitter''', 'augmentation "jitter"', 'Choose crop, flip or none.'),
    ('storage => 1000, stem => ''yes''', 'stem "yes"', 'Choose none or auto.'),
    ('storage => 1000, learning_rate => 0', 'learning_rate 0', '%'),
    ('storage => 1000, learning_rate => ''Infinity''', 'learning_rate inf', '%'),
    ('storage => 1000, seed => NULL', 'seed of ic_design must not be NULL', '%'),
    ('storage => 1000, name => ''''', 'name must not be empty', '%')) AS bad(additions, part, hint);
SELECT complains('SELECT ic_design(NULL, ''m'', storage => 1000)', '22023', 'images of ic_design must not be NULL', '%',
                 'no table');
SELECT complains('SELECT ic_design(''good'', NULL, storage => 1000)', '22023', 'model of ic_design must not be NULL', '%',
                 'no model');

-- ---- the table and its columns

CREATE TABLE no_bytea (a integer, label text);
CREATE TABLE two_bytea (a bytea, b bytea, label text);
CREATE TABLE no_text (jpeg bytea);
CREATE TABLE one_label AS SELECT jpeg, 'same'::text AS label FROM good;
CREATE TABLE fewer_labels AS SELECT * FROM good WHERE label <> (SELECT min(label) FROM good);
CREATE TABLE many_labels AS SELECT '\xffd8'::bytea AS jpeg, n::text AS label FROM generate_series(1, 10001) AS n;
CREATE TABLE no_rows (LIKE good);
CREATE TABLE converted AS SELECT jpeg::icimage('1x1/b8/k1/q100@64') AS jpeg, label FROM good;
CREATE TEMP TABLE of_this_session AS TABLE good;
CREATE INDEX good_id ON good (id);
SELECT complains(design_call(:'script', 'storage => 1000' || additions, relation), '22023', message, hint,
                 relation || additions)
FROM (VALUES
    ('pictures', '', 'the table has several text columns: file, label, split', '%label_column%'),
    ('two_bytea', '', 'the table has several bytea columns: a, b', '%image_column%'),
    ('no_bytea', '', 'the table has no bytea column', '%image_column%'),
    ('no_text', '', 'the table has no text column', '%label_column%'),
    ('good', ', image_column => ''picture''', 'column "picture" does not exist', '%image_column%'),
    ('good', ', label_column => ''class''', 'column "class" does not exist', '%label_column%'),
    ('good', ', split_column => ''split''', 'column "split" does not exist', '%split_column%'),
    ('good', ', image_column => ''label''', 'column "label" has type text, but pictures are bytea', '%'),
    ('good', ', label_column => ''jpeg''', 'column "jpeg" has type bytea, but labels are text', '%'),
    ('converted', '', 'column "jpeg" is icimage already', '%JPEG files%'),
    ('converted', ', image_column => ''jpeg''', 'column "jpeg" is icimage already', '%JPEG files%'),
    ('one_label', '', 'column "label" has 1 distinct labels in rows with a picture', '%'),
    ('no_rows', '', 'column "label" has 0 distinct labels in rows with a picture', '%'),
    ('many_labels', '', 'column "label" has more than 10000 distinct labels', '%'),
    ('good_id', '', 'public.good_id is not a table or view', '%'),
    ('of_this_session', '', '%of_this_session is temporary%', '%')) AS bad(relation, additions, message, hint)
WHERE relation <> 'many_labels';
SELECT complains(design_call(:'script', 'storage => 1000', 'many_labels'), '54000',
                 'column "label" has more than 10000 distinct labels', '%label_column%', 'too many labels');
SELECT complains(design_call(:'script', 'storage => 1000', 'nothing'), '42P01', 'relation "nothing" does not exist', '%',
                 'no such table');
SELECT complains('SELECT ic_design(4711::oid::regclass, ''m'', storage => 1000)', '22023', 'relation 4711 does not exist',
                 '%', 'nor such number');

-- ---- the model

SELECT complains(design_call(:'models' || '/' || file, 'storage => 1000, size => 64', relation), '22023', message, hint,
                 file || ' on ' || relation)
FROM (VALUES
    ('small-cnn-frozen.pt', 'good', 'the model has no parameters to train: it is frozen', '%torch.jit.script%'),
    ('small-cnn-trace.pt', 'good', 'the model''s batch norm does not learn: it was traced in evaluation mode',
     '%torch.jit.script%'),
    ('linear-script.pt', 'good', 'the model refuses every tensor size that was tried: %', '%[n,3,height,width]%'),
    ('small-cnn-script.pt', 'fewer_labels',
     format('the model has %s outputs but column "label" has %s distinct labels', :classes, :classes - 1),
     'The outputs must be as many as the labels.'),
    ('nothing.pt', 'good', 'could not open model file "%nothing.pt": No such file or directory', '%data directory%'),
    ('../pictures/labels.csv', 'good', 'the model could not be loaded: %', '%TorchScript%'))
    AS bad(file, relation, message, hint);
SELECT complains(design_call('no_such_model', 'storage => 1000'), '22023', 'could not open model file "no_such_model": %',
                 '%', 'neither a model nor a file');
SELECT ic_import_model('taken', :'script', input => 'rgb@64') \g /dev/null
SELECT complains(design_call(:'script', 'storage => 1000, size => 64, name => ''taken'''), '22023',
                 'model "taken" already exists%', '%name =>%', 'a name that is taken');
SELECT ic_import_model('free_rgb', :'script', input => 'rgb@64') \g /dev/null
SELECT complains(design_call(:'script', 'storage => 1000, size => 64, rgb_reference => true, name => ''free'''), '22023',
                 'model "free_rgb" already exists%', '%name =>%', 'or one whose companion''s is');
SELECT nextval('imagecalc.design_id_seq') + 1 AS next_id \gset
SELECT ic_import_model('good_' || :next_id, :'script', input => 'rgb@64') \g /dev/null
SELECT complains(design_call(:'script', 'storage => 1000, size => 64'), '22023', 'model "good_%" already exists%',
                 '%name =>%', 'nor may the name that is made of the table''s be taken');

SELECT is_empty('SELECT * FROM ic_designs', 'of all these, no design is left');
SELECT is_empty('SELECT * FROM pg_stat_activity WHERE backend_type = ''imagecalc design''', 'and no worker');

-- ---- other people's

CREATE ROLE ic_test_stranger;
CREATE ROLE ic_test_member IN ROLE pg_read_server_files;
CREATE ROLE ic_test_owner;
GRANT SELECT ON good TO ic_test_member, ic_test_owner;
SELECT is((complaint('ic_test_stranger', design_call('taken', 'storage => 1000'))).state, '42501', 'no SELECT on the table');
SELECT complains('ic_test_owner', design_call(:'script', 'storage => 1000'), '42501',
                 'permission denied to read model file%', '%pg_read_server_files%', 'no privilege to read the file');

-- ---- a budget that nothing meets: known only when formats are measured

SET ROLE ic_test_owner;
SELECT ic_design('good', 'taken', storage => 5, size => 32, epochs => 1, transfer_epochs => 1, sampled_buckets => 2,
                 trials_per_bucket => 1, name => 'infeasible') AS id \gset
RESET ROLE;
\set ON_ERROR_STOP off
CALL ic_wait(:id);
\set ON_ERROR_STOP on
SELECT is(:'LAST_ERROR_SQLSTATE'::text, '55000', 'ic_wait fails with a design that fails');
SELECT ok(:'LAST_ERROR_MESSAGE' LIKE 'design % is failed: no format meets the budgets%', 'and says why');
SELECT is(state, 'failed', 'its state is failed') FROM ic_progress WHERE design = :id;
SELECT ok(error LIKE 'no format meets the budgets. % us an image% bytes%',
          'the error tells the fastest and the smallest there is')
FROM ic_designs WHERE id = :id;
SELECT is_empty(format('SELECT * FROM ic_trials(%s)', :id), 'nothing was trained');
SELECT is(model, NULL, 'nor registered') FROM ic_designs WHERE id = :id;
SELECT is(owner, 'ic_test_owner', 'it belongs to the role that asked for it') FROM ic_designs WHERE id = :id;

SELECT complains('ic_test_stranger', format(statement, :id), '42501', 'must be owner of design %', '%', statement)
FROM (VALUES ('SELECT ic_cancel(%s)'), ('SELECT ic_resume(%s)'), ('SELECT ic_drop_design(%s)')) AS s(statement);
SELECT complains('ic_test_stranger', format(statement, :id), state, 'design % does not exist, or is not yours',
                 '%ic_designs%', statement)
FROM (VALUES ('SELECT ic_explore(%s)', '22023'), ('SELECT ic_frontier(%s)', '22023'), ('SELECT ic_candidates(%s)', '22023'), ('SELECT ic_plot(%s)', '22023'),
      ('CALL ic_wait(%s)', '42704')) AS s(statement, state);
SET ROLE ic_test_stranger;
SELECT (SELECT count(*) FROM ic_designs) + (SELECT count(*) FROM ic_progress) + (SELECT count(*) FROM ic_trials(:id))
    AS seen \gset
RESET ROLE;
SELECT is(:seen, 0, 'a stranger sees nothing of it');
GRANT ic_test_owner TO ic_test_stranger;
SET ROLE ic_test_stranger;
SELECT (SELECT count(*) FROM ic_designs) + (SELECT count(*) FROM ic_progress) AS seen \gset
RESET ROLE;
SELECT is(:seen, 2, 'a member of its owner''s role does');
SELECT complains(format(statement, 999999), state, 'design 999999 does not exist%', '%ic_designs%', statement)
FROM (VALUES ('SELECT ic_cancel(%s)', '22023'), ('SELECT ic_resume(%s)', '22023'), ('SELECT ic_drop_design(%s)', '22023'),
             ('SELECT ic_explore(%s)', '22023'), ('SELECT ic_frontier(%s)', '22023'), ('SELECT ic_candidates(%s)', '22023'), ('SELECT ic_plot(%s)', '22023'), ('CALL ic_wait(%s)', '42704'))
         AS s(statement, state);
SELECT is_empty('SELECT * FROM ic_trials(999999)', 'and no trials');

-- ---- transactions

BEGIN;
SELECT ic_design('good', 'taken', storage => 100, size => 32, name => 'rolled back') AS rolled_back \gset
SELECT complains(format('CALL ic_wait(%s)', :rolled_back), '55000', 'design % was made in this transaction%',
                 'COMMIT first%', 'waiting in the transaction that made the design');
ROLLBACK;
SELECT is_empty(format('SELECT * FROM ic_designs WHERE id = %s', :rolled_back), 'a design goes with its transaction');

-- ---- what the worker finds out: labels without training pictures, a table that changes, none that can be read

CREATE TABLE all_held_out AS SELECT jpeg, label, 'validation'::varchar AS split FROM good;
CREATE TABLE one_label_held_out AS
SELECT jpeg, label, CASE WHEN label = (SELECT min(label) FROM good) THEN 'validation' ELSE 'train' END::varchar AS split
FROM good;
CREATE TABLE unreadable AS SELECT substr(jpeg, 1, 300) AS jpeg, label FROM good;
SELECT ic_design('all_held_out', 'taken', storage => 100, size => 32, label_column => 'label',
                 split_column => 'split') AS first,
       ic_design('one_label_held_out', 'taken', storage => 100, size => 32, label_column => 'label',
                 split_column => 'split') AS second,
       ic_design('unreadable', 'taken', storage => 100, size => 32) AS third \gset
\set ON_ERROR_STOP off
CALL ic_wait(:first);
CALL ic_wait(:second);
CALL ic_wait(:third);
\set ON_ERROR_STOP on
SELECT is(state, 'failed', 'a design without training pictures fails') FROM ic_designs WHERE id = :first;
SELECT ok(error LIKE 'there are 0 training and % validation pictures%', 'and says so') FROM ic_designs WHERE id = :first;
SELECT ok(error LIKE format('label "%s" has no training picture%%', (SELECT min(label) FROM good)),
          'so does one where a label has none')
FROM ic_designs WHERE id = :second;
SELECT ok(error LIKE format('there are 0 training and 0 validation pictures (%s could not be read)%%',
                            (SELECT count(*) FROM good)),
          'and one where no picture can be read') FROM ic_designs WHERE id = :third;

SELECT ic_drop_design(id) FROM ic_designs \g /dev/null
SELECT is_empty('SELECT * FROM imagecalc.design', 'designs are dropped');
SELECT is_empty('SELECT design FROM imagecalc.candidate UNION SELECT design FROM imagecalc.ranking UNION SELECT design FROM imagecalc.trial
                 UNION SELECT design FROM imagecalc.weights', 'with all that belongs to them');

REVOKE ALL ON good FROM ic_test_member, ic_test_owner;
DROP ROLE ic_test_stranger, ic_test_member, ic_test_owner;
SELECT * FROM finish();
