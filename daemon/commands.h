/* commands: the table behind daemon/command.h: dispatch, help and docs/commands.md are all printed from it.  Main thread. */
#ifndef PANGEA_DAEMON_COMMANDS_H
#define PANGEA_DAEMON_COMMANDS_H

#include "base/buf.h"
#include "daemon/command.h"

enum option_id {
        OPT_TOPOLOGY,
        OPT_REGION,
        OPT_ADMIN,
        OPT_AGENT,
        OPT_HTTP,
        OPT_TABLES,
        OPT_TIMEOUT,
        OPT_ORIGIN,
        OPT_REASON,
        OPT_FORMAT,
        OPT_MODE,
        OPT_APPLY,
        OPT_JSON,
        OPT_WATCH,
        OPT_DRY_RUN,
        OPT_KEEP_IDENTITY,
        OPT_PRINT,
        OPT_YES,
        OPT_ACCEPT_RULES,
        OPT_KIND,
        OPT_RULE,
        OPT_SINCE,
        OPT_LIMIT,
        OPT_WAITING,
        OPT_TAKE,
        OPT_KEEP,
        OPT_SET,
        OPT_DELETE,
        OPT_ALLOW_PLUGINS,
        OPT_MAN,
        OPT_HELP,
};
enum { OPT_COUNT = OPT_HELP + 1 };
_Static_assert(OPT_COUNT <= 64, "a command's options are bits of an uint64_t");

struct option_row {
        const char *name, *argument, *line; /* argument NULL: a switch */
        char letter;                        /* 0: none */
};

struct command {
        const char *name, *synopsis, *line, *help;
        int operands;      /* how many it takes at most */
        const char *words; /* what the first one may be, for completion; NULL: anything */
        uint64_t options;  /* bit per option_id; --help always */
        const char *exits; /* what its exit codes say, beyond 0, 1 and 2 */
        int (*run)(struct invocation *in);
};

extern const struct option_row option_table[OPT_COUNT];
extern const struct command command_table[];
extern const size_t command_count;

/* NULL when there is none of this name. */
const struct command *command_find(const char *name);
/* Says so on stderr, with what was probably meant; EXIT_USAGE. */
int command_unknown(const char *name);
/* Reads the command line (environment included) and runs the command. */
int command_main(int argc, char **argv);
/* Fills *in; EXIT_DONE, or EXIT_USAGE with a message on stderr. */
int command_parse(int argc, char **argv, struct invocation *in);
void command_help(const struct command *c, struct buf *out);
void commands_overview(struct buf *out);
/* docs/commands.md */
void commands_markdown(struct buf *out);

#endif
