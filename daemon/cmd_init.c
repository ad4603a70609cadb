#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/errors.h"
#include "daemon/init.h"

static int one_region(const struct invocation *in, const struct topology *t, const struct region *r)
{
        struct init i = {.t = t, .r = r, .dry_run = in->dry_run, .keep_identity = in->keep_identity};
        struct err e = {0};
        enum status st = init_open(&i, in->admin, &e);
        if (st == ST_OK)
                st = init_region(&i, &e);
        init_close(&i);
        if (st == ST_OK) {
                if (!in->dry_run)
                        fprintf(stderr, "%s: ready\n", r->name);
                return EXIT_DONE;
        }
        fprintf(stderr, "pangea: init: %s%s%s\n", *e.name ? e.name : "", *e.name ? ": " : "", e.msg);
        int code = exit_code_of(&e);
        return code ? code : EXIT_RUNTIME;
}

int cmd_init(struct invocation *in)
{
        int code, worst = EXIT_DONE;
        const struct region *only = NULL;
        struct topology *t = invocation_topology(in, &code);
        if (!t)
                return code;
        if (in->region && !(only = invocation_region(in, t, &code))) {
                topology_free(t);
                return code;
        }
        if (in->admin && !only && t->nregions > 1) {
                fprintf(stderr, "pangea: --admin is a connection to one database: give --region too\n");
                topology_free(t);
                return EXIT_USAGE;
        }
        signal(SIGPIPE, SIG_IGN);
        log_setup(t->cluster, only ? only->name : "", LOG_WARN, !isatty(STDERR_FILENO));
        for (size_t k = 0; k < t->nregions; k++) {
                if (only && only != &t->regions[k])
                        continue;
                code = one_region(in, t, &t->regions[k]);
                worst = worst ? worst : code;
        }
        topology_free(t);
        return worst;
}
