#include <stdio.h>
#include <unistd.h>

#include "daemon/command.h"
#include "daemon/refuse.h"
#include "daemon/verify.h"

#define DEFAULT_TIMEOUT_S 60

static void say(const char *note)
{
        fprintf(stderr, "%spangea: %s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", note); /* a bar may stand there */
}

static int answer(const struct vreport *r, bool json)
{
        bool differ = false, moving = r->timed_out;
        for (size_t i = 0; i < r->nplan; i++) {
                differ = differ || r->answers[i].result == VERIFY_DIFFERENT;
                moving = moving || r->answers[i].result == VERIFY_UNSETTLED;
        }
        if (json)
                verify_print_json(r);
        else
                verify_print_text(r);
        return differ ? EXIT_DIVERGED : moving ? EXIT_TIMEOUT : EXIT_DONE;
}

int cmd_verify(struct invocation *in)
{
        int code = EXIT_USAGE;
        struct err e = {0};
        struct topology *t = invocation_topology(in, &code);
        if (!t)
                return code;
        struct verify_opts o = {.filter = in->tables,
                                .timeout_s = in->timeout_s > 0 ? in->timeout_s : DEFAULT_TIMEOUT_S,
                                .say = say,
                                .progress = progress_begin("verify: asking every region")};
        struct verify *v = verify_new(t, &o);
        enum status s = verify_connect(v, &e);
        if (s == ST_OK)
                s = verify_compare(v, &e);
        progress_end(o.progress);
        if (s == ST_OK) {
                code = answer(verify_report(v), in->json);
        } else {
                code = refuse_for("verify", &e);
                if (in->json)
                        verify_print_failure(t, &e);
        }
        verify_free(v);
        topology_free(t);
        return code;
}
