#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon/errors.h"
#include "daemon/init.h"
#include "daemon/refuse.h"

/* report: its entry is appended there; NULL: none is wanted. */
static int one_region(const struct invocation *in, const struct topology *t, const struct region *r, json_t *report)
{
        struct buf sql;
        struct init i = {.t = t, .r = r, .dry_run = in->dry_run, .keep_identity = in->keep_identity};
        struct err e = {0};
        if (report)
                init_report_begin(&i, &sql);
        enum status st = init_open(&i, in->admin, &e);
        if (st == ST_OK)
                st = init_region(&i, &e);
        init_close(&i);
        if (report)
                json_array_append_new(report, init_report_end(&i, st == ST_OK ? NULL : &e));
        if (st == ST_OK) {
                if (!in->dry_run)
                        fprintf(stderr, "%s: ready\n", r->name);
                return EXIT_DONE;
        }
        return refuse_for("init", &e);
}

int cmd_init(struct invocation *in)
{
        int code, worst = EXIT_DONE;
        const struct region *only;
        struct topology *t = invocation_regions(in, &only, &code);
        if (!t)
                return code;
        if (in->admin && !only && t->nregions > 1) {
                topology_free(t);
                return refuse("region_not_given", "--admin is a connection to one database: give --region too");
        }
        json_t *report = in->json ? json_array() : NULL;
        signal(SIGPIPE, SIG_IGN);
        log_setup(t->cluster, only ? only->name : "", LOG_WARN, !isatty(STDERR_FILENO));
        for (size_t k = 0; k < t->nregions; k++) {
                if (only && only != &t->regions[k])
                        continue;
                code = one_region(in, t, &t->regions[k], report);
                worst = worst ? worst : code;
        }
        if (report) {
                json_t *o = json_pack("{s:s, s:o}", "cluster", t->cluster, "regions", report);
                json_dumpf(o, stdout, JSON_INDENT(2));
                puts("");
                json_decref(o);
        }
        topology_free(t);
        return worst;
}
