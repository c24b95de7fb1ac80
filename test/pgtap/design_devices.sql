-- Designs that train on several devices at once. Committed, as in design.sql.
\ir include/helpers.sql
SET client_min_messages = warning;
SELECT no_plan();

\set script :models '/small-cnn-script.pt'
SELECT current_database() AS database \gset

-- Trials that ended sooner after the one before them than they took.
CREATE FUNCTION beside_another(design bigint) RETURNS bigint LANGUAGE sql AS $$
SELECT count(*)
FROM (SELECT seconds, finished_at - lag(finished_at) OVER (ORDER BY trial) AS after FROM ic_trials(design)) AS t
WHERE extract(epoch FROM after) < seconds / 2
$$;

-- The runner is up once it has classified.
SELECT array_agg(DISTINCT label ORDER BY label) AS labels FROM pictures \gset
SELECT ic_import_model('cnn', :'script', labels => :'labels', input => '1x1/b8/k3/q20@64') \g /dev/null
SELECT ic_infer('cnn', jpeg) FROM pictures LIMIT 1 \g /dev/null
SELECT coalesce(cardinality(devices), 0) > 1 AS has_devices FROM ic_stat_runner \gset

\if :has_devices
SELECT device_model_ms::text AS on_devices FROM ic_stat_runner \gset
ALTER DATABASE :"database" SET imagecalc.device = 'cpu';
SELECT ic_design('pictures', :'script', label_column => 'label', split_column => 'split', storage => 120, size => 64, epochs => 4,
                 transfer_epochs => 2, buckets => 3, sampled_buckets => 3, trials_per_bucket => 2, seed => 1) AS id \gset
CALL ic_wait(:id);
SELECT is(state, 'done', 'a design trains on the CPU where it is asked to') FROM ic_progress WHERE design = :id;
SELECT is(beside_another(:id), 0::bigint, 'one trial after the other');
SELECT is(device_model_ms::text, :'on_devices', 'and takes its latencies from there') FROM ic_stat_runner;
ALTER DATABASE :"database" RESET imagecalc.device;

SELECT ic_design('pictures', :'script', label_column => 'label', split_column => 'split', storage => 120, size => 64, epochs => 4,
                 transfer_epochs => 2, buckets => 3, sampled_buckets => 3, trials_per_bucket => 2, seed => 1) AS id \gset
CALL ic_wait(:id);
SELECT is(state, 'done', 'and on the devices that there are') FROM ic_progress WHERE design = :id;
SELECT cmp_ok(beside_another(:id), '>=', 3::bigint, 'as many trials at a time');
SELECT cmp_ok(device_model_ms::float8, '>', :'on_devices'::float8, 'and takes its latencies from them') FROM ic_stat_runner;
SELECT ok(bool_and(CASE kind WHEN 'transfer' THEN parent < trial ELSE parent IS NULL END),
          'none waits for the weights of one beside it')
FROM ic_trials(:id);
SELECT is(array_agg(trial ORDER BY trial), array_agg(n::integer ORDER BY n), 'their numbers have no gaps')
FROM ic_trials(:id) AS t JOIN generate_series(1, (SELECT count(*) FROM ic_trials(:id))) AS n ON n = t.trial;
SELECT is(count(*), (SELECT count(DISTINCT format) FROM ic_trials(:id) WHERE kind <> 'final'), 'and no format is tried twice')
FROM ic_trials(:id) WHERE kind <> 'final';
SELECT ok(accuracy > 0.4, 'the chosen one has learned') FROM ic_designs WHERE id = :id;
\else
SELECT pass('there are no devices here');
\endif

SELECT * FROM finish();
