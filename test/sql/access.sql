-- What a value tells about itself; encoding to every format and decoding from it; limits.
\getenv test_folder PG_ABS_SRCDIR
\set include :test_folder '/sql/include/pictures.sql'
\i :include
\set include :test_folder '/sql/include/helpers.sql'
\i :include
\set SHOW_CONTEXT never

CREATE TABLE picture (name text PRIMARY KEY, file bytea);
INSERT INTO picture VALUES ('rgb', :'rgb'), ('gray', :'gray'), ('flat', :'flat'), ('cmyk', :'cmyk');

-- the format, and the size of the picture that was encoded, at whatever size it is stored
SELECT name, format, ic_format(v) = format AS same, ic_width(v), ic_height(v),
       array_dims(ic_coefficients(v)) AS coefficients, ic_width(ic_encode(ic_to_jpeg(v), '1x1/b8/k1/q1')) AS coded_width
FROM picture,
     (VALUES ('1x1/b8/k3/q20'), ('2x2r/b16/k16/q50@256'), ('2x2c/b32/k6/q255@40'), ('4x4/b256/k2/q1@264')) AS f(format),
     ic_encode(file, format) AS v ORDER BY name, format;

-- a flat picture, 50 above middle gray: the block's mean alone, and no colour
SELECT ic_coefficients(ic_encode(file, '1x1/b8/k2/q20@16')) FROM picture WHERE name = 'flat';
SELECT ic_coefficients(ic_encode(file, '4x4/b8/k2/q255@16')) FROM picture WHERE name = 'flat';
-- the mean of a block is its coefficient over its edge, whatever the block
SELECT block, (ic_coefficients(ic_encode(file, format('1x1/b%s/k1/q1@256', block))))[1][1][1] / block AS above_gray
FROM picture, unnest(ARRAY[8, 16, 32, 64, 128, 256]) AS block WHERE name = 'flat';
-- outside the triangle all is 0, inside not
SELECT i + j < 4 AS inside, bool_or(c[1][4 * y + i + 1][4 * x + j + 1] <> 0) AS some_not_0
FROM picture, ic_coefficients(ic_encode(file, '1x1/b8/k4/q5')) AS c,
     generate_series(0, 3) AS y, generate_series(0, 5) AS x, generate_series(0, 3) AS i, generate_series(0, 3) AS j
WHERE name = 'rgb' GROUP BY 1 ORDER BY 1;
-- every coefficient is a multiple of the quantizer
SELECT quantizer, bool_and(value::integer % quantizer = 0 AND value = round(value)) AS multiples
FROM picture, unnest(ARRAY[1, 7, 20, 255]) AS quantizer,
     unnest(ic_coefficients(ic_encode(file, format('2x2r/b16/k5/q%s@64', quantizer)))) AS value
WHERE name = 'rgb' GROUP BY quantizer ORDER BY quantizer;
-- colours: of the CMYK picture the left half is cyan, the right half red (chroma is above 0 where blue or red is strong)
SELECT sign(c[2][1][1]) AS cb_left, sign(c[3][1][1]) AS cr_left, sign(c[2][1][2]) AS cb_right, sign(c[3][1][2]) AS cr_right
FROM picture, ic_coefficients(ic_encode(file, '1x1/b8/k1/q1')) AS c WHERE name = 'cmyk';
-- the disc in the middle left is red, the bar on the right blue
SELECT c[3][2][2] > 200 AS red_disc, c[2][2][5] > 200 AS blue_bar
FROM picture, ic_coefficients(ic_encode(file, '1x1/b8/k1/q1')) AS c WHERE name = 'rgb';

-- a JPEG of a value: what comes back is near what was stored, nearer with more quality, and larger
SELECT quality, octet_length(jpeg) > octet_length(lag(jpeg) OVER (ORDER BY quality)) AS larger,
       (SELECT avg(abs(a - b))
        FROM unnest(ic_coefficients(v), ic_coefficients(ic_encode(jpeg, '1x1/b8/k4/q20@64'))) AS u(a, b)) < 20 AS near
FROM picture, ic_encode(file, '1x1/b8/k4/q20@64') AS v, unnest(ARRAY[1, 50, 90, 100]) AS quality,
     ic_to_jpeg(v, quality) AS jpeg
WHERE name = 'rgb';
SELECT ic_to_jpeg(v) = ic_to_jpeg(v, 90) AS is_90_by_default
FROM picture, ic_encode(file, '1x1/b8/k4/q20@64') AS v WHERE name = 'rgb';
SELECT ic_to_jpeg(ic_encode(:'rgb', '1x1/b8/k4/q20@64'), 0);
SELECT ic_to_jpeg(ic_encode(:'rgb', '1x1/b8/k4/q20@64'), 101);

-- NULL in, NULL out
SELECT ic_format(NULL) IS NULL AND ic_width(NULL) IS NULL AND ic_height(NULL) IS NULL AND ic_coefficients(NULL) IS NULL
       AND ic_encode(NULL, '1x1/b8/k4/q20') IS NULL AND ic_encode(:'rgb', NULL) IS NULL
       AND ic_to_jpeg(NULL) IS NULL AS all_null;

-- the design space: 6048 formats, each packed to a number of its own
SELECT count(*), count(DISTINCT format) AS formats, count(DISTINCT icimage_typmod_in(ARRAY[format::cstring])) AS packed
FROM ic_formats();
SELECT subsampling, block, count(*), min(kept), max(kept), count(DISTINCT quantizer) AS quantizers FROM ic_formats(64)
GROUP BY subsampling, block ORDER BY subsampling, block;
SELECT * FROM ic_formats(264) WHERE format IN ('1x1/b8/k1/q20@264', '2x2r/b32/k6/q50@264', '4x4/b256/k256/q100@264');
SELECT * FROM ic_formats(NULL) LIMIT 2;
SELECT size, c.* FROM unnest(ARRAY[0, -8, 12, 8192, 2147483647]) AS size,
    pg_temp.complaint(format('SELECT count(*) FROM ic_formats(%s)', size)) AS c;

-- all of them encode and decode. Where no block reaches over the edge, the mean luma is that of the picture to within half a
-- step of the quantizer, and a little for rows and columns that are left out
CREATE TABLE encoded AS
SELECT f.*, ic_encode(file, format) AS value FROM picture, ic_formats(64) AS f WHERE name = 'rgb';
SELECT count(*), bool_and(ic_format(value) = format) AS formats_told,
       bool_and(value::text::icimage = value) AS pass_the_input_function,
       bool_and(array_dims(c) = format('[1:3][1:%s][1:%s]', tensor_height, tensor_width)) AS shapes_told,
       bool_and(octet_length(ic_to_jpeg(value)) > 300) FILTER (WHERE quantizer = 50) AS rendered
FROM encoded, ic_coefficients(value) AS c;
WITH luma AS (
    SELECT block, kept, quantizer, subsampling,
           (SELECT avg(c[1][y][x]) / block
            FROM generate_series(1, tensor_height, kept) AS y, generate_series(1, tensor_width, kept) AS x) AS mean
    FROM encoded, ic_coefficients(value) AS c
    WHERE block <= CASE subsampling WHEN '1x1' THEN 64 ELSE 32 END),
truth AS (SELECT mean FROM luma WHERE block = 8 AND kept = 8 AND quantizer = 20 AND subsampling = '1x1')
SELECT count(*), bool_and(abs(luma.mean - truth.mean) <= 0.5 * quantizer / block + 1.5) AS near FROM luma, truth;
-- a finer quantizer takes more bytes, but where there is next to nothing to store
SELECT bool_and(coarse.bytes <= fine.bytes + 8) AS more_bytes
FROM (SELECT *, octet_length(icimage_send(value)) AS bytes FROM encoded) AS coarse
JOIN (SELECT *, octet_length(icimage_send(value)) AS bytes FROM encoded) AS fine USING (subsampling, block, kept)
WHERE coarse.quantizer = 100 AND fine.quantizer = 20;
DROP TABLE encoded;
-- and at the native size of a gray picture, whose edges are no whole blocks
SELECT count(*), bool_and(ic_format(v) = format) AS formats_told,
       bool_and(ic_width(v) = 40 AND ic_height(v) = 24) AS sizes_told,
       bool_and(array_length(c, 2) % kept = 0 AND array_length(c, 3) % kept = 0) AS whole_blocks,
       bool_and(c[2][1][1] = 0 AND c[3][1][1] = 0) AS no_colour
FROM picture, ic_formats(NULL) AS f, ic_encode(file, format) AS v, ic_coefficients(v) AS c WHERE name = 'gray';

-- limits: a picture is refused before it is decoded
SET imagecalc.max_pixels = 1535;
SELECT ic_encode(:'rgb', '1x1/b8/k4/q20@8');
SELECT ic_encode(:'rgb', '1x1/b8/k4/q20@64');
SET imagecalc.max_pixels = 1536;
SELECT ic_width(ic_encode(:'rgb', '1x1/b8/k4/q20@8'));
RESET imagecalc.max_pixels;
SET imagecalc.max_pixels = 0;
-- a header that claims 60000 x 60000; its height and width stand 5 bytes after the frame's marker
SELECT overlay(file PLACING '\xea60ea60' FROM position('\xffc00011'::bytea IN file) + 5) AS giant,
       overlay(file PLACING '\x9c409c40' FROM position('\xffc00011'::bytea IN file) + 5) AS large
FROM picture WHERE name = 'rgb' \gset
SELECT ic_encode(:'giant', '1x1/b8/k4/q20@64');
-- nor is memory asked for where the limit allows it but the file is too short for its claim
SET imagecalc.max_pixels = 2147483647;
SELECT ic_encode(:'large', '1x1/b8/k4/q20@64');
RESET imagecalc.max_pixels;
-- a value that claims it
SELECT pg_temp.value_of(overlay(icimage_send(ic_encode(file, '1x1/b8/k4/q20')) PLACING '\x60ea60ea60ea000060ea0000' FROM 9))
FROM picture WHERE name = 'rgb';
-- a value of 6712 x 6712 with coder 0, all its coefficients 0: more of them than an array holds
SELECT ic_coefficients(pg_temp.value_of(
    '\x1c01000100041c00381a381a381a0000381a0000afbddb03' || '\x0058'::bytea ||
    decode(repeat('02001000', 193), 'hex') || '\x23670500'));
-- what is no picture, or a damaged one; the session lives on
SELECT name, c.* FROM (VALUES (1, 'truncated PNG', substr(:'png'::bytea, 1, 50)), (2, 'empty', ''), (3, 'text', 'hello'),
                              (4, 'truncated', substr(:'rgb'::bytea, 1, 500)),
                              (5, 'header only', substr(:'rgb'::bytea, 1, 300)),
                              (6, 'noise inside', overlay(:'rgb'::bytea PLACING '\xffc4ffc4' FROM 700)))
         AS v(place, name, bytes),
    pg_temp.complaint(format('SELECT ic_encode(%L::bytea, ''1x1/b8/k4/q20@64'')', bytes)) AS c ORDER BY place;
SELECT ic_encode(:'rgb', '1x1/b8/k9/q20@64');
SELECT ic_format(ic_encode(:'rgb', '1x1/b8/k8/q20@64'));

DROP TABLE picture;
