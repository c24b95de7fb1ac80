-- Comparison: of the stored bytes.
\getenv test_folder PG_ABS_SRCDIR
\set include :test_folder '/sql/include/pictures.sql'
\i :include

CREATE TABLE image (id integer, name text, value icimage);
INSERT INTO image
SELECT row_number() OVER (ORDER BY copy, name), name, value
FROM generate_series(1, 3) AS copy,
     (VALUES ('rgb', ic_encode(:'rgb', '1x1/b8/k3/q20@64')), ('rgb, coarse', ic_encode(:'rgb', '1x1/b8/k3/q100@64')),
             ('gray', ic_encode(:'gray', '1x1/b8/k3/q20@64')), ('flat', ic_encode(:'flat', '1x1/b8/k3/q20@64')),
             ('none', NULL::icimage)) AS source(name, value);

-- the operators agree with each other
SELECT count(*) AS pairs, count(*) FILTER (WHERE a.value = b.value) AS equal,
       bool_and((a.value = b.value) = (a.name = b.name)) AS as_their_pictures,
       bool_and((a.value <> b.value) = NOT (a.value = b.value)) AS negated,
       bool_and((a.value < b.value) = (b.value > a.value) AND (a.value <= b.value) = (b.value >= a.value)) AS commuted,
       bool_and((a.value < b.value)::integer + (a.value = b.value)::integer + (a.value > b.value)::integer = 1)
           AS one_of_three,
       bool_and((a.value = b.value) <= (icimage_hash(a.value) = icimage_hash(b.value) AND
                                        icimage_hash_extended(a.value, 7) = icimage_hash_extended(b.value, 7)))
           AS hashed_alike,
       bool_and(sign(icimage_cmp(a.value, b.value)) =
                (a.value > b.value)::integer - (a.value < b.value)::integer) AS compared_alike
FROM image AS a, image AS b WHERE a.value IS NOT NULL AND b.value IS NOT NULL;
-- as bytes
SELECT bool_and((a.value < b.value) = (icimage_send(a.value) < icimage_send(b.value))) AS as_bytes
FROM image AS a, image AS b WHERE a.value IS NOT NULL AND b.value IS NOT NULL;
SELECT value = NULL AS equal, value IS NOT DISTINCT FROM NULL AS same FROM image WHERE name = 'none' LIMIT 1;

-- the same picture, compressed with another effort, need not be the same bytes: ic_coefficients compares pictures
SET imagecalc.compression_level = 1;
SELECT ic_coefficients(ic_encode(:'rgb', '1x1/b8/k3/q20@64')) = ic_coefficients(value) AS same_picture
FROM image WHERE name = 'rgb' LIMIT 1;
RESET imagecalc.compression_level;

-- DISTINCT and GROUP BY, by sorting and by hashing
SET enable_hashagg = off;
SELECT count(*) FROM (SELECT DISTINCT value FROM image) AS d;
SELECT min(name), count(*) FROM image GROUP BY value ORDER BY 1;
RESET enable_hashagg;
SET enable_sort = off;
SELECT count(*) FROM (SELECT DISTINCT value FROM image) AS d;
SELECT min(name), count(*) FROM image GROUP BY value ORDER BY 1;
RESET enable_sort;

-- joins of each kind
SET enable_mergejoin = off;
SET enable_nestloop = off;
EXPLAIN (COSTS off) SELECT * FROM image AS a JOIN image AS b USING (value);
SELECT count(*) FROM image AS a JOIN image AS b USING (value);
RESET enable_mergejoin;
SET enable_hashjoin = off;
SELECT count(*) FROM image AS a JOIN image AS b USING (value);
RESET enable_nestloop;
RESET enable_hashjoin;

-- ORDER BY
SELECT bool_and(previous IS NULL OR previous <= value) AS ordered, count(*)
FROM (SELECT value, lag(value) OVER (ORDER BY value) AS previous FROM image WHERE value IS NOT NULL) AS o;
SELECT max(place) FILTER (WHERE value IS NULL) = 3 AS nulls_first
FROM (SELECT value, row_number() OVER (ORDER BY value DESC) AS place FROM image) AS o;

-- a unique btree index
CREATE TABLE single (name text, value icimage UNIQUE);
INSERT INTO single SELECT DISTINCT ON (value) name, value FROM image;
\set VERBOSITY terse
INSERT INTO single SELECT name, value FROM image WHERE name = 'gray' LIMIT 1;
\set VERBOSITY default
INSERT INTO single VALUES ('another', NULL);
INSERT INTO single SELECT name || ' again', value FROM image WHERE id <= 4 AND value IS NOT NULL
ON CONFLICT (value) DO UPDATE SET name = excluded.name;
SELECT name FROM single ORDER BY name;
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT name FROM single WHERE value = (SELECT value FROM image WHERE id = 1);
SELECT name FROM single WHERE value = (SELECT value FROM image WHERE id = 1);
SELECT count(*) FROM single WHERE value >= (SELECT value FROM image WHERE id = 1)
                               OR value < (SELECT value FROM image WHERE id = 1);

-- a hash index
CREATE INDEX image_hash ON image USING hash (value);
EXPLAIN (COSTS off) SELECT id FROM image WHERE value = (SELECT value FROM single WHERE name = 'rgb');
SELECT id FROM image WHERE value = (SELECT value FROM single WHERE name = 'rgb') ORDER BY id;
RESET enable_seqscan;

-- hash partitions
CREATE TABLE parted (name text, value icimage) PARTITION BY HASH (value);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT name, value FROM image;
SELECT count(*), count(DISTINCT value) FROM parted;
SELECT count(*) AS split_values FROM parted_0 JOIN parted_1 USING (value);
SELECT name, count(*) FROM parted WHERE value = (SELECT value FROM image WHERE id = 1) GROUP BY name;

DROP TABLE image, single, parted;
