/* config: what may stand in a file and what is said when it does not. The table of keys is this test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/check.h"
#include "config/document.h"
#include "config/scalar.h"
#include "config/suggest.h"

static const char *const colours[] = {"red", "green", NULL};
static const char *const later_colours[] = {"blue", NULL};
static const struct cfg_key name = {.type = CFG_NAME, .min = 1, .max = 8, .doc = ""};
static const struct cfg_key inner_keys[] = {
        {.name = "on", .type = CFG_BOOL, .standard = "true", .doc = ""},
        {.name = "must", .type = CFG_TEXT, .required = true, .doc = ""},
        {.name = NULL},
};
static const struct cfg_key inner = {.type = CFG_MAP, .of = inner_keys, .doc = ""};
static const struct cfg_key keys[] = {
        {.name = "count", .type = CFG_INT, .standard = "3", .min = -5, .max = 10, .doc = "How many."},
        {.name = "wait", .type = CFG_DURATION, .standard = "1s", .min = 1000, .max = 3600000000, .doc = ""},
        {.name = "size", .type = CFG_SIZE, .min = 1, .max = 1 << 20, .doc = ""},
        {.name = "colour", .type = CFG_WORD, .standard = "red", .words = colours, .later_words = later_colours, .doc = ""},
        {.name = "names", .type = CFG_LIST, .min = 1, .max = 3, .of = &name, .doc = ""},
        {.name = "text", .type = CFG_TEXT, .doc = ""},
        {.name = "parts", .type = CFG_NAMED, .min = 1, .max = 2, .max_name = 4, .of = &inner, .doc = "The parts."},
        {.name = "pairs", .type = CFG_PAIRS, .doc = ""},
        {.name = "future", .type = CFG_MAP, .later = true, .of = inner_keys, .doc = ""},
        {.name = NULL},
};

/* Everything that was said, "f:" before each line. */
static char *said(const char *text, size_t len)
{
        struct arena a;
        struct problems p;
        struct buf out;
        arena_init(&a);
        problems_init(&p, "f");
        buf_init(&out, 0);
        struct node *root = document_parse(text, len, &a, &p);
        if (root)
                config_check(root, keys, &a, &p);
        problems_sort(&p);
        problems_print(&p, true, &out);
        char *copy = strdup(buf_cstr(&out));
        buf_release(&out);
        problems_release(&p);
        arena_release(&a);
        return copy;
}

static const struct {
        const char *why, *text, *want;
} refusals[] = {
        {"nothing wrong", "count: 5\n", ""},
        {"comments and a document marker are no second document", "# x\n---\ncount: 5\n...\n", ""},
        {"a byte order mark is no error",
         "\xef\xbb\xbf"
         "count: 5\n",
         ""},
        {"empty", "", "f: is empty\n"},
        {"only a comment", "# nothing\n", "f: is empty\n"},
        {"a list on top", "- a\n", "f:1:1: is a list, but a map is wanted\n"},
        {"text on top", "hello\n", "f:1:1: is text, but a map is wanted\n"},
        {"null on top", "---\n~\n", "f:2:1: has no value; give it one, or remove it to have the default\n"},
        {"unknown key, near", "cuont: 5\n",
         "f:1:1: cuont: is no key of this map; allowed are count, wait, size, colour, names, text, parts, pairs; did you mean count?\n"},
        {"unknown key, far", "zebra: 5\n",
         "f:1:1: zebra: is no key of this map; allowed are count, wait, size, colour, names, text, parts, pairs\n"},
        {"case counts, and is guessed", "Count: 5\n",
         "f:1:1: Count: is no key of this map; allowed are count, wait, size, colour, names, text, parts, pairs; did you mean count?\n"},
        {"duplicate key", "count: 1\ncount: 2\n", "f:2:1: count: stands here a second time, first in line 1\n"},
        {"duplicate in a nested map", "pairs:\n  a: 1\n  b: 1\n  a: 2\n",
         "f:4:3: pairs.a: stands here a second time, first in line 2\n"},
        {"not a number", "count: many\n", "f:1:8: count: \"many\" is not allowed; it must be a whole number from -5 to 10\n"},
        {"a fraction", "count: 1.5\n", "f:1:8: count: \"1.5\" is not allowed; it must be a whole number from -5 to 10\n"},
        {"a leading zero could be octal", "count: 07\n",
         "f:1:8: count: \"07\" is not allowed; it must be a whole number from -5 to 10\n"},
        {"too small", "count: -6\n", "f:1:8: count: \"-6\" is not allowed; it must be a whole number from -5 to 10\n"},
        {"too large for 64 bits", "count: 99999999999999999999\n",
         "f:1:8: count: \"99999999999999999999\" is not allowed; it must be a whole number from -5 to 10\n"},
        {"the ends of the range are in it", "count: -5\n", ""},
        {"a list where text is wanted", "count: [1]\n", "f:1:8: count: is a list, but text is wanted\n"},
        {"a map where text is wanted", "count: {a: 1}\n", "f:1:8: count: is a map, but text is wanted\n"},
        {"text where a list is wanted", "names: us\n", "f:1:8: names: is text, but a list is wanted: write [..] around it\n"},
        {"text where a map is wanted never shows it", "parts: password=geheim\n", "f:1:8: parts: is text, but a map is wanted\n"},
        {"no value", "count:\n", "f:1:7: count: has no value; give it one, or remove it to have the default\n"},
        {"a null in words", "wait: null\n", "f:1:7: wait: has no value; give it one, or remove it to have the default\n"},
        {"a quoted null is text", "text: 'null'\n", ""},
        {"empty text", "text: ''\n", "f:1:7: text: is empty, but text is wanted\n"},
        {"m is no minute", "wait: 5m\n",
         "f:1:7: wait: \"5m\" is not allowed; it must be a duration from 1ms to 1h (ms s min h d); did you mean 5min?\n"},
        {"a duration without unit", "wait: 10\n",
         "f:1:7: wait: \"10\" is not allowed; it must be a duration from 1ms to 1h (ms s min h d); did you mean 10s?\n"},
        {"a blank before the unit", "wait: 10 s\n",
         "f:1:7: wait: \"10 s\" is not allowed; it must be a duration from 1ms to 1h (ms s min h d); did you mean 10s?\n"},
        {"zero is out of range", "wait: 0ms\n",
         "f:1:7: wait: \"0ms\" is not allowed; it must be a duration from 1ms to 1h (ms s min h d)\n"},
        {"a duration that overflows", "wait: 999999999999999d\n",
         "f:1:7: wait: \"999999999999999d\" is not allowed; it must be a duration from 1ms to 1h (ms s min h d)\n"},
        {"negative duration", "wait: -1s\n",
         "f:1:7: wait: \"-1s\" is not allowed; it must be a duration from 1ms to 1h (ms s min h d)\n"},
        {"kb is no unit", "size: 9kb\n",
         "f:1:7: size: \"9kb\" is not allowed; it must be a size from 1B to 1MB (B kB MB GB); did you mean 9kB?\n"},
        {"too large a size", "size: 2MB\n", "f:1:7: size: \"2MB\" is not allowed; it must be a size from 1B to 1MB (B kB MB GB)\n"},
        {"a word", "colour: gren\n", "f:1:9: colour: \"gren\" is not allowed; it must be one of red, green; did you mean green?\n"},
        {"a word of later", "colour: blue\n", "f:1:9: colour: \"blue\" is not supported yet; use red\n"},
        {"a key of later, whatever is in it", "future:\n  nonsense: 1\n", "f:1:1: future: is not supported yet; remove it\n"},
        {"yes is no bool", "parts: {a: {on: yes, must: x}}\n",
         "f:1:17: parts.a.on: \"yes\" is not allowed; it must be true or false; did you mean true?\n"},
        {"off is no bool", "parts: {a: {on: off, must: x}}\n",
         "f:1:17: parts.a.on: \"off\" is not allowed; it must be true or false; did you mean false?\n"},
        {"a missing key, at its map", "count: 1\nparts:\n  a:\n    on: true\n",
         "f:3:3: parts.a.must: is missing; it must be text\n"},
        {"a bad name", "parts: {A-b: {must: x}}\n",
         "f:1:9: parts.A-b: the name is not allowed; a name is of a-z, 0-9 and _, at most 4 bytes\n"},
        {"too long a name", "parts: {abcde: {must: x}}\n",
         "f:1:9: parts.abcde: the name is not allowed; a name is of a-z, 0-9 and _, at most 4 bytes\n"},
        {"too many names", "parts: {a: {must: x}, b: {must: x}, c: {must: x}}\n",
         "f:1:8: parts: has 3 entries, but at most 2 are supported\n"},
        {"an empty list", "names: []\n", "f:1:8: names: is empty, but 1 or more are wanted\n"},
        {"an entry of a list", "names: [us, EU]\n",
         "f:1:13: names[1]: \"EU\" is not allowed; it must be a name of a-z, 0-9 and _, at most 8 bytes\n"},
        {"an alias", "names: &x [a]\npairs: {a: *x}\n",
         "f:1:8: pairs.a: is used again by an alias (*name); anchors and aliases are not supported: write it out in each place\n"},
        {"an alias as a key", "text: &x a\npairs: {*x : 1}\n",
         "f:1:7: pairs: a key is an alias (*name); anchors and aliases are not supported: write it out\n"},
        {"an alias that loops", "pairs: &x {a: *x}\n",
         "f:1:8: pairs.a: is used again by an alias (*name); anchors and aliases are not supported: write it out in each place\n"},
        {"an undefined alias", "text: *public\n",
         "f:1:7: is not YAML: found undefined alias; aliases (*name) are not supported; text that begins with * must be in quotes\n"},
        {"a star that is none", "names: [*.*]\n",
         "f:1:10: is not YAML: while scanning an alias, did not find expected alphabetic or numeric character; text that begins with * or & "
         "must be in quotes\n"},
        {"a tag", "text: !secret x\n", "f:1:7: text: has a tag (!name); tags are not supported: remove it\n"},
        {"a list as a key", "? [a]\n: 1\n", "f:1:3: a key must be text\n"},
        {"two documents", "count: 1\n---\ncount: 2\n", "f:2:1: a second document begins here; one file is one document\n"},
        {"a broken second document", "count: 1\n---\ncount: [\n",
         "f:4:1: is not YAML: while parsing a flow node, did not find expected node content\n"},
        {"a tab as indentation", "parts:\n\ta: 1\n", "f:2:1: a tab; YAML is indented with spaces\n"},
        {"a tab behind spaces", "parts:\n  \ta: 1\n", "f:2:3: a tab; YAML is indented with spaces\n"},
        {"wrong indentation", "count: 1\n  wait: 1s\n",
         "f:2:7: is not YAML: mapping values are not allowed in this context; is the indentation right? text with \": \" in it must be in quotes\n"},
        {"an open bracket", "names: [a\ncount: 1\n",
         "f:2:6: is not YAML: while parsing a flow sequence, did not find expected ',' or ']'; is a ] missing?\n"},
        {"an open quote", "text: \"a\n",
         "f:2:1: is not YAML: while scanning a quoted scalar, found unexpected end of stream; a quote is not closed\n"},
        {"an at sign", "text: @x\n",
         "f:1:7: is not YAML: while scanning for the next token, found character that cannot start any token; text that begins with this "
         "character must be in quotes\n"},
        {"not UTF-8", "text: \"\xc3\xa9\xff\"\n", "f:1:9: byte 0xff is not UTF-8; save the file as UTF-8\n"},
        {"overlong UTF-8", "text: \xc0\xaf\n", "f:1:7: byte 0xc0 is not UTF-8; save the file as UTF-8\n"},
        {"UTF-16",
         "\xff\xfe"
         "c",
         "f:1:1: byte 0xff is not UTF-8; save the file as UTF-8\n"},
        {"a control character", "a: 1\ntext: \x01\n", "f:2:7: control character 0x01; remove it\n"},
        {"a 0 byte by escape", "text: \"a\\0b\"\n", "f:1:7: text: holds a 0 byte\n"},
        {"a newline in a key stays one line", "\"a\\nb\": 1\n",
         "f:1:1: a?b: is no key of this map; allowed are count, wait, size, colour, names, text, parts, pairs\n"},
        {"${ENV} that is not set", "text: a${PANGEA_TEST_NOT_SET}\n",
         "f:1:7: text: ${PANGEA_TEST_NOT_SET} is not set in the environment\n"},
        {"${ENV} in a comment is nothing", "text: a # ${PANGEA_TEST_NOT_SET}\n", ""},
        {"${ not closed", "text: ${PANGEA_TEST\n",
         "f:1:7: text: \"${\" begins ${NAME}, a name of letters, digits and _; write $${ for the text ${ itself\n"},
        {"${} without name", "text: ${}\n",
         "f:1:7: text: \"${\" begins ${NAME}, a name of letters, digits and _; write $${ for the text ${ itself\n"},
        {"${ENV} that is no number: not shown", "count: ${PANGEA_TEST_SECRET}\n",
         "f:1:8: count: \"${PANGEA_TEST_SECRET}\" is not allowed; it must be a whole number from -5 to 10\n"},
        {"${ENV} that is a number", "count: ${PANGEA_TEST_NUMBER}\n", ""},
        {"${ENV} that is not UTF-8", "text: ${PANGEA_TEST_LATIN1}\n",
         "f:1:7: text: ${PANGEA_TEST_LATIN1} is not UTF-8 or too long\n"},
        {"everything at once, in order", "size: 1\nzebra: 1\ncount: x\n",
         "f:1:7: size: \"1\" is not allowed; it must be a size from 1B to 1MB (B kB MB GB); did you mean 1B?\n"
         "f:2:1: zebra: is no key of this map; allowed are count, wait, size, colour, names, text, parts, pairs\n"
         "f:3:8: count: \"x\" is not allowed; it must be a whole number from -5 to 10\n"},
};

static void every_fault_has_its_message(void **state)
{
        (void)state;
        int bad = 0;
        for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
                char *got = said(refusals[i].text, strlen(refusals[i].text));
                if (strcmp(got, refusals[i].want) != 0) {
                        fprintf(stderr, "%s:\nwant %sgot  %s\n", refusals[i].why, refusals[i].want, got);
                        bad++;
                }
                free(got);
        }
        assert_int_equal(bad, 0);
}

static void a_0_byte_is_refused(void **state)
{
        (void)state;
        char *got = said("a: \0", 4);
        assert_string_equal(got, "f:1:4: control character 0x00; remove it\n");
        free(got);
}

static void deep_nesting_is_refused(void **state)
{
        (void)state;
        static const size_t depths[] = {40, 400, 100000};
        for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
                size_t n = depths[i];
                char *text = malloc(2 * n + 8);
                assert_non_null(text);
                memcpy(text, "pairs: ", 7);
                memset(text + 7, '[', n);
                memset(text + 7 + n, ']', n);
                char *got = said(text, 7 + 2 * n);
                assert_non_null(strstr(got, "is nested too deep"));
                free(got);
                free(text);
        }
}

static void many_faults_are_cut(void **state)
{
        (void)state;
        struct buf text;
        buf_init(&text, 0);
        for (int i = 0; i < 250; i++)
                buf_printf(&text, "zebra%d: 1\n", i);
        char *got = said(buf_cstr(&text), text.len);
        assert_non_null(strstr(got, "f:100:1: zebra99: "));
        assert_null(strstr(got, "f:101:1"));
        assert_non_null(strstr(got, "f: and 150 more; mend these first\n"));
        free(got);
        buf_release(&text);
}

static void values_and_defaults_are_read(void **state)
{
        (void)state;
        static const char text[] =
                "wait: 2min\nsize: 3kB\ncolour: green\ntext: a${PANGEA_TEST_NUMBER}$${b} $x $$\nparts: {a: {must: m}}\npairs: {k: 007}\n";
        struct arena a;
        struct problems p;
        arena_init(&a);
        problems_init(&p, "f");
        struct node *root = document_parse(text, strlen(text), &a, &p);
        config_check(root, keys, &a, &p);
        assert_int_equal(p.n, 0);
        assert_int_equal(node_num(root, "count"), 3);
        assert_true(node_get(root, "count")->filled);
        assert_int_equal(node_num(root, "wait"), 120000000);
        assert_int_equal(node_num(root, "size"), 3072);
        assert_int_equal(node_num(root, "colour"), 1);
        assert_string_equal(node_text(root, "text"), "a7${b} $x $$");
        assert_int_equal(node_num(node_get(node_get(root, "parts"), "a"), "on"), 1);
        assert_string_equal(node_text(node_get(root, "pairs"), "k"), "007");
        assert_null(node_get(root, "names"));
        assert_null(node_get(root, "future"));
        problems_release(&p);
        arena_release(&a);
}

static void quantities_are_written_shortest(void **state)
{
        (void)state;
        static const struct {
                int64_t v;
                const struct unit *units;
                const char *want;
        } t[] = {{7776000000000, duration_units, "90d"},
                 {300000000, duration_units, "5min"},
                 {1500000, duration_units, "1500ms"},
                 {0, duration_units, "0ms"},
                 {921600, size_units, "900kB"},
                 {1000, size_units, "1000B"},
                 {1 << 30, size_units, "1GB"}};
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                char text[SCALAR_HINT];
                int64_t back;
                assert_string_equal(quantity_str(text, t[i].v, t[i].units), t[i].want);
                char hint[SCALAR_HINT];
                assert_true(scalar_quantity(text, t[i].units, &back, hint));
                assert_int_equal(back, t[i].v);
        }
}

static void distances_are_those_of_damerau(void **state)
{
        (void)state;
        static const struct {
                const char *a, *b;
                size_t want;
        } t[] = {{"", "", 0},
                 {"a", "", 1},
                 {"", "abc", 3},
                 {"kitten", "sitting", 3},
                 {"regoins", "regions", 1},
                 {"ab", "ba", 1},
                 {"colour", "color", 1},
                 {"abcdef", "abcdef", 0}};
        for (size_t i = 0; i < sizeof t / sizeof *t; i++)
                assert_int_equal(edit_distance(t[i].a, t[i].b), t[i].want);
        struct suggestion s = {.written = "us"};
        suggest_offer(&s, "eu"); /* nothing in common but a letter */
        assert_null(s.best);
}

static void files_that_cannot_be_read(void **state)
{
        (void)state;
        static const struct {
                const char *file, *want;
        } t[] = {{"/", "/: is a directory; the topology is one file\n"},
                 {"/nowhere/at/all", "/nowhere/at/all: cannot be opened: No such file or directory\n"},
                 {"/dev/zero", "/dev/zero: is larger than 1 MB, the most that is read\n"}};
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct problems p;
                struct buf text, out;
                problems_init(&p, t[i].file);
                buf_init(&text, 0);
                buf_init(&out, 0);
                assert_false(document_read(t[i].file, &text, &p));
                problems_print(&p, true, &out);
                assert_string_equal(buf_cstr(&out), t[i].want);
                buf_release(&out);
                buf_release(&text);
                problems_release(&p);
        }
}

static void problems_as_json(void **state)
{
        (void)state;
        struct problems p;
        struct buf out;
        problems_init(&p, "a\"b");
        buf_init(&out, 0);
        problem_error(&p, (struct place){2, 3}, "x\ty", "say \"%s\"\n", "\xc3\xa9\xff");
        problem_warn(&p, (struct place){1, 1}, "", "w");
        problems_print_json(&p, false, &out);
        assert_string_equal(buf_cstr(&out), "[{\"file\":\"a\\\"b\",\"line\":2,\"column\":3,\"path\":\"x?y\",\"message\":\"say "
                                            "\\\"\xc3\xa9\\ufffd\\\"?\"}]");
        assert_int_equal(p.errors, 1);
        buf_release(&out);
        problems_release(&p);
}

static void the_table_prints_its_documentation(void **state)
{
        (void)state;
        struct buf out;
        buf_init(&out, 0);
        config_print_docs(keys, &out);
        const char *text = buf_cstr(&out);
        assert_non_null(strstr(text, "| `count` | a whole number from -5 to 10 | `3` | How many. |\n"));
        assert_non_null(strstr(text, "| `future` | *not supported yet* |"));
        assert_non_null(strstr(text, "### `parts.<name>`\n"));
        assert_non_null(strstr(text, "| `must` | text | **required** |"));
        assert_non_null(strstr(text, "Not supported yet: `blue`."));
        buf_release(&out);
}

int main(void)
{
        setenv("PANGEA_TEST_SECRET", "geheim", 1);
        setenv("PANGEA_TEST_NUMBER", "7", 1);
        setenv("PANGEA_TEST_LATIN1", "\xe9", 1);
        unsetenv("PANGEA_TEST_NOT_SET");
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_fault_has_its_message),
                cmocka_unit_test(a_0_byte_is_refused),
                cmocka_unit_test(deep_nesting_is_refused),
                cmocka_unit_test(many_faults_are_cut),
                cmocka_unit_test(values_and_defaults_are_read),
                cmocka_unit_test(quantities_are_written_shortest),
                cmocka_unit_test(distances_are_those_of_damerau),
                cmocka_unit_test(files_that_cannot_be_read),
                cmocka_unit_test(problems_as_json),
                cmocka_unit_test(the_table_prints_its_documentation),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
