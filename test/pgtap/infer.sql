-- Models and inference: importing, classifying values and pictures, replacing and dropping, and all that can be wrong.
\ir include/helpers.sql
BEGIN;
SELECT no_plan();

\set script :models '/small-cnn-script.pt'
\set frozen :models '/small-cnn-frozen.pt'
\set traced :models '/small-cnn-trace.pt'
\set linear :models '/linear-script.pt'
SELECT array_agg(DISTINCT label ORDER BY label) AS labels, count(DISTINCT label) AS classes FROM pictures \gset
\set format '1x1/b8/k3/q20@64'
CREATE TABLE few AS SELECT id, jpeg, jpeg::icimage('1x1/b8/k3/q20@64') AS image FROM pictures ORDER BY md5(file) LIMIT 40;

-- ---- importing

SELECT lives_ok(format('SELECT ic_import_model(''cnn'', %L, labels => %L, input => %L)', :'script', :'labels', :'format'),
                'a scripted model is imported by its path');
SELECT is(m, ROW('cnn', current_user::name, :'format', :'labels'::text[], octet_length(file)::integer,
                 encode(sha256(file), 'hex'), NULL::bigint)::text, 'ic_models shows what it is')
FROM (SELECT ROW(name, owner, input, labels, bytes, sha256, design)::text AS m FROM ic_models WHERE name = 'cnn') AS m,
     pg_read_binary_file(:'script') AS file;

SELECT lives_ok(format('SELECT ic_import_model(''frozen'', pg_read_binary_file(%L), input => ''rgb@64'')', :'frozen'),
                'a frozen one is imported by its bytes');
SELECT lives_ok(format('SELECT ic_import_model(''traced'', %L, input => ''rgb@48'')', :'traced'), 'and a traced one');
SELECT is(labels, (SELECT array_agg(n::text ORDER BY n) FROM generate_series(0, :classes - 1) AS n),
          'labels are the numbers of the outputs where none are given') FROM ic_models WHERE name = 'frozen';
SELECT is((SELECT mean::text || deviation::text FROM imagecalc.model WHERE name = 'frozen'),
          '{0.485,0.456,0.406}{0.229,0.224,0.225}', 'an RGB model''s normalisation is ImageNet''s where none is given');
SELECT is((SELECT mean::text || deviation::text FROM imagecalc.model WHERE name = 'cnn'), '{0,0,0}{1,1,1}',
          'and none for a format');
SELECT lives_ok(format('SELECT ic_import_model(''linear'', %L, labels => %L, input => %L)', :'linear', :'labels', :'format'),
                'a model that reads one size only is imported for a format of that size');
SELECT lives_ok(format('SELECT ic_import_model(''native'', %L, input => ''2x2r/b16/k2/q50'')', :'script'),
                'a model that takes any size is imported for a native format');

-- ---- answers

SELECT is(count(*)::integer, 40, 'each image gets a label of the model''s') FROM few
WHERE ic_infer('cnn', image) = ANY (:'labels'::text[]);
SELECT ok(bool_and(array_length(s, 1) = :classes AND abs((SELECT sum(x) FROM unnest(s) AS x) - 1) < 1e-5
                   AND 0 <= ALL (s) AND 1 >= ALL (s)), 'scores are probabilities')
FROM few, ic_scores('cnn', image) AS s;
SELECT ok(count(DISTINCT ic_scores('cnn', image)) > 30, 'and depend on the image') FROM few;
SELECT ok(bool_and(ic_infer('cnn', image) = (:'labels'::text[])[array_position(s, (SELECT max(x) FROM unnest(s) AS x))]),
          'the label is that of the highest score')
FROM few, ic_scores('cnn', image) AS s;
CREATE TEMP TABLE best AS
SELECT id, t.* FROM few, LATERAL ic_topk('cnn', image, 2) WITH ORDINALITY AS t(label, score, place);
CREATE TEMP TABLE sorted AS
SELECT id, u.label, u.score, row_number() OVER (PARTITION BY id ORDER BY u.score DESC) AS place
FROM few, ic_models, LATERAL unnest(labels, ic_scores('cnn', image)) AS u(label, score) WHERE name = 'cnn';
SELECT results_eq('SELECT id, place, label FROM best ORDER BY id, place',
                  'SELECT id, place, label FROM sorted WHERE place <= 2 ORDER BY id, place',
                  'ic_topk gives the two best, best first');
-- while the runner looks for the best plan the last digits may change
SELECT ok(max(abs(b.score - s.score)) < 1e-5, 'with their scores') FROM best AS b JOIN sorted AS s USING (id, place);
SELECT is((SELECT count(*)::integer FROM ic_topk('cnn', (SELECT image FROM few LIMIT 1), 1000)), :classes,
          'and all where more are asked for');

-- a picture is encoded on the way: the same answer as its value
SELECT ok(bool_and(agree(ic_scores('cnn', jpeg), ic_scores('cnn', image))
                   AND ic_infer('cnn', jpeg) = ic_infer('cnn', image)),
          'a picture''s scores are its value''s') FROM few;
SELECT results_eq($$SELECT id, t FROM few, ic_topk('cnn', jpeg, 3) AS t ORDER BY id, score DESC$$,
                  $$SELECT id, t FROM few, ic_topk('cnn', image, 3) AS t ORDER BY id, score DESC$$,
                  'and so are its best labels');
SELECT ok(bool_and(agree(ic_scores('native', jpeg), ic_scores('native', jpeg::icimage('2x2r/b16/k2/q50')))),
          'at the picture''s own size, too') FROM (SELECT * FROM few LIMIT 10) AS ten;
SELECT ok(bool_and(ic_infer('linear', image) = ic_infer('linear', jpeg)), 'and for a linear model') FROM few;
SELECT ok(bool_and(array_length(ic_scores('frozen', jpeg), 1) = :classes
                   AND array_length(ic_scores('traced', jpeg), 1) = :classes), 'RGB models read pictures')
FROM (SELECT * FROM few LIMIT 10) AS ten;
-- 'frozen' and 'traced' hold the same network: at one size and normalisation they agree
SELECT ic_import_model('traced at 64', :'traced', input => 'rgb@64') \g /dev/null
SELECT ok(max(abs(a - b)) < 1e-3, 'one network in two forms gives the same scores')
FROM (SELECT * FROM few LIMIT 10) AS ten, unnest(ic_scores('frozen', jpeg), ic_scores('traced at 64', jpeg)) AS u(a, b);
SELECT ic_import_model('normalised', :'script', input => :'format', mean => '{40,0,0}',
                       deviation => '{100,30,30}') \g /dev/null
SELECT ok(NOT bool_or(agree(ic_scores('normalised', image), ic_scores('cnn', image))), 'normalisation matters') FROM few;

SELECT is(ic_infer('cnn', NULL::bytea), NULL, 'no picture, no label');
SELECT is(ic_infer('cnn', NULL::icimage), NULL, 'no value, no label');
SELECT is(ic_infer(NULL, image), NULL, 'no model, no label') FROM few LIMIT 1;
SELECT is(ic_scores('cnn', NULL::icimage), NULL, 'and no scores');
SELECT is((SELECT count(*)::integer FROM ic_topk('cnn', NULL::bytea, 3)), 0, 'and no best labels');

-- ---- transactions

SELECT ic_scores('cnn', image) AS scores, id FROM few LIMIT 1 \gset
SAVEPOINT replacing;
SELECT ic_drop_model('cnn') \g /dev/null
SELECT complains(format('SELECT ic_infer(''cnn'', image) FROM few WHERE id = %s', :id), '22023',
                 'model "cnn" does not exist', '%ic_models%', 'a dropped model is gone at once');
SELECT ic_import_model('cnn', :'linear', input => :'format') \g /dev/null
SELECT ok(NOT agree(ic_scores('cnn', image), :'scores'), 'its successor of the same name answers') FROM few WHERE id = :id;
ROLLBACK TO replacing;
SELECT ok(agree(ic_scores('cnn', image), :'scores'), 'after a rollback the first one does again') FROM few WHERE id = :id;
UPDATE imagecalc.model SET labels = array_fill('relabelled'::text, ARRAY[:classes]) WHERE name = 'cnn';
SELECT is(ic_infer('cnn', image), 'relabelled', 'a row that is updated answers as it is now') FROM few WHERE id = :id;
UPDATE imagecalc.model SET mean = '{1000,1000,1000}' WHERE name = 'cnn';
SELECT ok(NOT agree(ic_scores('cnn', image), :'scores'), 'also with another normalisation') FROM few WHERE id = :id;
ROLLBACK TO replacing;
-- rows that come and go at the same place in one transaction
CREATE TEMP TABLE kept AS TABLE imagecalc.model;
CREATE FUNCTION label_after_refill(new_label text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE imagecalc.model;
    UPDATE kept SET labels = array_fill(new_label, ARRAY[array_length(labels, 1)]);
    INSERT INTO imagecalc.model SELECT * FROM kept;
    RETURN (SELECT ic_infer('cnn', image) FROM few LIMIT 1);
END
$$;
SELECT is(label_after_refill(label), label, format('emptied and filled again: %s', label))
FROM (VALUES ('once'), ('twice'), ('again')) AS v(label);
ROLLBACK TO replacing;
SELECT ok(agree(ic_scores('cnn', image), :'scores'), 'and after that rollback, too') FROM few WHERE id = :id;

SAVEPOINT importing;
SELECT ic_import_model('short-lived', :'script', input => 'rgb@32') \g /dev/null
SELECT isnt(ic_infer('short-lived', jpeg), NULL, 'a model works in the transaction that made it') FROM few WHERE id = :id;
ROLLBACK TO importing;
SELECT complains(format('SELECT ic_infer(''short-lived'', jpeg) FROM few WHERE id = %s', :id), '22023', '%does not exist',
                 '%', 'and is gone with it');

-- ---- what can be wrong

SELECT complains(format('SELECT ic_infer(''cnn'', jpeg::icimage(''1x1/b8/k3/q50@64'')) FROM few WHERE id = %s', :id),
                 '22000', 'value has format 1x1/b8/k3/q50@64 but 1x1/b8/k3/q20@64 is needed',
                 '%::icimage(''1x1/b8/k3/q20@64'').',
                 'a value of another format');
SELECT complains(format('SELECT ic_infer(''frozen'', image) FROM few WHERE id = %s', :id), '22000',
                 'model "frozen" reads RGB pictures, not icimage values', '%bytea%', 'a value for an RGB model');
SELECT complains(format('SELECT ic_scores(''cnn'', substr(jpeg, 1, 500)) FROM few WHERE id = %s', :id), '22P03', '%JPEG%',
                 '%', 'a truncated JPEG file');
SELECT complains('SELECT ic_infer(''frozen'', ''GIF89a''::bytea)', '0A000', 'the bytes are not a JPEG, PNG or WebP file', 'Convert%',
                 'another kind of file');
SET LOCAL imagecalc.max_pixels = 1000;
SELECT complains(format('SELECT ic_infer(''frozen'', jpeg) FROM few WHERE id = %s', :id), '54000', '%pixels%', '%',
                 'a picture above the limit');
RESET imagecalc.max_pixels;
SELECT complains('SELECT ic_topk(''cnn'', image, 0) FROM few', '22023', 'k must be at least 1', '%', 'no labels asked for');
SELECT ok(agree(ic_scores('cnn', image), :'scores'), 'all the same, the session goes on') FROM few WHERE id = :id;

SELECT complains(format('SELECT ic_import_model(''m'', %L)', :'models' || '/nothing.pt'), '22023',
                 'could not open model file %No such file%', '%data directory%', 'a missing file');
SELECT complains(format('SELECT ic_import_model(''m'', %L)', :'models'), '22023', '%not a regular file', '%', 'a folder');
SELECT complains(format('SELECT ic_import_model(''m'', %L)', :'pictures' || '/labels.csv'), '22023',
                 'the model could not be loaded:%', '%TorchScript%', 'a file that is no model');
SELECT complains(format('SELECT ic_import_model(''m'', substr(pg_read_binary_file(%L), 1, 50000))', :'script'), '22023',
                 'the model could not be loaded:%', '%TorchScript%', 'a truncated model');
SELECT complains('SELECT ic_import_model(''m'', ''''::bytea)', '22023', 'the model could not be loaded:%', '%TorchScript%',
                 'no bytes');
SELECT ok(count(*) FILTER (WHERE state NOT IN ('22023', '58000') OR hint = '') = 0,
          'a model with damage within is refused, or works, or ends the runner and nothing else')
FROM generate_series(1, 12) AS n, pg_read_binary_file(:'script') AS file,
     complaint(current_user::text, format('SELECT ic_import_model(''damaged %s'', %L::bytea, input => ''rgb@32'')', n,
         overlay(file PLACING '\x5a5a5a5a5a5a5a5a' FROM n * octet_length(file) / 13)));
SELECT complains(format('SELECT ic_import_model(''m'', %L, labels => ''{a}'')', :'script'), '22023',
                 '1 labels are given but the model has % outputs', 'Give one label for each output, in order.',
                 'too few labels');
SELECT complains(format('SELECT ic_import_model(''m'', %L, labels => array_fill(NULL::text, ARRAY[%s]))',
                        :'script', :classes), '22023', 'a label must not be NULL', '%', 'labels that are NULL');
SELECT complains(format('SELECT ic_import_model(''m'', %L, input => ''1x1/b8/k3/q20@128'')', :'linear'), '22023',
                 'the model refuses a tensor of 3x48x48: %', 'Name the input%', 'a model that does not take that size');
SELECT complains(format('SELECT ic_import_model(''m'', %L, input => %L)', :'script', bad), '22023', '%' || part || '%',
                 '%1x1/b32/k6/q50@256%', 'input ' || bad)
FROM (VALUES ('rgb@0', 'size'), ('rgb@9000', 'size'), ('rgb', 'subsampling'), ('1x1/b9/k1/q1', 'block')) AS v(bad, part);
SELECT complains(format('SELECT ic_import_model(''m'', %L, %s => %L)', :'script', argument, bad), '22023',
                 '%' || argument || '%', '%', argument || ' ' || bad)
FROM (VALUES ('mean', '{1,2}'), ('mean', '{1,2,NULL}'), ('mean', '{1,2,NaN}'), ('mean', '{{1,2,3}}'),
             ('deviation', '{1,1,0}'), ('deviation', '{1,1,Infinity}')) AS v(argument, bad);
SELECT complains(format('SELECT ic_import_model(''cnn'', %L)', :'script'), '22023', 'model "cnn" already exists',
                 '%ic_drop_model.', 'a name that is taken');
SELECT complains(format('SELECT ic_import_model('''', %L)', :'script'), '22023', '%name must not be empty', '%', 'no name');
SELECT complains(format('SELECT ic_import_model(NULL, %L)', :'script'), '22023', '%must not be NULL', '%',
                 'a name that is NULL');
SELECT complains('SELECT ic_drop_model(''nothing'')', '22023', 'model "nothing" does not exist', '%ic_models%',
                 'dropping what is not');

-- ---- privileges

CREATE ROLE ic_test_reader;
CREATE ROLE ic_test_importer;
GRANT SELECT ON few TO ic_test_reader, ic_test_importer;
CREATE TABLE model_file AS SELECT pg_read_binary_file(:'script') AS bytes;
GRANT SELECT ON model_file TO ic_test_importer;
SELECT complains('ic_test_reader', format('SELECT ic_import_model(''m'', %L)', :'script'), '42501',
                 'permission denied to read model file%', '%pg_read_server_files%', 'naming a file needs a privilege');
SELECT complains('ic_test_reader', 'SELECT ic_import_model(''m'', ''\x00''::bytea)', '42501',
                 'permission denied to import a model', '%imagecalc.model%', 'giving bytes does, too');
SELECT complains('ic_test_reader', 'SELECT ic_drop_model(''cnn'')', '42501', 'must be owner of model "cnn"', '%',
                 'another''s model is not dropped');
SELECT complains('ic_test_reader', 'DELETE FROM imagecalc.model', '42501', 'permission denied%', '%', 'nor deleted');
SET ROLE ic_test_reader;
SELECT ic_infer('cnn', image) AS label FROM few WHERE id = :id \gset
RESET ROLE;
SELECT is(:'label', ic_infer('cnn', image), 'anybody may use a model') FROM few WHERE id = :id;
REVOKE SELECT ON imagecalc.model FROM PUBLIC;
SELECT complains('ic_test_reader', 'SELECT ic_infer(''cnn'', image) FROM few', '42501', 'permission denied for table model',
                 '%', 'unless that is revoked');
SELECT complains('ic_test_reader', 'SELECT * FROM ic_models', '42501', 'permission denied for table model', '%',
                 'nor is it listed then');
GRANT SELECT ON imagecalc.model TO PUBLIC;
-- row security restricts models one by one
ALTER TABLE imagecalc.model ENABLE ROW LEVEL SECURITY;
CREATE POLICY only_linear ON imagecalc.model USING (name = 'linear');
SELECT complains('ic_test_reader', 'SELECT ic_infer(''cnn'', image) FROM few', '22023', 'model "cnn" does not exist', '%',
                 'a model that row security hides is as good as gone');
SELECT is((complaint('ic_test_reader', 'SELECT ic_infer(''linear'', image) FROM few')).message, 'no error',
          'another is not');
ALTER TABLE imagecalc.model DISABLE ROW LEVEL SECURITY;

GRANT INSERT ON imagecalc.model TO ic_test_importer;
SET ROLE ic_test_importer;
SELECT ic_import_model('of the importer', bytes, input => 'rgb@32') FROM model_file \g /dev/null
RESET ROLE;
SELECT is(owner, 'ic_test_importer', 'a model belongs to the role that imported it') FROM ic_models
WHERE name = 'of the importer';
SELECT complains('ic_test_reader', 'SELECT ic_drop_model(''of the importer'')', '42501', 'must be owner%', '%',
                 'whom others are not');
GRANT ic_test_importer TO ic_test_reader;
SELECT is((complaint('ic_test_reader', 'SELECT ic_drop_model(''of the importer'')')).message, 'no error',
          'unless they are members');
GRANT pg_read_server_files TO ic_test_reader;
SELECT is((complaint('ic_test_reader', format('SELECT ic_import_model(''m'', %L, input => ''rgb@32'')', :'script'))).message,
          'no error', 'members of pg_read_server_files import files');

SELECT * FROM finish();
ROLLBACK;
