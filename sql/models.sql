-- ---------------------------------------------------------------------------------------------------------------------------
-- Models and inference.
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION ic_import_model(name text, path text, labels text[] DEFAULT NULL, input text DEFAULT 'rgb@256',
        mean real[] DEFAULT NULL, deviation real[] DEFAULT NULL, engine text DEFAULT 'auto') RETURNS void
    AS 'MODULE_PATHNAME', 'ic_import_model_file' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_import_model(text, text, text[], text, real[], real[], text) IS
    'registers a TorchScript or ONNX file on the server; needs pg_read_server_files. labels: one for each output, by default '
    '0, 1, ...; input: a format, or rgb@SIZE; mean and deviation: one a channel, by default ImageNet''s for RGB, 0 and 1 for a '
    'format; engine: as for ic_set_engine';

CREATE FUNCTION ic_import_model(name text, model bytea, labels text[] DEFAULT NULL, input text DEFAULT 'rgb@256',
        mean real[] DEFAULT NULL, deviation real[] DEFAULT NULL, engine text DEFAULT 'auto') RETURNS void
    AS 'MODULE_PATHNAME', 'ic_import_model_bytes' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_import_model(text, bytea, text[], text, real[], real[], text) IS
    'registers a TorchScript or ONNX model given as bytes; needs INSERT on imagecalc.model, since TorchScript is code';

CREATE FUNCTION ic_drop_model(name text) RETURNS void
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_drop_model(text) IS 'removes a model; for its owner';

CREATE FUNCTION ic_set_engine(model text, engine text) RETURNS void
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_set_engine(text, text) IS
    'which library runs a model: auto (the faster one), libtorch or openvino; for its owner. The setting '
    'imagecalc.engine overrides it';

CREATE FUNCTION ic_set_device(model text, device text) RETURNS void
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_set_device(text, text) IS
    'where a model runs: auto (a GPU where there is one that can, else the CPU), cpu, cuda or cuda:N; for its owner. The setting '
    'imagecalc.device overrides it';

-- As the user who looks: imagecalc.model's privileges and row security decide what is seen.
CREATE VIEW ic_models WITH (security_invoker = true) AS
    SELECT name, owner, input, labels, pg_catalog.octet_length(bytes) AS bytes, pg_catalog.encode(hash, 'hex') AS sha256,
           design, created_at, engine, device, bf16_accuracy_loss
    FROM imagecalc.model;
COMMENT ON VIEW ic_models IS 'the models that ic_infer can use';
GRANT SELECT ON ic_models TO PUBLIC;

-- Asked by the planner for each call: so the library is loaded in time to batch the calls of a session's first query.
CREATE FUNCTION ic_infer_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION ic_infer_support(internal) IS 'planner support for ic_infer, ic_scores and ic_topk';

-- STABLE, not IMMUTABLE: a model may be replaced. The cost makes the planner run cheap conditions first.
CREATE FUNCTION ic_infer(model text, image icimage) RETURNS text
    AS 'MODULE_PATHNAME', 'ic_infer_value' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10000
    SUPPORT ic_infer_support;
COMMENT ON FUNCTION ic_infer(text, icimage) IS 'the label that the model gives the image';
CREATE FUNCTION ic_infer(model text, picture bytea) RETURNS text
    AS 'MODULE_PATHNAME', 'ic_infer_picture' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20000
    SUPPORT ic_infer_support;
COMMENT ON FUNCTION ic_infer(text, bytea) IS
    'the label that the model gives a picture file (JPEG, PNG or WebP); a model with a format encodes it on the way';
CREATE FUNCTION ic_scores(model text, image icimage) RETURNS real[]
    AS 'MODULE_PATHNAME', 'ic_scores_value' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10000
    SUPPORT ic_infer_support;
COMMENT ON FUNCTION ic_scores(text, icimage) IS 'one probability a label (softmax of the model''s outputs), in the order of ic_models.labels';
CREATE FUNCTION ic_scores(model text, picture bytea) RETURNS real[]
    AS 'MODULE_PATHNAME', 'ic_scores_picture' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20000
    SUPPORT ic_infer_support;
COMMENT ON FUNCTION ic_scores(text, bytea) IS 'the same for a picture file';

-- What imagecalc-runner, one for the whole server, has done. None of these starts it: without a runner there are no rows.
CREATE FUNCTION imagecalc.runner_statistics(OUT pid integer, OUT started_at timestamptz, OUT reset_at timestamptz,
        OUT threads integer, OUT engines text[], OUT devices text[], OUT device_note text, OUT memory bigint,
        OUT sessions integer, OUT queue integer, OUT refused bigint, OUT models integer, OUT requests bigint, OUT images bigint,
        OUT failures bigint, OUT decode_ms double precision, OUT model_ms double precision, OUT device_transfer_ms double precision,
        OUT device_decode_ms double precision, OUT device_model_ms double precision, OUT p50_ms real, OUT p95_ms real,
        OUT p99_ms real) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'ic_runner_statistics' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 1;
CREATE FUNCTION imagecalc.model_statistics(OUT hash bytea, OUT memory bigint, OUT requests bigint, OUT images bigint,
        OUT failures bigint, OUT decode_ms double precision, OUT model_ms double precision,
        OUT device_transfer_ms double precision, OUT device_decode_ms double precision, OUT device_model_ms double precision,
        OUT p50_ms real, OUT p95_ms real, OUT p99_ms real) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'ic_model_statistics' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 10;
CREATE FUNCTION imagecalc.plan_statistics(OUT hash bytea, OUT height integer, OUT width integer, OUT batch integer,
        OUT asked text, OUT device text, OUT engine text, OUT plan text, OUT us_per_image real, OUT chosen boolean,
        OUT settled boolean, OUT refusal text) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'ic_plan_statistics' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 50;

COMMENT ON FUNCTION imagecalc.runner_statistics() IS 'what ic_stat_runner shows';
COMMENT ON FUNCTION imagecalc.model_statistics() IS 'the figures of ic_stat_models, by the SHA-256 of the model';
COMMENT ON FUNCTION imagecalc.plan_statistics() IS 'the figures of ic_stat_plans, by the SHA-256 of the model';

CREATE VIEW ic_stat_runner AS SELECT * FROM imagecalc.runner_statistics();
COMMENT ON VIEW ic_stat_runner IS
    'imagecalc-runner: its life, its devices beside the CPU or why there are none, memory (bytes), sessions, queue, and what it '
    'has served since reset_at, and refused because it was overloaded; device times are by the devices'' own clocks; '
    'request times in ms are percentiles of the last 1024 requests; no row while none is up';
GRANT SELECT ON ic_stat_runner TO PUBLIC;

-- As the user who looks: only of models that he may see. The runner knows models by their bytes, so two names of one share
-- their figures.
CREATE VIEW ic_stat_plans WITH (security_invoker = true) AS
    SELECT m.name, p.height, p.width, p.batch, p.asked, p.device, p.engine, p.plan, p.us_per_image, p.chosen, p.settled, p.refusal
    FROM imagecalc.plan_statistics() AS p JOIN imagecalc.model AS m USING (hash);
COMMENT ON VIEW ic_stat_plans IS
    'the ways that imagecalc-runner tried to run a model on tensors of a size in batches of about a number of images: time, which '
    'is chosen, and why others are refused';
GRANT SELECT ON ic_stat_plans TO PUBLIC;

CREATE VIEW ic_stat_models WITH (security_invoker = true) AS
    WITH plans AS (
        SELECT hash, pg_catalog.array_agg(DISTINCT engine) FILTER (WHERE chosen) AS engines,
               pg_catalog.string_agg(DISTINCT engine || ': ' || refusal, '; ') AS refusals
        FROM imagecalc.plan_statistics() GROUP BY hash)
    SELECT m.name, s.memory, s.requests, s.images, s.failures, s.decode_ms, s.model_ms, s.device_transfer_ms,
           s.device_decode_ms, s.device_model_ms, s.p50_ms, s.p95_ms, s.p99_ms,
           p.engines, p.refusals
    FROM imagecalc.model_statistics() AS s JOIN imagecalc.model AS m USING (hash) LEFT JOIN plans AS p USING (hash);
COMMENT ON VIEW ic_stat_models IS
    'the models that imagecalc-runner holds: memory (bytes, about), what they have served, which engines run them, and why '
    'an engine does not; ic_stat_plans has the details';
GRANT SELECT ON ic_stat_models TO PUBLIC;

CREATE FUNCTION ic_reset_stats() RETURNS void
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_reset_stats() IS 'starts the counts of ic_stat_runner and ic_stat_models at 0, for the whole server';
REVOKE EXECUTE ON FUNCTION ic_reset_stats() FROM PUBLIC;

CREATE FUNCTION ic_topk(model text, image icimage, k integer, OUT label text, OUT score real) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'ic_topk_value' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10000 ROWS 5
    SUPPORT ic_infer_support;
COMMENT ON FUNCTION ic_topk(text, icimage, integer) IS 'the k most probable labels, best first';
CREATE FUNCTION ic_topk(model text, picture bytea, k integer, OUT label text, OUT score real) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'ic_topk_picture' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 20000 ROWS 5
    SUPPORT ic_infer_support;
COMMENT ON FUNCTION ic_topk(text, bytea, integer) IS 'the same for a picture file';

-- ---- against labels that are known

CREATE FUNCTION imagecalc.outcomes(model text, relation regclass, image_column name, label_column name, condition text,
        OUT label text, OUT predicted text, OUT images bigint, OUT in_top5 bigint) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'ic_outcomes' LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 100;
COMMENT ON FUNCTION imagecalc.outcomes(text, regclass, name, name, text) IS
    'how many pictures of each label get which other; in_top5: whose own label is among the five most probable';

CREATE FUNCTION ic_evaluate(model text, relation regclass, image_column name DEFAULT NULL, label_column name DEFAULT NULL,
        condition text DEFAULT NULL, OUT label text, OUT images bigint, OUT accuracy real, OUT top5_accuracy real)
    RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC
        SELECT o.label, coalesce(sum(o.images), 0::numeric)::bigint,
               (sum(CASE WHEN o.label = o.predicted THEN o.images ELSE 0::bigint END)::float8 / sum(o.images)::float8)::real,
               (sum(o.in_top5)::float8 / sum(o.images)::float8)::real
        FROM imagecalc.outcomes(ic_evaluate.model, ic_evaluate.relation, ic_evaluate.image_column, ic_evaluate.label_column,
                                ic_evaluate.condition) AS o
        GROUP BY GROUPING SETS ((), (o.label)) ORDER BY o.label NULLS FIRST;
    END;
COMMENT ON FUNCTION ic_evaluate(text, regclass, name, name, text) IS
    'how often a model is right on pictures whose labels are known: first of all, with label NULL, then of each label; accuracy and '
    'top5_accuracy 0..1. Rows without picture or label are left out. Columns are found by type where there is one candidate: '
    'image_column icimage, or else bytea, and label_column text. condition: of rows, as after WHERE, such as $$split = ''validation''$$; '
    'it runs with search_path pg_catalog. A picture that cannot be read is an ERROR';

CREATE FUNCTION ic_confusion(model text, relation regclass, image_column name DEFAULT NULL, label_column name DEFAULT NULL,
        condition text DEFAULT NULL, OUT label text, OUT predicted text, OUT images bigint)
    RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC
        SELECT o.label, o.predicted, o.images
        FROM imagecalc.outcomes(ic_confusion.model, ic_confusion.relation, ic_confusion.image_column, ic_confusion.label_column,
                                ic_confusion.condition) AS o
        ORDER BY o.label, o.images DESC, o.predicted;
    END;
COMMENT ON FUNCTION ic_confusion(text, regclass, name, name, text) IS
    'which labels a model takes for which: how many pictures of each get which other. Arguments are those of ic_evaluate';
