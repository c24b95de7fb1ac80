-- ---------------------------------------------------------------------------------------------------------------------------
-- Designs: background jobs that find the best format for a model on a table's pictures.
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION ic_design(
        images            regclass,
        model             text,
        image_column      name     DEFAULT NULL,
        label_column      name     DEFAULT NULL,
        split_column      name     DEFAULT NULL,
        latency           interval DEFAULT NULL,
        storage           bigint   DEFAULT NULL,
        max_accuracy_loss float8   DEFAULT NULL,
        latency_batch     integer  DEFAULT 1,
        size              integer  DEFAULT 256,
        epochs            integer  DEFAULT 210,
        transfer_epochs   integer  DEFAULT 20,
        buckets           integer  DEFAULT 16,
        sampled_buckets   integer  DEFAULT 6,
        trials_per_bucket integer  DEFAULT 6,
        validation        float8   DEFAULT 0.2,
        max_images        integer  DEFAULT 20000,
        batch_size        integer  DEFAULT 32,
        schedule          text     DEFAULT 'one-cycle',
        learning_rate     float8   DEFAULT 0.05,
        seed              bigint   DEFAULT 1,
        explore_all       boolean  DEFAULT false,
        rgb_reference     boolean  DEFAULT false,
        compression_level integer  DEFAULT NULL,
        class_weights     text     DEFAULT 'none',
        augmentation      text     DEFAULT 'crop',
        stem              text     DEFAULT 'none',
        name              text     DEFAULT NULL) RETURNS bigint
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_design IS
    'starts a design and returns its id; its worker begins when the transaction commits. model: an imported model''s name, or a '
    'TorchScript file on the server (scripted, not frozen; needs pg_read_server_files). Columns are found by type where there is one '
    'candidate: image_column bytea with JPEG files, label_column text, split_column with train and validation, else a random '
    'fraction, validation, is held out. Budgets, at least one: latency (an image at batches of latency_batch), storage (mean bytes of '
    'a value), max_accuracy_loss (0..1 below the same model trained on RGB). size: pictures are scaled to size x size. epochs: of a '
    'training from the file''s weights; transfer_epochs: of one from another trial''s. schedule: one-cycle or constant. explore_all: '
    'also train formats outside the budgets. rgb_reference: also train on RGB, registered as NAME_rgb. compression_level: effort that '
    'sizes are predicted for and the DDL asks for, 1 to 19, by default imagecalc.compression_level. class_weights: none, or balanced, so that a '
    'rare label counts in training as much as a frequent one. augmentation: of the pictures in training; crop: random resized crops and flips; '
    'flip: whole pictures, at random mirrored; none. stem: none, or auto, so that each format is explored with another first layer, too, a '
    'convolution of k x k coefficients at a stride of k. name: of the resulting model, by default TABLE_ID';

CREATE FUNCTION ic_cancel(design bigint) RETURNS void
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_cancel(bigint) IS 'stops a design; what it has found so far stays, and ic_resume goes on from there';

CREATE FUNCTION ic_resume(design bigint) RETURNS void
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_resume(bigint) IS 'goes on with a design that was cancelled, failed or interrupted, from its last finished trial';

CREATE FUNCTION ic_drop_design(design bigint) RETURNS void
    AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION ic_drop_design(bigint) IS 'removes a design that is not running, with its trials and weights; its model stays';

-- In what follows every operator and function is named so that only pg_catalog's can be meant: operands have exactly the types of
-- an operator there. Else whoever may create objects in the extension's schema could slip in their own.

-- A worker holds an advisory lock of a kind that pg_advisory_lock cannot take.
CREATE FUNCTION imagecalc.worker_of(design bigint) RETURNS integer LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT l.pid FROM pg_catalog.pg_locks AS l
        WHERE l.locktype = 'advisory'::text AND l.objsubid = 3::smallint AND l.granted
          AND l.classid = 'imagecalc.design'::regclass::oid AND l.objid = worker_of.design::oid
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database());
    END;
COMMENT ON FUNCTION imagecalc.worker_of(bigint) IS 'the process that is at this design now; NULL where there is none';

CREATE FUNCTION imagecalc.state_of(design bigint, state text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT CASE WHEN state_of.state = 'running'::text AND NOT pg_catalog.pg_is_in_recovery()
                         AND imagecalc.worker_of(state_of.design) IS NULL
                    THEN 'interrupted' ELSE state_of.state END;
    END;
COMMENT ON FUNCTION imagecalc.state_of(bigint, text) IS
    'a design''s state as it is now: running is told only of one that has a worker (on a standby, which cannot know, as it is stored)';

CREATE FUNCTION imagecalc.may_see(owner regrole) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT pg_catalog.current_setting('is_superuser')::boolean
               OR coalesce(pg_catalog.pg_has_role(may_see.owner::oid, 'USAGE'), false);
    END;
COMMENT ON FUNCTION imagecalc.may_see(regrole) IS 'whether the user may act as this role, and so see its designs';

CREATE FUNCTION imagecalc.format_text(packed integer) RETURNS text
    AS 'MODULE_PATHNAME', 'ic_format_text' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION imagecalc.format_text(integer) IS 'the text of a packed format, as icimage''s type modifier holds it';

CREATE FUNCTION imagecalc.own_design(design bigint) RETURNS bigint
    AS 'MODULE_PATHNAME', 'ic_own_design' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION imagecalc.own_design(bigint) IS 'the argument; an ERROR where the user has no such design';

CREATE VIEW imagecalc.visible_candidate WITH (security_barrier = true) AS
    SELECT k.* FROM imagecalc.candidate AS k JOIN imagecalc.design AS d ON d.id = k.design WHERE imagecalc.may_see(d.owner);
GRANT SELECT ON imagecalc.visible_candidate TO PUBLIC;

CREATE FUNCTION imagecalc.predictions(design bigint,
        OUT format text, OUT stem boolean, OUT accuracy real, OUT accuracy_low real, OUT accuracy_high real, OUT measured boolean,
        OUT latency_us real, OUT fetch_us real, OUT decode_us real, OUT transfer_us real, OUT model_us real,
        OUT single_latency_us real, OUT latency_measured boolean, OUT bytes real, OUT bytes_deviation real, OUT on_frontier boolean, OUT refusal text)
    RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 6048
    BEGIN ATOMIC
        SELECT imagecalc.format_text(c.format), c.stem, c.accuracy, c.accuracy_low, c.accuracy_high, c.measured,
               c.fetch_us + c.decode_us + c.transfer_us + c.model_us, c.fetch_us, c.decode_us, c.transfer_us, c.model_us,
               c.single_us, c.latency_measured, c.bytes, c.bytes_deviation, c.on_frontier, c.refusal
        FROM (SELECT imagecalc.own_design(predictions.design) AS id OFFSET 0) AS own  -- asked once, and always
        CROSS JOIN LATERAL (SELECT v.* FROM imagecalc.visible_candidate AS v WHERE v.design = own.id OFFSET 0) AS c;
    END;
COMMENT ON FUNCTION imagecalc.predictions(bigint) IS
    'every format of the design space as a design''s trials so far let it be seen; of those that it may choose accuracy 0..1 (measured, '
    'or expected, with an interval for nine of ten trainings), latency in microseconds an image by component, mean bytes of a value';

-- Asked for the whole design space at once. An array, since a join takes a third of the time of reading the rows.
CREATE VIEW imagecalc.visible_ranking WITH (security_barrier = true) AS
    SELECT r.* FROM imagecalc.ranking AS r
    WHERE r.design = ANY (ARRAY(SELECT d.id FROM imagecalc.design AS d WHERE imagecalc.may_see(d.owner)))
    ORDER BY r.design, r.place;  -- in here, since a barrier hides the order of an index
GRANT SELECT ON imagecalc.visible_ranking TO PUBLIC;

CREATE FUNCTION ic_explore(design bigint, latency interval DEFAULT NULL, storage bigint DEFAULT NULL,
        min_accuracy float8 DEFAULT NULL,
        OUT format text, OUT stem boolean, OUT accuracy real, OUT accuracy_low real, OUT accuracy_high real, OUT measured boolean,
        OUT latency_us real, OUT bytes real) RETURNS SETOF record LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC
        SELECT r.format, r.stem, r.accuracy, r.accuracy_low, r.accuracy_high, r.measured, r.latency_us, r.bytes
        FROM imagecalc.visible_ranking AS r
        WHERE r.design = ic_explore.design
          AND imagecalc.own_design(ic_explore.design) IS NOT NULL  -- of no row, so it is asked once, before any is read
          AND (ic_explore.latency IS NULL
               OR r.latency_us <= 1e6::float8 * extract(epoch FROM ic_explore.latency)::float8)
          AND (ic_explore.storage IS NULL OR r.bytes <= ic_explore.storage::float8)
          AND (ic_explore.min_accuracy IS NULL OR r.accuracy >= ic_explore.min_accuracy)
        ORDER BY r.place;
    END;
COMMENT ON FUNCTION ic_explore(bigint, interval, bigint, float8) IS
    'what-if: the formats that meet these budgets, most accurate first, from what the design has learnt, which is about those within '
    'its own; at once';

CREATE FUNCTION ic_frontier(design bigint,
        OUT format text, OUT stem boolean, OUT accuracy real, OUT measured boolean, OUT latency_us real, OUT bytes real) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC
        SELECT p.format, p.stem, p.accuracy, p.measured, p.latency_us, p.bytes
        FROM imagecalc.predictions(ic_frontier.design) AS p
        WHERE p.on_frontier
        ORDER BY p.latency_us, p.bytes;
    END;
COMMENT ON FUNCTION ic_frontier(bigint) IS 'the formats that no other beats in accuracy, latency and bytes at once';

CREATE FUNCTION imagecalc.rows_now(relation oid) RETURNS float8 LANGUAGE sql STABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT CASE WHEN c.relpages > 0 THEN
                   c.reltuples::float8 / c.relpages::float8 * pg_catalog.pg_relation_size(c.oid::regclass)::float8
                       / pg_catalog.current_setting('block_size')::float8
               WHEN c.reltuples > 0::real THEN c.reltuples::float8 END
        FROM pg_catalog.pg_class AS c WHERE c.oid = rows_now.relation;
    END;
COMMENT ON FUNCTION imagecalc.rows_now(oid) IS
    'about how many rows a table has: as many a page as when it was analysed last; NULL where it never was';

CREATE FUNCTION imagecalc.duration(seconds float8) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT CASE WHEN duration.seconds < 120::float8 THEN pg_catalog.ceil(duration.seconds)::text || ' s'
                    WHEN duration.seconds < 7200::float8 THEN pg_catalog.ceil(duration.seconds / 60::float8)::text || ' min'
                    ELSE pg_catalog.ceil(duration.seconds / 3600::float8)::text || ' h' END;
    END;
COMMENT ON FUNCTION imagecalc.duration(float8) IS 'a time in the unit that suits it';

-- At another level than the setting's default, 3, it sets that for itself.
CREATE FUNCTION imagecalc.conversion(relation text, kind "char", image_column name, format text, level integer, pictures float8,
                                     seconds float8) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT pg_catalog.concat(
            CASE WHEN conversion.level <> 3 THEN
                pg_catalog.format(E'SET imagecalc.compression_level = %s;\n', conversion.level) END,
            pg_catalog.format(E'-- converts %s pictures in about %s (one process)\n', pg_catalog.round(conversion.pictures),
                              imagecalc.duration(conversion.seconds)),
            pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I TYPE icimage(%L)%s', conversion.relation, conversion.image_column,
                              conversion.format,
                              CASE WHEN conversion.kind = 'r'::"char" THEN ', SET (toast_tuple_target = 8160)' END),
            CASE WHEN conversion.level <> 3 THEN E';\nRESET imagecalc.compression_level' END);
    END;
COMMENT ON FUNCTION imagecalc.conversion(text, "char", name, text, integer, float8, float8) IS
    'the DDL that converts a column, and how long it takes';

CREATE VIEW ic_designs WITH (security_barrier = true) AS
    SELECT d.id, imagecalc.state_of(d.id, d.state) AS state, d.relation, d.owner,
           imagecalc.format_text(t.format) AS format, t.stem, d.model,
           CASE WHEN d.chosen IS NOT NULL AND c.relkind IN ('r'::"char", 'p'::"char") THEN
               imagecalc.conversion(d.relation, c.relkind, d.image_column, imagecalc.format_text(t.format), d.compression_level,
                                    n.rows, n.rows * d.encode_us / 1e6::float8)
           END AS ddl,
           t.accuracy, k.bytes, n.latency_us, r.accuracy AS rgb_accuracy, d.jpeg_bytes, n.rgb_latency_us,
           n.rows::bigint AS pictures, (n.rows * (d.jpeg_bytes - k.bytes::float8))::bigint AS saved_bytes,
           n.rgb_latency_us - n.latency_us::float8 AS saved_seconds_a_million, n.rows * d.encode_us / 1e6::float8 AS conversion_seconds,
           d.training_images, d.validation_images, d.rejected_images, d.created_at, d.started_at, d.finished_at, d.error
    FROM imagecalc.design AS d
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(d.relation)::oid
    LEFT JOIN imagecalc.trial AS t ON t.design = d.id AND t.number = d.chosen
    LEFT JOIN imagecalc.candidate AS k ON k.design = d.id AND k.format = t.format AND k.stem = t.stem
    CROSS JOIN LATERAL (SELECT coalesce(imagecalc.rows_now(c.oid),
                                        (d.training_images + d.validation_images + d.rejected_images)::float8) AS rows,
                               k.fetch_us + k.decode_us + k.transfer_us + k.model_us AS latency_us,
                               d.jpeg_fetch_us + d.jpeg_decode_us + d.jpeg_transfer_us + d.jpeg_model_us AS rgb_latency_us) AS n
    LEFT JOIN imagecalc.trial AS r ON r.design = d.id AND r.kind = 'reference'::text
    WHERE imagecalc.may_see(d.owner);
COMMENT ON VIEW ic_designs IS
    'the designs of the roles that you may act as: what was chosen, the model, and the DDL to run. Beside bytes and latency_us, in microseconds, '
    'those of the pictures'' files, jpeg_bytes and rgb_latency_us: classifying a million values '
    'saves saved_seconds_a_million, and giving up the table''s files saved_bytes. Converting takes conversion_seconds of one process: with ddl, '
    'which gives them up, under an ACCESS EXCLUSIVE lock; with CALL ic_apply, which keeps them, under none that lasts';

CREATE FUNCTION ic_candidates(design bigint,
        OUT format text, OUT stem boolean, OUT accuracy real, OUT accuracy_low real, OUT accuracy_high real, OUT measured boolean,
        OUT latency_us real, OUT fetch_us real, OUT decode_us real, OUT transfer_us real, OUT model_us real,
        OUT single_latency_us real, OUT latency_measured boolean, OUT bytes real, OUT bytes_deviation real, OUT on_frontier boolean, OUT refusal text,
        OUT saved_bytes bigint, OUT saved_seconds_a_million real) RETURNS SETOF record
    LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 6048
    BEGIN ATOMIC
        SELECT p.format, p.stem, p.accuracy, p.accuracy_low, p.accuracy_high, p.measured, p.latency_us, p.fetch_us, p.decode_us,
               p.transfer_us, p.model_us, p.single_latency_us, p.latency_measured, p.bytes, p.bytes_deviation, p.on_frontier, p.refusal,
               (d.pictures::float8 * (d.jpeg_bytes - p.bytes::float8))::bigint, (d.rgb_latency_us - p.latency_us::float8)::real
        FROM imagecalc.predictions(ic_candidates.design) AS p
        LEFT JOIN (SELECT i.jpeg_bytes, i.rgb_latency_us, i.pictures
                   FROM ic_designs AS i WHERE i.id = ic_candidates.design) AS d ON true;
    END;
COMMENT ON FUNCTION ic_candidates(bigint) IS
    'every format of the design space as the design sees it, with a stem, too, where it tries them. accuracy: predicted, or measured, with its interval; NULL where the format '
    'may not be chosen. Latency in microseconds an image by component at the working batch, latency_batch, and as a whole for one image at a '
    'time, measured or fitted; bytes: mean of a value, with the deviation '
    'over the sample. refusal: what the model said of a tensor of this size. saved_bytes: what converting the table would save; '
    'saved_seconds_a_million: what classifying a million of its pictures would, against the same model on RGB decoded from them';

CREATE FUNCTION ic_plot(design bigint, kind text DEFAULT 'latency') RETURNS text
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION ic_plot(bigint, text) IS
    'a picture of what a design knows, as SVG. kind: latency or storage, accuracy over that, with the frontier and its interval; '
    'buckets, accuracy over those that the search samples; components, where the time of an image goes, beside JPEG';

CREATE FUNCTION ic_report(design bigint) RETURNS text
    AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION ic_report(bigint) IS
    'the same on a page of HTML that stands alone: all plots, budgets to move that pick a format, pictures of the table rebuilt from '
    'formats, where the caller may read them and the column is not converted yet';

CREATE VIEW ic_progress WITH (security_barrier = true) AS
    SELECT d.id AS design, n.state, d.phase, d.step, d.steps,
           imagecalc.format_text(b.format) AS best_format, b.stem AS best_stem, b.accuracy AS best_accuracy,
           CASE WHEN n.state = 'running'::text THEN d.eta END AS eta, d.error
    FROM imagecalc.design AS d
    CROSS JOIN LATERAL (SELECT imagecalc.state_of(d.id, d.state) AS state) AS n
    LEFT JOIN LATERAL (SELECT t.format, t.stem, t.accuracy FROM imagecalc.trial AS t
                       WHERE t.design = d.id AND t.format IS NOT NULL AND NOT t.stopped
                       ORDER BY t.accuracy DESC, t.number LIMIT 1) AS b ON true
    WHERE imagecalc.may_see(d.owner);
COMMENT ON VIEW ic_progress IS 'where each design stands: phase, step of steps, best trial so far, estimated time to go, error';
GRANT SELECT ON ic_designs, ic_progress TO PUBLIC;

CREATE VIEW imagecalc.visible_trial WITH (security_barrier = true) AS
    SELECT t.* FROM imagecalc.trial AS t JOIN imagecalc.design AS d ON d.id = t.design WHERE imagecalc.may_see(d.owner);
GRANT SELECT ON imagecalc.visible_trial TO PUBLIC;

CREATE FUNCTION ic_trials(design bigint,
        OUT trial integer, OUT kind text, OUT format text, OUT stem boolean, OUT parent integer, OUT epochs integer, OUT stopped boolean, OUT accuracy real,
        OUT top5_accuracy real, OUT loss real, OUT seconds real, OUT finished_at timestamptz) RETURNS SETOF record LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT t.number, t.kind, coalesce(imagecalc.format_text(t.format), 'rgb'), t.stem, t.parent, t.epochs, t.stopped, t.accuracy, t.top5_accuracy,
               t.loss, t.seconds, t.finished_at
        FROM imagecalc.visible_trial AS t WHERE t.design = ic_trials.design ORDER BY t.number;
    END;
COMMENT ON FUNCTION ic_trials(bigint) IS
    'every training that a design ran. kind: reference (on RGB), scratch (from the file''s weights), transfer (from the parent''s '
    'weights), final (the best one or two of them, from the file''s weights, all epochs). stopped: after half of the epochs, as it could not be chosen. accuracy: 0..1 on the validation pictures; top5_accuracy: '
    'whose label is among the five most probable; loss: cross entropy there';

-- The designs that the current transaction made.
CREATE VIEW imagecalc.own_insertion AS
    SELECT d.id AS design FROM imagecalc.design AS d
    WHERE d.xmin = pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid;
GRANT SELECT ON imagecalc.own_insertion TO PUBLIC;

CREATE FUNCTION imagecalc.percent(fraction real) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT pg_catalog.round(percent.fraction::numeric * 100::numeric, 1)::text;
    END;
COMMENT ON FUNCTION imagecalc.percent(real) IS 'a fraction in per cent, with one digit';

CREATE FUNCTION imagecalc.candidate_text(format text, stem boolean) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    BEGIN ATOMIC
        SELECT candidate_text.format || CASE WHEN candidate_text.stem THEN ' + stem'::text ELSE ''::text END;
    END;
COMMENT ON FUNCTION imagecalc.candidate_text(text, boolean) IS 'a format with or without a stem, as a report names it';

-- What ic_wait tells of a design; no row where there is none that the user may see.
CREATE FUNCTION imagecalc.status(design bigint, OUT ended boolean, OUT well boolean, OUT line text) RETURNS SETOF record
    LANGUAGE sql STABLE
    BEGIN ATOMIC
        SELECT p.state NOT IN ('queued'::text, 'running'::text), p.state = 'done'::text,
               CASE p.state
                   WHEN 'done'::text THEN pg_catalog.format('%s, %s at %s %%', p.phase, imagecalc.candidate_text(d.format, d.stem), imagecalc.percent(d.accuracy))
                   WHEN 'queued'::text THEN p.phase
                   WHEN 'running'::text THEN pg_catalog.concat_ws(', ',
                       pg_catalog.concat(p.phase, ' ' || p.step::text || '/' || p.steps::text),
                       'best so far ' || imagecalc.candidate_text(p.best_format, p.best_stem) || ' at ' || imagecalc.percent(p.best_accuracy) || ' %',
                       'about ' || pg_catalog.date_trunc('second', p.eta)::text || ' to go')
                   ELSE pg_catalog.concat_ws(': ', p.state, p.error)
               END
        FROM ic_progress AS p JOIN ic_designs AS d ON d.id = p.design
        WHERE p.design = status.design;
    END;
COMMENT ON FUNCTION imagecalc.status(bigint) IS 'a design''s state in a line';

-- A procedure: it commits between its looks, so that it sees what the worker does and holds nothing back meanwhile.
CREATE PROCEDURE ic_wait(design bigint) LANGUAGE plpgsql AS $$
DECLARE
    seen record;
    told text;
BEGIN
    IF EXISTS (SELECT FROM imagecalc.own_insertion AS o WHERE o.design = ic_wait.design) THEN
        RAISE EXCEPTION 'design % was made in this transaction, which must commit before its worker begins', design
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'COMMIT first, then CALL ic_wait.';
    END IF;
    LOOP
        SELECT * INTO seen FROM imagecalc.status(design);
        IF NOT FOUND THEN
            RAISE EXCEPTION 'design % does not exist, or is not yours', design
                USING ERRCODE = 'undefined_object', HINT = 'SELECT id FROM ic_designs shows yours.';
        END IF;
        EXIT WHEN seen.ended AND NOT seen.well;
        IF told IS DISTINCT FROM seen.line THEN
            RAISE NOTICE 'design %: %', design, seen.line;
            told := seen.line;
        END IF;
        EXIT WHEN seen.ended;
        COMMIT;
        PERFORM pg_catalog.pg_sleep(0.5);
    END LOOP;
    IF NOT seen.well THEN
        RAISE EXCEPTION 'design % is %', design, seen.line
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = pg_catalog.format('Once the reason is gone, SELECT ic_resume(%s) goes on from its last finished trial. For other '
                                           'budgets or arguments call ic_design again.', design);
    END IF;
END
$$;
COMMENT ON PROCEDURE ic_wait(bigint) IS 'waits until a design has ended, telling its progress; an ERROR unless it ends well';
