-- What lost, newest first, with what the catalog says of its table.  $1 how many; $2 schema.table, '' = every table.  Numbers of rows are texts:
-- readers of JSON would lose digits of a numeric.  The id is that of `pangea conflicts` (CONFLICT_ID in daemon/conflicts.h).
SELECT c.rel, c.key, c.region, c.hlc, to_char(c.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), c.kind, c.rule, c.winner,
 (SELECT jsonb_object_agg(m.key, CASE jsonb_typeof(m.value) WHEN 'number' THEN to_jsonb(m.value::text) ELSE m.value END) FROM jsonb_each(c.image) m),
 t.qualified,
 (SELECT string_agg(format('t.%I = k.%I', k.col, k.col), ' AND ') FROM jsonb_object_keys(c.key) AS k(col)),
 CASE WHEN t.qualified IS NULL THEN NULL
 WHEN c.image IS NULL THEN format('DELETE FROM %s WHERE %s', t.qualified,
  (SELECT string_agg(format('%I = %L', k.key, k.value), ' AND ') FROM jsonb_each_text(c.key) k))
 ELSE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM jsonb_populate_record(NULL::%s, %L) ON CONFLICT (%s) DO %s', t.qualified,
  x.cols, x.cols, t.qualified, c.image, (SELECT string_agg(format('%I', k.col), ', ') FROM jsonb_object_keys(c.key) AS k(col)),
  coalesce('UPDATE SET ' || x.sets, 'NOTHING'))
 END,
 substr(md5(c.rel || chr(31) || c.key::text || chr(31) || c.region || chr(31) || c.hlc), 1, 12)
 FROM (SELECT * FROM pangea.conflict WHERE $2::text = '' OR rel = $2::text ORDER BY at DESC, hlc DESC LIMIT $1::int8) c
 LEFT JOIN LATERAL (SELECT r.oid, format('%I.%I', n.nspname, r.relname) AS qualified FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace
  WHERE r.relkind IN ('r', 'p') AND n.nspname || '.' || r.relname = c.rel LIMIT 1) t ON true
 LEFT JOIN LATERAL (SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum) AS cols,
  string_agg(format('%I = EXCLUDED.%I', a.attname, a.attname), ', ' ORDER BY a.attnum)
   FILTER (WHERE NOT c.key ? a.attname::text AND a.attidentity <> 'a') AS sets
  FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND c.image ? a.attname::text) x ON true
 ORDER BY c.at DESC, c.hlc DESC
