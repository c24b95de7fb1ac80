-- ---------------------------------------------------------------------------------------------------------------------------
-- What a design found, applied to its table. Operands have exactly the types of one of pg_catalog's operators: see design.sql.
-- ---------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION imagecalc.try_encode(picture bytea, format text, level integer) RETURNS icimage
    AS 'MODULE_PATHNAME', 'ic_try_encode' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION imagecalc.try_encode(bytea, text, integer) IS 'like ic_encode; NULL where the file cannot be encoded';

CREATE FUNCTION imagecalc.keep_encoded() RETURNS trigger AS 'MODULE_PATHNAME', 'ic_keep_encoded' LANGUAGE C;
COMMENT ON FUNCTION imagecalc.keep_encoded() IS
    'for triggers that CALL ic_apply makes, UPDATE OF a column of pictures and one of values: sets the latter from the former where '
    'that is new; NULL with a WARNING where the file cannot be encoded. Its argument is the level of compression';

CREATE VIEW imagecalc.application WITH (security_barrier = true) AS
    SELECT i.id AS design, i.relation AS relation_name, c.oid::regclass AS relation, c.relkind AS kind, d.image_column, i.format,
           pg_catalog.format('%s(%L)', pg_catalog.format_type(pg_catalog.pg_typeof(NULL::icimage)::oid, NULL::integer),
                             i.format) AS type,
           d.compression_level AS level, i.model, i.ddl, i.bytes::float8 AS bytes, i.jpeg_bytes,
           i.pictures::float8 AS pictures, i.conversion_seconds AS seconds,
           pg_catalog.format_type(a.atttypid, NULL::integer) AS column_type
    FROM ic_designs AS i
    JOIN imagecalc.design AS d ON d.id = i.id
    LEFT JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(i.relation)::oid
    LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attname = d.image_column AND NOT a.attisdropped;
COMMENT ON VIEW imagecalc.application IS 'what ic_apply needs to know of a design';
GRANT SELECT ON imagecalc.application TO PUBLIC;

CREATE FUNCTION imagecalc.leaves(relation regclass) RETURNS SETOF regclass LANGUAGE sql STABLE STRICT
    BEGIN ATOMIC
        SELECT coalesce(t.relid, leaves.relation)
        FROM (SELECT) AS one LEFT JOIN pg_catalog.pg_partition_tree(leaves.relation) AS t ON t.isleaf
        ORDER BY 1;
    END;
COMMENT ON FUNCTION imagecalc.leaves(regclass) IS 'the partitions of a table that hold its rows, or the table itself';

CREATE FUNCTION imagecalc.pages(relation regclass) RETURNS bigint LANGUAGE sql VOLATILE STRICT
    BEGIN ATOMIC
        SELECT pg_catalog.pg_relation_size(pages.relation) / pg_catalog.current_setting('block_size')::bigint;
    END;
COMMENT ON FUNCTION imagecalc.pages(regclass) IS 'how many pages a table has now';

-- Runs statements in a transaction of their own, for which they never queue longer than a moment: whoever waits for a lock on
-- a table lets nobody else pass. Ends in a new transaction.
CREATE PROCEDURE imagecalc.run_between(statements text[], OUT changed bigint) LANGUAGE plpgsql AS $$
DECLARE
    statement text;
    waits bigint := 0;
BEGIN
    LOOP
        BEGIN
            PERFORM pg_catalog.set_config('lock_timeout', '1s', true);
            FOREACH statement IN ARRAY statements LOOP
                EXECUTE statement;
            END LOOP;
            GET DIAGNOSTICS changed = ROW_COUNT;
            EXIT;
        EXCEPTION WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
            IF waits % 10::bigint = 0::bigint THEN
                RAISE NOTICE 'waiting for others: %', SQLERRM;
            END IF;
            waits := waits + 1;
        END;
        COMMIT;
        PERFORM pg_catalog.pg_sleep(0.5);
    END LOOP;
    COMMIT;
END
$$;
COMMENT ON PROCEDURE imagecalc.run_between(text[]) IS 'runs statements between what others do, with the row count of the last';

-- Encodes what is not yet, some pages at a time, so that each transaction takes about a second. Rows that others change
-- meanwhile move to other pages; so it begins again until there is nothing left. Other sessions see how far it is by
-- pg_stat_activity.application_name.
CREATE PROCEDURE imagecalc.fill(part regclass, image_column name, target name, format text, level integer, INOUT filled bigint)
LANGUAGE plpgsql AS $$
DECLARE
    before bigint;
    page bigint;
    pages bigint;
    step bigint := 1;
    changed bigint;
    begun timestamptz;
    told timestamptz := pg_catalog.clock_timestamp();
    batch timestamptz;
    seconds float8;
BEGIN
    LOOP
        before := filled;
        begun := pg_catalog.clock_timestamp();
        page := 0;
        pages := imagecalc.pages(part);
        WHILE page < pages LOOP
            batch := pg_catalog.clock_timestamp();
            CALL imagecalc.run_between(ARRAY[pg_catalog.format(
                'SELECT pg_catalog.set_config(''application_name'', %L, true)',
                pg_catalog.format('imagecalc apply: page %s of %s of %s', page, pages, part)), pg_catalog.format(
                'UPDATE ONLY %1$s AS t SET %2$I = s.value FROM ('
                    'SELECT o.ctid AS place, imagecalc.try_encode(o.%3$I, %4$L, %5$s) AS value FROM ONLY %1$s AS o '
                    'WHERE o.ctid OPERATOR(pg_catalog.>=) %6$L::pg_catalog.tid AND o.ctid OPERATOR(pg_catalog.<) %7$L::pg_catalog.tid '
                    'AND o.%2$I IS NULL AND o.%3$I IS NOT NULL OFFSET 0) AS s '
                'WHERE t.ctid OPERATOR(pg_catalog.=) s.place AND s.value IS NOT NULL AND t.ctid OPERATOR(pg_catalog.>=) %6$L::pg_catalog.tid '
                    'AND t.ctid OPERATOR(pg_catalog.<) %7$L::pg_catalog.tid',
                part, target, image_column, format, level, pg_catalog.format('(%s,0)', page),
                pg_catalog.format('(%s,0)', page + step))], changed);
            filled := filled + changed;
            page := page + step;
            seconds := pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - batch);
            IF seconds < 0.5::float8 THEN
                step := LEAST(2 * step, 65536);
            ELSIF seconds > 2::float8 THEN
                step := GREATEST(step / 2, 1);
            END IF;
            IF pg_catalog.clock_timestamp() > told + interval '2 seconds' THEN
                told := pg_catalog.clock_timestamp();
                RAISE NOTICE '% encoded, page % of % of %, about % to go', filled, LEAST(page, pages), pages, part,
                    imagecalc.duration(GREATEST(pages - page, 0)::float8 * pg_catalog.date_part('epoch', told - begun) / page::float8);
            END IF;
        END LOOP;
        EXIT WHEN filled = before;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE imagecalc.fill(regclass, name, name, text, integer, bigint) IS
    'encodes the pictures of a table or partition that are not yet, in committed batches';

CREATE PROCEDURE ic_apply(design bigint, keep boolean DEFAULT true, dry_run boolean DEFAULT false, target name DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
    a record;
    had text;
    steps text[];
    step text;
    part regclass;
    filled bigint := 0;
    missing bigint;
    changed bigint;
BEGIN
    SELECT * INTO a FROM imagecalc.application AS p WHERE p.design = ic_apply.design;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'design % does not exist, or is not yours', design
            USING ERRCODE = 'undefined_object', HINT = 'SELECT id FROM ic_designs shows yours.';
    ELSIF a.format IS NULL THEN
        RAISE EXCEPTION 'design % has not chosen a format', design
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = pg_catalog.format('CALL ic_wait(%s) waits for it.', design);
    ELSIF a.relation IS NULL THEN
        RAISE EXCEPTION 'the design''s table % does not exist any more', a.relation_name USING ERRCODE = 'undefined_table';
    ELSIF a.kind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table', a.relation
            USING ERRCODE = 'wrong_object_type', HINT = 'Values are stored in tables; encode what a view reads with ic_encode.';
    ELSIF a.column_type IS DISTINCT FROM 'bytea' THEN
        RAISE EXCEPTION 'column "%" of % is %, not bytea', a.image_column, a.relation, coalesce(a.column_type, 'not there')
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'It may have been converted already.';
    END IF;

    SELECT l INTO part FROM imagecalc.leaves(a.relation) AS l
    WHERE EXISTS (SELECT FROM pg_catalog.pg_foreign_table AS f WHERE f.ftrelid = l::oid) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'partition % of % is a foreign table', part, a.relation
            USING ERRCODE = 'wrong_object_type', HINT = 'Detach it, or convert the table on its server.';
    END IF;

    IF NOT keep THEN
        RAISE NOTICE E'%;\nANALYZE %', a.ddl, a.relation;
        RAISE NOTICE 'takes about %, while nobody else can read or write % (ACCESS EXCLUSIVE lock); the pictures'' files are gone afterwards',
            imagecalc.duration(a.seconds), a.relation;
        RAISE NOTICE 'needs about % for the new table; when it is done the old one goes, with about % of files',
            pg_catalog.pg_size_pretty((a.pictures * a.bytes)::bigint), pg_catalog.pg_size_pretty((a.pictures * a.jpeg_bytes)::bigint);
        IF NOT dry_run THEN
            EXECUTE a.ddl;
            EXECUTE pg_catalog.format('ANALYZE %s', a.relation);
        END IF;
        RETURN;
    END IF;

    target := coalesce(target, (pg_catalog.left(a.image_column::text, 60) || '_ic')::name);
    SELECT pg_catalog.format_type(t.atttypid, t.atttypmod) INTO had
    FROM pg_catalog.pg_attribute AS t WHERE t.attrelid = a.relation::oid AND t.attname = target AND NOT t.attisdropped;
    IF had IS NOT NULL AND had <> a.type THEN
        RAISE EXCEPTION 'column "%" of % is %', target, a.relation, had
            USING ERRCODE = 'duplicate_column', HINT = 'Name another one: target => ''...''.';
    END IF;
    IF had IS NULL THEN
        steps := pg_catalog.array_append(steps, pg_catalog.format('ALTER TABLE %s ADD COLUMN %I %s', a.relation, target, a.type));
    END IF;
    IF a.kind = 'r' THEN
        steps := pg_catalog.array_append(steps, pg_catalog.format('ALTER TABLE %s SET (toast_tuple_target = 8160)', a.relation));
    END IF;
    -- Triggers fire by name: this one after those that may change the picture. It names the target too, so that this is not
    -- dropped without it.
    steps := pg_catalog.array_append(steps, pg_catalog.format(
        'CREATE OR REPLACE TRIGGER %I BEFORE INSERT OR UPDATE OF %I, %I ON %s FOR EACH ROW EXECUTE FUNCTION '
        'imagecalc.keep_encoded(%L)',
        pg_catalog.left('zz_' || target::text, 63), a.image_column, target, a.relation, a.level));

    IF dry_run THEN
        FOREACH step IN ARRAY steps LOOP
            RAISE NOTICE '%', step;
        END LOOP;
        RAISE NOTICE 'locks % for a moment (ACCESS EXCLUSIVE); it gives up and tries again rather than keep others waiting', a.relation;
        RAISE NOTICE 'then encodes about % pictures in about %, in transactions of about a second that lock the rows they write',
            pg_catalog.round(a.pictures), imagecalc.duration(a.seconds);
        RAISE NOTICE 'the values take about %; the rows'' old versions stay until a VACUUM. The files stay, too: about %',
            pg_catalog.pg_size_pretty((a.pictures * a.bytes)::bigint), pg_catalog.pg_size_pretty((a.pictures * a.jpeg_bytes)::bigint);
        RETURN;
    END IF;

    RAISE NOTICE 'encoding % into column "%"; cancel to pause, the same CALL goes on', a.relation, target;
    CALL imagecalc.run_between(steps, changed);
    FOREACH part IN ARRAY ARRAY(SELECT l FROM imagecalc.leaves(a.relation) AS l) LOOP
        CALL imagecalc.fill(part, a.image_column, target, a.format, a.level, filled);
    END LOOP;
    EXECUTE pg_catalog.format('ANALYZE %s', a.relation);
    EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM %s WHERE %I IS NULL AND %I IS NOT NULL', a.relation, target,
                              a.image_column) INTO missing;
    COMMIT;
    RAISE NOTICE 'encoded % pictures%', filled,
        CASE WHEN missing > 0 THEN pg_catalog.format('; %s files cannot be, there "%s" is NULL', missing, target) ELSE '' END;
    RAISE NOTICE 'SELECT ic_infer(%, %) FROM % classifies them', pg_catalog.quote_literal(a.model), pg_catalog.quote_ident(target), a.relation;
END
$$;
COMMENT ON PROCEDURE ic_apply(bigint, boolean, boolean, name) IS
    'puts a design''s format to use. keep: beside the pictures, in a new column (target, by default IMAGE_COLUMN_ic) that a trigger '
    'keeps up to date; existing rows are encoded in committed batches, which a cancel pauses and the same CALL resumes. Not keep: '
    'converts the column in place, in one transaction that locks the table. dry_run: only tells the statements, time, space and locks';
