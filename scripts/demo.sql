-- The main job, step by step, on the table images (id, jpeg, label, split) and the model model.pt.
-- scripts/demo.sh loads them and sets the variables epochs and least_accuracy.
\set QUIET on
\pset footer off
CREATE EXTENSION imagecalc;

\echo
\echo '== A table of JPEG pictures'
SELECT label, count(*) FILTER (WHERE split = 'train') AS train, count(*) FILTER (WHERE split = 'validation') AS validation,
       round(avg(octet_length(jpeg))) AS jpeg_bytes
FROM images GROUP BY label ORDER BY label;

\echo '== Design a format for the model: at most half a millisecond an image'
SELECT ic_design('images', 'model.pt', split_column => 'split', latency => '0.5 ms', size => 128, epochs => :epochs,
                 transfer_epochs => 6, sampled_buckets => 4, trials_per_bucket => 2, rgb_reference => true) AS design \gset
\echo 'CALL ic_wait(' :design ');'
CALL ic_wait(:design);

\echo
\echo '== What was learnt: the best formats for each latency (SELECT * FROM ic_frontier(1))'
SELECT format, round(accuracy::numeric, 3) AS accuracy, measured, round(latency_us::numeric) AS latency_us,
       round(bytes::numeric) AS bytes
FROM ic_frontier(:design) WHERE measured;

\echo '== Encode the pictures in it, in a column of their own'
SELECT format, pictures, round(conversion_seconds::numeric, 1) AS conversion_seconds, pg_size_pretty((pictures * bytes)::bigint) AS values_take,
       pg_size_pretty((pictures * jpeg_bytes)::bigint) AS files_take, round(saved_seconds_a_million::numeric) AS seconds_saved_a_million
FROM ic_designs WHERE id = :design;
\echo 'CALL ic_apply(' :design ');'
CALL ic_apply(:design);
SELECT model FROM ic_designs WHERE id = :design \gset
\d images

\echo '== Classify the validation rows'
\echo 'SELECT label, ic_infer(model, jpeg_ic) FROM images WHERE split = ''validation'';'
CREATE TEMP TABLE answer AS SELECT label, ic_infer(:'model', jpeg_ic) AS said FROM images WHERE split = 'validation';
CREATE TEMP TABLE rgb_answer AS SELECT label, ic_infer(:'model' || '_rgb', jpeg) AS said FROM images WHERE split = 'validation';
SELECT label, count(*) AS pictures, count(*) FILTER (WHERE said = label) AS right_answers FROM answer GROUP BY label ORDER BY label;

\echo '== JPEG against the chosen format, the same network, an image at a time'
WITH jpeg AS (SELECT avg((said = label)::int) AS accuracy FROM rgb_answer),
     chosen AS (SELECT avg((said = label)::int) AS accuracy FROM answer),
     size AS (SELECT avg(octet_length(jpeg)) AS jpeg, avg(pg_column_size(jpeg_ic)) AS chosen FROM images),
     design AS (SELECT d.*, c.fetch_us, c.decode_us, c.transfer_us, c.model_us FROM imagecalc.design AS d
                JOIN ic_designs AS i ON i.id = d.id JOIN ic_candidates(:design) AS c ON c.format = i.format AND c.stem = i.stem
                WHERE d.id = :design)
SELECT what AS " ", jpeg AS "JPEG", chosen AS "chosen format", times AS "times better"
FROM (
    SELECT 1 AS place, 'accuracy, %' AS what, round(100 * jpeg.accuracy, 1) AS jpeg, round(100 * chosen.accuracy, 1) AS chosen,
           NULL::numeric AS times FROM jpeg, chosen
    UNION ALL SELECT 2, 'bytes an image', round(jpeg), round(chosen), round(jpeg / chosen, 1) FROM size
    UNION ALL SELECT 3, 'decode, us', round(jpeg_decode_us::numeric), round(decode_us::numeric, 1),
                     round((jpeg_decode_us / decode_us)::numeric, 1) FROM design
    UNION ALL SELECT 4, 'model, us', round(jpeg_model_us::numeric), round(model_us::numeric),
                     round((jpeg_model_us / model_us)::numeric, 1) FROM design
    UNION ALL SELECT 5, 'fetch + decode + transfer + model, us',
                     round((jpeg_fetch_us + jpeg_decode_us + jpeg_transfer_us + jpeg_model_us)::numeric),
                     round((fetch_us + decode_us + transfer_us + model_us)::numeric),
                     round(((jpeg_fetch_us + jpeg_decode_us + jpeg_transfer_us + jpeg_model_us)
                            / (fetch_us + decode_us + transfer_us + model_us))::numeric, 1) FROM design
) AS comparison ORDER BY place;

SELECT avg((said = label)::int) < :least_accuracy AS too_bad FROM answer \gset
\if :too_bad
    \echo 'The chosen format reached less than' :least_accuracy 'of right answers on the validation rows.'
    DO $$ BEGIN RAISE EXCEPTION 'the demo failed'; END $$;
\endif
