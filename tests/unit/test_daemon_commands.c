/* The command line, and that docs/commands.md is what the command table prints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/commands.h"
#include "daemon/errors.h"

#define ARGS 8

static const struct {
        const char *why, *argv[ARGS];
        int code;
        const char *command; /* NULL: none */
        int noperands;
        const char *says; /* "name: text", the name one of docs/errors.md */
} lines[] = {
        {"a command by itself", {"status"}, EXIT_DONE, "status", 0, NULL},
        {"options before the command", {"--json", "status"}, EXIT_DONE, "status", 0, NULL},
        {"an option's value is no operand", {"init", "--region", "us"}, EXIT_DONE, "init", 0, NULL},
        {"operands behind options", {"event", "--region", "us", "decode", "7", "2"}, EXIT_DONE, "event", 3, NULL},
        {"one operand too many",
         {"event", "decode", "7", "2", "9"},
         EXIT_USAGE,
         NULL,
         0,
         "word_too_many: one word too many: '9'; `pangea help event`"},
        {"no command takes what it does not know", {"run", "now"}, EXIT_USAGE, NULL, 0, "word_too_many: one word too many: 'now'"},
        {"another command's option", {"status", "--yes"}, EXIT_USAGE, NULL, 0, "option_not_here: status has no option --yes"},
        {"unknown command",
         {"stauts"},
         EXIT_USAGE,
         NULL,
         0,
         "unknown_command: there is no command 'stauts': did you mean 'status'?"},
        {"unknown option",
         {"status", "--jsno"},
         EXIT_USAGE,
         NULL,
         0,
         "unknown_option: there is no option '--jsno': did you mean 'json'?"},
        {"unknown letter", {"status", "-z"}, EXIT_USAGE, NULL, 0, "unknown_option: there is no option '-z'"},
        {"a value is missing", {"init", "--region"}, EXIT_USAGE, NULL, 0, "value_missing: --region needs a value"},
        {"an agent that does not exist", {"run", "--agent", "both"}, EXIT_USAGE, NULL, 0, "bad_value: --agent 'both'"},
        {"time-out zero", {"verify", "--timeout", "0"}, EXIT_USAGE, NULL, 0, "bad_value: --timeout '0'"},
        {"time-out that is no number", {"verify", "--timeout", "10s"}, EXIT_USAGE, NULL, 0, "bad_value: --timeout '10s'"},
        {"an address without a port", {"run", "--http", "here"}, EXIT_USAGE, NULL, 0, "bad_value: --http 'here'"},
        {"no rows", {"conflicts", "--limit", "0", "list"}, EXIT_USAGE, NULL, 0, "bad_value: --limit '0'"},
        {"help of a command by option", {"init", "--help"}, EXIT_DONE, "help", 1, NULL},
        {"help alone", {"--help"}, EXIT_DONE, "help", 0, NULL},
        {"nothing at all", {NULL}, EXIT_USAGE, "help", 0, NULL},
};

static FILE *hear(int *saved)
{
        FILE *f = tmpfile();
        assert_non_null(f);
        fflush(stderr);
        *saved = dup(STDERR_FILENO);
        assert_true(dup2(fileno(f), STDERR_FILENO) >= 0);
        return f;
}

static void heard(FILE *f, int saved, char *text, size_t size)
{
        fflush(stderr);
        assert_true(dup2(saved, STDERR_FILENO) >= 0);
        close(saved);
        rewind(f);
        text[fread(text, 1, size - 1, f)] = 0;
        fclose(f);
}

static void named_refusal(const char *why, const char *text, const char *want)
{
        static const char before[] = "pangea: ";
        if (strncmp(text, before, strlen(before)) != 0 || strncmp(text + strlen(before), want, strlen(want)) != 0)
                fail_msg("%s: it says \"%s\", want \"%s%s\"", why, text, before, want);
        char name[40] = "";
        snprintf(name, sizeof name, "%.*s", (int)strcspn(want, ":"), want);
        const struct error_row *row = error_find(name);
        assert_non_null(row);
        assert_int_equal(row->exit, EXIT_USAGE);
}

static void command_lines(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
                char copy[ARGS + 1][40] = {"pangea"}, *argv[ARGS + 2] = {copy[0]};
                struct invocation in;
                int argc = 1;
                for (; argc <= ARGS && lines[i].argv[argc - 1]; argc++) {
                        snprintf(copy[argc], sizeof copy[argc], "%s", lines[i].argv[argc - 1]);
                        argv[argc] = copy[argc];
                }
                char text[400];
                int saved;
                FILE *f = hear(&saved);
                int code = command_parse(argc, argv, &in);
                heard(f, saved, text, sizeof text);
                if (lines[i].says)
                        named_refusal(lines[i].why, text, lines[i].says);
                else if (*text)
                        fail_msg("%s: it says \"%s\"", lines[i].why, text);
                if (code != lines[i].code)
                        fail_msg("%s: exit code %d, want %d", lines[i].why, code, lines[i].code);
                if (lines[i].command && (strcmp(in.command->name, lines[i].command) != 0 || in.noperands != lines[i].noperands))
                        fail_msg("%s: %s with %d operands", lines[i].why, in.command->name, in.noperands);
        }
}

static void options_reach_the_command(void **state)
{
        (void)state;
        char *argv[] = {(char[]){"pangea"},
                        (char[]){"verify"},
                        (char[]){"--tables=public.*"},
                        (char[]){"--timeout=5"},
                        (char[]){"-r"},
                        (char[]){"eu"},
                        (char[]){"--json"},
                        NULL};
        struct invocation in;
        setenv("PANGEA_TOPOLOGY", "from_environment.yaml", 1);
        setenv("PANGEA_REGION", "us", 1);
        assert_int_equal(command_parse(7, argv, &in), EXIT_DONE);
        assert_string_equal(in.tables, "public.*");
        assert_int_equal(in.timeout_s, 5);
        assert_true(in.json);
        assert_string_equal(in.region, "eu"); /* the option wins */
        assert_string_equal(in.topology_file, "from_environment.yaml");
        unsetenv("PANGEA_TOPOLOGY");
        unsetenv("PANGEA_REGION");
}

/* Every option that a synopsis shows is one the command takes, and the other way round. */
static void synopsis_tells_the_options(void **state)
{
        (void)state;
        for (size_t i = 0; i < command_count; i++)
                for (unsigned o = 0; o < OPT_HELP; o++) {
                        char text[40];
                        snprintf(text, sizeof text, "--%s", option_table[o].name);
                        bool shown = strstr(command_table[i].synopsis, text) != NULL, taken = command_table[i].options >> o & 1;
                        if (shown && !taken)
                                fail_msg("%s shows %s and does not take it", command_table[i].name, text);
                        if (taken && !shown && o > OPT_REGION) /* those two are everywhere */
                                fail_msg("%s takes %s and does not show it", command_table[i].name, text);
                }
}

static void docs_are_the_table(void **state)
{
        (void)state;
        struct buf want, have;
        buf_init(&want, 0);
        buf_init(&have, 0);
        commands_markdown(&want);
        if (getenv("UPDATE")) {
                FILE *out = fopen("docs/commands.md", "w");
                assert_non_null(out);
                fputs(buf_cstr(&want), out);
                assert_int_equal(fclose(out), 0);
        }
        FILE *f = fopen("docs/commands.md", "r");
        if (!f)
                fail_msg("docs/commands.md is missing: run this test with UPDATE=1 in the root of the project");
        for (int c; (c = fgetc(f)) != EOF;)
                buf_put_u8(&have, (uint8_t)c);
        fclose(f);
        if (strcmp(buf_cstr(&want), buf_cstr(&have)) != 0)
                fail_msg("docs/commands.md is not what daemon/commands.c prints: run this test with UPDATE=1");
        buf_release(&want);
        buf_release(&have);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(command_lines),
                cmocka_unit_test(options_reach_the_command),
                cmocka_unit_test(synopsis_tells_the_options),
                cmocka_unit_test(docs_are_the_table),
        };
        return cmocka_run_group_tests_name("daemon: commands", tests, NULL, NULL);
}
