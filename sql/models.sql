-- ---------------------------------------------------------------------------------------------------------------------------
-- Models and inference.
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION ic_import_model(name text, path text, labels text[] DEFAULT NULL, input text DEFAULT 'rgb@256',
        mean real[] DEFAULT NULL, deviation real[] DEFAULT NULL) RETURNS void
    AS 'MODULE_PATHNAME', 'ic_import_model_file' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_import_model(text, text, text[], text, real[], real[]) IS
    'registers a TorchScript file on the server; needs pg_read_server_files. labels: one for each output, by default 0, 1, ...; '
    'input: a format, or rgb@SIZE; mean and deviation: one a channel, by default ImageNet''s for RGB, 0 and 1 for a format';

CREATE FUNCTION ic_import_model(name text, model bytea, labels text[] DEFAULT NULL, input text DEFAULT 'rgb@256',
        mean real[] DEFAULT NULL, deviation real[] DEFAULT NULL) RETURNS void
    AS 'MODULE_PATHNAME', 'ic_import_model_bytes' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_import_model(text, bytea, text[], text, real[], real[]) IS
    'registers a TorchScript model given as bytes; needs INSERT on imagecalc.model, since TorchScript is code';

CREATE FUNCTION ic_drop_model(name text) RETURNS void
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_drop_model(text) IS 'removes a model; for its owner';

-- As the user who looks: imagecalc.model's privileges and row security decide what is seen.
CREATE VIEW ic_models WITH (security_invoker = true) AS
    SELECT name, owner, input, labels, pg_catalog.octet_length(bytes) AS bytes, pg_catalog.encode(hash, 'hex') AS sha256,
           design, created_at
    FROM imagecalc.model;
COMMENT ON VIEW ic_models IS 'the models that ic_infer can use';
GRANT SELECT ON ic_models TO PUBLIC;

-- Asked by the planner for each call: so the library is loaded in time to batch the calls of a session's first query.
CREATE FUNCTION ic_infer_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ic_infer_support(internal) IS 'planner support for ic_infer and ic_scores';

-- STABLE, not IMMUTABLE: a model may be replaced. The cost makes the planner run cheap conditions first.
CREATE FUNCTION ic_infer(model text, image icimage) RETURNS text
    AS 'MODULE_PATHNAME', 'ic_infer_value' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 10000
    SUPPORT ic_infer_support;
COMMENT ON FUNCTION ic_infer(text, icimage) IS 'the label that the model gives the image';
CREATE FUNCTION ic_infer(model text, picture bytea) RETURNS text
    AS 'MODULE_PATHNAME', 'ic_infer_picture' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 20000
    SUPPORT ic_infer_support;
COMMENT ON FUNCTION ic_infer(text, bytea) IS
    'the label that the model gives a picture file (JPEG, PNG or WebP); a model with a format encodes it on the way';
CREATE FUNCTION ic_scores(model text, image icimage) RETURNS real[]
    AS 'MODULE_PATHNAME', 'ic_scores_value' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 10000
    SUPPORT ic_infer_support;
COMMENT ON FUNCTION ic_scores(text, icimage) IS 'one probability a label (softmax of the model''s outputs), in the order of ic_models.labels';
CREATE FUNCTION ic_scores(model text, picture bytea) RETURNS real[]
    AS 'MODULE_PATHNAME', 'ic_scores_picture' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 20000
    SUPPORT ic_infer_support;
COMMENT ON FUNCTION ic_scores(text, bytea) IS 'the same for a picture file';

CREATE FUNCTION ic_topk(model text, image icimage, k integer, OUT label text, OUT score real) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'ic_topk_value' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 10000 ROWS 5;
COMMENT ON FUNCTION ic_topk(text, icimage, integer) IS 'the k most probable labels, best first';
CREATE FUNCTION ic_topk(model text, picture bytea, k integer, OUT label text, OUT score real) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'ic_topk_picture' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 20000 ROWS 5;
COMMENT ON FUNCTION ic_topk(text, bytea, integer) IS 'the same for a picture file';
