-- What CREATE EXTENSION leaves in the catalogs: complete, consistent, and with the privileges that were meant.

CREATE TEMP VIEW member AS
SELECT d.classid, d.objid FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'imagecalc';
CREATE TEMP VIEW own_function AS
SELECT p.* FROM pg_proc AS p JOIN member AS m ON m.objid = p.oid AND m.classid = 'pg_proc'::regclass;

-- every function that people call has a comment; those of the type and its operators are known by these
SELECT p.oid::regprocedure AS uncommented FROM own_function AS p
WHERE obj_description(p.oid, 'pg_proc') IS NULL AND proname !~ '^icimage_' ORDER BY 1;
-- what people call is in the extension's schema, the rest in imagecalc
SELECT p.oid::regprocedure AS misplaced FROM own_function AS p
WHERE (proname ~ '^ic') <> (pronamespace = 'public'::regnamespace);
SELECT count(*) AS uncommented_views
FROM pg_class AS c JOIN member AS m ON m.objid = c.oid AND m.classid = 'pg_class'::regclass
WHERE c.relkind = 'v' AND c.relname ~ '^ic_' AND obj_description(c.oid, 'pg_class') IS NULL;
SELECT obj_description('icimage'::regtype, 'pg_type') IS NOT NULL AS type_has_a_comment;

-- how the planner may treat each function; a change here needs thought
SELECT left(p.oid::regprocedure::text, 60) AS function,
       CASE provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END AS volatility,
       CASE proparallel WHEN 's' THEN 'safe' WHEN 'r' THEN 'restricted' ELSE 'unsafe' END AS parallel, proisstrict AS strict,
       proleakproof AS leakproof, procost AS cost
FROM own_function AS p ORDER BY p.oid::regprocedure::text COLLATE "C";

-- none runs with another role's privileges, and none is closed to anyone: what they touch is what is guarded
SELECT p.oid::regprocedure AS security_definer FROM own_function AS p WHERE prosecdef;
SELECT p.oid::regprocedure AS function, proacl FROM own_function AS p WHERE proacl IS NOT NULL;
-- those in SQL do not depend on the caller's search_path
SELECT p.oid::regprocedure AS unparsed FROM own_function AS p JOIN pg_language AS l ON l.oid = p.prolang
WHERE l.lanname = 'sql' AND p.prosqlbody IS NULL;

-- operators: commutators, negators, estimators
SELECT oprname, oprcode, oprcom::regoperator AS commutator, oprnegate::regoperator AS negator, oprrest, oprjoin, oprcanhash,
       oprcanmerge
FROM pg_operator AS o JOIN member AS m ON m.objid = o.oid AND m.classid = 'pg_operator'::regclass
ORDER BY oprname COLLATE "C";
SELECT o.oid::regoperator AS lacks_its_counterpart FROM pg_operator AS o
JOIN member AS m ON m.objid = o.oid AND m.classid = 'pg_operator'::regclass
LEFT JOIN pg_operator AS c ON c.oid = o.oprcom LEFT JOIN pg_operator AS n ON n.oid = o.oprnegate
WHERE c.oprcom IS DISTINCT FROM o.oid OR n.oprnegate IS DISTINCT FROM o.oid OR o.oprrest = 0 OR o.oprjoin = 0;
-- an operator's function is as volatile and as leakproof as bytea's
SELECT p.oid::regprocedure AS differs
FROM own_function AS p JOIN pg_proc AS b ON b.proname = p.prosrc AND b.prolang = p.prolang
WHERE p.prosrc ~ '^bytea' AND (p.provolatile, p.proparallel, p.proleakproof, p.proisstrict) IS DISTINCT FROM
                              (b.provolatile, b.proparallel, b.proleakproof, b.proisstrict);

-- operator classes
SELECT am.amname, opcname, opcintype::regtype, opcdefault, amvalidate_of.valid
FROM pg_opclass AS c JOIN member AS m ON m.objid = c.oid AND m.classid = 'pg_opclass'::regclass
JOIN pg_am AS am ON am.oid = c.opcmethod, LATERAL (SELECT amvalidate(c.oid) AS valid) AS amvalidate_of
ORDER BY amname;

-- tables and views: who may do what
SELECT c.oid::regclass AS relation, c.relkind AS kind, c.reloptions AS options,
       has_table_privilege('public', c.oid, 'SELECT') AS public_select,
       has_table_privilege('public', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS public_write
FROM pg_class AS c JOIN member AS m ON m.objid = c.oid AND m.classid = 'pg_class'::regclass
WHERE c.relkind IN ('r', 'v') ORDER BY c.oid::regclass::text COLLATE "C";
SELECT n.nspname, has_schema_privilege('public', n.oid, 'USAGE') AS public_usage,
       has_schema_privilege('public', n.oid, 'CREATE') AS public_create
FROM pg_namespace AS n JOIN member AS m ON m.objid = n.oid AND m.classid = 'pg_namespace'::regclass;

-- what pg_dump takes along: all state but the weights of trials
SELECT c.oid::regclass AS dumped, c.relkind AS kind
FROM pg_extension AS e, unnest(e.extconfig) AS config JOIN pg_class AS c ON c.oid = config
WHERE extname = 'imagecalc' ORDER BY c.oid::regclass::text COLLATE "C";
SELECT c.oid::regclass AS not_dumped
FROM pg_class AS c JOIN member AS m ON m.objid = c.oid AND m.classid = 'pg_class'::regclass
WHERE c.relkind IN ('r', 'S') AND c.oid <> ALL (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'imagecalc')
ORDER BY c.relname;
-- bytes that are compressed already are not compressed again
SELECT attrelid::regclass, attname, attstorage
FROM pg_attribute JOIN member AS m ON m.objid = attrelid AND m.classid = 'pg_class'::regclass
WHERE atttypid = 'bytea'::regtype AND attname <> 'hash' ORDER BY attrelid::regclass::text COLLATE "C";

-- the settings, who may set them
LOAD 'imagecalc';
SELECT name, setting, context, min_val, max_val, short_desc FROM pg_settings WHERE name LIKE 'imagecalc.%' ORDER BY name;
SET imagecalc.max_pixel = 1;

-- DROP EXTENSION takes all of it along, and it works from another schema, whatever the search_path
CREATE SCHEMA elsewhere;
DROP EXTENSION imagecalc;
SELECT to_regtype('icimage') IS NULL AND to_regnamespace('imagecalc') IS NULL AS gone;
CREATE EXTENSION imagecalc SCHEMA elsewhere;
SET search_path = pg_catalog;
SELECT count(*) FROM elsewhere.ic_formats(64);
SELECT count(*) FROM elsewhere.ic_designs;
SELECT count(*) FROM elsewhere.ic_progress;
SELECT count(*) FROM elsewhere.ic_trials(1);
\set SHOW_CONTEXT never
CALL elsewhere.ic_wait(1);
RESET search_path;
DROP EXTENSION imagecalc;
DROP SCHEMA elsewhere;
CREATE EXTENSION imagecalc;
