-- Every table of the database that could be published, a row for each of its leaves (a plain table is its own leaf), with what DESIGN 4.3
-- asks about it.  $1 = the publication's name.  Temporary tables, system schemas and pangea.* never show here; partitions show under
-- their root.  A unique index is a usable key when it is immediate, valid, whole (no predicate, no expressions) and without NULLs.
WITH pub AS (
        SELECT oid FROM pg_catalog.pg_publication WHERE pubname = $1
), root AS (
        SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relowner, k.indexrelid AS key_oid, k.key_name, k.key_primary,
               (SELECT b.attname || ' (' || b.what || ')'
                FROM (SELECT a.attname, u.ord,
                             CASE WHEN NOT coalesce(co.collisdeterministic, true) THEN 'collation ' || co.collname || ' is not deterministic'
                                  WHEN t.typtype = 'e' OR t.typnamespace = 'pg_catalog'::regnamespace AND t.typname IN ('bool', 'char',
                                       'name', 'int2', 'int4', 'int8', 'text', 'oid', 'float4', 'float8', 'money', 'macaddr', 'macaddr8',
                                       'inet', 'cidr', 'bpchar', 'varchar', 'date', 'time', 'timetz', 'timestamp', 'timestamptz', 'bit',
                                       'varbit', 'numeric', 'uuid', 'bytea', 'pg_lsn', 'xid8') THEN NULL
                                  ELSE 'type ' || t.typname END AS what
                      FROM unnest(k.key_cols) WITH ORDINALITY u(attnum, ord)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum
                      LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation
                      CROSS JOIN LATERAL (
                        WITH RECURSIVE base(typ) AS (
                                SELECT a.atttypid
                                UNION ALL
                                SELECT d.typbasetype FROM base JOIN pg_catalog.pg_type d ON d.oid = base.typ WHERE d.typtype = 'd')
                        SELECT y.typname, y.typtype, y.typnamespace
                        FROM base JOIN pg_catalog.pg_type y ON y.oid = base.typ WHERE y.typtype <> 'd') t) b
                WHERE b.what IS NOT NULL ORDER BY b.ord LIMIT 1) AS bad_key
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN LATERAL (
                SELECT i.indexrelid, ic.relname AS key_name, i.indisprimary AS key_primary,
                       (i.indkey::int2[])[0:i.indnkeyatts - 1] AS key_cols
                FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
                WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indislive
                      AND i.indpred IS NULL AND i.indexprs IS NULL
                      AND NOT EXISTS (SELECT FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) u(attnum)
                                      JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attnum
                                      WHERE NOT a.attnotnull)
                ORDER BY i.indisprimary DESC, i.indisreplident DESC, ic.relname COLLATE "C" LIMIT 1) k ON true
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
              AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pangea')
)
SELECT r.oid, r.nspname, r.relname, r.relkind = 'p', r.relpersistence = 'u',
       pg_catalog.pg_get_userbyid(r.relowner), pg_catalog.pg_has_role(r.relowner, 'USAGE'),
       r.key_oid, r.key_primary, r.bad_key,
       EXISTS (SELECT FROM pub JOIN pg_catalog.pg_publication_rel pr ON pr.prpubid = pub.oid AND pr.prrelid = r.oid),
       l.oid, ln.nspname, l.relname, l.relkind = 'f', l.relpersistence = 'u', l.relreplident, l.reltoastrelid <> 0,
       lk.relname, coalesce(lk.indisreplident, false),
       l.relreplident = 'i' AND EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = l.oid AND i.indisreplident),
       lp.oid IS NOT NULL, pg_catalog.pg_get_expr(lp.prqual, lp.prrelid),
       (SELECT json_agg(a.attname ORDER BY a.attname COLLATE "C")::text
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = l.oid AND a.attnum = ANY (lp.prattrs)),
       current_user
FROM root r
LEFT JOIN LATERAL (
        SELECT r.oid AS relid WHERE r.relkind = 'r'
        UNION ALL
        SELECT p.relid FROM pg_catalog.pg_partition_tree(r.oid) p WHERE r.relkind = 'p' AND p.isleaf) leaf ON true
LEFT JOIN pg_catalog.pg_class l ON l.oid = leaf.relid
LEFT JOIN pg_catalog.pg_namespace ln ON ln.oid = l.relnamespace
LEFT JOIN LATERAL (
        SELECT ic.relname, i.indisreplident
        FROM (SELECT r.key_oid AS relid WHERE r.relkind = 'r'
              UNION ALL
              SELECT p.relid FROM pg_catalog.pg_partition_tree(r.key_oid) p WHERE r.relkind = 'p') x
        JOIN pg_catalog.pg_index i ON i.indexrelid = x.relid AND i.indrelid = l.oid
        JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid) lk ON true
LEFT JOIN LATERAL (
        SELECT pr.* FROM pub JOIN pg_catalog.pg_publication_rel pr ON pr.prpubid = pub.oid AND pr.prrelid = l.oid) lp ON true
ORDER BY r.nspname COLLATE "C", r.relname COLLATE "C", ln.nspname COLLATE "C", l.relname COLLATE "C"
