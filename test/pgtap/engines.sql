-- Which library runs a model: ONNX models, an engine for each model, and bfloat16. Each with and without OpenVINO.
\ir include/helpers.sql
BEGIN;
SELECT no_plan();

\set script :models '/small-cnn-script.pt'
\set onnx :models '/small-cnn.onnx'
SELECT array_agg(DISTINCT label ORDER BY label) AS labels FROM pictures \gset
\set format '1x1/b8/k3/q20@64'
CREATE TABLE few AS SELECT id, jpeg, jpeg::icimage('1x1/b8/k3/q20@64') AS image FROM pictures ORDER BY md5(file) LIMIT 40;
SELECT ic_import_model('cnn', :'script', labels => :'labels', input => :'format') \g /dev/null
SELECT 'openvino' = ANY (engines) AS has_openvino FROM ic_stat_runner \gset

CREATE FUNCTION engine_of(statement text, options text DEFAULT 'ANALYZE') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE format('EXPLAIN (%s, FORMAT JSON) %s', options, statement) INTO plan;
    RETURN jsonb_path_query(plan::jsonb, 'strict $.**."Engine"') #>> '{}';
END
$$;

-- ---- ONNX

\if :has_openvino
SELECT lives_ok(format('SELECT ic_import_model(''onnx'', %L, labels => %L, input => %L)', :'onnx', :'labels', :'format'),
                'an ONNX model is imported by its path');
SELECT lives_ok(format('SELECT ic_import_model(''onnx rgb'', pg_read_binary_file(%L), input => ''rgb@64'')', :'onnx'),
                'and by its bytes');
SELECT ok(bool_and(ic_infer('onnx', image) = ic_infer('cnn', image)), 'it gives the labels of the same network as TorchScript')
FROM few;
SELECT ok(bool_and(agree(ic_scores('onnx', image), ic_scores('cnn', image))), 'and its scores') FROM few;
SELECT ok(bool_and(ic_infer('onnx', jpeg) = ic_infer('onnx', image)), 'a picture is encoded on the way') FROM few;
SELECT results_eq($$SELECT id, label FROM few, ic_topk('onnx', image, 2) ORDER BY id, score DESC$$,
                  $$SELECT id, label FROM few, ic_topk('cnn', image, 2) ORDER BY id, score DESC$$, 'the best labels are the same');
SELECT ok(count(DISTINCT ic_scores('onnx rgb', jpeg)) > 30, 'as an RGB model it works, too') FROM few;
SET imagecalc.enable_batch_infer = off;
SELECT ok(bool_and(ic_infer('onnx', image) = ic_infer('cnn', image)), 'and row by row') FROM few;
RESET imagecalc.enable_batch_infer;
SET imagecalc.engine = libtorch;
SELECT is(engine_of($$SELECT ic_infer('onnx', image) FROM few$$), 'openvino', 'OpenVINO runs it, whatever is asked for');
RESET imagecalc.engine;
SELECT is(engines, '{openvino}', 'which ic_stat_models shows') FROM ic_stat_models WHERE name = 'onnx';
SELECT ok(bool_and(engine = 'openvino' AND plan = 'openvino' AND chosen AND settled), 'and ic_stat_plans')
FROM ic_stat_plans WHERE name = 'onnx';
SELECT complains(format('SELECT ic_import_model(''m'', %L, labels => ''{a}'')', :'onnx'), '22023',
                 '1 labels are given but the model has % outputs', 'Give one label%', 'its labels are counted');
CREATE TABLE trained AS SELECT jpeg, label FROM pictures;
SELECT complains('SELECT ic_design(''trained'', ''onnx'', latency => ''1s'')', '22023', 'an ONNX model cannot be trained',
                 '%TorchScript%', 'a design needs TorchScript');
\else
SELECT complains(format('SELECT ic_import_model(''onnx'', %L, labels => %L, input => %L)', :'onnx', :'labels', :'format'),
                 '22023', 'ONNX models need OpenVINO%', '%scripts/openvino.sh%', 'an ONNX model needs OpenVINO');
\endif
-- A graph of one tensor, whose data is said to be in another file.
SELECT complains('SELECT ic_import_model(''m'', ''\x08083a212a1f6a1b0a086c6f636174696f6e120f706f737467726573716c2e636f6e667001''::bytea)', '22023',
                 'the ONNX model keeps tensors in other files', '%one file%', 'no model reads files of the server');
SELECT complains(format('SELECT ic_import_model(''m'', substr(pg_read_binary_file(%L), 1, 50000))', :'onnx'), '22023',
                 'the model could not be loaded:%', '%ONNX%', 'a truncated one is none');

-- ---- an engine for each model

SELECT ic_import_model('plain', :'script', labels => :'labels', input => :'format', engine => 'libtorch') \g /dev/null
SELECT results_eq($$SELECT name, engine FROM ic_models WHERE name IN ('cnn', 'plain') ORDER BY name$$,
                  $$VALUES ('cnn', 'auto'), ('plain', 'libtorch')$$, 'ic_models shows which engine is wanted');
SELECT is(engine_of($$SELECT ic_infer('plain', image) FROM few$$, 'COSTS OFF'), 'libtorch', 'EXPLAIN shows the model''s engine');
SELECT is(engine_of($$SELECT ic_infer('plain', image) FROM few$$), 'libtorch', 'it is used');
SET imagecalc.engine = openvino;
SELECT is(engine_of($$SELECT ic_infer('plain', image) FROM few$$, 'COSTS OFF'), 'openvino', 'unless the session wants another');
SELECT count(ic_infer('plain', image)) FROM few, generate_series(1, 20) \g /dev/null
SELECT is(engine_of($$SELECT ic_infer('plain', image) FROM few$$),
          CASE WHEN :'has_openvino' THEN 'openvino' ELSE 'libtorch' END, 'which is then used where there is one');
RESET imagecalc.engine;
SELECT lives_ok($$SELECT ic_set_engine('plain', 'openvino')$$, 'it can be changed');
SELECT is(engine, 'openvino', 'which is shown') FROM ic_models WHERE name = 'plain';
SELECT is(engine_of($$SELECT ic_infer('plain', image) FROM few$$, 'COSTS OFF'), 'openvino', 'and done');
SET imagecalc.engine = libtorch;
SELECT is(engine_of($$SELECT ic_infer('plain', image) FROM few$$), 'libtorch', 'again, the session''s wish comes first');
RESET imagecalc.engine;
SELECT lives_ok($$SELECT ic_set_engine('plain', 'auto')$$, 'and back');
SELECT complains($$SELECT ic_set_engine('plain', 'abacus')$$, '22023', 'unknown engine "abacus"', 'Use auto, libtorch or openvino.',
                 'an engine that does not exist');
SELECT complains(format('SELECT ic_import_model(''m'', %L, engine => ''Auto'')', :'script'), '22023', 'unknown engine "Auto"', '%',
                 'at an import, too');
SELECT complains(format('SELECT ic_import_model(''m'', %L, engine => NULL)', :'script'), '22023', '%must not be NULL', '%', 'or none');
SELECT complains($$SELECT ic_set_engine('nothing', 'auto')$$, '22023', 'model "nothing" does not exist', '%ic_models%',
                 'a model that does not exist');
SELECT throws_ok($$UPDATE imagecalc.model SET engine = 'abacus' WHERE name = 'cnn'$$, '23514', NULL, 'the table checks it as well');
CREATE ROLE ic_test_stranger;
SELECT complains('ic_test_stranger', $$SELECT ic_set_engine('plain', 'auto')$$, '42501', 'must be owner of model "plain"', '%owner%',
                 'another''s model is not changed');

-- ---- bfloat16

\set frozen :models '/small-cnn-frozen.pt'
SELECT ic_import_model('rounded', :'frozen', labels => :'labels', input => :'format') \g /dev/null
CREATE FUNCTION bf16_plans() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count(ic_infer('rounded', image)) FROM few, generate_series(1, 20);
    RETURN (SELECT count(*) FROM ic_stat_plans WHERE name = 'rounded' AND (asked LIKE '%bf16%' OR plan LIKE '%bf16%'));
END
$$;
SET imagecalc.inference_precision = auto;
SELECT is(bf16_accuracy_loss, NULL, 'an imported model''s loss in bfloat16 is not known') FROM ic_models WHERE name = 'rounded';
SELECT is(bf16_plans(), 0::bigint, 'so it is never run so');
UPDATE imagecalc.model SET bf16_accuracy_loss = 0.006 WHERE name = 'rounded';
SELECT is(bf16_plans(), 0::bigint, 'nor is one that loses more than half a point');
UPDATE imagecalc.model SET bf16_accuracy_loss = 0.005 WHERE name = 'rounded';
SET imagecalc.inference_precision = f32;
SELECT is(bf16_plans(), 0::bigint, 'nor is any where single precision is asked for');
SET imagecalc.inference_precision = auto;
SELECT ok(bf16_plans() > 0, 'one that loses half a point may be');
SELECT ok(bool_or(plan = 'openvino, bf16') OR NOT (:'has_openvino' AND pg_read_file('/proc/cpuinfo') ~ '\mavx512_bf16\M'),
          'where OpenVINO and the CPU can, such a plan is tried') FROM ic_stat_plans WHERE name = 'rounded';
SELECT is(count(*), 0::bigint, 'for these requests only') FROM ic_stat_plans WHERE plan LIKE '%bf16' AND asked NOT LIKE '%, bf16';
SELECT ok(max(abs(a - b)) < 0.02, 'and the scores are near')
FROM few, unnest(ic_scores('rounded', image), ic_scores('cnn', image)) AS u(a, b);
SET imagecalc.engine = libtorch;
SELECT count(ic_infer('rounded', image)) FROM few, generate_series(1, 20) \g /dev/null
SELECT is(count(*), 0::bigint, 'LibTorch has none') FROM ic_stat_plans WHERE asked LIKE 'libtorch%' AND plan LIKE '%bf16%';
RESET imagecalc.engine;
RESET imagecalc.inference_precision;
SELECT throws_ok('SET imagecalc.inference_precision = bf16', '22023', NULL, 'it cannot be forced');

SELECT * FROM finish();
ROLLBACK;
