#include "topology/spec.h"

#include "change/vector.h"
#include "topology/topology.h"

/* The order here is the order in docs/topology.md. */

#define MS INT64_C(1000)
#define SECOND (1000 * MS)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define KB INT64_C(1024)
#define MB (1024 * KB)

static const struct cfg_key text = {.type = CFG_TEXT, .doc = ""};
static const struct cfg_key name = {.type = CFG_NAME, .min = 1, .max = REGION_NAME_MAX, .doc = ""};

static const char *const versions[] = {"1", NULL};
static const char *const roles[] = {"leader", "follower", NULL};
static const char *const default_rules[] = {"last_write_wins", "first_write_wins", "column_merge", "manual", NULL};
/* in the order of enum row_rule */
static const char *const row_rules[] = {"last_write_wins",
                                        "first_write_wins",
                                        "region_priority",
                                        "greatest",
                                        "least",
                                        "column_merge",
                                        "sql",
                                        "plugin",
                                        "manual",
                                        NULL};
static const char *const delete_rules[] = {"later_wins", "delete_wins", NULL};

#define CANNOT_CONVERGE "each region would keep another row"
/* clang-format off */
#define REFUSED_EVERYWHERE \
        {"keep_local", CANNOT_CONVERGE}, \
        {"local_wins", CANNOT_CONVERGE}, \
        {"apply_remote", CANNOT_CONVERGE}, \
        {"remote_wins", CANNOT_CONVERGE}, \
        {"first_applied", "the order of arrival differs from region to region"}, \
        {"skip", "a version would be lost without a record"}, \
        {"error", "use manual, which keeps every version and goes on"}
/* clang-format on */
#define NEEDS_MORE(what) "it needs " what ", which is said for a table, in conflicts.tables"
static const struct cfg_refused refused_defaults[] = {
        {"region_priority", NEEDS_MORE("an order of regions")},
        {"greatest", NEEDS_MORE("the column that is compared")},
        {"least", NEEDS_MORE("the column that is compared")},
        {"sql", NEEDS_MORE("a function")},
        {"plugin", NEEDS_MORE("a path")},
        REFUSED_EVERYWHERE,
        {NULL, NULL},
};
static const struct cfg_refused refused_rules[] = {
        REFUSED_EVERYWHERE,
        {"delta", "it is a rule for columns: columns: {balance: delta}"},
        {"union", "it is a rule for columns: columns: {tags: union}"},
        {"text_merge", "it is a rule for columns: columns: {body: text_merge}"},
        {"json_merge", "it is a rule for columns: columns: {settings: json_merge}"},
        {NULL, NULL},
};

static const struct cfg_key postgres_keys[] = {
        {.name = "conninfo",
         .type = CFG_TEXT,
         .required = true,
         .doc = "libpq connection string of the region's database, `key=value` or URI. Several hosts may stand in it (the primary and "
                "its standbys, with `target_session_attrs=read-write`). Put the password into `password_file`."},
        {.name = "password_file",
         .type = CFG_TEXT,
         .doc = "File that holds the password and nothing else (a newline at its end is cut). Read at every connection, so it may be "
                "changed on disk. A relative path counts from the folder of the topology file."},
        {.name = "wait_for_standbys",
         .type = CFG_LIST,
         .min = 1,
         .max = STANDBYS_MAX,
         .of = &text,
         .doc = "Physical standbys of a leader, by the `application_name` in their `primary_conninfo`: capture publishes only what all of them "
                "have flushed, so that promoting one can never lose a transaction that another region has. While one is away nothing "
                "leaves the region; `status` names it. Commits in the region itself do not wait."},
        {.name = NULL},
};

static const struct cfg_key kafka_keys[] = {
        {.name = "brokers",
         .type = CFG_LIST,
         .required = true,
         .min = 1,
         .max = 100,
         .of = &text,
         .doc = "`host:port` of some brokers of the region's Kafka; the others are found through them. Without a port: 9092."},
        {.name = "properties",
         .type = CFG_PAIRS,
         .doc = "librdkafka properties (`security.protocol`, `sasl.username`, `ssl.ca.location` ..), checked against librdkafka itself. "
                "A secret may come from a file: `sasl.password_file: /run/secrets/kafka` sets `sasl.password`. Refused: what Pangea sets itself."},
        {.name = NULL},
};

static const struct cfg_key http_keys[] = {
        {.name = "listen",
         .type = CFG_TEXT,
         .doc = "Address and port of the region's daemon, such as `127.0.0.1:8300`, `[::1]:8300` or `0.0.0.0:8300`. There is no login: outside "
                "of loopback put it behind a network policy or a proxy. Without it the daemon listens "
                "nowhere. A change takes effect with SIGHUP."},
        {.name = "url",
         .type = CFG_TEXT,
         .doc = "Where a browser finds it (`https://pangea.us.example`), when that is not `http://` and `listen`. The pages of the other "
                "regions' daemons may then read it from there."},
        {.name = "rows",
         .type = CFG_BOOL,
         .doc = "Whether `/conflicts` shows the rows themselves (the table's data). Default: true when `listen` is loopback, else false."},
        {.name = NULL},
};

static const struct cfg_key region_keys[] = {
        {.name = "role",
         .type = CFG_WORD,
         .standard = "leader",
         .words = roles,
         .doc = "A leader accepts writes; a follower only applies those of the leaders."},
        {.name = "postgres", .type = CFG_MAP, .required = true, .of = postgres_keys, .doc = "The region's database."},
        {.name = "kafka", .type = CFG_MAP, .required = true, .of = kafka_keys, .doc = "The region's Kafka."},
        {.name = "http",
         .type = CFG_MAP,
         .of = http_keys,
         .doc = "Health, metrics, status and a page over HTTP; without it the daemon listens nowhere."},
        {.name = NULL},
};
static const struct cfg_key region = {.type = CFG_MAP, .of = region_keys, .doc = ""};

static const struct cfg_key route_keys[] = {
        {.name = "tables",
         .type = CFG_LIST,
         .required = true,
         .min = 1,
         .max = 10000,
         .of = &text,
         .doc = "Tables as `schema.table`; a `*` matches within its half (`public.*`, `\"*.*\"` in quotes, because YAML reads a `*` at the "
                "beginning as an alias)."},
        {.name = "from",
         .type = CFG_LIST,
         .min = 1,
         .max = MAX_REGIONS,
         .of = &name,
         .doc = "Leaders that write these tables. Default: every leader."},
        {.name = "to",
         .type = CFG_LIST,
         .min = 1,
         .max = MAX_REGIONS,
         .of = &name,
         .doc = "Regions that apply them. Default: every region. Several leaders that write a table must all be here."},
        {.name = "where",
         .type = CFG_TEXT,
         .doc = "SQL condition on a row; only rows that meet it leave the leader (a publication row filter). One writing leader only; its "
                "columns must be in the table's replica identity."},
        {.name = "columns",
         .type = CFG_LIST,
         .min = 1,
         .max = 1600,
         .of = &text,
         .doc = "Only these columns leave the leader (a publication column list). One writing leader only; must hold the key and every "
                "column of `where`."},
        {.name = "insert_only",
         .type = CFG_BOOL,
         .standard = "false",
         .doc = "Rows are only ever inserted. Lets a table without a key be written by several leaders; PostgreSQL itself then refuses "
                "UPDATE and DELETE on it."},
        {.name = NULL},
};
static const struct cfg_key route = {.type = CFG_MAP, .of = route_keys, .doc = ""};

static const struct cfg_key table_rule_keys[] = {
        {.name = "resolver",
         .type = CFG_WORD,
         .standard = "last_write_wins",
         .words = row_rules,
         .refused = refused_rules,
         .doc = "The rule for whole rows (docs/conflicts.md tells each with an example). Every one but `last_write_wins` and `manual` needs "
                "REPLICA IDENTITY FULL, which `init` sets."},
        {.name = "order",
         .type = CFG_LIST,
         .min = 1,
         .max = MAX_REGIONS,
         .of = &name,
         .doc = "`region_priority`: the regions, the one that wins first. Among regions that are not named the later version wins."},
        {.name = "by",
         .type = CFG_TEXT,
         .doc = "`greatest`, `least`: the column that is compared, or several with commas between them; equal ones are settled by "
                "the later version. Numbers, dates, timestamps, uuid, bool, bytea, and text that is compared by its bytes (COLLATE \"C\")."},
        {.name = "function",
         .type = CFG_TEXT,
         .doc = "`sql`: `schema.function`, IMMUTABLE, `f(versions t[], regions text[], hlcs bigint[]) RETURNS t`, the same in every region."},
        {.name = "path",
         .type = CFG_TEXT,
         .doc = "`plugin`: absolute path of a shared object, the same in every region; loaded only where `run` allows it."},
        {.name = "delete",
         .type = CFG_WORD,
         .words = delete_rules,
         .doc = "A delete and a concurrent write: the later one wins (the default), or the delete always does. A table with `column_merge` or a "
                "column of `delta`, `union` or `json_merge` has `delete_wins` by itself."},
        {.name = "columns",
         .type = CFG_PAIRS,
         .doc = "Columns with a rule of their own: `last_write_wins` `greatest` `least` `delta` `union` `text_merge` (by lines) "
                "`text_merge_words` `json_merge`. The others go with the row."},
        {.name = NULL},
};
static const struct cfg_key table_rule = {.type = CFG_MAP, .of = table_rule_keys, .doc = ""};

static const struct cfg_key conflict_keys[] = {
        {.name = "default",
         .type = CFG_WORD,
         .standard = "last_write_wins",
         .words = default_rules,
         .refused = refused_defaults,
         .doc = "How writes of one row that did not know of each other are settled, for tables that `tables` does not name. `last_write_wins`: the "
                "later one by hybrid clock wins, ties go to the greater region name, the same in every region."},
        {.name = "tables",
         .type = CFG_KEYED,
         .key = "table",
         .of = &table_rule,
         .doc = "Rules for single tables (`schema.table`; a `*` matches within its half; literal names before wildcards, then the last one)."},
        {.name = "keep",
         .type = CFG_DURATION,
         .standard = "90d",
         .min = SECOND,
         .max = 36500 * DAY,
         .doc = "How long versions that lost stay in `pangea.conflict`."},
        {.name = NULL},
};

static const struct cfg_key durability_keys[] = {
        {.name = "quorum", .type = CFG_INT, .max = MAX_REGIONS, .doc = ""},
        {.name = "timeout", .type = CFG_DURATION, .max = DAY, .doc = ""},
        {.name = NULL},
};

static const struct cfg_key clock_keys[] = {
        {.name = "max_skew",
         .type = CFG_DURATION,
         .standard = "5min",
         .min = MS,
         .max = DAY,
         .doc = "A region whose clock is this far ahead is paused by name, instead of dragging every clock forward."},
        {.name = NULL},
};

static const struct cfg_key group_keys[] = {
        {.name = "max_rows",
         .type = CFG_INT,
         .standard = "1000",
         .min = 1,
         .max = 100000,
         .doc = "Rows after which a group of transactions is closed."},
        {.name = "max_bytes",
         .type = CFG_SIZE,
         .standard = "900kB",
         .min = KB,
         .max = 8 * MB,
         .doc = "Size of one Kafka record; larger transactions travel in chunks. More than 900kB needs `message.max.bytes` in every leader's properties and in its brokers."},
        {.name = NULL},
};

static const struct cfg_key log_keys[] = {
        {.name = "replication",
         .type = CFG_INT,
         .standard = "3",
         .min = 1,
         .max = 100,
         .doc = "Replicas of a log's topic; cut to the number of brokers when `init` creates it."},
        {.name = "min_insync",
         .type = CFG_INT,
         .standard = "2",
         .min = 1,
         .max = 100,
         .doc = "Replicas that must have a record before it counts as published (`min.insync.replicas`); at most `replication`."},
        {.name = "retention",
         .type = CFG_DURATION,
         .standard = "7d",
         .min = SECOND,
         .max = 36500 * DAY,
         .doc = "How long records stay that every region has applied."},
        {.name = NULL},
};

static const struct cfg_key link_keys[] = {
        {.name = "log",
         .type = CFG_NAME,
         .required = true,
         .min = 1,
         .max = REGION_NAME_MAX,
         .doc = "The region whose log it is about."},
        {.name = "at",
         .type = CFG_NAME,
         .required = true,
         .min = 1,
         .max = REGION_NAME_MAX,
         .doc = "The region that reads it. One link for each log and reader, with one of the next three keys."},
        {.name = "mirror",
         .type = CFG_BOOL,
         .standard = "false",
         .doc = "`at` copies the log, record for record, into its own Kafka (topic `<cluster>.<log>.log`, made by `init`) and reads it there."},
        {.name = "via",
         .type = CFG_NAME,
         .min = 1,
         .max = REGION_NAME_MAX,
         .doc = "Read the log from the Kafka of this region, which mirrors it or has it by `topic`."},
        {.name = "topic",
         .type = CFG_TEXT,
         .doc = "Read the log from `at`'s own Kafka under this name: somebody else copies it there whole and in order, such as MirrorMaker 2."},
        {.name = NULL},
};
static const struct cfg_key link = {.type = CFG_MAP, .of = link_keys, .doc = ""};

const struct cfg_key topology_keys[] = {
        {.name = "version", .type = CFG_WORD, .required = true, .words = versions, .doc = "Version of this format."},
        {.name = "cluster",
         .type = CFG_NAME,
         .required = true,
         .min = 1,
         .max = PG_NAME_MAX - 9, /* pangea_<cluster>_<region> */
         .doc = "Name of the whole. Part of every topic, slot and origin name: it cannot be changed later."},
        {.name = "regions",
         .type = CFG_NAMED,
         .required = true,
         .min = 1,
         .max = MAX_REGIONS,
         .max_name = REGION_NAME_MAX,
         .of = &region,
         .doc = "The regions by name; at least one is a leader. A name cannot be changed later."},
        {.name = "routes",
         .type = CFG_LIST,
         .min = 1,
         .max = 1000,
         .of = &route,
         .doc = "Which tables go from which regions to which. Default: every table of every leader to every region."},
        {.name = "links",
         .type = CFG_LIST,
         .max = 1000,
         .of = &link,
         .doc = "Mirrors of logs, and who reads which. Default: each log is read from the Kafka of its own region."},
        {.name = "conflicts", .type = CFG_MAP, .of = conflict_keys, .doc = "Conflicts and their history."},
        {.name = "durability",
         .type = CFG_MAP,
         .later = true,
         .of = durability_keys,
         .doc = "Commits that wait for other regions."},
        {.name = "clock", .type = CFG_MAP, .of = clock_keys, .doc = "Limits on clocks."},
        {.name = "group", .type = CFG_MAP, .of = group_keys, .doc = "Size of what is published and applied as one."},
        {.name = "log", .type = CFG_MAP, .of = log_keys, .doc = "The Kafka topics."},
        {.name = "drain_timeout",
         .type = CFG_DURATION,
         .standard = "10s",
         .min = 100 * MS,
         .max = HOUR,
         .doc = "How long `SIGTERM` may take to finish what was begun."},
        {.name = NULL},
};
