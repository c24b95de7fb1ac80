-- Where the node ImageInfer stands in plans, as EXPLAIN shows it. No model is run: the tables are empty.
CREATE TABLE batch_images (id int PRIMARY KEY, label text, picture bytea, image icimage('1x1/b8/k3/q20@64'));
CREATE TABLE batch_wanted (label text);

-- a target list, a condition, both
EXPLAIN (COSTS OFF, VERBOSE) SELECT id, ic_infer('m', image) FROM batch_images;
EXPLAIN (COSTS OFF) SELECT id FROM batch_images WHERE ic_infer('m', image) = 'cat' AND label IS NULL;
EXPLAIN (COSTS OFF, VERBOSE) SELECT ic_infer('m', image), ic_scores('m', image), ic_infer('n', picture)
FROM batch_images WHERE ic_infer('m', image) = 'cat';

-- groups, orders, joins, limits
EXPLAIN (COSTS OFF) SELECT ic_infer('m', image), count(*) FROM batch_images GROUP BY 1;
EXPLAIN (COSTS OFF) SELECT max(ic_infer('m', image)) FROM batch_images;
EXPLAIN (COSTS OFF) SELECT id FROM batch_images ORDER BY ic_infer('m', image);
EXPLAIN (COSTS OFF) SELECT ic_infer('m', image) FROM batch_images ORDER BY label LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM batch_images i JOIN batch_wanted w ON w.label = ic_infer('m', i.image);

-- ic_topk, which only sorts what the node has computed; a lateral call, whose result is handed over
EXPLAIN (COSTS OFF, VERBOSE) SELECT id, ic_topk('m', image, 3) FROM batch_images;
EXPLAIN (COSTS OFF, VERBOSE) SELECT id, t.* FROM batch_images, LATERAL ic_topk('m', image, 3) AS t;
EXPLAIN (COSTS OFF) SELECT id, l.said FROM batch_images i, LATERAL (SELECT ic_infer('m', i.image) AS said LIMIT 1) AS l;

-- workers
SET imagecalc.enable_parallel_infer = on;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT max(ic_infer('m', image)) FROM batch_images;
RESET imagecalc.enable_parallel_infer;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- changes
EXPLAIN (COSTS OFF) INSERT INTO batch_wanted SELECT ic_infer('m', image) FROM batch_images;
EXPLAIN (COSTS OFF) UPDATE batch_images SET label = ic_infer('m', image);

-- what may or may not be evaluated is left as it is
EXPLAIN (COSTS OFF) SELECT CASE WHEN id > 3 THEN ic_infer('m', image) END FROM batch_images;
EXPLAIN (COSTS OFF) SELECT id FROM batch_images WHERE id > 3 OR ic_infer('m', image) = 'cat';
EXPLAIN (COSTS OFF) SELECT ic_infer(label, image) FROM batch_images;

-- a prepared statement; a scrollable cursor, which must go backwards
SET plan_cache_mode = force_generic_plan;
PREPARE of_model(text) AS SELECT ic_infer($1, image) FROM batch_images;
EXPLAIN (COSTS OFF) EXECUTE of_model('m');
EXPLAIN (COSTS OFF) DECLARE c SCROLL CURSOR FOR SELECT ic_infer('m', image) FROM batch_images;

-- machine-readable; no images, no runner, no model needed
EXPLAIN (COSTS OFF, ANALYZE, TIMING OFF, SUMMARY OFF, FORMAT YAML) SELECT ic_infer('m', image) FROM batch_images;
SELECT id, ic_infer('m', image) FROM batch_images;

-- settings
SET imagecalc.batch_size = 16;
EXPLAIN (COSTS OFF) SELECT ic_infer('m', image) FROM batch_images;
SET imagecalc.batch_size = 0;
SET imagecalc.enable_batch_infer = off;
EXPLAIN (COSTS OFF) SELECT ic_infer('m', image) FROM batch_images;
DROP TABLE batch_images, batch_wanted;
