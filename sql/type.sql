\echo Use "CREATE EXTENSION imagecalc" to load this file. \quit

-- ---------------------------------------------------------------------------------------------------------------------------
-- The type icimage: selected, quantized DCT coefficients of a picture, entropy coded.
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE TYPE icimage;

CREATE FUNCTION icimage_in(cstring, oid, integer) RETURNS icimage
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION icimage_out(icimage) RETURNS cstring
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION icimage_recv(internal, oid, integer) RETURNS icimage
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION icimage_send(icimage) RETURNS bytea
    AS 'byteasend' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION icimage_typmod_in(cstring[]) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION icimage_typmod_out(integer) RETURNS cstring
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

-- External: the bytes are entropy coded, compressing them again is in vain.
CREATE TYPE icimage (
    INPUT = icimage_in, OUTPUT = icimage_out, RECEIVE = icimage_recv, SEND = icimage_send,
    TYPMOD_IN = icimage_typmod_in, TYPMOD_OUT = icimage_typmod_out,
    INTERNALLENGTH = VARIABLE, STORAGE = external
);
COMMENT ON TYPE icimage IS 'an image as selected, quantized DCT coefficients, in the format that the type modifier names';

-- ---- casts

CREATE FUNCTION icimage(bytea, integer, boolean) RETURNS icimage
    AS 'MODULE_PATHNAME', 'icimage_from_bytea' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION icimage(bytea, integer, boolean) IS 'encodes a JPEG, PNG or WebP file in the format of the type modifier';
CREATE CAST (bytea AS icimage) WITH FUNCTION icimage(bytea, integer, boolean) AS ASSIGNMENT;

CREATE FUNCTION icimage(icimage, integer, boolean) RETURNS icimage
    AS 'MODULE_PATHNAME', 'icimage_coerce' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION icimage(icimage, integer, boolean) IS 'insists on the format of the type modifier; an explicit cast encodes again';
CREATE CAST (icimage AS icimage) WITH FUNCTION icimage(icimage, integer, boolean) AS IMPLICIT;

CREATE FUNCTION icimage_to_bytea(icimage) RETURNS bytea
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION icimage_to_bytea(icimage) IS 'the picture as a JPEG file, for looking at';
CREATE CAST (icimage AS bytea) WITH FUNCTION icimage_to_bytea(icimage);

-- ---- comparison: of the stored bytes. bytea's own functions do it.

CREATE FUNCTION icimage_eq(icimage, icimage) RETURNS boolean
    AS 'byteaeq' LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION icimage_ne(icimage, icimage) RETURNS boolean
    AS 'byteane' LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION icimage_lt(icimage, icimage) RETURNS boolean
    AS 'bytealt' LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION icimage_le(icimage, icimage) RETURNS boolean
    AS 'byteale' LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION icimage_gt(icimage, icimage) RETURNS boolean
    AS 'byteagt' LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION icimage_ge(icimage, icimage) RETURNS boolean
    AS 'byteage' LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION icimage_cmp(icimage, icimage) RETURNS integer
    AS 'byteacmp' LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
CREATE FUNCTION icimage_hash(icimage) RETURNS integer
    AS 'hashvarlena' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION icimage_hash_extended(icimage, bigint) RETURNS bigint
    AS 'hashvarlenaextended' LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR = (LEFTARG = icimage, RIGHTARG = icimage, FUNCTION = icimage_eq, COMMUTATOR = =, NEGATOR = <>,
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES);
CREATE OPERATOR <> (LEFTARG = icimage, RIGHTARG = icimage, FUNCTION = icimage_ne, COMMUTATOR = <>, NEGATOR = =,
    RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR < (LEFTARG = icimage, RIGHTARG = icimage, FUNCTION = icimage_lt, COMMUTATOR = >, NEGATOR = >=,
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR <= (LEFTARG = icimage, RIGHTARG = icimage, FUNCTION = icimage_le, COMMUTATOR = >=, NEGATOR = >,
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel);
CREATE OPERATOR > (LEFTARG = icimage, RIGHTARG = icimage, FUNCTION = icimage_gt, COMMUTATOR = <, NEGATOR = <=,
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel);
CREATE OPERATOR >= (LEFTARG = icimage, RIGHTARG = icimage, FUNCTION = icimage_ge, COMMUTATOR = <=, NEGATOR = <,
    RESTRICT = scalargesel, JOIN = scalargejoinsel);

CREATE OPERATOR CLASS icimage_ops DEFAULT FOR TYPE icimage USING btree AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 icimage_cmp(icimage, icimage);
CREATE OPERATOR CLASS icimage_ops DEFAULT FOR TYPE icimage USING hash AS
    OPERATOR 1 =,
    FUNCTION 1 icimage_hash(icimage), FUNCTION 2 icimage_hash_extended(icimage, bigint);

-- ---- what a value tells

CREATE FUNCTION ic_format(image icimage) RETURNS text
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ic_format(icimage) IS 'the format of a value, such as 1x1/b32/k6/q50@256';
CREATE FUNCTION ic_width(image icimage) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ic_width(icimage) IS 'width in pixels of the picture that was encoded';
CREATE FUNCTION ic_height(image icimage) RETURNS integer
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ic_height(icimage) IS 'height in pixels of the picture that was encoded';
CREATE FUNCTION ic_coefficients(image icimage) RETURNS real[]
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION ic_coefficients(icimage) IS
    'real[3][nH*k][nW*k]: Y, Cb, Cr; each block''s k x k corner in place, dequantized, not normalised, 0 outside the triangle';
CREATE FUNCTION ic_encode(picture bytea, format text, upright boolean DEFAULT false) RETURNS icimage
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION ic_encode(bytea, text, boolean) IS
    'encodes a JPEG, PNG or WebP file in a format; upright: turned and mirrored as its EXIF orientation asks for';
CREATE FUNCTION ic_to_jpeg(image icimage, quality integer DEFAULT 90) RETURNS bytea
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION ic_to_jpeg(icimage, integer) IS
    'the picture that the coefficients describe, at the coded size, as a JPEG file of the given quality (1 to 100)';
CREATE FUNCTION ic_to_png(image icimage) RETURNS bytea
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION ic_to_png(icimage) IS
    'the picture that the coefficients describe, at the coded size, as a PNG file: exactly what ic_to_jpeg is made from';
CREATE FUNCTION ic_formats(size integer DEFAULT 256,
        OUT format text, OUT subsampling text, OUT block integer, OUT kept integer, OUT quantizer integer,
        OUT tensor_height integer, OUT tensor_width integer) RETURNS SETOF record
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 6048;
COMMENT ON FUNCTION ic_formats(integer) IS
    'the 6048 formats of the design space at one size (a multiple of 8 up to 8184; NULL: native size)';
