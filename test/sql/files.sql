-- Picture files of every kind: JPEG, PNG, WebP; transparency; which way up; PNG files of values.
\getenv test_folder PG_ABS_SRCDIR
\getenv results_folder PG_ABS_BUILDDIR
\set include :test_folder '/sql/include/pictures.sql'
\i :include
\set include :test_folder '/sql/include/helpers.sql'
\i :include
\set SHOW_CONTEXT never

CREATE TABLE file (name text PRIMARY KEY, bytes bytea);
INSERT INTO file VALUES ('rgb', :'rgb'), ('gray', :'gray'), ('gray, PNG', :'gray_png'), ('PNG', :'png'),
                        ('palette', :'palette'), ('WebP', :'webp'), ('WebP, lossy', :'webp_lossy'),
                        ('PNG, seen through', :'seen_through'),
                        ('WebP, seen through', :'seen_through_webp'), ('over white', :'over_white'), ('lying', :'lying');
SELECT name, substr(bytes, 1, 4) AS begins, ic_width(v), ic_height(v), array_dims(ic_coefficients(v)) AS coefficients
FROM file, ic_encode(bytes, '1x1/b8/k2/q20') AS v ORDER BY name COLLATE "C";

-- the same pixels are the same value, whatever the file
CREATE TABLE format (format text);
INSERT INTO format VALUES ('1x1/b8/k8/q1'), ('2x2r/b16/k5/q20@40'), ('4x4/b32/k3/q50@256');
SELECT bool_and(ic_encode(:'png', format) = ic_encode(:'webp', format)) AS webp,
       bool_and(ic_encode(:'png', format) = ic_encode(:'palette', format)) AS palette,
       bool_and(ic_encode(:'gray', '1x1/b8/k8/q1@56') = ic_encode(:'gray_png', '1x1/b8/k8/q1@56')) AS gray,
       bool_or(ic_encode(:'png', format) = ic_encode(:'webp_lossy', format)) AS lossy
FROM format;
SELECT max(abs(a - b)) < 100 AS lossy_is_near
FROM unnest(ic_coefficients(ic_encode(:'png', '1x1/b8/k1/q1')), ic_coefficients(ic_encode(:'webp_lossy', '1x1/b8/k1/q1')))
     AS u(a, b);
-- what is transparent lies over white
SELECT bool_and(ic_encode(:'seen_through', format) = ic_encode(:'over_white', format)) AS png,
       bool_and(ic_encode(:'seen_through_webp', format) = ic_encode(:'over_white', format)) AS webp
FROM format;

-- EXIF's orientation is followed where that is asked for; the cast never does
SELECT upright, ic_width(v), ic_height(v), v = ic_encode(:'png', '1x1/b8/k8/q1') AS as_it_is_seen,
       v = :'lying'::bytea::icimage('1x1/b8/k8/q1') AS as_cast
FROM (VALUES (false), (true)) AS u(upright), ic_encode(:'lying', '1x1/b8/k8/q1', upright) AS v ORDER BY upright;
SELECT ic_encode(:'lying', '1x1/b8/k8/q1', upright => true) = ic_encode(:'png', '1x1/b8/k8/q1') AS by_name,
       ic_encode(:'lying', '1x1/b8/k8/q1') = ic_encode(:'lying', '1x1/b8/k8/q1', false) AS by_default,
       ic_encode(:'png', '1x1/b8/k8/q1', true) = ic_encode(:'png', '1x1/b8/k8/q1') AS without_exif,
       ic_encode(:'png', '1x1/b8/k8/q1', NULL) IS NULL AS null_in_null_out;
-- a JPEG file with EXIF, in both orders of bytes: lying on its left side, and upside down
SELECT name, upright, ic_width(v), ic_height(v), v = ic_encode(:'rgb', '1x1/b8/k8/q1') AS as_without_exif
FROM (VALUES ('upside down', '\x49492a00080000000100120103000100000003000000'::bytea),
             ('on its side', '\x4d4d002a000000080001011200030000000100080000')) AS e(name, exif),
     (VALUES (false), (true)) AS u(upright),
     overlay(:'rgb'::bytea PLACING '\xffd8ffe1' || substr(int4send(octet_length(exif) + 8), 3) || '\x457869660000' || exif
             FROM 1 FOR 2) AS file,
     ic_encode(file, '1x1/b8/k8/q1', upright) AS v
ORDER BY name, upright;

-- all kinds through COPY and ALTER TABLE
CREATE TABLE copied (name text, image icimage('1x1/b8/k4/q20@64'));
\cd :results_folder
COPY file TO STDOUT \g results/files.text
COPY file TO STDOUT (FORMAT binary) \g results/files.binary
\copy copied FROM 'results/files.text'
\copy copied FROM 'results/files.binary' (FORMAT binary)
CREATE TABLE converted AS TABLE file;
ALTER TABLE converted ALTER COLUMN bytes TYPE icimage('1x1/b8/k4/q20@64');
SELECT count(*), bool_and(image = ic_encode(file.bytes, '1x1/b8/k4/q20@64')) AS copied,
       bool_and(image = converted.bytes) AS converted
FROM copied JOIN file USING (name) JOIN converted USING (name);
CREATE TABLE untyped (name text, image icimage);
\copy untyped FROM 'results/files.text'

-- ic_to_png: the picture that ic_to_jpeg shows, without its loss
SELECT name, substr(png, 1, 8) AS begins, ic_width(again), ic_height(again),
       (SELECT max(abs(a - b)) FROM unnest(ic_coefficients(v), ic_coefficients(again)) AS u(a, b)) <= 4 AS within_rounding
FROM file, ic_encode(bytes, '1x1/b8/k8/q1') AS v, ic_to_png(v) AS png, ic_encode(png, '1x1/b8/k8/q1') AS again
WHERE name IN ('rgb', 'gray', 'gray, PNG') ORDER BY name;
-- a flat picture comes back as it was; its PNG file is gray, too
SELECT ic_encode(ic_to_png(v), '1x1/b8/k8/q1') = v AS same, get_byte(ic_to_png(v), 25) AS color_type
FROM ic_encode(:'flat', '1x1/b8/k8/q1') AS v;
-- at the coded size
SELECT ic_width(ic_encode(ic_to_png(v), '1x1/b8/k1/q1')), ic_height(ic_encode(ic_to_png(v), '1x1/b8/k1/q1'))
FROM ic_encode(:'webp', '1x1/b8/k1/q1@40') AS v;
SELECT ic_to_png(NULL) IS NULL AS null_in_null_out;

-- damage, and claims
SELECT name, c.*
FROM (VALUES (1, 'PNG, truncated', substr(:'png'::bytea, 1, 60)),
             (2, 'PNG, signature only', substr(:'png'::bytea, 1, 8)),
             (3, 'PNG, a flipped bit', set_byte(:'png'::bytea, 50, get_byte(:'png'::bytea, 50) # 1)),
             (4, 'PNG, 60000 x 60000', '\x89504e470d0a1a0a0000000d494844520000ea600000ea600802000000c5c6d2a6'),
             (5, 'WebP, truncated', substr(:'webp'::bytea, 1, 40)),
             (6, 'WebP, header only', substr(:'webp'::bytea, 1, 12)),
             (7, 'WebP, a longer claim', set_byte(:'webp'::bytea, 6, 200)),
             (8, 'WebP, 16384 x 16384', overlay(:'webp'::bytea PLACING '\xffffff0f' FROM 22)),
             (9, 'WebP, damaged', overlay(:'webp'::bytea PLACING '\x00' FROM 21)),
             (10, 'GIF', 'GIF89a')) AS v(place, name, bytes),
    pg_temp.complaint(format('SELECT ic_encode(%L::bytea, ''1x1/b8/k4/q20@64'')', bytes)) AS c ORDER BY place;
-- each single flipped bit of a PNG file is noticed, but in the end marker's checksum
SELECT count(*) > 800 AS many, count(*) FILTER (WHERE c.state IN ('22P03', '0A000', '54000')) = count(*) AS all_noticed
FROM (SELECT :'png'::bytea AS png) AS p, generate_series(0, 8 * octet_length(png) - 33) AS bit,
     set_bit(png, bit, 1 - get_bit(png, bit)) AS flipped,
     pg_temp.complaint(format('SELECT ic_encode(%L::bytea, ''1x1/b8/k4/q20@64'')', flipped)) AS c;
SET imagecalc.max_pixels = 383;
SELECT c.* FROM (VALUES (1, :'png'::bytea), (2, :'webp')) AS v(place, bytes),
    pg_temp.complaint(format('SELECT ic_encode(%L::bytea, ''1x1/b8/k4/q20@8'')', bytes)) AS c ORDER BY place;
SET imagecalc.max_pixels = 384;
SELECT ic_width(ic_encode(:'png', '1x1/b8/k4/q20@8')), ic_width(ic_encode(:'webp', '1x1/b8/k4/q20@8'));
RESET imagecalc.max_pixels;

DROP TABLE file, format, copied, converted, untyped;
