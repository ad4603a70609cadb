/* conninfo: what a libpq connection string says, read without connecting.  Pure; any thread.
 * No message and no result of this module holds a value of the string but hosts, ports and the database's name. */
#ifndef PANGEA_POSTGRES_CONNINFO_H
#define PANGEA_POSTGRES_CONNINFO_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* Strings live in the arena. */
struct conninfo {
        const char *dbname;
        size_t nhosts;
        const char *const *hosts; /* "host:port", lower case, libpq's defaults filled in; "service NAME" for a service */
        bool has_password;        /* a secret stands in the string */
        const char *unknown; /* on ST_CONFIG: the option libpq does not know, NULL when it is something else or might be a secret */
};

/* ST_CONFIG: libpq cannot read it, or it sets something that Pangea sets itself; e says what, without values. */
MUSTCHECK enum status pg_conninfo_check(const char *conninfo, struct arena *a, struct conninfo *out, struct err *e);
/* Every option libpq knows, in the arena, for "did you mean". */
size_t pg_conninfo_options(struct arena *a, const char *const **names);
/* Appends the string as it stands when there is no secret in it, else option by option with "****" for the secrets. */
void pg_conninfo_mask(const char *conninfo, struct buf *out);

#endif
