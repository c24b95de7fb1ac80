-- Casts between picture files, icimage and its formats: which are implicit, which on assignment, which explicit only.
\getenv test_folder PG_ABS_SRCDIR
\getenv results_folder PG_ABS_BUILDDIR
\set include :test_folder '/sql/include/pictures.sql'
\i :include
\set include :test_folder '/sql/include/helpers.sql'
\i :include
\set SHOW_CONTEXT never

SELECT castsource::regtype AS source, casttarget::regtype AS target, castfunc::regprocedure AS function,
       castcontext AS context
FROM pg_cast WHERE 'icimage'::regtype IN (castsource, casttarget)
ORDER BY castsource::regtype::text COLLATE "C", casttarget::regtype::text COLLATE "C";

CREATE TABLE images (id integer PRIMARY KEY, jpeg bytea, label text);
INSERT INTO images VALUES (1, :'rgb', 'disc'), (2, :'gray', 'box'), (3, NULL, 'nothing'), (4, :'cmyk', 'halves'),
                          (5, :'flat', 'flat');

-- ALTER TABLE without USING: NULLs stay, an index on another column stays, and so does a default
CREATE TABLE converted (LIKE images INCLUDING ALL);
CREATE INDEX converted_label ON converted (label);
INSERT INTO converted SELECT * FROM images;
SELECT format('ALTER TABLE converted ALTER COLUMN jpeg SET DEFAULT %L::bytea', :'flat'::bytea) AS statement \gset
:statement;
ALTER TABLE converted ALTER COLUMN jpeg TYPE icimage('1x1/b8/k4/q20@64');
INSERT INTO converted (id, label) VALUES (6, 'the default');
SELECT id, label, ic_format(jpeg), ic_width(jpeg), ic_height(jpeg) FROM converted ORDER BY id;
SELECT a.jpeg = b.jpeg AS default_was_converted FROM converted AS a, converted AS b WHERE a.id = 5 AND b.id = 6;
SELECT attname, format_type(atttypid, atttypmod), atthasdef FROM pg_attribute
WHERE attrelid = 'converted'::regclass AND attnum > 0 ORDER BY attnum;
SET enable_seqscan = off;
EXPLAIN (COSTS off) SELECT id FROM converted WHERE label = 'box';
SELECT id FROM converted WHERE label = 'box';
RESET enable_seqscan;

-- the same as casting each row, whatever the compression level
SELECT bool_and(c.jpeg = i.jpeg::icimage('1x1/b8/k4/q20@64')) AS same FROM images AS i JOIN converted AS c USING (id)
WHERE i.jpeg IS NOT NULL;
SET imagecalc.compression_level = 19;
SELECT bool_and(ic_coefficients(c.jpeg) = ic_coefficients(i.jpeg::icimage('1x1/b8/k4/q20@64'))) AS same_coefficients
FROM images AS i JOIN converted AS c USING (id) WHERE i.jpeg IS NOT NULL;
RESET imagecalc.compression_level;

-- with the storage parameter that a design's DDL sets beside it
CREATE TABLE with_storage AS SELECT * FROM images;
ALTER TABLE with_storage ALTER COLUMN jpeg TYPE icimage('1x1/b8/k4/q20@64'), SET (toast_tuple_target = 8160);
SELECT reloptions FROM pg_class WHERE oid = 'with_storage'::regclass;

-- one bad picture, and nothing is converted
CREATE TABLE with_damage AS SELECT * FROM images;
INSERT INTO with_damage SELECT 7, substr(jpeg, 1, 400), 'cut' FROM images WHERE id = 1;
ALTER TABLE with_damage ALTER COLUMN jpeg TYPE icimage('1x1/b8/k4/q20@64');
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'with_damage'::regclass AND attname = 'jpeg';

-- to an untyped column: there is no format to encode in
ALTER TABLE with_damage ALTER COLUMN jpeg TYPE icimage;

-- an index on the column itself is built anew
CREATE TABLE with_index (jpeg bytea);
CREATE INDEX ON with_index USING hash (jpeg);
INSERT INTO with_index SELECT jpeg FROM images;
ALTER TABLE with_index ALTER COLUMN jpeg TYPE icimage('1x1/b8/k4/q20@64');
\d with_index

-- a partitioned table, all at once
CREATE TABLE parted (id integer, jpeg bytea) PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (3);
CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (3) TO (10);
INSERT INTO parted SELECT id, jpeg FROM images;
ALTER TABLE parted ALTER COLUMN jpeg TYPE icimage('2x2c/b16/k3/q50@32');
SELECT tableoid::regclass, id, ic_format(jpeg) FROM parted ORDER BY id;

-- INSERT ... SELECT and a parameter of type bytea are encoded on assignment
CREATE TABLE filled (id integer, jpeg icimage('1x1/b8/k4/q20@64'));
INSERT INTO filled SELECT id, jpeg FROM images;
PREPARE insertion AS INSERT INTO filled VALUES ($1, $2::bytea);
EXECUTE insertion(11, :'rgb');
EXECUTE insertion(12, :'rgb');
UPDATE filled SET jpeg = :'gray'::bytea WHERE id = 12;
SELECT f.id, min(c.id) AS equal_to FROM filled AS f LEFT JOIN converted AS c USING (jpeg) GROUP BY f.id ORDER BY f.id;
DEALLOCATE insertion;

-- COPY of picture files into a typed column, as text and as binary; an untyped one cannot take them
CREATE TABLE copied (id integer, jpeg icimage('1x1/b8/k4/q20@64'));
\cd :results_folder
COPY (SELECT id, jpeg FROM images) TO STDOUT \g results/jpeg.text
COPY (SELECT id + 10, jpeg FROM images) TO STDOUT (FORMAT binary) \g results/jpeg.binary
\copy copied FROM 'results/jpeg.text'
\copy copied FROM 'results/jpeg.binary' (FORMAT binary)
SELECT count(*), bool_and(p.jpeg IS NOT DISTINCT FROM c.jpeg) AS as_converted
FROM copied AS p JOIN converted AS c ON c.id = p.id % 10;
CREATE TABLE untyped (id integer, jpeg icimage);
\copy untyped FROM 'results/jpeg.text'
\copy untyped FROM 'results/jpeg.binary' (FORMAT binary)
INSERT INTO untyped SELECT id, jpeg FROM images;

-- an untyped column takes any format, and keeps it
INSERT INTO untyped SELECT id, jpeg FROM converted WHERE id < 3;
INSERT INTO untyped VALUES (20, ic_encode(:'rgb', '4x4/b16/k7/q100@48')), (21, ic_encode(:'rgb', '1x1/b8/k2/q10'));
SELECT id, ic_format(jpeg) FROM untyped ORDER BY id;

-- a value of another format is refused on assignment, and says how to cast; the cast encodes again
INSERT INTO filled SELECT id, jpeg FROM untyped WHERE id = 20;
UPDATE filled SET jpeg = (SELECT jpeg FROM untyped WHERE id = 21) WHERE id = 1;
ALTER TABLE untyped ALTER COLUMN jpeg TYPE icimage('1x1/b8/k4/q20@64');
INSERT INTO filled SELECT id, jpeg::icimage('1x1/b8/k4/q20@64') FROM untyped WHERE id >= 20;
ALTER TABLE untyped ALTER COLUMN jpeg TYPE icimage('1x1/b8/k4/q20@64') USING jpeg::icimage('1x1/b8/k4/q20@64');
SELECT id, ic_format(jpeg), ic_width(jpeg), ic_height(jpeg) FROM untyped ORDER BY id;

-- to its own format a value goes as it is; to an untyped one, too
SELECT jpeg::icimage('1x1/b8/k4/q20@64') = jpeg AS untouched, jpeg::icimage = jpeg AS untyped, count(*) FROM converted
WHERE jpeg IS NOT NULL GROUP BY 1, 2;
-- from a fine format to a coarse one gives the picture's own coarse value, but for rounding
WITH value AS (SELECT :'rgb'::bytea::icimage('1x1/b8/k8/q1@64')::icimage('1x1/b8/k4/q20@64') AS twice,
                      :'rgb'::bytea::icimage('1x1/b8/k4/q20@64') AS once)
SELECT avg((a = b)::integer) > 0.9 AS mostly_equal, max(abs(a - b)) <= 20 AS never_more_than_a_step
FROM value, unnest(ic_coefficients(twice), ic_coefficients(once)) AS coefficient(a, b);

-- a value that the session would refuse to read is not made
SET imagecalc.max_pixels = 1000000;
SELECT ic_encode(:'rgb', '1x1/b8/k1/q50')::icimage('1x1/b8/k1/q50@8184');
SELECT ic_format(ic_encode(:'rgb', '1x1/b8/k1/q50')::icimage('1x1/b8/k1/q50@1000'));
RESET imagecalc.max_pixels;

-- icimage -> bytea: only explicit, a JPEG file
INSERT INTO images SELECT 9, jpeg, 'back' FROM converted WHERE id = 1;
SELECT octet_length(jpeg) FROM converted WHERE id = 1;
SELECT substr(jpeg::bytea, 1, 2) AS begins, ic_width(jpeg::bytea::icimage('1x1/b8/k1/q1')) AS width
FROM converted WHERE id = 1;
SELECT jpeg::bytea = ic_to_jpeg(jpeg, 90) AS quality_90 FROM converted WHERE id = 1;

-- what is no picture file
SELECT c.* FROM (VALUES (1, ''::bytea), (2, '\x00'), (3, '\xffd8'), (4, 'GIF89a'),
                        (5, substr(:'png'::bytea, 1, 50)), (6, 'RIFF....WEBPVP8 '),
                        (7, substr(:'rgb'::bytea, 1, 100)), (8, substr(:'rgb'::bytea, 1, 700)),
                        (9, (SELECT icimage_send(jpeg) FROM converted WHERE id = 1))) AS v(place, bytes),
    pg_temp.complaint(format('SELECT %L::bytea::icimage(''1x1/b8/k4/q20@64'')', bytes)) AS c ORDER BY place;
SELECT :'rgb'::bytea::icimage;

DROP TABLE images, converted, with_storage, with_damage, with_index, parted, filled, copied, untyped;
