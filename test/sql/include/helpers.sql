\set ECHO none
-- What a statement that must fail complains of.
CREATE FUNCTION pg_temp.complaint(statement text, OUT state text, OUT message text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    message := 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
END
$$;

-- Bytes as an icimage value, by its text form.
CREATE FUNCTION pg_temp.value_of(bytes bytea) RETURNS icimage LANGUAGE sql AS
    $$SELECT ('\x' || encode(bytes, 'hex'))::icimage$$;

-- A value's own bytes.
CREATE FUNCTION pg_temp.bytes_of(value icimage) RETURNS bytea LANGUAGE sql AS $$SELECT icimage_send(value)$$;
\set ECHO all
