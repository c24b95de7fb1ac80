-- The type icimage: text and binary form, the type modifier, and what is no value.
\getenv test_folder PG_ABS_SRCDIR
\getenv results_folder PG_ABS_BUILDDIR
\set include :test_folder '/sql/include/pictures.sql'
\i :include
\set include :test_folder '/sql/include/helpers.sql'
\i :include
\set SHOW_CONTEXT never

-- the format goes into the type modifier and comes out of it
CREATE TABLE typed (
    id integer,
    plain icimage,
    scaled icimage('1x1/b32/k6/q50@256'),
    native icimage('2x2r/b16/k4/q20'),
    smallest icimage('1x1/b8/k1/q1'),
    largest icimage('4x4/b256/k256/q255@8184'));
\d typed
SELECT attname, format_type(atttypid, atttypmod), atttypmod FROM pg_attribute
WHERE attrelid = 'typed'::regclass AND atttypid = 'icimage'::regtype ORDER BY attnum;
SELECT attname, attstorage FROM pg_attribute WHERE attrelid = 'typed'::regclass AND attname = 'plain';
CREATE VIEW typed_view AS SELECT plain::icimage('1x1/b8/k3/q20@64') AS small FROM typed;
\d+ typed_view
DROP VIEW typed_view;

-- every format goes in and out, and no two share a type modifier
SELECT count(*), count(DISTINCT icimage_typmod_in(ARRAY[format::cstring])) AS distinct_modifiers,
       count(*) FILTER (WHERE icimage_typmod_out(icimage_typmod_in(ARRAY[format::cstring]))::text = '(''' || format || ''')')
           AS come_back,
       min(icimage_typmod_in(ARRAY[format::cstring])) >= 0 AS never_negative
FROM (SELECT format FROM ic_formats(NULL) UNION ALL SELECT format FROM ic_formats(8) UNION ALL
      SELECT format FROM ic_formats(256) UNION ALL SELECT format FROM ic_formats(8184)) AS f;

-- a malformed format: the message names the part
SELECT written, c.* FROM (VALUES
    (''), ('jpeg'), ('1x1'), ('1x2/b32/k6/q50'), ('2x2/b32/k6/q50'), ('1X1/b32/k6/q50'), (' 1x1/b32/k6/q50'),
    ('1x1/b33/k6/q50'), ('1x1/b4/k1/q50'), ('1x1/b512/k6/q50'), ('1x1/32/k6/q50'), ('1x1/b/k6/q50'), ('1x1/b-8/k6/q50'),
    ('1x1/b99999999999999999999/k6/q50'),
    ('1x1/b32/k0/q50'), ('1x1/b32/k33/q50'), ('1x1/b32/k06/q50'), ('1x1/b32/6/q50'), ('1x1/b32'),
    ('1x1/b32/k6/q0'), ('1x1/b32/k6/q256'), ('1x1/b32/k6/q5.5'), ('1x1/b32/k6'), ('1x1/b32/k6/q50/'),
    ('1x1/b32/k6/q50@'), ('1x1/b32/k6/q50@0'), ('1x1/b32/k6/q50@100'), ('1x1/b32/k6/q50@8192'), ('1x1/b32/k6/q50@-8'),
    ('1x1/b32/k6/q50@256 '), ('1x1/b32/k6/q50@256x256'), ('1x1/b32/k6/q50@64@64')) AS bad(written),
    pg_temp.complaint(format('SELECT NULL::icimage(%L)', written)) AS c;
SELECT NULL::icimage(256);
SELECT NULL::icimage('1x1/b32/k6/q50@256', 'fast');
SELECT icimage_typmod_out(x'58000000'::integer);

-- text form: \x and hex, in either case
CREATE TABLE example (name text, value icimage);
INSERT INTO example VALUES ('rgb', ic_encode(:'rgb', '1x1/b8/k3/q20@64')), ('gray', ic_encode(:'gray', '2x2r/b16/k4/q20')),
                           ('none', NULL);
SELECT name, left(value::text, 10) AS begins, value::text::icimage = value AS same,
       ('\x' || upper(substr(value::text, 3)))::icimage = value AS same_in_capitals
FROM example;
SELECT written, c.*
FROM (VALUES (''), ('1c01'), ('\x'), ('\x1'), ('\xzz'), ('\X1c01'), ('\x1c01'), ('\x 1c')) AS bad(written),
    pg_temp.complaint(format('SELECT %L::icimage', written)) AS c;

-- binary form: the same bytes
SELECT name, icimage_send(value) = decode(substr(value::text, 3), 'hex') AS same FROM example;

-- COPY, in text and in binary, to a file and back; files are named from the folder of results
\set text_file :results_folder '/results/icimage.text'
\set binary_file :results_folder '/results/icimage.binary'
COPY example TO STDOUT \g :text_file
COPY example TO STDOUT (FORMAT binary) \g :binary_file
CREATE TABLE from_text (LIKE example);
CREATE TABLE from_binary (name text, value icimage);
\cd :results_folder
\copy from_text FROM 'results/icimage.text'
\copy from_binary FROM 'results/icimage.binary' (FORMAT binary)
SELECT name, t.value IS NOT DISTINCT FROM e.value AS text_same, b.value IS NOT DISTINCT FROM e.value AS binary_same
FROM example AS e JOIN from_text AS t USING (name) JOIN from_binary AS b USING (name) ORDER BY name;

-- a typed column insists on its format there, too
CREATE TABLE only_small (name text, value icimage('1x1/b8/k3/q20@64'));
\copy only_small FROM 'results/icimage.text'
\copy only_small FROM 'results/icimage.binary' (FORMAT binary)
SELECT count(*) FROM only_small;
DROP TABLE only_small, from_text, from_binary;

-- a picture file is no value; where the format is not known it is an error that says what to write
SELECT :'rgb'::icimage;
SELECT pg_temp.value_of(:'png');
INSERT INTO typed (scaled) VALUES (:'rgb');
PREPARE insertion AS INSERT INTO typed (scaled) VALUES ($1);
EXECUTE insertion(:'rgb');
DEALLOCATE insertion;

-- damaged values
CREATE TEMP TABLE good AS SELECT pg_temp.bytes_of(value) AS bytes FROM example WHERE name = 'rgb';
CREATE TEMP TABLE bad (place integer GENERATED ALWAYS AS IDENTITY, damage text, bytes bytea);
INSERT INTO bad (damage, bytes)
SELECT damage, bytes FROM (
    SELECT 1, 'half a header', substr(bytes, 1, 12) FROM good
    UNION ALL SELECT 2, 'nothing but a header', substr(bytes, 1, 24) FROM good
    UNION ALL SELECT 3, 'truncated', substr(bytes, 1, octet_length(bytes) - 1) FROM good
    UNION ALL SELECT 4, 'a byte more', bytes || '\x00' FROM good
    UNION ALL SELECT 5, 'wrong magic', set_byte(bytes, 0, 29) FROM good
    UNION ALL SELECT 6, 'version 2', set_byte(bytes, 1, 2) FROM good
    UNION ALL SELECT 7, 'coder 9', set_byte(bytes, 2, 9) FROM good
    UNION ALL SELECT 8, 'two channels', set_byte(bytes, 3, 2) FROM good
    UNION ALL SELECT 9, 'one channel of three', set_byte(bytes, 3, 1) FROM good
    UNION ALL SELECT 10, 'no such block', set_byte(bytes, 7, 88) FROM good
    UNION ALL SELECT 11, 'quantization 0', set_byte(set_byte(bytes, 5, get_byte(bytes, 5) & 3), 6, get_byte(bytes, 6) & 252)
              FROM good
    UNION ALL SELECT 12, 'coded size 0', set_byte(bytes, 8, 0) FROM good
    UNION ALL SELECT 13, 'coded size not the format''s', set_byte(bytes, 10, 72) FROM good
    UNION ALL SELECT 14, 'source width 0', set_byte(bytes, 12, 0) FROM good
    UNION ALL SELECT 15, 'checksum flipped', set_byte(bytes, 20, get_byte(bytes, 20) # 1) FROM good
    UNION ALL SELECT 16, 'payload flipped', set_byte(bytes, 30, get_byte(bytes, 30) # 16) FROM good)
    AS made(place, damage, bytes)
ORDER BY place;
SELECT damage, c.* FROM bad,
    pg_temp.complaint(format('SELECT %L::icimage', '\x' || encode(bytes, 'hex'))) AS c ORDER BY place;

-- each single flipped bit of the payload and its checksum is noticed
SELECT count(*) > 1000 AS many, count(*) FILTER (WHERE c.state = '22P03') = count(*) AS all_noticed
FROM good, generate_series(160, 8 * octet_length(bytes) - 1) AS bit,
     set_bit(bytes, bit, 1 - get_bit(bytes, bit)) AS flipped,
     pg_temp.complaint(format('SELECT %L::icimage', '\x' || encode(flipped, 'hex'))) AS c;

-- and so it is in COPY, in both forms, after which the session lives on
CREATE TABLE target (value icimage);
SELECT '\\x' || encode(bytes, 'hex') FROM bad WHERE damage = 'checksum flipped'
\g (tuples_only=on format=unaligned) results/damaged.text
\copy target FROM 'results/damaged.text'
SELECT count(*) FROM target;

COPY (SELECT bytes FROM bad WHERE damage = 'payload flipped') TO STDOUT (FORMAT binary) \g results/damaged.binary
\copy target FROM 'results/damaged.binary' (FORMAT binary)
SELECT count(*) FROM target;

DROP TABLE typed, example, target;
