-- A filtered table's columns.  $1 = its oid, $2 = oid of its key's index or 0, $3 = listed columns (NULL: all),
-- $4 = names that stand in `where`.
WITH att AS (
        SELECT attnum, attname, attgenerated <> '' AS generated
        FROM pg_catalog.pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped
), listed AS (
        SELECT x AS attname FROM unnest($3::text[]) x
), used AS (
        SELECT attname FROM att WHERE attname = ANY ($4::text[])
), key AS (
        SELECT a.attname FROM pg_catalog.pg_index i, unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) u(attnum)
        JOIN att a ON a.attnum = u.attnum WHERE i.indexrelid = $2::oid
), ident AS (
        SELECT a.attname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisreplident,
        unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) u(attnum)
        JOIN att a ON a.attnum = u.attnum WHERE c.oid = $1::oid AND c.relreplident = 'i'
)
SELECT (SELECT string_agg(attname, ', ') FROM listed WHERE attname NOT IN (SELECT attname FROM att)),
       (SELECT string_agg(attname, ', ') FROM listed WHERE attname IN (SELECT attname FROM att WHERE generated)),
       (SELECT string_agg(attname, ', ') FROM key WHERE $3 IS NOT NULL AND attname NOT IN (SELECT attname FROM listed)),
       (SELECT string_agg(attname, ', ') FROM used WHERE $3 IS NOT NULL AND attname NOT IN (SELECT attname FROM listed)),
       (SELECT string_agg(attname, ', ') FROM used WHERE attname NOT IN (SELECT attname FROM key)),
       EXISTS (SELECT FROM ident)
       AND NOT EXISTS (SELECT attname FROM used UNION SELECT attname FROM key EXCEPT SELECT attname FROM ident)
       AND ($3 IS NULL OR NOT EXISTS (SELECT attname FROM ident EXCEPT SELECT attname FROM listed)),
       (SELECT json_agg(attname ORDER BY attname COLLATE "C")::text FROM listed)
