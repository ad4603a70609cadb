#include <stdio.h>

#include "config/problem.h"
#include "daemon/command.h"
#include "daemon/refuse.h"

/* pangea validate FILE: reads the topology as `run` would, without connecting anywhere. */

static void print_json(const struct topology *t, const struct problems *p, bool effective)
{
        struct buf out;
        buf_init(&out, 0);
        buf_printf(&out, "{\"ok\":%s,\"errors\":", t ? "true" : "false");
        problems_print_json(p, false, &out);
        buf_put_str(&out, ",\"warnings\":");
        problems_print_json(p, true, &out);
        if (t && effective) {
                buf_put_str(&out, ",\"topology\":");
                topology_print_json(t, &out);
        }
        buf_put_str(&out, "}\n");
        fputs(buf_cstr(&out), stdout);
        buf_release(&out);
}

static void print_text(const struct topology *t, const struct problems *p, bool effective)
{
        struct buf said, out;
        buf_init(&said, 0);
        buf_init(&out, 0);
        problems_print(p, true, &said);
        fputs(buf_cstr(&said), stderr);
        if (t && effective)
                topology_print(t, &out);
        else if (t)
                buf_printf(&out, "%s: ok: cluster %s, %zu region%s, %zu route%s\n", t->file, t->cluster, t->nregions,
                           t->nregions == 1 ? "" : "s", t->nroutes, t->nroutes == 1 ? "" : "s");
        else
                (void)refuse("topology_refused", "%s: refused, %zu error%s", p->file, p->errors, p->errors == 1 ? "" : "s");
        fputs(buf_cstr(&out), stdout);
        buf_release(&out);
        buf_release(&said);
}

int cmd_validate(struct invocation *in)
{
        const char *file = in->noperands > 0 ? in->operands[0] : in->topology_file;
        struct topology *t = NULL;
        struct problems p;
        if (!file)
                return refuse("topology_not_given", "validate: no file was named (an operand, --topology or PANGEA_TOPOLOGY); "
                                                    "usage: pangea validate FILE [--print] [--json]");
        problems_init(&p, file);
        enum status s = topology_check(file, &t, &p);
        if (in->json)
                print_json(t, &p, in->print);
        else
                print_text(t, &p, in->print);
        problems_release(&p);
        topology_free(t);
        return s == ST_OK ? EXIT_DONE : EXIT_USAGE;
}
