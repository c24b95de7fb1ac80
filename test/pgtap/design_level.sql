-- A design's effort of compression: its predictions go by it, and its DDL sets it. Committed step by step.
\ir include/helpers.sql
SET client_min_messages = warning;
SELECT no_plan();

\set script :models '/small-cnn-script.pt'
CREATE TABLE few AS SELECT id, jpeg, label FROM pictures WHERE id % 6 = 0;
CREATE TABLE original AS TABLE few;

-- ---- which level

SELECT is(boot_val, '3', 'the DDL takes 3 for the setting''s default') FROM pg_settings
WHERE name = 'imagecalc.compression_level';
SELECT complains(format('SELECT ic_design(''few'', %L, storage => 100, compression_level => %s)', :'script', level), '22023',
                 format('compression_level %s is out of range', level), 'Choose one from 1 to 19.', 'level ' || level)
FROM (VALUES (0), (-1), (20)) AS bad(level);

SET imagecalc.compression_level = 7;
BEGIN;
SELECT ic_design('few', :'script', storage => 100, size => 32) AS id \gset
SELECT is(compression_level, 7, 'without a level it is the session''s') FROM imagecalc.design WHERE id = :id;
ROLLBACK;
RESET imagecalc.compression_level;

-- ---- two designs that differ in it alone

\set same 'storage => 100, size => 32, epochs => 1, transfer_epochs => 1, buckets => 2, sampled_buckets => 2, trials_per_bucket => 1'
SELECT ic_design('few', :'script', :same) AS fast \gset
CALL ic_wait(:fast);
SELECT ic_design('few', :'script', :same, compression_level => 9) AS strong \gset
CALL ic_wait(:strong);
SELECT is(array_agg(compression_level ORDER BY id), '{3,9}', 'levels are stored') FROM imagecalc.design
WHERE id IN (:fast, :strong);
SELECT ok(bool_and(encode_us > 1), 'and how long encoding takes') FROM imagecalc.design WHERE id IN (:fast, :strong);
SELECT ok(sum(strong.bytes) <= sum(fast.bytes), format('more effort, no more bytes: %s, %s', sum(strong.bytes), sum(fast.bytes)))
FROM imagecalc.candidate AS strong JOIN imagecalc.candidate AS fast USING (format)
WHERE strong.design = :strong AND fast.design = :fast;

-- ---- the DDL

ANALYZE few;
SELECT count(*) AS rows FROM few \gset
CREATE TEMP TABLE wanted AS
SELECT id, format(E'-- converts %s pictures in about %s s (one process)\nALTER TABLE public.few ALTER COLUMN jpeg TYPE '
                  'icimage(%L), SET (toast_tuple_target = 8160)', :rows, ceil(:rows * encode_us / 1e6), d.format) AS ddl
FROM ic_designs AS d JOIN imagecalc.design USING (id);
SELECT is(d.ddl, w.ddl, 'the DDL tells what it converts and how long it takes')
FROM ic_designs AS d JOIN wanted AS w USING (id) WHERE id = :fast;
SELECT is(d.ddl, E'SET imagecalc.compression_level = 9;\n' || w.ddl || E';\nRESET imagecalc.compression_level',
          'at another level than the default it sets that')
FROM ic_designs AS d JOIN wanted AS w USING (id) WHERE id = :strong;

INSERT INTO few SELECT -id, jpeg, label FROM few;
SELECT ok(told BETWEEN 1.2 * :rows AND 3 * :rows, format('of the rows that there are now: %s after %s', told, :rows))
FROM (SELECT substring(ddl FROM 'converts (\d+)')::integer AS told FROM ic_designs WHERE id = :strong) AS t;
DELETE FROM few WHERE id < 0;

SELECT ddl FROM ic_designs WHERE id = :strong \gexec
SELECT is(current_setting('imagecalc.compression_level'), '3', 'afterwards the setting is what it was');
SELECT format FROM ic_designs WHERE id = :strong \gset
SET imagecalc.compression_level = 9;
SELECT ok(bool_and(f.jpeg = ic_encode(o.jpeg, :'format')), 'the values are those of the level') FROM few AS f
JOIN original AS o USING (id);

-- ---- times

SELECT is(array_agg(imagecalc.duration(s) ORDER BY s), '{"1 s","119 s","2 min","120 min","2 h","28 h"}', 'times in their unit')
FROM unnest('{0.2, 118.5, 120, 7199, 7200, 100000}'::float8[]) AS s;
SELECT is(imagecalc.rows_now(0), NULL, 'no table has no rows');

SELECT * FROM finish();
