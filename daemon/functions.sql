-- What applications may call.  Made anew by every `pangea init`, so it needs no migration.
GRANT USAGE ON SCHEMA pangea TO PUBLIC;

-- The concurrent versions of a row, for an application that settles by itself: SELECT * FROM pangea.siblings('public.docs', '{"id": 7}').
-- One row for each version, ascending; while there is no conflict the row that stands (its region and hlc are null then), and nothing when there
-- is none. Writing the row afterwards replaces them all. Whoever may read the table may call it.
CREATE OR REPLACE FUNCTION pangea.siblings(tbl regclass, key jsonb)
        RETURNS TABLE (region text, hlc bigint, image jsonb)
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = '' AS $f$
DECLARE
        match text;
        standing jsonb;
        xid bigint;
BEGIN
        IF NOT pg_catalog.has_table_privilege(session_user, tbl, 'SELECT') THEN
                RAISE EXCEPTION 'permission denied for table %', tbl USING ERRCODE = 'insufficient_privilege';
        END IF;
        SELECT pg_catalog.string_agg(pg_catalog.format('t.%I = k.%I', m.name, m.name), ' AND ')
                INTO match FROM pg_catalog.jsonb_object_keys(siblings.key) AS m(name);
        IF match IS NULL THEN
                RAISE EXCEPTION 'the key is empty; it is an object of the key columns, such as {"id": 7}' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        EXECUTE pg_catalog.format('SELECT pg_catalog.to_jsonb(t), t.xmin::text::bigint FROM %s t, pg_catalog.jsonb_populate_record(NULL::%s, $1) k WHERE %s',
                                  tbl, tbl, match) INTO standing, xid USING siblings.key;
        RETURN QUERY EXECUTE pg_catalog.format(
                'SELECT s.region, s.hlc, pg_catalog.to_jsonb(t) FROM pangea.sibling s'
                ' CROSS JOIN LATERAL pg_catalog.jsonb_populate_record(NULL::%s, s.image) t, pg_catalog.jsonb_populate_record(NULL::%s, $1) k'
                ' WHERE s.rel = (SELECT n.nspname || ''.'' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace'
                '                WHERE c.oid = $2) AND s.row_xid IS NOT DISTINCT FROM $3 AND %s ORDER BY s.hlc, s.region COLLATE "C"',
                tbl, tbl, match) USING siblings.key, tbl, xid;
        IF NOT FOUND AND standing IS NOT NULL THEN
                RETURN QUERY SELECT NULL::text, NULL::bigint, standing;
        END IF;
END $f$;
