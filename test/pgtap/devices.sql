-- Where models run: imagecalc.device, ic_set_device, and what is shown of it; with devices and without.
\ir include/helpers.sql
BEGIN;
SELECT no_plan();

\set script :models '/small-cnn-script.pt'
SELECT array_agg(DISTINCT label ORDER BY label) AS labels FROM pictures \gset
\set format '1x1/b8/k3/q20@64'
CREATE TABLE few AS SELECT id, jpeg, jpeg::icimage('1x1/b8/k3/q20@64') AS image FROM pictures ORDER BY md5(file) LIMIT 40;
SELECT ic_import_model('cnn', :'script', labels => :'labels', input => :'format') \g /dev/null
SET imagecalc.device = 'cpu';
CREATE TABLE by_cpu AS SELECT id, ic_scores('cnn', image) AS scores FROM few;
RESET imagecalc.device;
SELECT cardinality(devices) > 0 AS has_device FROM ic_stat_runner \gset

CREATE FUNCTION shown(statement text, what text, options text DEFAULT 'ANALYZE') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE format('EXPLAIN (%s, FORMAT JSON) %s', options, statement) INTO plan;
    RETURN jsonb_path_query(plan::jsonb, format('strict $.**."%s"', what)::jsonpath) #>> '{}';
END
$$;

-- ---- the setting, and each model's own

SELECT is(current_setting('imagecalc.device'), 'auto', 'a device is used where there is one');
SELECT complains($$SET imagecalc.device = 'gpu'$$, '22023', 'invalid value for parameter "imagecalc.device": "gpu"',
                 'Use auto, cpu, cuda or cuda:N.', 'an unknown one is refused');
SELECT is(device, 'auto', 'so it is for a new model') FROM ic_models WHERE name = 'cnn';
SELECT complains($$SELECT ic_set_device('cnn', 'gpu')$$, '22023', 'unknown device "gpu"', 'Use auto, cpu, cuda or cuda:N.',
                 'an unknown one is refused for a model');
SELECT complains($$SELECT ic_set_device('none', 'cpu')$$, '22023', 'model "none" does not exist', '%ic_models%',
                 'so is an unknown model');
CREATE ROLE stranger;
SELECT complains('stranger', $$SELECT ic_set_device('cnn', 'cpu')$$, '42501', 'must be owner of model "cnn"', '%owner%',
                 'and who does not own it');
SELECT lives_ok($$SELECT ic_set_device('cnn', 'cuda:200')$$, 'a model may have a device of its own');
SELECT is(device, 'cuda:200', 'which is shown') FROM ic_models WHERE name = 'cnn';
SELECT is(shown($$SELECT ic_infer('cnn', image) FROM few$$, 'Device', 'COSTS OFF'), 'cuda:200', 'in plans, too');
SELECT complains($$SELECT ic_infer('cnn', image) FROM few$$, '0A000', 'imagecalc-runner has no device "cuda:200": %',
                 'Set imagecalc.device to ''cpu''%', 'without that device it does not run');
SET imagecalc.enable_batch_infer = off;
SELECT complains($$SELECT ic_infer('cnn', image) FROM few$$, '0A000', 'imagecalc-runner has no device "cuda:200": %',
                 'Set imagecalc.device to ''cpu''%', 'nor row by row');
RESET imagecalc.enable_batch_infer;
SET imagecalc.device = 'cpu';
SELECT is((SELECT count(ic_infer('cnn', image)) FROM few), 40::bigint, 'the setting overrides it');
RESET imagecalc.device;
SELECT lives_ok($$SELECT ic_set_device('cnn', 'auto')$$, 'and it can go back');

-- ---- what there is

\if :has_device
SELECT ok(device_note IS NULL AND devices[1] LIKE 'cuda:0 (%)', 'ic_stat_runner shows the devices') FROM ic_stat_runner;
SELECT is(shown($$SELECT ic_infer('cnn', image) FROM few$$, 'Device') ~ '^cuda:\d$', true, 'one is used');
SET imagecalc.device = 'cuda:0';
SELECT ok(bool_and(agree(ic_scores('cnn', image), scores)), 'its scores are the CPU''s') FROM few JOIN by_cpu USING (id);
SELECT ok(bool_and(agree(ic_scores('cnn', jpeg), scores)), 'those of pictures, too') FROM few JOIN by_cpu USING (id);
SELECT ic_reset_stats() \g /dev/null
SET imagecalc.device_decode = on;
SELECT ok(bool_and(agree(ic_scores('cnn', image), scores)), 'and those of what the device decodes')
FROM few JOIN by_cpu USING (id);
SELECT ok(device_transfer_ms > 0 AND device_decode_ms > 0 AND device_model_ms > 0, 'with its own times, in all')
FROM ic_stat_runner;
SELECT ok(device_transfer_ms > 0 AND device_decode_ms > 0 AND device_model_ms > 0, 'by model')
FROM ic_stat_models WHERE name = 'cnn';
SELECT ok(bool_and(shown($$SELECT ic_infer('cnn', image) FROM few$$, what)::float > 0), 'and by query')
FROM unnest('{Device Transfer Time,Device Decode Time,Device Model Time}'::text[]) AS t(what);
SELECT ok(count(*) > 0, 'ic_stat_plans has its plans') FROM ic_stat_plans WHERE name = 'cnn' AND device = 'cuda:0';
SET imagecalc.enable_batch_infer = off;
SELECT ok(bool_and(agree(ic_scores('cnn', image), scores)), 'row by row as well') FROM few JOIN by_cpu USING (id);
RESET imagecalc.enable_batch_infer;
\else
SELECT ok(device_note <> '' AND devices = '{}', 'ic_stat_runner says why there is no device') FROM ic_stat_runner;
SELECT complains($$SET LOCAL imagecalc.device = 'cuda'; SELECT ic_infer('cnn', image) FROM few$$, '0A000',
                 'imagecalc-runner has no device "cuda": ' || device_note, 'Set imagecalc.device to ''cpu''%',
                 'and so does who asks for one') FROM ic_stat_runner;
RESET imagecalc.device;
SELECT ok(bool_and(agree(ic_scores('cnn', image), scores)), 'auto is the CPU') FROM few JOIN by_cpu USING (id);
SELECT is(shown($$SELECT ic_infer('cnn', image) FROM few$$, 'Device'), NULL, 'of which plans say nothing');
SELECT ok(bool_and(device = 'cpu'), 'but ic_stat_plans does') FROM ic_stat_plans WHERE name = 'cnn';
\endif

SELECT * FROM finish();
ROLLBACK;
