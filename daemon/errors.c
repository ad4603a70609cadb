#include "daemon/errors.h"

#include <string.h>

#define SET_UP_ANEW \
        "set all regions up again together: stop their daemons, `pangea deinit --yes` in each, copy the tables from a region that is whole, `pangea init` in each"

const struct error_row error_table[] = {
        /* set-up */
        {"not_initialized", EXIT_USAGE, "the database has no schema pangea for this region", "run `pangea init` for the region"},
        {"wrong_database", EXIT_USAGE, "the database was prepared for another cluster or region than the topology says",
         "correct the region's conninfo; or `pangea deinit` with the topology it was prepared with"},
        {"rules_need_quiet", EXIT_USAGE,
         "the topology changes a table's rule from or to delta, union, json_merge or column_merge, or from plain last_write_wins to delete_wins, while versions under the old rule may be on their way",
         "stop writing to the table in every region, wait until `pangea status` says that everything is stable, then restart every region with `pangea run --accept-rules`"},
        {"rules_unknown", EXIT_RUNTIME, "another region's log announces rules of conflict that this version cannot read",
         "install the newer version of Pangea here"},
        {"schema_version", EXIT_USAGE, "the schema pangea was written by another version of Pangea",
         "run `pangea init` of the newer version"},
        {"missing_grant", EXIT_POSTGRES, "the run-time role lacks a right",
         "run the GRANT that the message holds, or `pangea init --admin CONNINFO`"},
        {"server_settings", EXIT_POSTGRES, "the server is not set up for logical replication",
         "set what the message names in postgresql.conf and restart the server"},
        {"commit_timestamps_off", EXIT_POSTGRES, "track_commit_timestamp is off: a row's version could not be known",
         "set track_commit_timestamp = on in postgresql.conf and restart the server"},
        {"standby", EXIT_POSTGRES, "the server is a standby", "let the conninfo lead to the primary"},
        {"standby_missing", EXIT_POSTGRES,
         "a standby named in wait_for_standbys is not connected: nothing that commits is published",
         "start it, give its primary_conninfo that application_name, or take it out of the topology"},
        {"standby_behind", EXIT_POSTGRES,
         "a standby named in wait_for_standbys has not flushed what was committed: it is not published",
         "see why the standby does not follow, or take it out of the topology"},
        {"standby_hidden", EXIT_POSTGRES, "the run-time role may not see how far a standby of wait_for_standbys is",
         "run `pangea init`: it grants pg_read_all_stats"},
        {"server_too_old", EXIT_POSTGRES, "the server is older than PostgreSQL 15", "upgrade it"},
        {"sql_ascii", EXIT_POSTGRES, "the database has the encoding SQL_ASCII: its texts have no known meaning",
         "dump it and load it into a database with a real encoding"},
        {"table_unfit", EXIT_USAGE, "a table cannot be replicated as its route says",
         "do what the message names, for the table or in the topology"},
        {"paused", EXIT_DEGRADED, "an operator has paused the agent or an origin", "pangea resume, as the message says"},
        /* the slot and the server behind it */
        {"slot_missing", EXIT_POSTGRES, "the replication slot was dropped, or the server was restored or promoted without it",
         "what was committed since is in no log: " SET_UP_ANEW},
        {"slot_lost", EXIT_POSTGRES, "the server removed WAL that the slot needed (max_slot_wal_keep_size)", SET_UP_ANEW},
        {"slot_active", EXIT_POSTGRES, "another process reads the slot: a second daemon, or a session that has not ended yet",
         "stop the other one (the message names its pid)"},
        {"slot_ahead", EXIT_POSTGRES,
         "the slot's confirmed position is beyond the last record in the log: changes would be missing", SET_UP_ANEW},
        {"publication_missing", EXIT_POSTGRES, "the slot reads WAL from before its publication was made",
         "run `pangea init` for the region"},
        {"publication_younger", EXIT_POSTGRES, "the publication is younger than its slot, and changes were published already",
         "what the slot still holds cannot be decoded: " SET_UP_ANEW},
        {"system_changed", EXIT_POSTGRES, "this is another server, database or slot than the one whose changes are in the log",
         "correct the conninfo; if the region did move, " SET_UP_ANEW},
        {"timeline_changed", EXIT_POSTGRES, "the server was promoted or restored: it may lack transactions that other regions have",
         "compare with `pangea verify`; then " SET_UP_ANEW},
        {"server_behind", EXIT_POSTGRES, "the log holds transactions that this server does not have: a backup or a lagging standby",
         "bring the right server back, or " SET_UP_ANEW},
        {"epoch_behind", EXIT_POSTGRES, "the database knows a lower epoch than the log: a clone or a restored backup",
         "bring the right server back, or " SET_UP_ANEW},
        {"history_changed", EXIT_POSTGRES,
         "the last transaction in the log is not the one this server committed under that id: a restored backup",
         "bring the right server back, or " SET_UP_ANEW},
        {"stream_unreadable", EXIT_POSTGRES, "the replication stream holds what this program does not understand",
         "compare the server's version with the supported ones, and report the message"},
        {"key_not_sent", EXIT_POSTGRES, "the stream does not carry a table's key columns",
         "correct `columns` of the table's route and run `pangea init`"},
        {"identity_unfit", EXIT_POSTGRES, "a table's REPLICA IDENTITY does not give what its route needs",
         "run `pangea init`, or ALTER TABLE .. REPLICA IDENTITY FULL"},
        {"timestamp_gone", EXIT_POSTGRES,
         "a row's commit timestamp was erased (VACUUM FREEZE) while a conflict with it is still possible",
         "UPDATE the row (any column to itself) in the region that names it: the new version stands. `pangea status` warns before"},
        {"invariant", EXIT_RUNTIME, "a check inside pangea failed before anything was written: a bug",
         "report it with the log; restart"},
        /* the logs */
        {"kafka_away", EXIT_KAFKA, "no broker answers", "nothing, if it comes back; else look at brokers and network"},
        {"kafka_login", EXIT_KAFKA, "the broker refuses the login",
         "correct user, password or mechanism in the region's kafka properties"},
        {"kafka_tls", EXIT_KAFKA, "no TLS connection can be made", "look at certificates, their dates and the broker's name"},
        {"kafka_denied", EXIT_KAFKA, "the broker does not allow it",
         "give the client the rights that the message names (kafka-acls.sh)"},
        {"log_recreated", EXIT_KAFKA, "the log's topic was recreated: it begins anew", SET_UP_ANEW},
        {"log_cut", EXIT_KAFKA, "records that were acknowledged are gone from the end of the log", SET_UP_ANEW},
        {"log_damaged", EXIT_KAFKA, "the broker or librdkafka cannot read stored records: a damaged disk",
         "restore the topic from a replica; else " SET_UP_ANEW},
        {"record_too_large", EXIT_KAFKA, "the broker refuses a record for its size",
         "raise the topic's max.message.bytes (kafka-configs.sh --alter), or lower group.max_bytes"},
        {"log_empty", EXIT_KAFKA, "the log has no record though this region has published: the topic was recreated", SET_UP_ANEW},
        {"kafka_trouble", EXIT_KAFKA, "Kafka reports trouble that has no name of its own",
         "see the message; it is tried again by itself"},
        {"kafka_failed", EXIT_KAFKA, "Kafka did not do what a command asked for",
         "see the message; is the broker there, may this client do it?"},
        {"topic_missing", EXIT_KAFKA, "the log's topic does not exist", "run `pangea init` for the region whose log it is"},
        {"topic_unfit", EXIT_KAFKA, "the topic's settings would lose records",
         "change what the message names (kafka-configs.sh --alter)"},
        {"topic_recreated", EXIT_KAFKA, "the topic holds other records than those that were applied", SET_UP_ANEW},
        {"offset_gone", EXIT_KAFKA, "the next record to apply is not in the topic any more: retention passed, or it was recreated",
         SET_UP_ANEW},
        {"mirror_of_itself", EXIT_KAFKA,
         "a mirror would write into the log that it reads: both regions' brokers are one Kafka cluster",
         "remove the link with `mirror: true`, or correct the brokers"},
        {"producer_fatal", EXIT_KAFKA, "librdkafka gave the producer up",
         "it is made anew by itself; if it comes back, look at the brokers"},
        {"record_corrupt", EXIT_RUNTIME, "a record's bytes are damaged or no record of Pangea's",
         "find who else writes to the topic; then " SET_UP_ANEW},
        {"record_damaged", EXIT_RUNTIME, "a record's checksum or layout is wrong",
         "find who else writes to the topic; then " SET_UP_ANEW},
        {"record_version", EXIT_RUNTIME, "a record was written by a newer version of Pangea", "upgrade Pangea here"},
        {"seq_gap", EXIT_RUNTIME, "records are missing between two that are there", SET_UP_ANEW},
        {"region_mismatch", EXIT_RUNTIME, "a log holds records of another region",
         "correct the brokers of the regions in the topology"},
        {"incarnation_changed", EXIT_RUNTIME, "the other region was set up anew", "copy the tables again: " SET_UP_ANEW},
        /* apply */
        {"position_mismatch", EXIT_POSTGRES, "pangea.position and the replication origin's progress differ", SET_UP_ANEW},
        {"clock_skew", EXIT_RUNTIME, "another region's clock is ahead by more than clock.max_skew",
         "set that clock right; the origin goes on by itself as time passes"},
        {"commit_not_visible", EXIT_RUNTIME, "a local commit is in the log and not visible here yet; what rests on it waits",
         "look at the standby that it waits for (synchronous_standby_names); the origin goes on by itself"},
        {"table_missing", EXIT_RUNTIME, "a table that another region wrote does not exist here",
         "create it; the origin goes on by itself"},
        {"column_missing", EXIT_RUNTIME, "a column that another region wrote does not exist here",
         "add it; the origin goes on by itself"},
        {"key_differs", EXIT_RUNTIME, "a table has another key here than in the region that wrote it",
         "give both the same; the origin goes on by itself"},
        {"rule_refused", EXIT_USAGE, "a rule of conflict cannot work on a column of its table: regions would not agree",
         "choose another rule or column, as the message says"},
        {"old_row_missing", EXIT_RUNTIME,
         "an update came without the row that it replaced, and the table's rule needs that: it was written without REPLICA IDENTITY FULL",
         "run `pangea init` in the region that wrote it; then take the rule out of the topology until this origin has gone on"},
        {"delta_not_finite", EXIT_RUNTIME,
         "two concurrent changes of a delta column cannot be added up: NaN or infinity is one of them",
         "take the rule out of the topology, write the row anew, and forbid such values with a CHECK"},
        {"resolver_failed", EXIT_RUNTIME, "the function or plug-in that settles a table's conflicts did not return a row",
         "mend it as the message says; the origin goes on by itself"},
        {"identity_not_full", EXIT_RUNTIME,
         "a table's rule needs the old rows, and a region wrote it without REPLICA IDENTITY FULL",
         "`pangea init` in that region sets it; for what was written before let the table have last_write_wins until the origin has gone on"},
        {"row_refused", EXIT_RUNTIME, "a row cannot be written here: a constraint, a type or a right refuses it",
         "do what the message names; the origin goes on by itself"},
        {"unique_conflict", EXIT_RUNTIME,
         "another row here holds the value of a unique column, and none of the two may wait outside the table (one region writes it, or its rule adds "
         "contributions up)",
         "change one of the two rows; the origin goes on by itself"},
        {"suppressed_full", EXIT_RUNTIME,
         "a million rows wait outside their tables already because others hold their unique values",
         "change or delete rows that pangea.suppressed.held_by names; the origin goes on by itself"},
        /* the command line */
        {"unknown_command", EXIT_USAGE, "there is no command of that name", "`pangea help` lists the commands"},
        {"unknown_option", EXIT_USAGE, "no command has an option of that name",
         "`pangea help` with the command's name lists its options"},
        {"option_not_here", EXIT_USAGE, "the option is another command's",
         "`pangea help` with the command's name lists its options"},
        {"option_clash", EXIT_USAGE, "two of the options, or an option and the region's role, do not go together",
         "leave out what the message names"},
        {"value_missing", EXIT_USAGE, "an option that needs a value came without one", "write the value behind the option"},
        {"bad_value", EXIT_USAGE, "an option or a word has a value that is not possible", "write one that the message names"},
        {"word_missing", EXIT_USAGE, "the command needs another word, or an option that says what to do",
         "add what the message names; `pangea help` with the command's name shows how it is written"},
        {"word_too_many", EXIT_USAGE, "the command takes no further word", "leave it out, or put an option's name before it"},
        {"topology_not_given", EXIT_USAGE, "the command needs the topology, and no file was named",
         "give --topology FILE or set PANGEA_TOPOLOGY"},
        {"topology_refused", EXIT_USAGE, "the topology has errors: each was printed with its place",
         "correct them; `pangea validate FILE` shows them all again"},
        {"region_not_given", EXIT_USAGE, "the command is about one region, and the topology has several",
         "give --region NAME or set PANGEA_REGION"},
        {"unknown_region", EXIT_USAGE, "the topology has no region of that name", "write one that the message names"},
        {"unknown_name", EXIT_USAGE, "there is no key, named stop, metric, check, command or option of that name to explain",
         "look the name up in docs/, or take the one that the message offers"},
        {"unknown_conflict", EXIT_USAGE, "no conflict, or more than one, has an id that begins like that",
         "`pangea conflicts list` shows the ids; write more of its digits"},
        {"no_writer", EXIT_USAGE,
         "no leader can write the decision: it does not answer, is a follower, or did not record the conflict",
         "name another region with --region, or try again when it answers"},
        {"not_confirmed", EXIT_USAGE, "the command takes something away and waits for a yes", "read what it says, then add --yes"},
        {"bad_input", EXIT_USAGE, "a file, a secret, a setting or a value that was given cannot be used",
         "correct what the message names"},
        /* what a command ends with that has no name of its own */
        {"postgres_away", EXIT_POSTGRES, "a region's PostgreSQL cannot be reached, or ended the connection",
         "look at the server, the conninfo and the network"},
        {"postgres_refused", EXIT_POSTGRES, "PostgreSQL refused a statement", "do what the message names"},
        {"failed", EXIT_RUNTIME, "a command could not do its work, for a reason that only the message tells",
         "see the message; try again"},
};
const size_t error_count = sizeof error_table / sizeof *error_table;

const struct error_row *error_find(const char *name)
{
        for (size_t i = 0; i < error_count; i++)
                if (strcmp(error_table[i].name, name) == 0)
                        return &error_table[i];
        return NULL;
}

/* Connections that could not be made or broke: class 08, and 57P, a server that starts or stops. */
static bool connection_lost(const char *sqlstate)
{
        return strncmp(sqlstate, "08", 2) == 0 || strncmp(sqlstate, "57P", 3) == 0;
}

const char *error_name(const struct err *e)
{
        if (error_find(e->name))
                return e->name;
        if (*e->sqlstate)
                return connection_lost(e->sqlstate) ? "postgres_away" : "postgres_refused";
        return e->code == ST_CONFIG ? "bad_input" : "failed";
}

int exit_code_of(const struct err *e)
{
        const struct error_row *r = error_find(e->name);
        if (r)
                return (int)r->exit;
        if (*e->sqlstate)
                return EXIT_POSTGRES;
        switch (e->code) {
        case ST_OK:
        case ST_STOP: return EXIT_DONE;
        case ST_CONFIG: return EXIT_USAGE;
        case ST_RETRY:
        case ST_DATA:
        case ST_FATAL: return EXIT_RUNTIME;
        }
        return EXIT_RUNTIME;
}

void errors_markdown(struct buf *out)
{
        buf_put_str(
                out,
                "# Named stops\n\n<!-- printed from daemon/errors.c; tests/unit/test_daemon_errors.c holds them together (UPDATE=1 "
                "rewrites) -->\n\n"
                "Whatever cannot go on says so by one of these names: in the log (`error=`), in `pangea status` and in the exit code. A stop is\n"
                "judged anew at each start, never remembered. A command that does not do what it was asked says\n"
                "`pangea: NAME: what is wrong` on stderr, or `pangea: COMMAND: NAME: what is wrong` once it had begun.\n\n| name | exit | what it means | what mends it |\n|---|---|---|---|\n");
        for (size_t i = 0; i < error_count; i++)
                buf_printf(out, "| `%s` | %d | %s | %s |\n", error_table[i].name, (int)error_table[i].exit, error_table[i].cause,
                           error_table[i].cure);
}
