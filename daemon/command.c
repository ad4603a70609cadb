#include "daemon/command.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/suggest.h"
#include "daemon/commands.h"
#include "daemon/refuse.h"
#include "postgres/pg.h"

/* ---- the command line ---------------------------------------------------------------------------------------------------------------- */
/* What was probably meant, or where to look. */
static const char *hint(const struct suggestion *s, char room[REFUSE_MEANT])
{
        return s->best ? refuse_meant(s, room) : "; `pangea help` lists what there is";
}

int command_unknown(const char *name)
{
        struct suggestion s = {.written = name};
        for (size_t i = 0; i < command_count; i++)
                suggest_offer(&s, command_table[i].name);
        return refuse("unknown_command", "there is no command '%s'%s", name, hint(&s, (char[REFUSE_MEANT]){0}));
}

static int unknown_option(const char *text)
{
        struct suggestion s = {.written = text + strspn(text, "-")};
        for (size_t i = 0; i < OPT_COUNT; i++)
                suggest_offer(&s, option_table[i].name);
        return refuse("unknown_option", "there is no option '%s'%s", text, hint(&s, (char[REFUSE_MEANT]){0}));
}

static int set_timeout(struct invocation *in, const char *text)
{
        char *end;
        long v = strtol(text, &end, 10);
        if (*end || end == text || v < 1 || v > 86400)
                return refuse("bad_value", "--timeout '%s': seconds are needed, 1 to 86400", text);
        in->timeout_s = (int)v;
        return EXIT_DONE;
}

static int set_number(const char *option, const char *what, const char *text, int64_t *out)
{
        char *end;
        long long v = strtoll(text, &end, 10);
        if (*end || end == text || v < 1 || v > INT32_MAX)
                return refuse("bad_value", "%s '%s': %s is needed, at least 1", option, text, what);
        *out = v;
        return EXIT_DONE;
}

static int set_agent(struct invocation *in, const char *text)
{
        if (strcmp(text, "capture") != 0 && strcmp(text, "apply") != 0)
                return refuse("bad_value", "--agent '%s': it is capture or apply", text);
        in->agent = text;
        return EXIT_DONE;
}

static int set_http(struct invocation *in, const char *text)
{
        struct http_listen at;
        if (strcmp(text, "off") != 0 && !http_listen_parse(text, &at))
                return refuse("bad_value", "--http '%s': an address and a port are needed, such as 127.0.0.1:8301, or off", text);
        in->http = text;
        return EXIT_DONE;
}

static int set_option(struct invocation *in, enum option_id o, const char *arg)
{
        switch (o) {
        case OPT_TOPOLOGY: in->topology_file = arg; break;
        case OPT_REGION: in->region = arg; break;
        case OPT_ADMIN: in->admin = arg; break;
        case OPT_AGENT: return set_agent(in, arg);
        case OPT_HTTP: return set_http(in, arg);
        case OPT_TABLES: in->tables = arg; break;
        case OPT_TIMEOUT: return set_timeout(in, arg);
        case OPT_ORIGIN: in->origin = arg; break;
        case OPT_REASON: in->reason = arg; break;
        case OPT_FORMAT: in->format = arg; break;
        case OPT_MODE: in->mode = arg; break;
        case OPT_APPLY: in->apply = true; break;
        case OPT_JSON: in->json = true; break;
        case OPT_WATCH: in->watch = true; break;
        case OPT_DRY_RUN: in->dry_run = true; break;
        case OPT_KEEP_IDENTITY: in->keep_identity = true; break;
        case OPT_PRINT: in->print = true; break;
        case OPT_YES: in->yes = true; break;
        case OPT_ACCEPT_RULES: in->accept_rules = true; break;
        case OPT_KIND: in->kind = arg; break;
        case OPT_RULE: in->rule = arg; break;
        case OPT_SINCE: return set_number("--since", "seconds", arg, &in->since_s);
        case OPT_LIMIT: return set_number("--limit", "a number of rows", arg, &in->limit);
        case OPT_WAITING: in->waiting = true; break;
        case OPT_TAKE: in->take = true; break;
        case OPT_KEEP: in->keep = true; break;
        case OPT_SET: in->set = arg; break;
        case OPT_DELETE: in->delete = true; break;
        case OPT_ALLOW_PLUGINS: in->allow_plugins = arg; break;
        case OPT_MAN: in->man = true; break;
        case OPT_HELP: break;
        }
        return EXIT_DONE;
}

/* Values above any letter, so that long options are told from short ones. */
#define LONG_BASE 1000

static void getopt_tables(struct option *longs, char *shorts)
{
        size_t n = 0;
        shorts[n++] = ':'; /* a missing argument gives ':', not '?' */
        for (int i = 0; i < OPT_COUNT; i++) {
                const struct option_row *o = &option_table[i];
                longs[i] = (struct option){o->name, o->argument ? required_argument : no_argument, NULL, LONG_BASE + i};
                if (o->letter)
                        shorts[n++] = o->letter;
                if (o->letter && o->argument)
                        shorts[n++] = ':';
        }
        longs[OPT_COUNT] = (struct option){0};
        shorts[n] = 0;
}

static int option_of(int got)
{
        for (int i = 0; i < OPT_COUNT; i++)
                if (got == LONG_BASE + i || got == option_table[i].letter)
                        return i;
        return -1;
}

/* Every option is known to the parser; which of them a command takes is asked once the command is known. */
static int parse_options(int argc, char **argv, struct invocation *in, uint64_t *given)
{
        struct option longs[OPT_COUNT + 1];
        char shorts[2 * OPT_COUNT + 2];
        int got, code = EXIT_DONE;
        getopt_tables(longs, shorts);
        opterr = 0;
        optind = 0;
        while (code == EXIT_DONE && (got = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
                int o = option_of(got);
                if (got == ':')
                        return refuse("value_missing", "%s needs a value", argv[optind - 1]);
                if (o < 0)
                        return unknown_option(argv[optind - 1]);
                *given |= UINT64_C(1) << o;
                code = set_option(in, (enum option_id)o, optarg);
        }
        return code;
}

static const char *from_environment(const char *name)
{
        const char *s = getenv(name);
        return s && *s ? s : NULL;
}

int command_parse(int argc, char **argv, struct invocation *in)
{
        uint64_t given = 0;
        memset(in, 0, sizeof *in);
        in->topology_file = from_environment("PANGEA_TOPOLOGY");
        in->region = from_environment("PANGEA_REGION");
        int code = parse_options(argc, argv, in, &given);
        if (code != EXIT_DONE)
                return code;
        if (optind < argc)
                in->command = command_find(argv[optind]);
        if (optind < argc && !in->command)
                return command_unknown(argv[optind]);
        in->noperands = optind < argc ? argc - optind - 1 : 0;
        in->operands = argv + optind + 1;
        if (given & (UINT64_C(1) << OPT_HELP)) {
                in->operands = argv + optind;
                in->noperands = optind < argc ? 1 : 0;
                in->command = command_find("help");
                return EXIT_DONE;
        }
        if (!in->command) {
                in->command = command_find("help");
                return EXIT_USAGE;
        }
        uint64_t taken = in->command->options;
        if (taken & (UINT64_C(1) << OPT_TOPOLOGY)) /* scripts give both to every command; those of all regions need no region */
                taken |= UINT64_C(1) << OPT_REGION;
        for (unsigned i = 0; i < OPT_COUNT; i++)
                if ((given & ~taken) & (UINT64_C(1) << i))
                        return refuse("option_not_here", "%s has no option --%s; `pangea help %s` shows those it has",
                                      in->command->name, option_table[i].name, in->command->name);
        if (in->noperands > in->command->operands)
                return refuse("word_too_many", "one word too many: '%s'; `pangea help %s` shows how it is written",
                              in->operands[in->command->operands], in->command->name);
        return EXIT_DONE;
}

int command_main(int argc, char **argv)
{
        struct invocation in;
        int code = command_parse(argc, argv, &in);
        if (code == EXIT_USAGE && in.command && strcmp(in.command->name, "help") == 0 && in.noperands == 0) {
                struct buf out; /* `pangea` alone: the overview, as an error */
                code = refuse("word_missing", "which command? These are there");
                buf_init(&out, 1u << 16);
                commands_overview(&out);
                fputs(buf_cstr(&out), stderr);
                buf_release(&out);
                return code;
        }
        return code == EXIT_DONE ? in.command->run(&in) : code;
}

/* ---- what commands share ------------------------------------------------------------------------------------------------------------- */
struct topology *invocation_topology(const struct invocation *in, int *code)
{
        struct topology *t = NULL;
        struct buf errors;
        *code = EXIT_DONE;
        if (!in->topology_file) {
                *code = refuse("topology_not_given", "which topology? Give --topology FILE or set PANGEA_TOPOLOGY");
                return NULL;
        }
        buf_init(&errors, 1u << 20);
        if (topology_load(in->topology_file, &t, &errors) != ST_OK) {
                const char *text = buf_cstr(&errors);
                fprintf(stderr, "%s%s", text, errors.len && text[errors.len - 1] == '\n' ? "" : "\n");
                *code = refuse("topology_refused", "%s cannot be used: see above", in->topology_file);
                t = NULL;
        }
        buf_release(&errors);
        return t;
}

const struct region *invocation_region(const struct invocation *in, const struct topology *t, int *code)
{
        *code = EXIT_DONE;
        if (!in->region && t->nregions == 1)
                return &t->regions[0];
        const struct region *r = in->region ? topology_region(t, in->region) : NULL;
        if (r)
                return r;
        struct suggestion s = {.written = in->region ? in->region : ""};
        struct buf names;
        buf_init(&names, 1u << 20);
        for (size_t i = 0; i < t->nregions; i++) {
                if (in->region)
                        suggest_offer(&s, t->regions[i].name);
                buf_printf(&names, "%s%s", i ? ", " : "", t->regions[i].name);
        }
        if (in->region)
                *code = refuse("unknown_region", "there is no region '%s' in %s%s; it has %s", in->region, t->file,
                               refuse_meant(&s, (char[REFUSE_MEANT]){0}), buf_cstr(&names));
        else
                *code = refuse("region_not_given", "which region? Give --region NAME or set PANGEA_REGION; there are %s",
                               buf_cstr(&names));
        buf_release(&names);
        return NULL;
}

struct topology *invocation_regions(const struct invocation *in, const struct region **only, int *code)
{
        struct topology *t = invocation_topology(in, code);
        *only = t && in->region ? invocation_region(in, t, code) : NULL;
        if (!t || !in->region || *only)
                return t;
        topology_free(t);
        return NULL;
}

enum status region_connect(const struct region *r, const char *what, struct pg **out, struct err *e)
{
        return region_connect_within(r, what, 0, out, e);
}

enum status region_connect_within(const struct region *r, const char *what, int timeout_s, struct pg **out, struct err *e)
{
        char *password = NULL, name[64];
        *out = NULL;
        enum status st = region_password(r, &password, e);
        if (st != ST_OK)
                return err_wrap(e, "region %s", r->name);
        snprintf(name, sizeof name, "pangea %s", what);
        struct pg_opts o = {.conninfo = r->conninfo,
                            .password = password,
                            .application_name = name,
                            .session = PG_PLAIN,
                            .connect_timeout_s = timeout_s};
        st = pg_open(out, &o, e);
        free(password);
        if (st != ST_OK && st != ST_CONFIG && e &&
            !*e->sqlstate) /* a connection that libpq could not make has none: 08001 says just that */
                snprintf(e->sqlstate, sizeof e->sqlstate, "08001");
        return st == ST_OK ? ST_OK : err_wrap(e, "region %s", r->name);
}
