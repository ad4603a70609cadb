#include "daemon/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "daemon/shell.h"

#define BIT(o) (UINT64_C(1) << (o))
#define WHERE (BIT(OPT_TOPOLOGY) | BIT(OPT_REGION))

const struct option_row option_table[OPT_COUNT] = {
        [OPT_TOPOLOGY] = {"topology", "FILE", "the topology; else PANGEA_TOPOLOGY", 't'},
        [OPT_REGION] = {"region", "NAME", "the region; else PANGEA_REGION", 'r'},
        [OPT_ADMIN] = {"admin", "CONNINFO", "a connection that may grant, for what the run-time role may not", 0},
        [OPT_AGENT] = {"agent", "capture|apply", "only this agent", 0},
        [OPT_HTTP] = {"http", "ADDRESS:PORT|off", "listen there instead of where the topology says", 0},
        [OPT_TABLES] = {"tables", "PATTERN[,PATTERN]", "only these tables, such as public.*", 0},
        [OPT_TIMEOUT] = {"timeout", "SECONDS", "give up after so long", 0},
        [OPT_ORIGIN] = {"origin", "NAME", "only what apply gets from this region", 0},
        [OPT_REASON] = {"reason", "TEXT", "why, for whoever looks at the status", 0},
        [OPT_FORMAT] = {"format", "table|ascii|mermaid|dot|svg", "how it is drawn", 0},
        [OPT_MODE] = {"mode", "interleave|ranges", "how numbers are kept apart; else interleave", 0},
        [OPT_APPLY] = {"apply", NULL, "do it; without this it is only shown", 0},
        [OPT_JSON] = {"json", NULL, "one JSON value on stdout", 0},
        [OPT_WATCH] = {"watch", NULL, "again every second, until Ctrl-C", 'w'},
        [OPT_DRY_RUN] = {"dry-run", NULL, "print every statement, run none", 'n'},
        [OPT_KEEP_IDENTITY] = {"keep-identity", NULL, "name the tables that need another REPLICA IDENTITY, change none", 0},
        [OPT_PRINT] = {"print", NULL, "print the effective topology, secrets masked", 0},
        [OPT_YES] = {"yes", NULL, "do it without asking", 'y'},
        [OPT_ACCEPT_RULES] = {"accept-rules", NULL, "take rules of conflict that need a quiet table: it is quiet", 0},
        [OPT_KIND] = {"kind", "KIND", "only this kind of conflict, such as update_deleted", 0},
        [OPT_RULE] = {"rule", "RULE", "only what this rule settled", 0},
        [OPT_SINCE] = {"since", "SECONDS", "only what is not older", 0},
        [OPT_LIMIT] = {"limit", "N", "at most so many (100)", 0},
        [OPT_WAITING] = {"waiting", NULL, "what is not settled: concurrent versions, rows that wait for a unique value", 0},
        [OPT_TAKE] = {"take", NULL, "the version that lost becomes the row", 0},
        [OPT_KEEP] = {"confirm", NULL, "the row that stands is written once more: it is the decision", 0},
        [OPT_SET] = {"set", "JSON", "these columns get these values: '{\"qty\": 3}'", 0},
        [OPT_DELETE] = {"delete", NULL, "the row is deleted", 0},
        [OPT_ALLOW_PLUGINS] = {"allow-plugins", "DIR", "load plug-ins that settle conflicts from this folder", 0},
        [OPT_MAN] = {"man", NULL, "as a manual page, for man -l -", 0},
        [OPT_HELP] = {"help", NULL, "explain the command", 'h'},
};

const struct command command_table[] = {
        {.name = "init",
         .synopsis = "init [--region NAME] [--admin CONNINFO] [--dry-run] [--keep-identity] [--json]",
         .line = "prepare a region's database and Kafka",
         .help = "Prepares the named region, or every region of the topology: rights, schema pangea, REPLICA IDENTITY where it is needed,\n"
                 "publication, replication slot, replication origins, topic. What is there already is left alone, so it may be run again at any\n"
                 "time, also in all regions at once. It checks everything before it touches anything.\n"
                 "Rows that are in the tables before init are common ground: they must be the same in every region. What commits after init is\n"
                 "captured, whenever `pangea run` first starts.\n"
                 "--admin gives a connection of a superuser (or of whoever may grant) for the few statements that the run-time role may not run;\n"
                 "without it they are printed for a DBA. --dry-run prints all statements and runs none.",
         .options = WHERE | BIT(OPT_ADMIN) | BIT(OPT_DRY_RUN) | BIT(OPT_KEEP_IDENTITY) | BIT(OPT_JSON),
         .exits = "4 PostgreSQL is not ready or lacks rights; 5 Kafka. A table that waits is named and no error",
         .run = cmd_init},
        {.name = "run",
         .synopsis = "run --region NAME [--agent capture|apply] [--http ADDRESS:PORT|off] [--accept-rules] [--allow-plugins DIR]",
         .line = "run a region's agents",
         .help = "Runs the capture agent (in a leader) and the apply agent of one region, until it is told to stop. It logs to stderr: text on a\n"
                 "terminal, JSON lines otherwise. PostgreSQL and Kafka may come and go meanwhile.\n"
                 "The first run of a region compares the regions once, in the background, and logs the tables that differ (first.differs).\n"
                 "SIGTERM or SIGINT: finishes what is begun and exits 0 within drain_timeout; a second one leaves at once (nothing is lost).\n"
                 "SIGHUP: reads the topology again; one that is not valid is refused and the old one stays.\n"
                 "With `http` in the region's part of the topology it answers there (docs/http.md). Two processes of one region, one for each\n"
                 "agent, need an address each: --http.\n"
                 "--accept-rules: a table's rule changes from or to delta, union, json_merge or column_merge; nobody writes to it in any region,\n"
                 "and everything was stable (status says so).\n"
                 "--allow-plugins: rules `plugin` may load shared objects from this folder; the folder and the files must belong to root or to the\n"
                 "user of the daemon, and nobody else may write to them.",
         .options = WHERE | BIT(OPT_AGENT) | BIT(OPT_HTTP) | BIT(OPT_ACCEPT_RULES) | BIT(OPT_ALLOW_PLUGINS),
         .exits = "4 or 5 an agent stopped by name and was the only one left; 7 drain_timeout passed",
         .run = cmd_run},
        {.name = "status",
         .synopsis = "status [--json] [--watch]",
         .line = "show what every region does and waits for",
         .help = "Shows for every region its state, since when, why, and what to do next; for every pair of regions the lag in seconds, records and\n"
                 "bytes (all of the log that is not applied), and what it waits for. It reads what the daemons keep in their databases, and works without them (saying so).",
         .options = BIT(OPT_TOPOLOGY) | BIT(OPT_JSON) | BIT(OPT_WATCH),
         .exits = "3 something has stopped, waits or cannot be reached",
         .run = cmd_status},
        {.name = "lag",
         .synopsis = "lag [--json] [--watch]",
         .line = "show how far every region is behind every leader",
         .help = "A row for each leader, a column for each region that applies its changes: how old the newest change is that has been applied there\n"
                 "(0.1 s or so when nothing waits), and the state when it is not running. Below it stands why. Records and bytes of each pair: pangea status, or --json. Bytes are those\n"
                 "of records that are in the log and not applied: counted where they were read, else taken to be as large as those read last.",
         .options = BIT(OPT_TOPOLOGY) | BIT(OPT_JSON) | BIT(OPT_WATCH),
         .exits = "3 one of them is not known, waits or has stopped",
         .run = cmd_lag},
        {.name = "verify",
         .synopsis = "verify [--tables PATTERN[,PATTERN]] [--timeout SECONDS] [--json]",
         .line = "compare all regions, row by row",
         .help = "Waits until every region has applied what was committed before, then compares every replicated table between all regions and\n"
                 "names the first keys that differ. Rows that are being written are read again until they agree or the time is out.",
         .options = BIT(OPT_TOPOLOGY) | BIT(OPT_TABLES) | BIT(OPT_TIMEOUT) | BIT(OPT_JSON),
         .exits = "4 a region cannot be read; 6 tables differ; 7 the regions did not come to rest in time",
         .run = cmd_verify},
        {.name = "doctor",
         .synopsis = "doctor [--region NAME] [--json]",
         .line = "look for what will not work, before and while running",
         .help = "Looks at every region's server, rights, tables, clock and Kafka, and compares the regions: settings, slots, REPLICA IDENTITY,\n"
                 "unique and foreign keys, sequences that will collide, triggers, row level security, freeze age, topics, versions. Each finding\n"
                 "says what was found, why it matters, and the command that mends it. It changes nothing, and works before `init` as well as while\n"
                 "the daemons run. With --region it looks at that region only, and compares nothing. docs/doctor.md lists the checks.",
         .options = WHERE | BIT(OPT_JSON),
         .exits = "3 an error or a warning was found (notes do not count)",
         .run = cmd_doctor},
        {.name = "conflicts",
         .synopsis =
                 "conflicts list [--waiting] | show ID | resolve ID --take|--confirm|--set JSON|--delete [--dry-run] | stats\n"
                 "                 [--region NAME] [--tables PATTERN] [--kind KIND] [--rule RULE] [--since SECONDS] [--limit N] [--json]",
         .line = "show what lost against what, and undo a decision",
         .help = "list: the versions that a rule discarded, of all regions, newest first; --waiting: what is not settled yet.\n"
                 "show ID: one of them, both rows side by side, and what stands in every region now.\n"
                 "resolve ID: a decision, as an ordinary change that comes after all versions of the conflict: --take the version that lost,\n"
                 "--confirm the row that stands, --set some columns, or --delete the row. It is written in --region, else in the first leader\n"
                 "that recorded the conflict. --dry-run prints the statement.\n"
                 "stats: how many, by table, kind and rule.",
         .options = WHERE | BIT(OPT_TABLES) | BIT(OPT_KIND) | BIT(OPT_RULE) | BIT(OPT_SINCE) | BIT(OPT_LIMIT) | BIT(OPT_WAITING) |
                    BIT(OPT_TAKE) | BIT(OPT_KEEP) | BIT(OPT_SET) | BIT(OPT_DELETE) | BIT(OPT_JSON) | BIT(OPT_DRY_RUN),
         .exits = "3 a region does not answer (the others are shown); 4 PostgreSQL",
         .operands = 2,
         .words = "list show resolve stats",
         .run = cmd_conflicts},
        {.name = "pause",
         .synopsis = "pause --region NAME [--agent capture|apply] [--origin NAME] [--reason TEXT] [--dry-run] [--json]",
         .line = "hold a region's agents, or one origin in a region, until resume",
         .help = "The agents of a region do nothing until `pangea resume`: capture publishes nothing, apply writes nothing to tables. With --agent only\n"
                 "that one; with --origin only the changes that another region wrote are not applied here (those that need them wait too). They\n"
                 "obey within a second, also when they are started later: it is kept in the region's database, with who paused it, when and why, and\n"
                 "status shows that. Nothing is lost: a paused capture's slot keeps WAL, the other regions' logs keep what a paused apply has not\n"
                 "applied. While capture is paused, changes that meet rows written here since then wait.",
         .options = WHERE | BIT(OPT_AGENT) | BIT(OPT_ORIGIN) | BIT(OPT_REASON) | BIT(OPT_DRY_RUN) | BIT(OPT_JSON),
         .exits = "4 PostgreSQL",
         .run = cmd_pause},
        {.name = "resume",
         .synopsis = "resume --region NAME [--agent capture|apply] [--origin NAME] [--dry-run] [--json]",
         .line = "let what was paused go on",
         .help = "Ends what `pangea pause` began: everything in the region, or with --agent or --origin only that.",
         .options = WHERE | BIT(OPT_AGENT) | BIT(OPT_ORIGIN) | BIT(OPT_DRY_RUN) | BIT(OPT_JSON),
         .exits = "4 PostgreSQL",
         .run = cmd_resume},
        {.name = "sequences",
         .synopsis = "sequences [--mode interleave|ranges] [--apply] [--dry-run] [--json]",
         .line = "keep the numbers of several leaders apart",
         .help = "Sequences are not replicated: two leaders that number the rows of one table by themselves give one number twice, and one of the\n"
                 "two rows is lost as a conflict. This looks at every sequence and identity column behind a unique key of a table that several\n"
                 "leaders write, says which will collide, and plans what keeps them apart, above every number that any region has given or holds:\n"
                 "interleave lets n leaders count in steps of n from different numbers (two leaders: odd and even); ranges gives each leader a part of\n"
                 "what is left. Those that keep apart already are left alone, so it may be run again at any time, as after a new leader.\n"
                 "It prints the statements; --apply runs them, sequence by sequence: nobody gets a number of that sequence meanwhile, in no region.\n"
                 "Numbers that a session has taken ahead (CACHE) stay valid. --dry-run is what it does without --apply.",
         .options = BIT(OPT_TOPOLOGY) | BIT(OPT_MODE) | BIT(OPT_APPLY) | BIT(OPT_DRY_RUN) | BIT(OPT_JSON),
         .exits = "3 some collide (and were not kept apart); 4 PostgreSQL",
         .run = cmd_sequences},
        {.name = "event",
         .synopsis = "event decode [FILE | OFFSET [COUNT]] [--region NAME]",
         .line = "print records of a log, readable",
         .help = "Prints log records as JSON, one a line: from FILE (- or nothing: stdin), or from the log of --region at OFFSET.",
         .options = WHERE,
         .exits = "5 Kafka",
         .operands = 3,
         .words = "decode",
         .run = cmd_event},
        {.name = "validate",
         .synopsis = "validate [FILE] [--print] [--json]",
         .line = "check a topology file",
         .help = "Reads and checks a topology without asking any server, and names every error at once, each with file, line and column.\n"
                 "--print shows the effective topology with every default, secrets masked.",
         .options = BIT(OPT_TOPOLOGY) | BIT(OPT_PRINT) | BIT(OPT_JSON),
         .exits = "",
         .operands = 1,
         .run = cmd_validate},
        {.name = "topology",
         .synopsis = "topology [--format table|ascii|mermaid|dot|svg] [--json]",
         .line = "show who sends what to whom",
         .help = "Reads the topology and shows regions, routes and links: as a table, as a drawing of plain characters, for Mermaid (Markdown pages),\n"
                 "for Graphviz (dot -Tpng), or as SVG. It asks no server; what the regions do now is shown by status and lag.",
         .options = BIT(OPT_TOPOLOGY) | BIT(OPT_FORMAT) | BIT(OPT_JSON),
         .exits = "",
         .run = cmd_topology},
        {.name = "explain",
         .synopsis = "explain KEY [--json]",
         .line = "explain a key of the topology, a named stop, a metric, a check, a command or an option",
         .help = "Prints the documentation of a name that stands in a message, a log or the topology: a key (regions.us.role, or just role), a named\n"
                 "stop (slot_lost), a metric, a check of doctor, a command, an option (watch).",
         .options = BIT(OPT_JSON),
         .exits = "",
         .operands = 1,
         .run = cmd_explain},
        {.name = "deinit",
         .synopsis = "deinit --region NAME [--admin CONNINFO] [--dry-run] [--json] --yes",
         .line = "take out of a region everything that init put there",
         .help = "Drops the region's publication, replication slot, replication origins, schema pangea and topic; tables and their rows stay, and so\n"
                 "does the REPLICA IDENTITY that init set. The daemon must be stopped. Without --yes it says what it would do. The other regions lose\n"
                 "this region's log: what they have not applied yet is gone, so let them catch up first.",
         .options = WHERE | BIT(OPT_ADMIN) | BIT(OPT_YES) | BIT(OPT_DRY_RUN) | BIT(OPT_JSON),
         .exits = "4 PostgreSQL (also: the slot is in use); 5 Kafka",
         .run = cmd_deinit},
        {.name = "completion",
         .synopsis = "completion bash|zsh|fish",
         .line = "print completions for a shell",
         .help = "Prints a script that completes commands, options and the names of regions (of PANGEA_TOPOLOGY).\n"
                 "bash: source <(pangea completion bash); zsh: pangea completion zsh > a folder of fpath/_pangea;\n"
                 "fish: pangea completion fish > ~/.config/fish/completions/pangea.fish. `make install` installs all three.",
         .options = 0,
         .exits = "",
         .operands = 1,
         .words = "bash zsh fish",
         .run = cmd_completion},
        {.name = "help",
         .synopsis = "help [COMMAND] [--man]",
         .line = "explain a command",
         .help = "Explains a command, or lists them all. With --man as the manual page that `make install` installs.",
         .options = BIT(OPT_MAN),
         .exits = "",
         .operands = 1,
         .run = cmd_help},
        {.name = "version",
         .synopsis = "version [--json]",
         .line = "print the version",
         .help = "Prints the version.",
         .options = BIT(OPT_JSON),
         .exits = "",
         .run = cmd_version},
};
const size_t command_count = sizeof command_table / sizeof *command_table;

static const char exit_codes[] =
        "0 done, 1 runtime error, 2 usage or configuration, 3 degraded, 4 PostgreSQL, 5 Kafka, 6 regions differ, 7 time-out";

const struct command *command_find(const char *name)
{
        for (size_t i = 0; i < command_count; i++)
                if (strcmp(command_table[i].name, name) == 0)
                        return &command_table[i];
        return NULL;
}

static void option_text(const struct option_row *o, struct buf *out)
{
        if (o->letter)
                buf_printf(out, "-%c, ", o->letter);
        buf_printf(out, "--%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
}

void command_help(const struct command *c, struct buf *out)
{
        buf_printf(out, "usage: pangea %s\n\n%s\n", c->synopsis, c->help);
        for (unsigned i = 0; i < OPT_COUNT; i++) {
                struct buf text;
                if (i != OPT_HELP && !(c->options & BIT(i)))
                        continue;
                buf_init(&text, 256);
                option_text(&option_table[i], &text);
                buf_printf(out, "%s  %-28s %s\n", i == OPT_TOPOLOGY || !(c->options & (BIT(i) - 1)) ? "\n" : "", buf_cstr(&text),
                           option_table[i].line);
                buf_release(&text);
        }
        buf_printf(out, "\nExit codes: 0 done, 1 runtime error, 2 usage or configuration%s%s.\n", *c->exits ? "; " : "", c->exits);
}

void commands_overview(struct buf *out)
{
        buf_put_str(
                out,
                "usage: pangea COMMAND [OPTION]..\n\nPangea keeps one PostgreSQL database writable in every region at once.\n\n");
        for (size_t i = 0; i < command_count; i++)
                buf_printf(out, "  %-10s %s\n", command_table[i].name, command_table[i].line);
        buf_printf(out, "\n`pangea help COMMAND` explains one. Exit codes: %s.\n", exit_codes);
}

void commands_markdown(struct buf *out)
{
        buf_put_str(out, "# Commands\n\n<!-- printed from daemon/commands.c; tests/unit/test_daemon_commands.c holds them together "
                         "(UPDATE=1 rewrites) -->\n\n");
        buf_printf(out, "Data goes to stdout, everything else to stderr. Exit codes: %s.\n", exit_codes);
        for (size_t i = 0; i < command_count; i++) {
                const struct command *c = &command_table[i];
                buf_printf(out, "\n## pangea %s\n\n```\npangea %s\n```\n\n%s\n\n", c->name, c->synopsis, c->help);
                for (unsigned o = 0; o < OPT_HELP; o++) {
                        if (!(c->options & BIT(o)))
                                continue;
                        buf_put_str(out, "- `");
                        option_text(&option_table[o], out);
                        buf_printf(out, "`: %s\n", option_table[o].line);
                }
                if (*c->exits)
                        buf_printf(out, "%sExit codes beyond 0, 1 and 2: %s.\n", c->options ? "\n" : "", c->exits);
        }
}

int cmd_help(struct invocation *in)
{
        struct buf out;
        const struct command *c = in->noperands ? command_find(in->operands[0]) : NULL;
        if (in->noperands && !c) {
                return command_unknown(in->operands[0]);
        }
        buf_init(&out, 1u << 16);
        if (in->man)
                man_page(c, &out);
        else if (c)
                command_help(c, &out);
        else
                commands_overview(&out);
        fputs(buf_cstr(&out), stdout);
        buf_release(&out);
        return EXIT_DONE;
}

int cmd_version(struct invocation *in)
{
        puts(in->json ? "{\"version\": \"" PANGEA_VERSION "\"}" : "pangea " PANGEA_VERSION);
        return EXIT_DONE;
}
