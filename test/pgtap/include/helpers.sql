-- For all pgTAP tests. A statement that must fail is run as some role, in a subtransaction.

CREATE FUNCTION complaint(role_name text, statement text, OUT state text, OUT message text, OUT hint text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role_name);
    EXECUTE statement;
    RESET ROLE;
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END
$$;

-- Passes where the statement fails with this SQLSTATE, and the patterns fit its message and its hint.
CREATE FUNCTION complains(role_name text, statement text, wanted_state text, message_like text, hint_like text,
                          description text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    got record;
    well boolean;
BEGIN
    SELECT * INTO got FROM complaint(role_name, statement);
    well := got.state IS NOT DISTINCT FROM wanted_state AND got.message LIKE message_like AND got.hint LIKE hint_like;
    IF well THEN
        RETURN ok(true, description);
    END IF;
    RETURN ok(false, description) || E'\n' || diag(format('%s: %s -- %s', got.state, got.message, got.hint));
END
$$;
CREATE FUNCTION complains(statement text, wanted_state text, message_like text, hint_like text, description text)
RETURNS text LANGUAGE sql AS $$
    SELECT complains(current_user::text, statement, wanted_state, message_like, hint_like, description)
$$;

-- The same scores, as far as plans for a model may round differently: a runner takes a faster one once it knows it.
CREATE FUNCTION agree(scores real[], others real[]) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT count(*) = count(a) AND count(*) = count(b) AND bool_and(abs(a - b) < 1e-4) FROM unnest(scores, others) AS u(a, b)
$$;
