-- ic_stat_runner, ic_stat_models, ic_stat_plans and ic_reset_stats, and the setting imagecalc.engine.
\ir include/helpers.sql
BEGIN;
SELECT no_plan();

\set script :models '/small-cnn-script.pt'
\set traced :models '/small-cnn-trace.pt'
SELECT array_agg(DISTINCT label ORDER BY label) AS labels FROM pictures \gset
SELECT ic_import_model('cnn', :'script', labels => :'labels'::text[], input => '1x1/b8/k3/q20@64');
SELECT ic_import_model('rgb', :'traced', labels => :'labels'::text[], input => 'rgb@48');
CREATE TABLE few AS SELECT id, jpeg, jpeg::icimage('1x1/b8/k3/q20@64') AS image FROM pictures ORDER BY md5(file) LIMIT 30;

SELECT lives_ok('SELECT ic_reset_stats()', 'the counts are reset');
SELECT results_eq('SELECT requests, images, failures, p99_ms FROM ic_stat_runner', 'VALUES (0::bigint, 0::bigint, 0::bigint, 0::real)',
                  'then they are 0');
SELECT is((SELECT count(*) FROM ic_stat_models WHERE requests > 0), 0::bigint, 'of models, too');

-- ---- what is counted

SELECT is((SELECT count(ic_infer('cnn', image)) FROM few), 30::bigint, 'thirty images are classified');
SELECT is((SELECT images FROM ic_stat_runner), 30::bigint, 'and counted');
SELECT results_eq($$SELECT name, images, failures FROM ic_stat_models WHERE images > 0$$, $$VALUES ('cnn', 30::bigint, 0::bigint)$$,
                  'with their model');
SELECT ok(requests BETWEEN 1 AND 5, 'in a few batches') FROM ic_stat_models WHERE name = 'cnn';
SELECT ok(decode_ms > 0 AND model_ms > 0, 'with the time that decoding and the model took')
FROM ic_stat_models WHERE name = 'cnn';
SELECT ok(p50_ms > 0 AND p50_ms <= p95_ms AND p95_ms <= p99_ms, 'and that of requests') FROM ic_stat_models WHERE name = 'cnn';
-- What OpenVINO takes to compile a plan is measured: that is no multiple of the weights, but little for a small network.
SELECT ok(m.memory >= size AND ('openvino' = ANY (r.engines) OR m.memory % size = 0), 'a model''s memory is its weights, as often as they are kept')
FROM ic_stat_models AS m, ic_stat_runner AS r, octet_length(pg_read_binary_file(:'script')) AS size WHERE m.name = 'cnn';
SELECT cmp_ok(memory, '<', 256 * 1024 * 1024::bigint, 'and what its plans take, which is little here') FROM ic_stat_models WHERE name = 'cnn';
SET imagecalc.enable_batch_infer = off;
SELECT is((SELECT count(ic_infer('cnn', image)) FROM few), 30::bigint, 'thirty more row by row');
RESET imagecalc.enable_batch_infer;
SELECT ok(requests >= 31 AND images = 60, 'are thirty requests') FROM ic_stat_models WHERE name = 'cnn';
SELECT complains($$SELECT ic_infer('rgb', '\xFFD8FF00'::bytea)$$, '22P03', '%', '%', 'a damaged picture is refused');
SELECT is(failures, 1::bigint, 'a picture that fails is counted') FROM ic_stat_models WHERE name = 'rgb';

-- ---- the runner

SELECT ok(started_at <= reset_at AND reset_at <= clock_timestamp(), 'the times are in order') FROM ic_stat_runner;
SELECT ok(memory > 30 * 1024 * 1024 AND pid > 1 AND threads >= 1 AND sessions >= 1 AND queue = 0 AND models >= 2,
          'the runner shows its life') FROM ic_stat_runner;
SELECT is(engines[1], 'libtorch', 'and its engines') FROM ic_stat_runner;

-- ---- engines

SET imagecalc.engine = libtorch;
SELECT count(ic_infer('cnn', image)) FROM few, generate_series(1, 20);
SELECT is((SELECT engine FROM ic_stat_plans WHERE name = 'cnn' AND asked = 'libtorch' AND chosen LIMIT 1), 'libtorch',
          'an engine that is asked for is used');
SELECT is((SELECT count(*) FROM ic_stat_plans WHERE name = 'cnn' AND asked = 'libtorch' AND engine <> 'libtorch'), 0::bigint,
          'and no other is tried');
CREATE FUNCTION engine_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || statement INTO plan;
    RETURN jsonb_path_query(plan::jsonb, 'strict $.**."Engine"')::text;
END
$$;
SELECT is(engine_of($$SELECT ic_infer('cnn', image) FROM few$$), '"libtorch"', 'EXPLAIN ANALYZE names it');
SET imagecalc.engine = openvino;
SELECT count(ic_infer('cnn', image)) FROM few, generate_series(1, 20);
SELECT is(engine_of($$SELECT ic_infer('cnn', image) FROM few$$),
          CASE WHEN 'openvino' = ANY (engines) THEN '"openvino"' ELSE '"libtorch"' END, 'another, where it was built in')
FROM ic_stat_runner;
SELECT ok('openvino' = ANY (r.engines) OR m.refusals LIKE 'openvino: %', 'where it was not the reason is shown')
FROM ic_stat_runner AS r, ic_stat_models AS m WHERE m.name = 'cnn';
SELECT is((SELECT array_agg(DISTINCT chosen_plans) FROM (
               SELECT count(*) FILTER (WHERE chosen) AS chosen_plans FROM ic_stat_plans GROUP BY name, height, width, batch, asked) AS c),
          ARRAY[1::bigint], 'for each size and batch one plan is chosen');
SELECT throws_ok('SET imagecalc.engine = abacus', '22023', NULL, 'an engine that does not exist is refused');
RESET imagecalc.engine;

-- ---- who may

CREATE ROLE ic_test_visitor;
GRANT USAGE ON SCHEMA public TO ic_test_visitor;
SET ROLE ic_test_visitor;
SELECT throws_ok('SELECT ic_reset_stats()', '42501', NULL, 'not everyone may reset');
SELECT is((SELECT count(*) FROM ic_stat_runner), 1::bigint, 'everyone sees the runner');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
