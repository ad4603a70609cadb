/* collation: SQL that tells how the server compares texts. */
#ifndef PANGEA_POSTGRES_COLLATION_H
#define PANGEA_POSTGRES_COLLATION_H

/* Over a row `a` of pg_attribute: does the column's collation compare bytes? "default" is the database's; what has no collation does, too. */
/* clang-format off */
#define COLUMN_IS_BYTEWISE \
        "COALESCE((SELECT CASE l.collprovider" \
        "   WHEN 'd' THEN (SELECT d.datlocprovider = 'b' OR d.datlocprovider = 'c' AND d.datcollate IN ('C', 'POSIX')" \
        "     FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())" \
        "   WHEN 'c' THEN l.collcollate IN ('C', 'POSIX') ELSE l.collprovider = 'b' END" \
        "   FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation), true)"
/* clang-format on */

#endif
