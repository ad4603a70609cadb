-- Columns that take their numbers from a sequence and stand in a unique index: identity columns, and defaults with nextval().  A partition
-- takes those of its root.
WITH used AS (
        SELECT d.objid AS seq, d.refobjid AS tab, d.refobjsubid AS col
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
              AND d.deptype = 'i'
        UNION
        SELECT d.refobjid, a.adrelid, a.adnum
        FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attrdef a ON a.oid = d.objid JOIN pg_catalog.pg_class s ON s.oid = d.refobjid AND s.relkind = 'S'
        WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
)
SELECT sn.nspname, s.relname, tn.nspname, t.relname, a.attname, q.seqincrement, q.seqmin,
       least(q.seqmax, holds.most), holds.most, q.seqstart, q.seqcycle,
       a.atttypid IN ('int2'::pg_catalog.regtype, 'int4'::pg_catalog.regtype, 'int8'::pg_catalog.regtype)
       AND EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
                   JOIN pg_catalog.pg_am am ON am.oid = ic.relam AND am.amname = 'btree'
                   WHERE i.indrelid = t.oid AND i.indisvalid AND i.indpred IS NULL AND i.indkey[0] = a.attnum)
FROM used u
JOIN pg_catalog.pg_class s ON s.oid = u.seq
JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid
JOIN pg_catalog.pg_class t ON t.oid = u.tab AND t.relkind IN ('r', 'p') AND NOT t.relispartition AND t.relpersistence <> 't'
JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = u.col
CROSS JOIN LATERAL (
        SELECT min(CASE y WHEN 'int2'::pg_catalog.regtype THEN 32767 WHEN 'int4'::pg_catalog.regtype THEN 2147483647
                          ELSE 9223372036854775807 END) AS most
        FROM unnest(ARRAY[a.atttypid, q.seqtypid]) y) holds
WHERE EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = t.oid AND i.indisunique AND a.attnum = ANY (i.indkey::int2[]))
ORDER BY sn.nspname COLLATE "C", s.relname COLLATE "C", tn.nspname COLLATE "C", t.relname COLLATE "C", a.attnum
