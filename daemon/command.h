/* command: the command table of `pangea`: one row feeds dispatch, help, man pages and documentation.
 * A command gets the parsed invocation and returns an exit code; data goes to stdout, everything else to stderr. */
#ifndef PANGEA_DAEMON_COMMAND_H
#define PANGEA_DAEMON_COMMAND_H

#include "topology/topology.h"

enum exit_code {
        EXIT_DONE = 0,
        EXIT_RUNTIME = 1,
        EXIT_USAGE = 2, /* usage or configuration */
        EXIT_DEGRADED = 3,
        EXIT_POSTGRES = 4,
        EXIT_KAFKA = 5,
        EXIT_DIVERGED = 6,
        EXIT_TIMEOUT = 7,
};

struct invocation {
        const struct command *command;
        const char *topology_file; /* --topology or PANGEA_TOPOLOGY; NULL when not given */
        const char *region;        /* --region or PANGEA_REGION; NULL when not given */
        bool json, watch, dry_run, keep_identity, print, yes, accept_rules;
        const char *admin;                /* --admin CONNINFO */
        const char *agent;                /* --agent capture|apply */
        const char *tables;               /* --tables PATTERN[,PATTERN] of verify */
        const char *kind, *rule, *set;    /* of conflicts */
        bool waiting, take, keep, delete; /* of conflicts */
        int64_t since_s, limit;           /* of conflicts; 0 = not said */
        int timeout_s;                    /* --timeout SECONDS, 0 = the command's default */
        const char *format;               /* --format of topology */
        const char *http;                 /* --http ADDRESS:PORT | off */
        const char *mode;                 /* --mode of sequences */
        bool apply;                       /* --apply */
        const char *allow_plugins;        /* --allow-plugins DIR */
        const char *origin;               /* --origin of pause and resume */
        const char *reason;               /* --reason */
        bool man;                         /* --man of help */
        int noperands;
        char **operands;
};

int cmd_init(struct invocation *in);
int cmd_deinit(struct invocation *in);
int cmd_run(struct invocation *in);
int cmd_status(struct invocation *in);
int cmd_verify(struct invocation *in);
int cmd_doctor(struct invocation *in);
int cmd_conflicts(struct invocation *in);

int cmd_lag(struct invocation *in);
int cmd_topology(struct invocation *in);
int cmd_explain(struct invocation *in);
int cmd_sequences(struct invocation *in);
int cmd_pause(struct invocation *in);
int cmd_resume(struct invocation *in);
int cmd_completion(struct invocation *in);
int cmd_event(struct invocation *in);
int cmd_validate(struct invocation *in);
int cmd_help(struct invocation *in);
int cmd_version(struct invocation *in);

/* Loads --topology (printing every error to stderr); NULL with *code set when it cannot. */
struct topology *invocation_topology(const struct invocation *in, int *code);
/* The region of --region (or, in a topology with one region, that one); NULL with a message and *code set. */
const struct region *invocation_region(const struct invocation *in, const struct topology *t, int *code);
/* For commands about all regions, or about that of --region alone: the topology; *only is the one, NULL: all of them. */
struct topology *invocation_regions(const struct invocation *in, const struct region **only, int *code);
/* The exit code for an error: by its name (table of named stops), SQLSTATE, or status. */
int exit_code_of(const struct err *e);

/* A plain connection to a region's database, application_name "pangea <what>". */
struct pg;
MUSTCHECK enum status region_connect(const struct region *r, const char *what, struct pg **out, struct err *e);
/* The same with a time limit in seconds for the connection; 0 = 10. */
MUSTCHECK enum status region_connect_within(const struct region *r, const char *what, int timeout_s, struct pg **out,
                                            struct err *e);

#endif
