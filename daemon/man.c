/* Manual pages in man(7), from the command table. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "daemon/shell.h"

/* A line may not begin with a dot or an apostrophe, a backslash begins an escape, and a plain - would become a hyphen. */
static void text(const char *s, struct buf *out)
{
        bool begins = true;
        for (; *s; s++) {
                if (begins && (*s == '.' || *s == '\''))
                        buf_put_str(out, "\\&");
                begins = *s == '\n';
                if (*s == '\\')
                        buf_put_str(out, "\\e");
                else if (*s == '-')
                        buf_put_str(out, "\\-");
                else
                        buf_put(out, s, 1);
        }
}

/* Where a sentence ends with its line, a paragraph does. */
static void paragraphs(const char *s, struct buf *out)
{
        while (*s) {
                char line[1000];
                size_t n = strcspn(s, "\n");
                snprintf(line, sizeof line, "%.*s\n", (int)n, s);
                text(line, out);
                if (n && s[n] && (s[n - 1] == '.' || s[n - 1] == ':'))
                        buf_put_str(out, ".PP\n");
                s += n + (s[n] == '\n');
        }
}

static void head(const char *name, const char *line, struct buf *out)
{
        char upper[64];
        size_t n = 0;
        for (const char *p = name; *p && n < sizeof upper - 1; p++)
                upper[n++] = (char)toupper((unsigned char)*p);
        upper[n] = 0;
        buf_put_str(out, ".\\\" printed by pangea help --man\n.TH ");
        text(upper, out);
        buf_put_str(out, " 1 \"\" \"pangea " PANGEA_VERSION "\" \"Pangea\"\n.SH NAME\n");
        text(name, out);
        buf_put_str(out, " \\- ");
        text(line, out);
        buf_put_str(out, "\n");
}

static void option(const struct option_row *o, struct buf *out)
{
        buf_put_str(out, ".TP\n");
        if (o->letter)
                buf_printf(out, "\\fB\\-%c\\fR, ", o->letter);
        buf_put_str(out, "\\fB\\-\\-");
        text(o->name, out);
        buf_put_str(out, "\\fR");
        if (o->argument) {
                buf_put_str(out, " \\fI");
                text(o->argument, out);
                buf_put_str(out, "\\fR");
        }
        buf_put_str(out, "\n");
        text(o->line, out);
        buf_put_str(out, "\n");
}

static void exits(const char *more, struct buf *out)
{
        static const struct {
                int code;
                const char *meaning;
        } codes[] = {{EXIT_DONE, "done"},
                     {EXIT_RUNTIME, "runtime error"},
                     {EXIT_USAGE, "usage or configuration"},
                     {EXIT_DEGRADED, "degraded"},
                     {EXIT_POSTGRES, "PostgreSQL"},
                     {EXIT_KAFKA, "Kafka"},
                     {EXIT_DIVERGED, "regions differ"},
                     {EXIT_TIMEOUT, "time\\-out"}};
        buf_put_str(out, ".SH \"EXIT STATUS\"\n");
        if (more && *more) {
                buf_put_str(out, "0 done, 1 runtime error, 2 usage or configuration; ");
                text(more, out);
                buf_put_str(out, ".\n");
                return;
        }
        for (size_t i = 0; i < sizeof codes / sizeof *codes && (!more || i <= EXIT_USAGE); i++)
                buf_printf(out, ".TP\n%d\n%s\n", codes[i].code, codes[i].meaning);
}

static void one_command(const struct command *c, struct buf *out)
{
        char name[64];
        snprintf(name, sizeof name, "pangea-%s", c->name);
        head(name, c->line, out);
        buf_put_str(out, ".SH SYNOPSIS\n.nf\n\\fBpangea\\fR ");
        text(c->synopsis, out);
        buf_put_str(out, "\n.fi\n.SH DESCRIPTION\n");
        paragraphs(c->help, out);
        buf_put_str(out, ".SH OPTIONS\n");
        for (unsigned o = 0; o < OPT_COUNT; o++)
                if (o == OPT_HELP || (c->options >> o & 1))
                        option(&option_table[o], out);
        exits(c->exits, out);
        buf_put_str(out, ".SH \"SEE ALSO\"\n.BR pangea (1)\n");
}

static void whole_program(struct buf *out)
{
        head("pangea", "keep one PostgreSQL database writable in every region at once", out);
        buf_put_str(
                out,
                ".SH SYNOPSIS\n\\fBpangea\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR].\\|.\n.SH DESCRIPTION\n"
                "In each region a daemon reads what the local database commits, publishes it to that region's Kafka, and applies what the other "
                "regions published.\nConflicting writes are found by causality and settled by a rule that gives the same answer in every "
                "region.\nData goes to stdout, everything else to stderr.\n.SH COMMANDS\n");
        for (size_t i = 0; i < command_count; i++) {
                buf_put_str(out, ".TP\n.BR pangea\\-");
                text(command_table[i].name, out);
                buf_put_str(out, " (1)\n");
                text(command_table[i].line, out);
                buf_put_str(out, "\n");
        }
        exits(NULL, out);
        buf_put_str(
                out,
                ".SH ENVIRONMENT\n.TP\nPANGEA_TOPOLOGY\nthe topology, when there is no \\fB\\-\\-topology\\fR\n.TP\nPANGEA_REGION\n"
                "the region, when there is no \\fB\\-\\-region\\fR\n.TP\nNO_COLOR\nno colours on a terminal\n.TP\nCOLUMNS\n"
                "how wide tables may be; else as wide as the terminal\n");
}

void man_page(const struct command *c, struct buf *out)
{
        if (c)
                one_command(c, out);
        else
                whole_program(out);
}
