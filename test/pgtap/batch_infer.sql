-- ic_infer, ic_scores and ic_topk over batches of rows: the same rows in the same order as row by row, over every shape of plan; which
-- shapes are batched; errors that wait for their row; nothing sent that may not be seen.
\ir include/helpers.sql
BEGIN;
SELECT no_plan();

\set script :models '/small-cnn-script.pt'
\set frozen :models '/small-cnn-frozen.pt'
\set linear :models '/linear-script.pt'
SELECT array_agg(DISTINCT label ORDER BY label) AS labels, min(label) AS first_label FROM pictures \gset
SELECT ic_import_model('linear', :'linear', labels => :'labels'::text[], input => '1x1/b8/k3/q20@64');
SELECT ic_import_model('cnn', :'script', labels => :'labels'::text[], input => '1x1/b8/k3/q20@64');
SELECT ic_import_model('rgb', :'frozen', labels => :'labels'::text[], input => 'rgb@64');
SELECT ic_import_model('native', :'script', labels => :'labels'::text[], input => '1x1/b32/k2/q50');

CREATE TABLE few AS
SELECT row_number() OVER (ORDER BY md5(file)) AS id, label, jpeg, jpeg::icimage('1x1/b8/k3/q20@64') AS image,
       NULL::text AS said FROM pictures ORDER BY md5(file) LIMIT 60;
INSERT INTO few (id, label) VALUES (61, 'none');
ALTER TABLE few ADD PRIMARY KEY (id);
CREATE TABLE natives AS SELECT id, jpeg::icimage('1x1/b32/k2/q50') AS image FROM few;
CREATE TABLE wanted AS SELECT DISTINCT label FROM pictures ORDER BY label LIMIT 2;
CREATE TABLE parted (id bigint, image icimage, said text) PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (25);
CREATE TABLE parted_high (said text, dropped int, image icimage, id bigint);
ALTER TABLE parted_high DROP dropped;
ALTER TABLE parted ATTACH PARTITION parted_high FOR VALUES FROM (25) TO (1000);
INSERT INTO parted SELECT id, image FROM few;
CREATE TABLE counted AS SELECT id, image, CASE WHEN id % 4 > 0 THEN id::int % 4 END AS k FROM few;
CREATE VIEW guarded WITH (security_barrier) AS SELECT id, image, jpeg FROM few WHERE id % 3 = 0;
ANALYZE few, natives, wanted, parted, counted;

-- A statement's rows as text, in their order; what it changes is undone.
CREATE FUNCTION rows_of(statement text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    r record;
    result text[] := '{}';
BEGIN
    BEGIN
        FOR r IN EXECUTE statement LOOP
            result := result || r::text;
        END LOOP;
        RAISE EXCEPTION 'undo' USING ERRCODE = 'P0999';
    EXCEPTION WHEN SQLSTATE 'P0999' THEN
        RETURN result;
    END;
END
$$;
-- The plan, and what its ImageInfer nodes did.
CREATE FUNCTION plan_of(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF, VERBOSE) ' || statement;
END
$$;
CREATE FUNCTION analysed(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF) ' || statement;
END
$$;
CREATE FUNCTION nodes_in(statement text) RETURNS bigint LANGUAGE sql AS
    $$SELECT count(*) FROM plan_of(statement) AS line WHERE line LIKE '%Custom Scan (ImageInfer)%'$$;
CREATE FUNCTION images_sent(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, COSTS OFF, FORMAT JSON) ' || statement INTO plan;
    RETURN (SELECT sum(n::bigint) FROM jsonb_path_query(plan::jsonb, 'strict $.**."Images"') AS n);
END
$$;

-- ---- no time is spent on compiling expressions beside a model

CREATE FUNCTION is_compiled(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || statement INTO plan;
    RETURN plan::jsonb -> 0 ? 'JIT';
END
$$;
SET LOCAL jit = on;
SET LOCAL jit_above_cost = 0;
SELECT is(is_compiled('SELECT count(id + 1) FROM few'), pg_jit_available(), 'a query whose cost is high is compiled, where that can be');
SELECT is(is_compiled('SELECT count(ic_infer(''linear'', image)) FROM few'), false, 'one that infers is not');
SET LOCAL imagecalc.enable_batch_infer = off;
SELECT is(is_compiled('SELECT count(ic_infer(''linear'', image)) FROM few'), false, 'nor is it row by row');
RESET imagecalc.enable_batch_infer;
RESET jit_above_cost;
RESET jit;

-- ---- shapes: how many nodes each has, and that it changes nothing. 0: row by row

CREATE TEMP TABLE shape (place serial, nodes integer, statement text);
INSERT INTO shape (nodes, statement) VALUES
(1, 'SELECT id, ic_infer(''linear'', image) FROM few'),
(1, 'SELECT id, ic_infer(''linear'', image) AS a, ic_infer(''linear'', image) || ''!'' AS b FROM few'),
(1, 'SELECT ic_infer(''linear'', image), ic_infer(''cnn'', image), ic_infer(''rgb'', jpeg), ic_infer(''linear'', jpeg) FROM few'),
(1, 'SELECT (ic_scores(''linear'', image))[1] > 0.3, upper(ic_infer(''linear'', image)) FROM few'),
(1, 'SELECT id, ic_infer(''native'', image) FROM natives'),
(1, 'SELECT id FROM few WHERE ic_infer(''linear'', image) = ''' || :'first_label' || ''''),
(1, 'SELECT id, ic_infer(''linear'', image) FROM few WHERE id % 2 = 0 AND ic_infer(''linear'', image) <> ''' || :'first_label' || ''''),
(2, 'SELECT id FROM few WHERE ic_infer(''linear'', image) <> ''x'' AND ic_infer(''cnn'', image) <> ''y'''),
(1, 'SELECT (ic_scores(''linear'', image))[1] > 0.3 FROM few WHERE ic_infer(''linear'', image) <> ''x'' AND id > 3'),
(2, 'SELECT ic_infer(''rgb'', jpeg) FROM few WHERE ic_infer(''linear'', image) <> ''x'' AND label <> ''y'''),
(1, 'SELECT id FROM few WHERE ic_infer(''linear'', image) = ANY (SELECT label FROM wanted) ORDER BY id'),
(1, 'SELECT id FROM few WHERE ic_infer(''linear'', image) IS NULL OR id < 5'),
(1, 'SELECT count(ic_infer(''linear'', image)), max(ic_infer(''cnn'', image)) FROM few'),
(1, 'SELECT count(*) FILTER (WHERE ic_infer(''linear'', image) = ''' || :'first_label' || ''') FROM few'),
(1, 'SELECT string_agg(DISTINCT ic_infer(''linear'', image), '','' ORDER BY ic_infer(''linear'', image)) FROM few'),
(1, 'SELECT label, count(ic_infer(''linear'', image)) FROM few GROUP BY label ORDER BY label'),
(1, 'SELECT ic_infer(''linear'', image) AS l, count(*), sum(id) FROM few GROUP BY l ORDER BY l'),
(1, 'SELECT ic_infer(''linear'', image) AS l, label, count(*) FROM few GROUP BY ROLLUP (1, 2) ORDER BY 1, 2'),
(1, 'SELECT label, ic_infer(''linear'', (array_agg(image ORDER BY id))[1]) FROM few GROUP BY label ORDER BY ic_infer(''linear'', (array_agg(image ORDER BY id))[1]), label'),
(1, 'SELECT DISTINCT ic_infer(''linear'', image) FROM few ORDER BY 1'),
(1, 'SELECT id FROM few ORDER BY ic_infer(''linear'', image), id DESC'),
(1, 'SELECT id, ic_infer(''linear'', image) FROM few ORDER BY id DESC'),
(1, 'SELECT id, ic_infer(''linear'', image) FROM few ORDER BY label, id LIMIT 7 OFFSET 3'),
(1, 'SELECT id, ic_infer(''linear'', image) FROM few LIMIT 1'),
(1, 'SELECT id FROM few WHERE ic_infer(''linear'', image) <> ''x'' LIMIT 9'),
(2, 'SELECT f.id, ic_infer(''linear'', f.image) FROM few f JOIN parted p USING (id) WHERE ic_infer(''cnn'', p.image) <> ''x'' AND p.id < 20 ORDER BY f.id'),
(1, 'SELECT f.id, ic_infer(''linear'', p.image) FROM few f LEFT JOIN parted_low p USING (id) ORDER BY f.id'),
(1, 'SELECT f.id, w.label FROM few f JOIN wanted w ON w.label = ic_infer(''linear'', f.image) ORDER BY f.id'),
(1, 'SELECT s.said, s.id FROM (SELECT id, ic_infer(''linear'', image) AS said FROM few OFFSET 0) s WHERE s.said <> ''x'' ORDER BY id'),
(1, 'WITH s AS MATERIALIZED (SELECT id, ic_infer(''linear'', image) AS said FROM few) SELECT a.id, b.said FROM s a JOIN s b USING (id) ORDER BY 1'),
(1, 'SELECT label, (SELECT ic_infer(''linear'', f.image) FROM few f WHERE f.label = w.label ORDER BY id LIMIT 1) FROM wanted w ORDER BY 1'),
(1, 'SELECT label, ARRAY(SELECT ic_infer(''linear'', f.image) FROM few f WHERE f.label = w.label ORDER BY id) FROM wanted w ORDER BY 1'),
(1, 'SELECT w.label, l.* FROM wanted w, LATERAL (SELECT id, ic_infer(''linear'', image) FROM few f WHERE f.label = w.label ORDER BY id LIMIT 3) l ORDER BY 1, 2'),
(1, 'SELECT label FROM wanted w WHERE EXISTS (SELECT FROM few f WHERE f.label = w.label AND ic_infer(''linear'', image) <> ''x'') ORDER BY 1'),
(2, 'SELECT id, ic_infer(''linear'', image) FROM few WHERE id < 9 UNION ALL SELECT id, ic_infer(''cnn'', image) FROM few'),
(1, 'SELECT id, ic_infer(''linear'', image) FROM parted'),
(1, 'SELECT id FROM parted WHERE ic_infer(''linear'', image) <> ''x'' ORDER BY id'),
(1, 'SELECT id, ic_infer(''linear'', image) FROM parted ORDER BY id'),
(1, 'SELECT count(ic_infer(''linear'', image)) FROM parted'),
(1, 'SELECT id, unnest(ic_scores(''linear'', image)) > 0.3 FROM few'),
(1, 'SELECT id, ic_infer(''linear'', image), generate_series(1, 2) FROM few'),
(1, 'SELECT ic_infer(''linear'', image), row_number() OVER (ORDER BY id), count(*) OVER (PARTITION BY label) FROM few ORDER BY id'),
(1, 'SELECT id, rank() OVER (PARTITION BY ic_infer(''linear'', image) ORDER BY id) FROM few ORDER BY id'),
(1, 'SELECT id, ic_infer(''linear'', image) FROM guarded'),
(1, 'SELECT id FROM guarded WHERE ic_infer(''linear'', image) <> ''x'''),
(1, 'SELECT id, ic_infer(''linear'', image) FROM few WHERE id < 9 ORDER BY id FOR UPDATE'),
(1, 'SELECT id, ic_infer(''linear'', image) FROM few TABLESAMPLE BERNOULLI (50) REPEATABLE (1)'),
(1, 'INSERT INTO few (id, said) SELECT id + 1000, ic_infer(''linear'', image) FROM few RETURNING id, said'),
(1, 'UPDATE few SET said = ic_infer(''linear'', image) RETURNING id, said'),
(1, 'UPDATE parted SET said = ic_infer(''linear'', image) RETURNING id, said'),
(1, 'UPDATE few SET said = ''no'' WHERE ic_infer(''linear'', image) <> ''x'' RETURNING id, said'),
(1, 'UPDATE few f SET said = ic_infer(''linear'', p.image) FROM parted p WHERE p.id = f.id RETURNING f.id, f.said'),
(1, 'DELETE FROM few WHERE ic_infer(''linear'', image) = ''' || :'first_label' || ''' RETURNING id'),
(1, 'WITH i AS (INSERT INTO few (id, said) SELECT id + 1000, ic_infer(''linear'', image) FROM few RETURNING *) SELECT id, said FROM i'),
(1, 'SELECT CASE ic_infer(''linear'', image) WHEN ''' || :'first_label' || ''' THEN 1 ELSE 0 END, coalesce(ic_infer(''linear'', image), ''-'') FROM few'),
(1, 'SELECT max(ic_infer(''linear'', jpeg::icimage(''1x1/b8/k3/q20@64''))) FROM few'),
(1, 'SELECT id, random() < 2, ic_infer(''linear'', image) FROM few'),
(1, 'SELECT few, ctid, tableoid::regclass, ic_infer(''linear'', image) FROM few'),
(2, 'SELECT tableoid::regclass, ic_infer(''linear'', image), parted FROM parted'),
(1, 'SELECT ic_infer(''linear'', image), (SELECT max(label) FROM wanted), (SELECT count(*) FROM wanted w WHERE w.label = f.label) FROM few f'),
(1, 'SELECT id FROM few f WHERE ic_infer(''linear'', image) <> ''x'' AND id > (SELECT count(*) FROM wanted w WHERE w.label < ic_infer(''linear'', f.image)) ORDER BY id'),
(1, 'SELECT DISTINCT ON (label) label, ic_infer(''linear'', image) FROM few ORDER BY label, id'),
(1, 'SELECT id, ic_infer(''linear'', image) FROM few ORDER BY id % 5 FETCH FIRST 3 ROWS WITH TIES'),
(1, 'SELECT ic_infer(''linear'', image) FROM few INTERSECT SELECT label FROM wanted ORDER BY 1'),
(1, 'WITH RECURSIVE r(n, said) AS (SELECT 1, NULL UNION ALL SELECT n + 1, ic_infer(''linear'', f.image) FROM r JOIN few f ON f.id = n WHERE n < 9) SELECT * FROM r'),
(1, 'SELECT ic_infer(''linear'', u.image) FROM (SELECT array_agg(image ORDER BY id) AS a FROM few) s, unnest(s.a) AS u(image)'),
(1, 'SELECT ic_infer(''linear'', v.image), v.id FROM (SELECT id, image FROM few ORDER BY id DESC LIMIT 5) v'),
(1, 'SELECT id, ic_infer(''linear'', image) FROM few WHERE ctid = ANY (ARRAY(SELECT ctid FROM few WHERE id < 4)) ORDER BY id'),
(1, 'SELECT id, ic_infer(''linear'', image), EXISTS (SELECT FROM wanted w WHERE w.label = f.label) FROM few f'),
(1, 'SELECT id FROM few f WHERE ic_infer(''linear'', image) <> ''x'' AND (id = 3 OR EXISTS (SELECT FROM wanted w WHERE w.label = f.label)) ORDER BY id'),
(1, 'SELECT count(ic_infer(''linear'', image)), label, id % 2 FROM few GROUP BY GROUPING SETS ((label), (id % 2)) ORDER BY 2, 3'),
(1, 'SELECT f.id, g FROM few f CROSS JOIN generate_series(1, 2) g WHERE ic_infer(''linear'', f.image) <> ''x'' ORDER BY 1, 2'),
(1, 'SELECT f.id FROM few f WHERE EXISTS (SELECT FROM parted p WHERE p.id = f.id + 1) AND ic_infer(''linear'', f.image) <> ''x'' ORDER BY 1'),
(1, 'UPDATE few f SET said = ic_infer(''linear'', image), (label, jpeg) = (SELECT w.label, NULL::bytea FROM wanted w ORDER BY 1 LIMIT 1) RETURNING id, label, said'),
(1, 'INSERT INTO few (id, said) SELECT id, ic_infer(''linear'', image) FROM few ON CONFLICT (id) DO UPDATE SET said = excluded.said RETURNING id, said'),
(1, 'SELECT id, ic_infer(''linear''::varchar(20), image)::varchar(3) FROM few'),
(1, 'SELECT NOT (ic_infer(''linear'', image) = ''x'' AND id > 3), ARRAY[ic_infer(''linear'', image)], ROW(ic_infer(''linear'', image), id) FROM few'),
-- ic_topk, and what else is computed of a lateral image
(1, 'SELECT id, (ic_topk(''linear'', image, 2)).label FROM few'),
(1, 'SELECT id, ic_topk(''linear'', jpeg, 1) IS NULL, generate_series(1, 2) FROM few'),
(2, 'SELECT id, (ic_topk(''linear'', image, 2)).label, (ic_topk(''cnn'', image, 3)).label, ic_infer(''linear'', image) FROM few'),
(1, 'SELECT id, upper((ic_topk(''linear'', image, k)).label) FROM counted'),
(1, 'SELECT max((t).label) FROM (SELECT ic_topk(''linear'', image, CASE WHEN id % 3 > 0 THEN 1 END) AS t FROM few) s'),
(1, 'SELECT (ic_topk(''linear'', image, 2)).label AS l, count(*) FROM few GROUP BY l ORDER BY l'),
(1, 'SELECT id, (ic_topk(''linear'', image, 2)).label FROM few ORDER BY id LIMIT 5 OFFSET 2'),
(1, 'SELECT id, (ic_topk(''linear'', image, 2)).label FROM parted ORDER BY id'),
(1, 'SELECT id, (ic_topk(''linear'', image, 2)).label FROM guarded'),
(1, 'INSERT INTO few (id, said) SELECT id * 1000, (ic_topk(''linear'', image, 1)).label FROM few RETURNING id, said'),
(1, 'SELECT f.id, t.label FROM few f, LATERAL ic_topk(''linear'', f.image, 2) t ORDER BY 1, t.score'),
(1, 'SELECT f.id, t.label FROM few f, LATERAL ic_topk(''linear'', f.image, 200) t'),
(1, 'SELECT f.id, t.label FROM few f LEFT JOIN LATERAL ic_topk(''linear'', f.image, 2) t ON t.label <> f.label ORDER BY 1, 2'),
(1, 'SELECT f.id, t.label, t.ordinality FROM few f, LATERAL ic_topk(''rgb'', f.jpeg, 3) WITH ORDINALITY t WHERE f.id % 2 = 0'),
(1, 'SELECT f.id, t.* FROM few f, LATERAL ROWS FROM (ic_topk(''linear'', f.image, 2), generate_series(1, 3)) t(label, score, n) WHERE n > 1 AND score IS NULL ORDER BY f.id'),
(2, 'SELECT f.id, t.label, u.label FROM few f, LATERAL ic_topk(''linear'', f.image, 2) t, LATERAL ic_topk(''cnn'', f.image, 1) u ORDER BY 1, t.score'),
(1, 'SELECT f.id, t.label FROM few f, LATERAL ic_topk(''linear'', f.image, (id % 3 + 1)::int) t ORDER BY f.id, t.score'),
(1, 'SELECT f.id, t.label FROM counted f LEFT JOIN LATERAL ic_topk(''linear'', f.image, k) t ON true'),
(1, 'SELECT p.id, t.label FROM parted p, LATERAL ic_topk(''linear'', p.image, 1) t ORDER BY p.id'),
(1, 'SELECT g.id, t.label FROM guarded g, LATERAL ic_topk(''linear'', g.image, 1) t WHERE t.label <> ''x'''),
(1, 'SELECT f.id, t.label FROM few f, LATERAL ic_topk(''linear'', f.image, 1) t ORDER BY f.id DESC LIMIT 4 OFFSET 1'),
(1, 'SELECT f.id, t.label FROM few f, LATERAL ic_topk(''linear'', f.image, 1) t LIMIT 4'),
(2, 'SELECT f.id, t.label FROM few f, LATERAL ic_topk(''linear'', f.image, 1) t WHERE ic_infer(''cnn'', f.image) <> ''x'' ORDER BY 1'),
(1, 'SELECT f.id, t.label FROM few f, LATERAL (SELECT label FROM ic_topk(''linear'', f.image, 3) ORDER BY label LIMIT 1) t'),
(1, 'SELECT f.id, t.n FROM few f, LATERAL (SELECT count(*) AS n, max(label) FROM ic_topk(''linear'', f.image, 3) WHERE label <> ''x'') t'),
(1, 'SELECT w.label, s.* FROM wanted w, LATERAL (SELECT f.id, t.label FROM few f, LATERAL ic_topk(''linear'', f.image, 1) t WHERE f.label = w.label ORDER BY f.id LIMIT 3) s ORDER BY 1, 2'),
(1, 'SELECT id, ARRAY(SELECT t.label FROM few g, LATERAL ic_topk(''linear'', g.image, 1) t WHERE g.id < f.id ORDER BY g.id) FROM few f WHERE id < 5'),
(1, 'SELECT f.id FROM few f WHERE EXISTS (SELECT FROM few g, LATERAL ic_topk(''linear'', g.image, 1) t WHERE t.label = f.label AND g.id < 20) ORDER BY 1'),
(1, 'SELECT l.* FROM few f, LATERAL (SELECT ic_infer(''linear'', f.image) OFFSET 0) l'),
(1, 'SELECT f.id, l.* FROM few f, LATERAL (SELECT ic_infer(''linear'', f.image) AS said, (SELECT max(label) FROM wanted) LIMIT 1) l WHERE l.said <> ''x'''),
(1, 'SELECT f.id, l.* FROM few f, LATERAL (SELECT (ic_topk(''linear'', f.image, 2)).label, f.id OFFSET 0) l'),
(1, 'SELECT f.id, n FROM few f, LATERAL generate_series(1, length(ic_infer(''linear'', f.image))) n'),
(1, 'UPDATE few SET said = t.label FROM few f, LATERAL ic_topk(''linear'', f.image, 1) t WHERE f.id = few.id RETURNING few.id, few.said'),
-- not covered
(0, 'SELECT * FROM (SELECT id, ic_infer(''linear'', image) AS said, row_number() OVER (PARTITION BY label ORDER BY id) AS n FROM few) s WHERE n <= 2 ORDER BY id'),
(0, 'SELECT * FROM (SELECT label || id AS x, row_number() OVER (ORDER BY id DESC) AS n, ic_infer(''linear'', image) AS said FROM few) s WHERE n <= 2'),
(0, 'SELECT id FROM few f WHERE ic_infer(''linear'', image) NOT IN (SELECT label FROM wanted) OR id = 3'),
(0, 'SELECT id, CASE WHEN id > 3 THEN ic_infer(''linear'', image) END FROM few'),
(0, 'SELECT id FROM few WHERE id < 3 OR ic_infer(''linear'', image) <> ''x'''),
(0, 'SELECT id, ic_infer(CASE WHEN id < 9 THEN ''cnn'' ELSE ''linear'' END, image) FROM few'),
(0, 'SELECT id, ic_infer(''linear'', jpeg::icimage(''1x1/b8/k3/q20@64'')) FROM few'),
(0, 'SELECT id, ic_infer(''linear'', (SELECT image FROM few WHERE id = 1)) FROM few WHERE id < 9'),
(0, 'SELECT count(ic_infer(''linear'', image)) FILTER (WHERE id < 9) FROM few'),
(0, 'SELECT id, lag(ic_infer(''linear'', image)) OVER (ORDER BY id) FROM few ORDER BY id'),
(0, 'SELECT f.id, w.label FROM few f JOIN wanted w ON w.label < ic_infer(''linear'', f.image) ORDER BY 1, 2'),
(0, 'SELECT t.label FROM few f, LATERAL ic_topk(''linear'', f.image, NULL) t'),
(0, 'SELECT id, (ic_topk(''linear'', image, (id % 3 + 1)::int)).label FROM few'),
(0, 'SELECT id, (SELECT string_agg(label, '','') FROM ic_topk(''linear'', f.image, 2)) FROM few f'),
(0, 'SELECT f.id, t.* FROM few f, LATERAL (SELECT t.label, w.label AS other FROM wanted w JOIN ic_topk(''linear'', f.image, 2) t ON w.label <> t.label OFFSET 0) t ORDER BY 1, 2, 3'),
(0, 'SELECT * FROM ic_topk(''linear'', (SELECT image FROM few WHERE id = 1), 2) AS t(label, score)'),
(0, 'SELECT f.id, l.* FROM few f, LATERAL (SELECT ic_infer(''linear'', f.image) LIMIT 0) l'),
(0, 'SELECT f.id, l.* FROM few f, LATERAL (SELECT ic_infer(''linear'', f.image) WHERE f.id > 3 OFFSET 0) l'),
(0, 'SELECT f.id, t.label FROM few f, LATERAL ic_topk(CASE WHEN id < 9 THEN ''cnn'' ELSE ''linear'' END, f.image, 1) t'),
(0, 'INSERT INTO few (id, image) SELECT id, image FROM few ON CONFLICT (id) DO UPDATE SET said = ic_infer(''linear'', excluded.image) RETURNING id, said'),
(0, 'UPDATE few SET said = ''x'' WHERE id < 9 RETURNING id, ic_infer(''linear'', image)'),
(0, 'SELECT ic_infer(''linear'', (SELECT image FROM few WHERE id = 1))'),
(0, 'SELECT ic_infer(''linear'', NULL::icimage), id FROM few');

SELECT is(nodes_in(statement)::integer, nodes, format('%s nodes: %s', nodes, statement)) FROM shape ORDER BY place;

SET imagecalc.enable_batch_infer = off;
CREATE TEMP TABLE row_by_row AS SELECT place, rows_of(statement) AS rows FROM shape;
SELECT is(sum(nodes_in(statement))::integer, 0, 'imagecalc.enable_batch_infer = off: no node') FROM shape;
RESET imagecalc.enable_batch_infer;
SELECT is(rows_of(statement), rows, format('as row by row: %s', statement)) FROM shape JOIN row_by_row USING (place) ORDER BY place;
SELECT cmp_ok(count(DISTINCT r)::integer, '>', 2, 'and there is something to compare') FROM row_by_row, unnest(rows) AS r
WHERE place = 1 AND r LIKE '%,%';

-- other sizes of batches, other joins
SET imagecalc.batch_size = 1;
SELECT is(rows_of(statement), rows, format('one at a time: %s', statement)) FROM shape JOIN row_by_row USING (place)
WHERE nodes > 0 ORDER BY place;
SET imagecalc.batch_size = 7;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_hashagg = off;
SELECT is(rows_of(statement), rows, format('seven at a time, nested loops: %s', statement)) FROM shape JOIN row_by_row USING (place)
WHERE nodes > 0 ORDER BY place;
SET enable_mergejoin = on;
SET enable_nestloop = off;
SET enable_sort = on;
SELECT is(rows_of(statement), rows, format('merge joins: %s', statement)) FROM shape JOIN row_by_row USING (place)
WHERE nodes > 0 ORDER BY place;
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_hashagg;
RESET enable_nestloop;
RESET enable_sort;
RESET imagecalc.batch_size;

-- scores: equal but for the last digits, which depend on a batch's size
CREATE TEMP TABLE scored AS SELECT id, ic_scores('cnn', image) AS batched FROM few;
SET imagecalc.enable_batch_infer = off;
SELECT cmp_ok(max(abs(a - b)), '<', 1e-4::real, 'the same scores')
FROM few JOIN scored USING (id), unnest(batched, ic_scores('cnn', image)) AS u(a, b);
RESET imagecalc.enable_batch_infer;

-- ---- ic_topk: a constant k shares its scores with other calls; scores and errors are those of a call a row

SELECT is(images_sent('SELECT ic_topk(''linear'', image, 2), ic_topk(''linear'', image, 1), ic_scores(''linear'', image) FROM few'),
          60::bigint, 'ic_topk, twice, and ic_scores: one inference');
SELECT is(images_sent('SELECT f.id, t.label FROM counted f, LATERAL ic_topk(''linear'', f.image, k) t'), 45::bigint,
          'no k, nothing is sent');
SET imagecalc.batch_size = 1;
SELECT is((SELECT array_agg(t::text ORDER BY id, score DESC) FROM few f, LATERAL ic_topk('linear', f.image, 4) t WHERE id <= 12),
          (SELECT array_agg(u::text ORDER BY id, place) FROM few f, LATERAL (
               SELECT s, place FROM ic_topk('linear', (SELECT image FROM few g WHERE g.id = f.id), 4) WITH ORDINALITY AS s(label, score, place)) AS v,
               LATERAL (SELECT (v.s).label, (v.s).score) AS u WHERE id <= 12), 'to the last bit');
RESET imagecalc.batch_size;
SELECT complains('SELECT ic_topk(''linear'', image, 0) FROM few', '22023', 'k must be at least 1', 'k is %', 'no labels wanted');
CREATE TABLE falling AS SELECT id, image, 9 - id::int AS k FROM few;
SELECT complains('SELECT ic_topk(''linear'', image, k) FROM falling ORDER BY id', '22023', 'k must be at least 1', 'k is %', 'at some row');
SELECT complains('SELECT t.* FROM falling, LATERAL ic_topk(''linear'', image, k) t', '22023', 'k must be at least 1', 'k is %', 'in a join');
SELECT lives_ok('SELECT ic_topk(''linear'', image, k) FROM (SELECT * FROM falling ORDER BY id LIMIT 8) c', 'which nobody notices behind a LIMIT');
SELECT lives_ok('SELECT id, ic_topk(''linear'', image, k) FROM (SELECT * FROM falling ORDER BY id OFFSET 0) c LIMIT 8', 'nor before its row');
SELECT lives_ok('SELECT ic_topk(''linear'', image, 0) FROM few WHERE id = 61', 'nor without an image');
CREATE TABLE alike AS SELECT f.id, g.image FROM few f, few g WHERE g.id = 1 + f.id % 2;
ANALYZE alike;
SET imagecalc.enable_batch_infer = off;
SELECT is((SELECT count(*) FROM plan_of('SELECT a.id, t.said FROM alike a, LATERAL (SELECT ic_infer(''linear'', a.image) AS said OFFSET 0) t') AS l WHERE l LIKE '%Memoize%'),
          1::bigint, 'images that repeat: row by row each is scored once');
SELECT rows_of('SELECT a.id, t.said FROM alike a, LATERAL (SELECT ic_infer(''linear'', a.image) AS said OFFSET 0) t') AS memoized \gset
RESET imagecalc.enable_batch_infer;
SELECT is(rows_of('SELECT a.id, t.said FROM alike a, LATERAL (SELECT ic_infer(''linear'', a.image) AS said OFFSET 0) t'), :'memoized'::text[],
          'the same in batches');

-- ---- queries put together from parts, in all their combinations

CREATE TEMP TABLE composed AS
SELECT format('SELECT %s FROM %s WHERE %s %s', what, source, condition, rest) AS statement
FROM (VALUES ('f.id, ic_infer(''linear'', f.image)'),
             ('ic_infer(''cnn'', f.image), f.label, ic_infer(''linear'', f.image) || f.id'),
             ('f.id, ic_infer(''linear'', f.jpeg), random() < 2'),
             ('f.id')) AS a(what),
     (VALUES ('few f'), ('few f JOIN wanted w ON w.label = f.label'),
             ('few f JOIN wanted w ON w.label <> ic_infer(''linear'', f.image) AND f.id % 20 = 0'),
             ('(SELECT DISTINCT ON (id % 7, label) * FROM few ORDER BY id % 7, label, id) f'),
             ('guarded g JOIN few f USING (id)')) AS b(source),
     (VALUES ('true'), ('ic_infer(''linear'', f.image) <> ''' || :'first_label' || ''''),
             ('f.id % 3 = 1 AND ic_infer(''cnn'', f.image) IS NOT NULL AND ic_infer(''linear'', f.image) > ''c'''),
             ('f.image IS NULL OR ic_infer(''linear'', f.image) = ''x''')) AS c(condition),
     (VALUES ('ORDER BY 1, f.id'), ('ORDER BY ic_infer(''linear'', f.image), f.id LIMIT 7'),
             ('ORDER BY f.id DESC OFFSET 2 LIMIT 4'), ('ORDER BY f.label, f.id FOR UPDATE OF f')) AS d(rest)
WHERE NOT (rest LIKE '%UPDATE%' AND source LIKE '%DISTINCT%');
SET imagecalc.enable_batch_infer = off;
CREATE TEMP TABLE composed_rows AS SELECT statement, rows_of(statement) AS rows FROM composed;
RESET imagecalc.enable_batch_infer;
SET imagecalc.batch_size = 5;
SELECT is(array_agg(statement), NULL, 'as row by row: every composed query')
FROM composed_rows WHERE rows_of(statement) IS DISTINCT FROM rows;
RESET imagecalc.batch_size;
SELECT cmp_ok(count(*) FILTER (WHERE nodes_in(statement) > 0), '>', count(*) * 3 / 4, 'most of which are batched') FROM composed;

-- ---- parallel plans: workers read and score, with a model that this transaction has made

-- A query's rows as text, in whatever order. Other than a loop over a query this leaves parts of it to workers.
CREATE FUNCTION parallel_rows_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT s::text FROM (%s) AS s', query);
END
$$;
-- How many ImageInfer nodes workers run, and how many nodes have workers.
CREATE FUNCTION worker_nodes_in(statement text) RETURNS bigint LANGUAGE sql AS
    $$SELECT count(*) FROM plan_of(statement) AS line WHERE line LIKE '%Parallel Custom Scan (ImageInfer)%'$$;
CREATE FUNCTION gathers_in(statement text) RETURNS bigint LANGUAGE sql AS
    $$SELECT count(*) FROM plan_of(statement) AS line WHERE line LIKE '%Gather%'$$;

SET imagecalc.enable_parallel_infer = on;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SELECT is(gathers_in('SELECT id, ic_infer(''linear'', image) FROM few'), 0::bigint, 'no workers for a small table');
SELECT is(gathers_in('SELECT id, ic_infer(''linear'', image) FROM parted'), 0::bigint, 'nor for small partitions');
SET min_parallel_table_scan_size = 0;
SELECT is(worker_nodes_in('SELECT id, ic_infer(''linear'', image) FROM few'), 1::bigint, 'parallel: a node that workers run');
SET imagecalc.enable_parallel_infer = off;
SELECT is((SELECT count(*) FROM plan_of('SELECT id, ic_infer(''linear'', image) FROM few') AS line WHERE line ~ 'Gather|Parallel'), 0::bigint,
          'but only where that is wanted');
SET imagecalc.enable_parallel_infer = on;
SELECT is(worker_nodes_in('SELECT id FROM parted WHERE ic_infer(''linear'', image) <> ''x'''), 1::bigint, 'above a parallel Append');
SELECT is(worker_nodes_in('SELECT count(ic_infer(''linear'', image)) FROM few'), 1::bigint, 'below a partial aggregate');
SELECT is(worker_nodes_in('SELECT id, ic_infer(''linear'', image) AS said FROM few ORDER BY said'), 1::bigint, 'below a Gather Merge');
SELECT is(worker_nodes_in('SELECT f.id, t.label FROM few f, LATERAL ic_topk(''linear'', f.image, 2) t'), 1::bigint,
          'below a nested loop that hands scores over');
SET enable_nestloop = off;
SELECT is(worker_nodes_in('SELECT f.id, g.id FROM few f JOIN few g ON g.label = ic_infer(''linear'', f.image)'), 1::bigint,
          'below a shared hash, or the side that looks into it');
RESET enable_nestloop;

CREATE TEMP TABLE by_workers AS
SELECT place, nodes, statement, ARRAY(SELECT r FROM unnest(rows) AS r ORDER BY r) AS rows FROM shape JOIN row_by_row USING (place)
WHERE statement LIKE 'SELECT%' AND statement NOT LIKE '%UPDATE%' AND (statement LIKE '%ORDER BY%' OR statement NOT LIKE '%LIMIT%');
SELECT cmp_ok(count(*) FILTER (WHERE worker_nodes_in(statement) > 0), '>', count(*) / 2, 'most shapes have a node in workers')
FROM by_workers WHERE nodes > 0;
SET imagecalc.batch_size = 7;
SELECT is(ARRAY(SELECT r FROM parallel_rows_of(statement) AS r ORDER BY r), rows, format('by workers: %s', statement))
FROM by_workers ORDER BY place;
SET parallel_leader_participation = off;
SET enable_hashjoin = off;
SET force_parallel_mode = on;
SELECT is(ARRAY(SELECT r FROM parallel_rows_of(statement) AS r ORDER BY r), rows, format('by workers alone, other joins: %s', statement))
FROM by_workers WHERE nodes > 0 ORDER BY place;
SELECT is(images_sent('SELECT id, ic_infer(''linear'', image) FROM few'), 60::bigint, 'EXPLAIN counts what workers have sent');
SELECT is(images_sent('SELECT f.id, t.label FROM few f, LATERAL ic_topk(''linear'', f.image, 2) t'), 60::bigint, 'in a join, too');
SELECT cmp_ok(images_sent('SELECT label, (SELECT max(said) FROM (SELECT ic_infer(''linear'', image) AS said FROM few LIMIT 3) s '
                          'WHERE w.label <> '''') FROM wanted w'), '>=', 6::bigint, 'and of workers that were started twice');
RESET enable_hashjoin;
RESET parallel_leader_participation;
RESET force_parallel_mode;
SELECT is(images_sent('SELECT id, ic_infer(''linear'', image) FROM few'), 60::bigint, 'and the leader');
RESET imagecalc.batch_size;
RESET imagecalc.enable_parallel_infer;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- ---- prepared statements, cursors

PREPARE by_name(text) AS SELECT id, ic_infer($1, image) AS said FROM few WHERE id <= $2 ORDER BY id;
SET plan_cache_mode = force_generic_plan;
SELECT is((SELECT count(*) FROM plan_of('EXECUTE by_name(''linear'', 9)') AS l WHERE l LIKE '%(ImageInfer)%'), 1::bigint,
          'a generic plan has the node');
SELECT is((SELECT string_agg(trim(l), '; ') FROM plan_of('EXECUTE by_name(''linear'', 9)') AS l WHERE l LIKE '%Model:%'),
          'Model: $1', 'which shows the parameter');
SELECT results_eq('EXECUTE by_name(''linear'', 100)', 'SELECT id, ic_infer(''linear'', image) FROM few ORDER BY id',
                  'a generic plan with one model');
SELECT results_eq('EXECUTE by_name(''cnn'', 100)', 'SELECT id, ic_infer(''cnn'', image) FROM few ORDER BY id', 'and another');
SELECT results_eq('EXECUTE by_name(NULL, 3)', 'VALUES (1::bigint, NULL::text), (2, NULL), (3, NULL)', 'no model, no label');
RESET plan_cache_mode;

-- Rows of a cursor, fetched as the commands say.
CREATE FUNCTION fetched(cursor_name text, commands text[]) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    c refcursor := cursor_name;
    command text;
    r record;
    result text[] := '{}';
BEGIN
    FOREACH command IN ARRAY commands LOOP
        FOR r IN EXECUTE format('FETCH %s FROM %I', command, cursor_name) LOOP
            result := result || r::text;
        END LOOP;
    END LOOP;
    RETURN result;
END
$$;
SELECT rows AS all_rows FROM row_by_row WHERE place = 1 \gset
DECLARE forward NO SCROLL CURSOR FOR SELECT id, ic_infer('linear', image) FROM few;
DECLARE other NO SCROLL CURSOR FOR SELECT id, ic_infer('linear', image) FROM few;
DECLARE scrolled SCROLL CURSOR FOR SELECT id, ic_infer('linear', image) FROM few;
DECLARE held CURSOR WITH HOLD FOR SELECT id, ic_infer('linear', image) FROM few;
SELECT is(r[1:2], (:'all_rows'::text[])[1:2], 'a cursor') FROM fetched('forward', ARRAY['2']) AS r;
SELECT is(r[1:5], (:'all_rows'::text[])[1:5], 'a second one in between') FROM fetched('other', ARRAY['5']) AS r;
SELECT is(ic_infer('linear', image), substr((:'all_rows'::text[])[id], length(id::text) + 3,
          length((:'all_rows'::text[])[id]) - length(id::text) - 3), 'and a single call') FROM few WHERE id = 9;
SELECT is(r, (:'all_rows'::text[])[3:], 'the first goes on') FROM fetched('forward', ARRAY['30', 'ALL']) AS r;
CLOSE forward;
SELECT is(r, (:'all_rows'::text[])[6:7], 'as does the second when the first is closed') FROM fetched('other', ARRAY['2']) AS r;
SELECT is(r, (:'all_rows'::text[])[1:3] || (:'all_rows'::text[])[2] || (:'all_rows'::text[])[61] || (:'all_rows'::text[])[1],
          'a scrollable one goes backwards') FROM fetched('scrolled', ARRAY['3', 'PRIOR', 'LAST', 'FIRST']) AS r;

-- an error that a block or a savepoint catches leaves a cursor with batches on their way as it was
SET imagecalc.batch_size = 2;
DECLARE busy NO SCROLL CURSOR FOR SELECT id, ic_infer('linear', image) FROM few;
SELECT is(array_length(r, 1), 6, 'a cursor that has more batches on their way') FROM fetched('busy', ARRAY['6']) AS r;
SELECT complains('SELECT ic_infer(''rgb'', substr(jpeg, 1, 300)) FROM few WHERE id = 1', '22P03', '%', '%', 'another query fails');
SELECT is(r, (:'all_rows'::text[])[7:10], 'the cursor goes on') FROM fetched('busy', ARRAY['4']) AS r;
SELECT complains('SELECT count(ic_infer(''rgb'', substr(jpeg, 1, 300 + 100000 * (id % 9)::int))) FROM few', '22P03', '%', '%',
                 'a batched one fails');
SELECT is(r, (:'all_rows'::text[])[11:], 'and it goes on to its end') FROM fetched('busy', ARRAY['ALL']) AS r;
RESET imagecalc.batch_size;

-- a cursor's current row is the one it has returned, not the one that was read ahead
CREATE FUNCTION say_at_cursor(cursor_name text, new_value text) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
    c refcursor := cursor_name;
    r record;
BEGIN
    FETCH c INTO r;
    FETCH c INTO r;
    RETURN QUERY EXECUTE format('UPDATE few SET said = %L WHERE CURRENT OF %I RETURNING id', new_value, cursor_name);
    RETURN NEXT r.id;
END
$$;
DECLARE updatable NO SCROLL CURSOR FOR
    SELECT id, ic_scores('cnn', image) FROM few WHERE ic_infer('linear', image) <> 'x' AND id > 4;
SELECT results_eq('SELECT say_at_cursor(''updatable'', ''here'')', 'VALUES (6::bigint), (6)', 'WHERE CURRENT OF such a cursor');
DECLARE locking CURSOR FOR SELECT id, ic_infer('cnn', image) FROM few WHERE id > 7 ORDER BY id FOR UPDATE;
SELECT results_eq('SELECT say_at_cursor(''locking'', ''there'')', 'VALUES (9::bigint), (9)', 'and of one that locks its rows');

-- ---- errors wait for their row

CREATE TABLE spoilt AS SELECT id, image, jpeg FROM few WHERE id <= 20;
ALTER TABLE spoilt ALTER image TYPE icimage;
UPDATE spoilt SET jpeg = substr(jpeg, 1, 300) WHERE id = 5;
UPDATE spoilt SET image = jpeg::icimage('1x1/b8/k2/q20@64') WHERE id = 7;
CREATE TABLE ordered AS SELECT * FROM spoilt ORDER BY id;
SELECT lives_ok('SELECT ic_infer(''rgb'', jpeg) FROM ordered LIMIT 4', 'a damaged picture behind a LIMIT fails nothing');
SELECT lives_ok('SELECT ic_infer(''linear'', image) FROM ordered WHERE id <> 7 LIMIT 100', 'nor one that a condition leaves out');
SELECT complains('SELECT ic_infer(''rgb'', jpeg) FROM ordered', '22P03', '%', '%', 'with its row it fails');
SELECT complains('SELECT ic_infer(''linear'', image) FROM ordered', '22000', '%1x1/b8/k2/q20@64%', '%icimage%',
                 'as does a value of another format');
CREATE FUNCTION context_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    context text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RETURN split_part(context, E'\n', 1);
END
$$;
SELECT is(context_of('SELECT ic_infer(''rgb'', jpeg) FROM ordered'), 'image of row 5 that ImageInfer has read', 'it says which');
SELECT is(context_of('SELECT ic_infer(''linear'', image) FROM ordered'), 'image of row 7 that ImageInfer has read', 'both do');
SET imagecalc.enable_parallel_infer = on;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET parallel_leader_participation = off;
CREATE FUNCTION whole_context_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    context text;
BEGIN
    PERFORM count(*) FROM parallel_rows_of(query);
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RETURN context;
END
$$;
SELECT matches(whole_context_of('SELECT id, ic_infer(''rgb'', jpeg) FROM ordered'),
               '^image of row \d+ that ImageInfer has read\nparallel worker', 'a worker says so, too');
RESET imagecalc.enable_parallel_infer;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET parallel_leader_participation;
DECLARE up_to_it NO SCROLL CURSOR FOR SELECT id, ic_infer('rgb', jpeg) FROM ordered;
SELECT is(array_length(r, 1), 4, 'a cursor reads up to it') FROM fetched('up_to_it', ARRAY['3', '1']) AS r;
SELECT complains('SELECT fetched(''up_to_it'', ARRAY[''1''])', '22P03', '%', '%', 'and fails at it');
SELECT complains('SELECT ic_infer(''none'', image) FROM few', '22023', 'model "none" does not exist', '%', 'no such model');
SELECT lives_ok('SELECT ic_infer(''none'', image) FROM few WHERE id > 99', 'which nobody notices where there is no image');
SELECT lives_ok('EXPLAIN SELECT ic_infer(''none'', image) FROM few', 'and EXPLAIN shows the plan all the same');

SELECT complains('SELECT ic_infer(''linear'', image) FROM few WHERE 1 / (id - 30) < 2', '22012', 'division by zero', '%',
                 'an error of what is below');
SELECT is(ic_infer('linear', image), ic_infer('linear', jpeg), 'and all works on') FROM few WHERE id = 3;

-- ---- no more is read and sent than need be

SELECT is(images_sent('SELECT id, ic_infer(''linear'', image) FROM few LIMIT 3'), 3::bigint, 'LIMIT 3: three images');
SELECT is(images_sent('SELECT id, ic_infer(''linear'', image) FROM few LIMIT 3 OFFSET 2'), 5::bigint, 'five with an OFFSET');
PREPARE some_rows(bigint, bigint) AS SELECT id, ic_infer('linear', image) FROM few ORDER BY id DESC OFFSET $1 LIMIT $2;
SET plan_cache_mode = force_generic_plan;
SELECT is(images_sent('EXECUTE some_rows(4, 3)'), 6::bigint, 'known at execution: seven rows, one of them without an image');
SELECT is(images_sent('EXECUTE some_rows(1, NULL)'), 60::bigint, 'no LIMIT after all: all images');
SELECT results_eq('EXECUTE some_rows(0, 2)', 'SELECT id, ic_infer(''linear'', image) FROM few WHERE id > 59 ORDER BY id DESC',
                  'and the right rows');
RESET plan_cache_mode;
-- Those that the runner has scored for this session, whatever becomes of them.
CREATE FUNCTION images_scored_by(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint := (SELECT images FROM ic_stat_models WHERE name = 'linear');
BEGIN
    EXECUTE statement;
    PERFORM ic_infer('linear', image) FROM few WHERE id = 1;  -- answered after all that
    RETURN (SELECT images - before - 1 FROM ic_stat_models WHERE name = 'linear');
END
$$;
SELECT cmp_ok(images_scored_by($$DO 'DECLARE label text; BEGIN SELECT ic_infer(''linear'', image) INTO label FROM few; END'$$),
              '<=', 2::bigint, 'SELECT INTO: it is known that one row is wanted');
SELECT is(images_scored_by('SELECT count(*) FROM (SELECT ic_infer(''linear'', image) FROM few) s WHERE s IS NOT NULL'), 60::bigint,
          'which counts right');
SELECT ok(bool_or(line LIKE '%top-N%'), 'the sort below knows of the LIMIT')
FROM analysed('SELECT id, ic_infer(''linear'', image) FROM few ORDER BY md5(label || id) LIMIT 5') AS line;
SELECT cmp_ok(images_sent('SELECT id FROM few WHERE ic_infer(''linear'', image) <> ''x'' LIMIT 3'), '<=', 3::bigint,
              'a condition: batches start small');
SELECT is(images_sent('SELECT id, ic_infer(''linear'', image) FROM few WHERE id % 10 = 0 AND ic_infer(''linear'', image) <> ''x'''),
          6::bigint, 'cheap conditions first, and a result is used again');

-- ---- nothing is sent that may not be seen

SELECT is(images_sent('SELECT id FROM guarded WHERE ic_infer(''linear'', image) <> ''x'' AND ic_infer(''cnn'', image) <> ''x'''),
          40::bigint, 'behind a security barrier: the view''s 20 rows, twice');
CLOSE ALL;
CREATE ROLE ic_batch_reader;
GRANT SELECT ON few TO ic_batch_reader;
ALTER TABLE few ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON few TO ic_batch_reader USING (id % 20 = 0);
SET LOCAL ROLE ic_batch_reader;
SELECT is(images_sent('SELECT id, ic_infer(''linear'', image) FROM few WHERE ic_infer(''cnn'', image) <> ''x'''), 6::bigint,
          'row security: the 3 rows that may be seen, for two models');
RESET ROLE;
DROP POLICY seen ON few;
CREATE POLICY said ON few TO ic_batch_reader USING (ic_infer('linear', image) = :'first_label');
SET LOCAL imagecalc.enable_batch_infer = off;
SELECT count(*) AS seen FROM few WHERE ic_infer('linear', image) = :'first_label' \gset
SET LOCAL imagecalc.enable_batch_infer = on;
SET LOCAL ROLE ic_batch_reader;
SELECT is(images_sent('SELECT id FROM few WHERE ic_infer(''cnn'', image) <> ''x'''), (60 + :seen)::bigint,
          'a policy that infers: its own batches first');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION ic_infer(text, icimage) FROM PUBLIC;
SELECT complains('ic_batch_reader', 'SELECT ic_infer(''linear'', image) FROM few', '42501', 'permission denied for function ic_infer',
                 '%', 'who may not call the function may not call it in batches');

GRANT SELECT ON guarded TO ic_batch_reader;
REVOKE EXECUTE ON FUNCTION ic_scores(text, icimage) FROM PUBLIC;
SET LOCAL ROLE ic_batch_reader;
SELECT lives_ok('SELECT ic_topk(''linear'', image, 1) FROM guarded', 'ic_topk needs no right to call ic_scores');
SELECT lives_ok('SELECT t.* FROM guarded, LATERAL ic_topk(''linear'', image, 1) t', 'nor in a join');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION ic_topk(text, icimage, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ic_scores(text, icimage) TO ic_batch_reader;
SELECT complains('ic_batch_reader', 'SELECT ic_topk(''linear'', image, 1) FROM guarded', '42501',
                 'permission denied for function ic_topk', '%', 'nor does that right help');
SELECT complains('ic_batch_reader', 'SELECT t.* FROM guarded, LATERAL ic_topk(''linear'', image, 1) t', '42501',
                 'permission denied for function ic_topk', '%', 'in a join neither');

SELECT * FROM finish();
ROLLBACK;
