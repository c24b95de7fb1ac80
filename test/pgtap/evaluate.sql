-- ic_evaluate and ic_confusion, against the same numbers counted in SQL.
\ir include/helpers.sql
BEGIN;
SELECT no_plan();

\set script :models '/small-cnn-script.pt'
SELECT array_agg(DISTINCT label ORDER BY label) AS labels FROM pictures \gset
CREATE TABLE few AS
SELECT id, jpeg::icimage('1x1/b8/k3/q20@64') AS image, label::varchar AS truth FROM pictures ORDER BY md5(file) LIMIT 60;
SELECT ic_import_model('cnn', :'script', labels => :'labels', input => '1x1/b8/k3/q20@64');
CREATE TABLE answers AS
SELECT truth AS label, ic_infer('cnn', image) AS predicted,
       (SELECT count(*) FROM unnest(s) AS x WHERE x > s[array_position(:'labels'::text[], truth::text)]) < 5 AS in_top
FROM few, ic_scores('cnn', image) AS s;

SELECT is((SELECT ROW(images, accuracy, top5_accuracy) FROM ic_evaluate('cnn', 'few') WHERE label IS NULL),
          (SELECT ROW(count(*), avg((label = predicted)::int)::real, avg(in_top::int)::real) FROM answers), 'all pictures come first');
SELECT results_eq('SELECT label, images, accuracy, top5_accuracy FROM ic_evaluate(''cnn'', ''few'') WHERE label IS NOT NULL',
                  'SELECT label::text, count(*), avg((label = predicted)::int)::real, avg(in_top::int)::real FROM answers
                   GROUP BY label ORDER BY label', 'then each label');
SELECT results_eq('SELECT * FROM ic_confusion(''cnn'', ''few'')',
                  'SELECT label::text, predicted, count(*) AS n FROM answers GROUP BY 1, 2 ORDER BY 1, n DESC, 2',
                  'ic_confusion says what was taken for what');
SELECT is((SELECT images FROM ic_evaluate('cnn', 'few', condition => 'id % 2 = 0 -- the even ones') LIMIT 1),
          (SELECT count(*) FROM few WHERE id % 2 = 0), 'a condition picks rows');

-- labels that the model does not know are wrong; rows without one are left out
UPDATE few SET truth = NULL WHERE id = (SELECT min(id) FROM few);
UPDATE few SET image = NULL WHERE id = (SELECT max(id) FROM few);
UPDATE few SET truth = 'unheard of' WHERE id = (SELECT id FROM few ORDER BY id LIMIT 1 OFFSET 1);
SELECT is((SELECT images FROM ic_evaluate('cnn', 'few') LIMIT 1), 58::bigint, 'rows without a label or a picture are left out');
SELECT is((SELECT ROW(accuracy, top5_accuracy) FROM ic_evaluate('cnn', 'few') WHERE label = 'unheard of'), ROW(0::real, 0::real),
          'a label that the model does not know is never right');
SELECT is((SELECT ROW(images, accuracy) FROM ic_evaluate('cnn', 'few', condition => 'false')), ROW(0::bigint, NULL::real),
          'of no pictures nothing is known');

-- columns
ALTER TABLE few ADD COLUMN note text;
SELECT throws_ok('SELECT * FROM ic_evaluate(''cnn'', ''few'')', '22023', 'the table has several text columns: truth, note',
                 'of several columns one must be named');
SELECT is((SELECT images FROM ic_evaluate('cnn', 'few', label_column => 'truth') LIMIT 1), 58::bigint, 'and then it is read');
SELECT throws_ok('SELECT * FROM ic_evaluate(''cnn'', ''few'', image_column => ''picture'', label_column => ''truth'')', '22023',
                 'column "picture" does not exist', 'a column that does not exist is named');
SELECT throws_ok('SELECT * FROM ic_evaluate(''none'', ''few'')', '22023', NULL, 'a model that does not exist is an ERROR');
SELECT throws_ok('SELECT * FROM ic_evaluate(NULL, ''few'')', '22023', NULL, 'so is none');
SELECT throws_ok('SELECT * FROM ic_evaluate(''cnn'', ''few'', label_column => ''truth'', condition => ''nonsense'')', '42703', NULL,
                 'and a condition that is none');

-- it reads what its caller may read
CREATE ROLE stranger;
GRANT USAGE ON SCHEMA public TO stranger;
GRANT SELECT ON imagecalc.model TO stranger;
SET LOCAL ROLE stranger;
SELECT throws_ok('SELECT * FROM ic_evaluate(''cnn'', ''few'', label_column => ''truth'')', '42501', NULL,
                 'who may not read the table may not evaluate on it');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
