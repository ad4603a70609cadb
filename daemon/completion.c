/* Completions: commands, their options, the words that an option takes, and the names of regions, asked of `pangea topology`. */
#include <stdio.h>
#include <string.h>

#include "daemon/shell.h"

const char *const shell_names[SHELL_COUNT] = {[SHELL_BASH] = "bash", [SHELL_ZSH] = "zsh", [SHELL_FISH] = "fish"};

/* What stands behind an option. */
enum value { VALUE_NONE, VALUE_FILE, VALUE_REGION, VALUE_WORDS, VALUE_ANY };

static enum value value_of(enum option_id o)
{
        const char *a = option_table[o].argument;
        if (!a)
                return VALUE_NONE;
        if (strcmp(a, "FILE") == 0)
                return VALUE_FILE;
        if (o == OPT_REGION || o == OPT_ORIGIN)
                return VALUE_REGION;
        return strchr(a, '|') && strspn(a, "abcdefghijklmnopqrstuvwxyz|") == strlen(a) ? VALUE_WORDS : VALUE_ANY;
}

/* "capture|apply" -> "capture apply" */
static void words_of(const char *argument, struct buf *out)
{
        for (; *argument; argument++)
                buf_put(out, *argument == '|' ? " " : argument, 1);
}

static bool takes(const struct command *c, unsigned o)
{
        return o == OPT_HELP || (c->options >> o & 1);
}

/* First operands: of some the names of commands. */
static void operands_of(const struct command *c, struct buf *out)
{
        bool commands = strcmp(c->name, "help") == 0 || strcmp(c->name, "explain") == 0;
        if (c->words)
                buf_put_str(out, c->words);
        for (size_t i = 0; commands && i < command_count; i++)
                buf_printf(out, "%s%s", i ? " " : "", command_table[i].name);
}

static void command_names(const char *between, struct buf *out)
{
        for (size_t i = 0; i < command_count; i++)
                buf_printf(out, "%s%s", i ? between : "", command_table[i].name);
}

/* ---- bash ---------------------------------------------------------------------------------------------------------------------------- */
static const char regions_sh[] =
        "    pangea topology --json ${topology:+--topology \"$topology\"} 2>/dev/null | sed -n 's/^ *\"region\": \"\\([a-z0-9_]*\\)\",*$/\\1/p'\n";

static void bash_values(struct buf *out)
{
        for (unsigned o = 0; o < OPT_COUNT; o++) {
                enum value v = value_of((enum option_id)o);
                const char *letter = option_table[o].letter ? (char[]){'|', '-', option_table[o].letter, 0} : "";
                switch (v) {
                case VALUE_NONE: continue;
                case VALUE_FILE:
                        buf_printf(out, "    --%s%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", option_table[o].name,
                                   letter);
                        continue;
                case VALUE_REGION:
                        buf_printf(out, "    --%s%s) words=$(_pangea_regions) ;;\n", option_table[o].name, letter);
                        continue;
                case VALUE_WORDS:
                        buf_printf(out, "    --%s%s) words='", option_table[o].name, letter);
                        words_of(option_table[o].argument, out);
                        buf_put_str(out, "' ;;\n");
                        continue;
                case VALUE_ANY: buf_printf(out, "    --%s%s) return ;;\n", option_table[o].name, letter); continue;
                }
        }
}

static void bash_commands(struct buf *out)
{
        buf_put_str(out, "    '') words='");
        command_names(" ", out);
        buf_put_str(out, "' ;;\n");
        for (size_t i = 0; i < command_count; i++) {
                buf_printf(out, "    %s) words='", command_table[i].name);
                operands_of(&command_table[i], out);
                for (unsigned o = 0; o < OPT_COUNT; o++)
                        if (takes(&command_table[i], o))
                                buf_printf(out, " --%s", option_table[o].name);
                buf_put_str(out, "' ;;\n");
        }
}

static void bash(struct buf *out)
{
        buf_put_str(out, "# bash completion for pangea; printed by `pangea completion bash`\n_pangea_regions() {\n");
        buf_put_str(out, regions_sh);
        buf_put_str(
                out,
                "}\n_pangea() {\n    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' topology='' words='' i\n"
                "    for ((i = 1; i < COMP_CWORD; i++)); do\n        case ${COMP_WORDS[i]} in\n        ");
        command_names("|", out);
        buf_put_str(
                out,
                ") command=${command:-${COMP_WORDS[i]}} ;;\n        -t|--topology) topology=${COMP_WORDS[i+1]} ;;\n        esac\n    done\n"
                "    case $prev in\n");
        bash_values(out);
        buf_put_str(out, "    esac\n    [ -n \"$words\" ] || case $command in\n");
        bash_commands(out);
        buf_put_str(out,
                    "    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _pangea pangea\n");
}

/* ---- zsh ----------------------------------------------------------------------------------------------------------------------------- */
/* Within single quotes, within _arguments: what means something there is escaped. */
static void zsh_text(const char *s, struct buf *out)
{
        for (; *s; s++)
                if (*s == '\'')
                        buf_put_str(out, "'\\''");
                else
                        buf_printf(out, "%s%c", strchr("[]:\\", *s) ? "\\" : "", *s);
}

static void zsh_option(unsigned o, struct buf *out)
{
        const struct option_row *r = &option_table[o];
        buf_printf(out, " \\\n            '--%s%s[", r->name, r->argument ? "=" : "");
        zsh_text(r->line, out);
        buf_put_str(out, "]");
        switch (value_of((enum option_id)o)) {
        case VALUE_NONE: break;
        case VALUE_FILE: buf_put_str(out, ":file:_files"); break;
        case VALUE_REGION: buf_put_str(out, ":region:_pangea_regions"); break;
        case VALUE_WORDS:
                buf_put_str(out, ":word:(");
                words_of(r->argument, out);
                buf_put_str(out, ")");
                break;
        case VALUE_ANY: buf_put_str(out, ":value: "); break;
        }
        buf_put_str(out, "'");
}

static void zsh(struct buf *out)
{
        buf_put_str(out, "#compdef pangea\n# zsh completion for pangea; printed by `pangea completion zsh`\n_pangea_regions() {\n"
                         "    local topology=${opt_args[--topology]}\n    local -a regions\n    regions=(${(f)\"$(\n");
        buf_put_str(out, regions_sh);
        buf_put_str(
                out,
                "    )\"})\n    compadd -a regions\n}\n_pangea() {\n    if (( CURRENT == 2 )); then\n        local -a commands=(\n");
        for (size_t i = 0; i < command_count; i++) {
                buf_printf(out, "            '%s:", command_table[i].name);
                zsh_text(command_table[i].line, out);
                buf_put_str(out, "'\n");
        }
        buf_put_str(
                out,
                "        )\n        _describe command commands\n        return\n    fi\n    local command=${words[2]}\n    shift words\n"
                "    (( CURRENT-- ))\n    case $command in\n");
        for (size_t i = 0; i < command_count; i++) {
                const struct command *c = &command_table[i];
                buf_printf(out, "    %s)\n        _arguments", c->name);
                for (unsigned o = 0; o < OPT_COUNT; o++)
                        if (takes(c, o))
                                zsh_option(o, out);
                if (c->operands) {
                        struct buf words;
                        buf_init(&words, 1u << 16);
                        operands_of(c, &words);
                        buf_printf(out, " \\\n            '*:word:%s%s%s'", words.len ? "(" : "_files", buf_cstr(&words),
                                   words.len ? ")" : "");
                        buf_release(&words);
                }
                buf_put_str(out, "\n        ;;\n");
        }
        buf_put_str(out, "    esac\n}\n_pangea \"$@\"\n");
}

/* ---- fish ---------------------------------------------------------------------------------------------------------------------------- */
static void fish_text(const char *s, struct buf *out)
{
        buf_put_str(out, "'");
        for (; *s; s++)
                buf_printf(out, "%s%c", *s == '\'' || *s == '\\' ? "\\" : "", *s);
        buf_put_str(out, "'");
}

static void fish_option(const struct command *c, unsigned o, struct buf *out)
{
        const struct option_row *r = &option_table[o];
        buf_printf(out, "complete -c pangea -n '__fish_seen_subcommand_from %s' -l %s", c->name, r->name);
        if (r->letter)
                buf_printf(out, " -s %c", r->letter);
        switch (value_of((enum option_id)o)) {
        case VALUE_NONE: break;
        case VALUE_FILE: buf_put_str(out, " -r -F"); break;
        case VALUE_REGION: buf_put_str(out, " -x -a '(__pangea_regions)'"); break;
        case VALUE_WORDS:
                buf_put_str(out, " -x -a '");
                words_of(r->argument, out);
                buf_put_str(out, "'");
                break;
        case VALUE_ANY: buf_put_str(out, " -x"); break;
        }
        buf_put_str(out, " -d ");
        fish_text(r->line, out);
        buf_put_str(out, "\n");
}

static void fish(struct buf *out)
{
        buf_put_str(out,
                    "# fish completion for pangea; printed by `pangea completion fish`\nfunction __pangea_regions\n"
                    "    pangea topology --json 2>/dev/null | string replace -rf '^ *\"region\": \"([a-z0-9_]*)\",*$' '$1'\nend\n"
                    "complete -c pangea -f\nset -l pangea_commands ");
        command_names(" ", out);
        buf_put_str(out, "\n");
        for (size_t i = 0; i < command_count; i++) {
                const struct command *c = &command_table[i];
                struct buf words;
                buf_printf(out, "complete -c pangea -n \"not __fish_seen_subcommand_from $pangea_commands\" -a %s -d ", c->name);
                fish_text(c->line, out);
                buf_put_str(out, "\n");
                buf_init(&words, 1u << 16);
                operands_of(c, &words);
                if (words.len)
                        buf_printf(out, "complete -c pangea -n '__fish_seen_subcommand_from %s' -a '%s'\n", c->name,
                                   buf_cstr(&words));
                else if (c->operands)
                        buf_printf(out, "complete -c pangea -n '__fish_seen_subcommand_from %s' -F\n", c->name);
                buf_release(&words);
                for (unsigned o = 0; o < OPT_COUNT; o++)
                        if (takes(c, o))
                                fish_option(c, o, out);
        }
}

void shell_completion(enum shell s, struct buf *out)
{
        switch (s) {
        case SHELL_BASH: bash(out); break;
        case SHELL_ZSH: zsh(out); break;
        case SHELL_FISH: fish(out); break;
        }
}
