/* topology: the one file of all regions as checked structs, and the questions the daemons ask of it: who is a leader, which tables go
 * from whom to whom, under which rule.
 * Owner: whoever called topology_load; read-only afterwards, so any thread may read it.  Strings are UTF-8, 0-terminated, owned by it. */
#ifndef PANGEA_TOPOLOGY_TOPOLOGY_H
#define PANGEA_TOPOLOGY_TOPOLOGY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "change/rule.h"
#include "change/vector.h"
#include "kafka/kafka.h"

#define STANDBYS_MAX 16
#define STANDBY_NAME_MAX 63 /* PostgreSQL cuts an application_name there */

enum role { ROLE_LEADER, ROLE_FOLLOWER };

/* An address to listen at: "127.0.0.1:8300", "[::1]:8300", "localhost:8300". */
struct http_listen {
        char host[48]; /* an address, without brackets */
        uint16_t port;
        bool loopback; /* reached from this machine only */
};
/* False when the text is no such address. Pure. */
bool http_listen_parse(const char *text, struct http_listen *out);

/* Where a region's daemon answers over HTTP. */
struct http_conf {
        const char *listen; /* as it stands in the file; NULL: it does not */
        struct http_listen at;
        bool rows;       /* /conflicts shows rows */
        const char *url; /* where a browser finds it: scheme://host:port, no slash at its end */
};

struct region {
        region_id id; /* index in topology.regions and in topology.names: byte order of the names */
        const char *name;
        enum role role;
        const char *conninfo;      /* ${ENV} expanded; holds no password of ours */
        const char *password_file; /* NULL = none */
        size_t nwait;              /* capture publishes only what these standbys have flushed */
        const char *const *wait;   /* their application_names */
        struct kafka_conf kafka;   /* client_id is left NULL */
        struct http_conf http;
};

/* A pattern such as public.accounts, public.* or *.* (a * matches within its half). Names are taken as they stand, case included; a
 * half in double quotes is a name in which . and * mean nothing. Wildcards do not match pg_*, information_schema and pangea. */
struct table_pattern {
        const char *schema, *name; /* without the quotes */
        bool wildcard;             /* either half is one */
        bool schema_wild, name_wild;
        int line, column; /* where it stands, for messages */
};

struct route {
        size_t ntables;
        const struct table_pattern *tables;
        uint32_t from, to; /* bit per region_id; all leaders / all regions when not said */
        const char *where; /* SQL, NULL = none */
        size_t ncolumns;   /* 0 = all */
        const char *const *columns;
        bool insert_only;
        int line, column;
};

/* Where one region reads one log, and whether it copies it; without a link it is read from the Kafka of the log's own region. */
struct link {
        region_id log, at;
        bool mirror;       /* at copies it into its own Kafka, as <cluster>.<log>.log, and reads it there */
        region_id via;     /* read from the Kafka of this region, which has it by a link of its own; REGION_NONE: no */
        const char *topic; /* read from at's own Kafka under this name, put there by somebody else (MirrorMaker 2); NULL: no */
};

/* How conflicts of some tables are settled. */
struct table_rule {
        struct table_pattern table;
        struct rule_spec spec;
        const char *
                path; /* "conflicts.tables.public.accounts", for messages; its place is table.line, table.column. NULL: from a log */
};

/* All rules of one topology. */
struct rulebook {
        struct rule_spec standard; /* of tables that are not named */
        size_t n;
        const struct table_rule *tables;
};

struct topology {
        const char *file, *cluster;
        struct regset names;
        size_t nregions;
        const struct region *regions;
        size_t nroutes;
        const struct route *routes; /* at least one: the default route when the file says none */
        bool default_routes;
        size_t nlinks;
        const struct link *links; /* at most one for each (log, at) */
        struct rulebook rules;
        int64_t max_skew_us;
        uint32_t group_max_rows;
        size_t group_max_bytes;
        int log_replication, log_min_insync;
        int64_t log_retention_us;
        int64_t drain_timeout_us;
        int64_t conflict_keep_us;
};

/* Reads and checks the file. On ST_CONFIG *errors holds every error, a line each: "file:line:column: path: what, allowed, did you
 * mean". *out is NULL then. */
MUSTCHECK enum status topology_load(const char *file, struct topology **out, struct buf *errors);
/* The same for whoever wants the errors one by one, and the warnings (config/problem.h); the second reads text instead of the file. */
struct problems;
MUSTCHECK enum status topology_check(const char *file, struct topology **out, struct problems *p);
MUSTCHECK enum status topology_parse(const char *file, const char *text, size_t len, struct topology **out, struct problems *p);
/* A second owner's own: from the text that t was read from, whatever stands in the file by now. Fails as topology_load does (a secret's
 * file is gone). */
MUSTCHECK enum status topology_copy(const struct topology *t, struct topology **out, struct buf *errors);
void topology_free(struct topology *t);
/* NULL when there is none of this name. */
const struct region *topology_region(const struct topology *t, const char *name);
/* The effective topology as YAML, secrets masked. */
void topology_print(const struct topology *t, struct buf *out);
/* The same as JSON: one value. */
void topology_print_json(const struct topology *t, struct buf *out);
/* docs/topology.md, printed from the table that checks the file. */
void topology_print_docs(struct buf *out);
/* The password from password_file: trailing newline cut; *out is malloc'ed, or NULL when the region has none. Read at every connect, so
 * that it may be changed on disk. */
MUSTCHECK enum status region_password(const struct region *r, char **out, struct err *e);

/* ---- routing ---- */
/* The route of a table, or NULL when no route names it (then it is not replicated; nor are tables of pg_*, information_schema and
 * pangea). The last route that matches wins: literal names before wildcards. */
const struct route *topology_route(const struct topology *t, const char *schema, const char *name);
/* Leaders that write the table (bits), given its route. */
uint32_t route_writers(const struct topology *t, const struct route *r);
/* Does `to` apply what `from` committed to this table? (never its own changes) */
bool topology_applies(const struct topology *t, const char *schema, const char *name, region_id from, region_id to);
/* More than one leader writes it: conflicts are possible. */
bool topology_multi_writer(const struct topology *t, const char *schema, const char *name);

/* ---- conflicts ---- */
/* The rule of a table; never NULL. The last that matches: literal names before wildcards, else the standard. */
const struct rule_spec *rulebook_rule(const struct rulebook *b, const char *schema, const char *name);
const struct rule_spec *topology_rule(const struct topology *t, const char *schema, const char *name);
/* The entry of conflicts.tables that it comes from; NULL: the default. */
const struct table_rule *topology_table_rule(const struct topology *t, const char *schema, const char *name);
/* Canonical JSON, as MARKER "rules" carries it: {"default":{..},"tables":[{"table":"public.t","rule":{..}},..]}; appends. */
void rulebook_json(const struct rulebook *b, struct buf *out);
/* The same, read again; everything in the arena. ST_DATA: it is none. */
MUSTCHECK enum status rulebook_parse(const char *json, size_t len, struct arena *arena, struct rulebook *out, struct err *e);
/* Nothing but last write wins: what holds in a log that never said anything about rules. */
bool rulebook_plain(const struct rulebook *b);
/* The first table (as in the file) whose rule changes from or to one that accumulates, or between plain last write wins and one under which
 * deletes win; NULL: none. What is merged into a row under the first cannot be taken out of it again, what lost under the second is forgotten:
 * such a change needs a table that is quiet in all regions. In the arena. */
const char *rulebook_hard_change(const struct rulebook *from, const struct rulebook *to, struct arena *arena);

/* ---- links: where a log is read ---- */
/* NULL: there is none, at reads the log where it is written. */
const struct link *topology_link(const struct topology *t, region_id log, region_id at);
/* Does at copy this log into its own Kafka? */
bool topology_mirrors(const struct topology *t, region_id log, region_id at);
/* How often a log is looked at for records that log.retention lets go: a short retention more often than a long one. */
int64_t topology_retention_every_us(const struct topology *t);
/* The region from whose Kafka `at` reads `log`; the topic's name there goes into buf, as below. */
const struct region *topology_log_place(const struct topology *t, region_id log, region_id at, char *buf, size_t size);

/* ---- names, DESIGN 4.1 and 9 ---- */
/* Each writes into buf (size bytes) and returns it. */
const char *topology_topic(const struct topology *t, region_id r, char *buf, size_t size);       /* <cluster>.<region>.log */
const char *topology_slot(const struct topology *t, region_id r, char *buf, size_t size);        /* pangea_<cluster>_<region> */
const char *topology_publication(const struct topology *t, region_id r, char *buf, size_t size); /* the same name as the slot */
const char *topology_origin(const struct topology *t, region_id here, region_id origin, char *buf, size_t size);

#endif
