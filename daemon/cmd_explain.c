#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command.h"
#include "daemon/explain.h"
#include "daemon/refuse.h"
#include "daemon/term.h"

static void print_text(const struct explanation *x)
{
        bool colour = term_colour();
        for (; x; x = x->next)
                printf("%s%s%s (%s)\n\n%s%s%s", term_style(STYLE_STRONG, colour), x->name, term_style(STYLE_NONE, colour), x->kind,
                       x->text, x->text[strlen(x->text) - 1] == '\n' ? "" : "\n", x->next ? "\n" : "");
}

static void print_json(const char *word, const struct explanation *x)
{
        json_t *list = json_array();
        for (; x; x = x->next)
                json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "kind", x->kind, "name", x->name, "text", x->text));
        json_t *o = json_pack("{s:s, s:o}", "key", word, "found", list);
        json_dumpf(o, stdout, JSON_INDENT(2));
        puts("");
        json_decref(o);
}

int cmd_explain(struct invocation *in)
{
        struct arena a;
        const char *nearest;
        if (in->noperands != 1)
                return refuse(
                        "word_missing",
                        "explain: what? A key of the topology, a named stop, a metric, a check of doctor, a command or an option, such as\n"
                        "    pangea explain regions.us.role\n    pangea explain slot_lost");
        int code = EXIT_DONE;
        arena_init(&a);
        const struct explanation *found = explain(in->operands[0], &a, &nearest);
        if (found && in->json)
                print_json(in->operands[0], found);
        else if (found)
                print_text(found);
        else if (nearest)
                code = refuse("unknown_name", "nothing is called '%s': did you mean '%s'?", in->operands[0], nearest);
        else
                code = refuse(
                        "unknown_name",
                        "nothing is called '%s'; docs/topology.md, docs/errors.md, docs/metrics.md, docs/doctor.md and docs/commands.md have all names",
                        in->operands[0]);
        arena_release(&a);
        return code;
}
