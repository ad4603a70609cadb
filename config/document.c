#include "config/document.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <yaml.h>

#include "base/map.h"
#include "config/utf8.h"

#define BRACKETS_MAX 1000

static const struct place whole_file = {0, 0};

/* ---- bytes -------------------------------------------------------------------------------------------------------------------- */

static bool read_all(FILE *f, struct buf *text, struct problems *p)
{
        for (;;) {
                uint8_t chunk[4096];
                size_t n = fread(chunk, 1, sizeof chunk, f);
                if (n == 0)
                        break;
                buf_put(text, chunk, n);
                if (text->len > DOCUMENT_MAX_BYTES || text->full) {
                        problem_error(p, whole_file, "", "is larger than %zu MB, the most that is read", DOCUMENT_MAX_BYTES >> 20);
                        return false;
                }
        }
        if (ferror(f)) {
                problem_error(p, whole_file, "", "cannot be read: %s", strerror(errno));
                return false;
        }
        return true;
}

bool document_read(const char *file, struct buf *text, struct problems *p)
{
        struct stat st;
        FILE *f = fopen(file, "rbe");
        if (!f) {
                problem_error(p, whole_file, "", "cannot be opened: %s", strerror(errno));
                return false;
        }
        bool ok = fstat(fileno(f), &st) == 0 && !S_ISDIR(st.st_mode);
        if (!ok)
                problem_error(p, whole_file, "", "is a directory; the topology is one file");
        else
                ok = read_all(f, text, p);
        fclose(f);
        return ok;
}

/* libyaml would find most of this too, but gives a byte offset where a person wants a line. */
static bool check_bytes(const char *text, size_t len, struct problems *p)
{
        struct place at = {1, 1};
        int open = 0;
        bool bom = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
        for (size_t i = bom ? 3 : 0; i < len;) {
                unsigned char c = (unsigned char)text[i];
                size_t n = utf8_len(text + i, len - i);
                if (n == 0) {
                        problem_error(p, at, "", "byte 0x%02x is not UTF-8; save the file as UTF-8", c);
                        return false;
                }
                if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f) {
                        problem_error(p, at, "", "control character 0x%02x; remove it", c);
                        return false;
                }
                /* libyaml's time grows with the square of the brackets that are open; those in quotes count too, but nobody has so many */
                open += c == '[' || c == '{' ? 1 : (c == ']' || c == '}') && open > 0 ? -1 : 0;
                if (open > BRACKETS_MAX) {
                        problem_error(p, at, "", "is nested too deep");
                        return false;
                }
                bool line_end = c == '\n' || (c == '\r' && (i + 1 == len || text[i + 1] != '\n'));
                at = line_end ? (struct place){at.line + 1, 1} : (struct place){at.line, at.column + 1};
                i += n;
        }
        return true;
}

/* ---- YAML nodes -> our nodes -------------------------------------------------------------------------------------------------- */

struct maker {
        yaml_document_t *doc;
        struct arena *arena;
        struct problems *p;
        bool *seen; /* by the document's node number */
};

static struct place place_of(yaml_mark_t m)
{
        return (struct place){(int)m.line + 1, (int)m.column + 1};
}

static struct node *fail(struct maker *m, struct node *n, const char *what)
{
        problem_error(m->p, n->at, node_path(m->arena, n), "%s", what);
        n->bad = true;
        n->n = 0;
        return n;
}

static bool is_null(const yaml_node_t *y)
{
        static const char *const words[] = {"", "~", "null", "Null", "NULL"};
        const char *s = (const char *)y->data.scalar.value;
        if (y->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
                return false;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
                if (strcmp(s, words[i]) == 0)
                        return true;
        return false;
}

static bool own_tag(const yaml_node_t *y)
{
        static const char *const usual[] = {[YAML_SCALAR_NODE] = YAML_DEFAULT_SCALAR_TAG,
                                            [YAML_SEQUENCE_NODE] = YAML_DEFAULT_SEQUENCE_TAG,
                                            [YAML_MAPPING_NODE] = YAML_DEFAULT_MAPPING_TAG};
        return y->tag && y->type != YAML_NO_NODE && strcmp((const char *)y->tag, usual[y->type]) != 0;
}

static struct node *make(struct maker *m, int number, struct node *proto, int depth);

static struct node **items_for(struct maker *m, ptrdiff_t n)
{
        return ARENA_ARRAY(m->arena, struct node *, n);
}

static void make_list(struct maker *m, const yaml_node_t *y, struct node *out, int depth)
{
        const yaml_node_item_t *from = y->data.sequence.items.start, *end = y->data.sequence.items.top;
        out->items = items_for(m, end - from);
        for (; from < end; from++) {
                struct node proto = {.parent = out, .index = out->n};
                out->items[out->n++] = make(m, *from, &proto, depth + 1);
        }
}

/* A key is plain text: "1" and "yes" are names like any other here. */
static const char *key_text(struct maker *m, const yaml_node_pair_t *pair, const struct node *map, struct place *at)
{
        const yaml_node_t *k = yaml_document_get_node(m->doc, pair->key);
        *at = place_of(k->start_mark);
        const char *what = NULL;
        if (k->type != YAML_SCALAR_NODE)
                what = "a key must be text";
        else if (own_tag(k))
                what = "a key has a tag (!name); tags are not supported: remove it";
        else if (m->seen[pair->key])
                what = "a key is an alias (*name); anchors and aliases are not supported: write it out";
        else if (strlen((const char *)k->data.scalar.value) != k->data.scalar.length)
                what = "a key holds a 0 byte";
        m->seen[pair->key] = true;
        if (what) {
                problem_error(m->p, *at, node_path(m->arena, map), "%s", what);
                return NULL;
        }
        return arena_strdup(m->arena, (const char *)k->data.scalar.value);
}

static void make_map(struct maker *m, const yaml_node_t *y, struct node *out, int depth)
{
        const yaml_node_pair_t *from = y->data.mapping.pairs.start, *end = y->data.mapping.pairs.top;
        struct map names;
        map_init(&names, 0);
        out->items = items_for(m, end - from);
        for (; from < end; from++) {
                struct node proto = {.parent = out, .index = out->n};
                proto.name = key_text(m, from, out, &proto.name_at);
                if (!proto.name)
                        continue;
                const struct node *first = map_get(&names, proto.name, strlen(proto.name));
                struct node *new = make(m, from->value, &proto, depth + 1);
                out->items[out->n++] = new;
                if (first) {
                        problem_error(m->p, proto.name_at, node_path(m->arena, new), "stands here a second time, first in line %d",
                                      first->name_at.line);
                        new->bad = true;
                } else {
                        map_put(&names, proto.name, strlen(proto.name), new);
                }
        }
        map_release(&names);
}

static struct node *make(struct maker *m, int number, struct node *proto, int depth)
{
        const yaml_node_t *y = yaml_document_get_node(m->doc, number);
        struct node *n = arena_copy(m->arena, proto, sizeof *proto);
        n->at = place_of(y->start_mark);
        n->kind = y->type == YAML_MAPPING_NODE ? NODE_MAP : y->type == YAML_SEQUENCE_NODE ? NODE_LIST : NODE_SCALAR;
        n->raw = n->text = "";
        /* an alias is the anchored node once more: refusing the second visit also ends loops and bombs */
        if (m->seen[number])
                return fail(m, n,
                            "is used again by an alias (*name); anchors and aliases are not supported: write it out in each place");
        m->seen[number] = true;
        if (own_tag(y))
                return fail(m, n, "has a tag (!name); tags are not supported: remove it");
        if (depth > DOCUMENT_MAX_DEPTH)
                return fail(m, n, "is nested too deep");
        if (n->kind == NODE_LIST) {
                make_list(m, y, n, depth);
        } else if (n->kind == NODE_MAP) {
                make_map(m, y, n, depth);
        } else {
                if (strlen((const char *)y->data.scalar.value) != y->data.scalar.length)
                        return fail(m, n, "holds a 0 byte");
                n->raw = n->text = arena_strdup(m->arena, (const char *)y->data.scalar.value);
                n->null = is_null(y);
        }
        return n;
}

/* ---- parsing ------------------------------------------------------------------------------------------------------------------ */

/* The tab in the indentation of that line, or where a value should begin: libyaml's words for it help nobody. */
static bool tab_near(const char *text, size_t len, struct place at, struct place *tab)
{
        const char *line = text, *end = text + len;
        for (int i = 1; i < at.line && line; i++) {
                line = memchr(line, '\n', (size_t)(end - line));
                line = line ? line + 1 : NULL;
        }
        if (!line)
                return false;
        size_t n = (size_t)(end - line), blank = 0;
        while (blank < n && line[blank] == ' ')
                blank++;
        bool indent = blank < n && line[blank] == '\t';
        size_t col = indent ? blank : (size_t)at.column - 1;
        *tab = (struct place){at.line, (int)col + 1};
        return col < n && line[col] == '\t';
}

/* libyaml's words, and what to do about them. */
static const struct {
        const char *says, *todo;
} hints[] = {
        {"found undefined alias", "aliases (*name) are not supported; text that begins with * must be in quotes"},
        {"did not find expected alphabetic or numeric character", "text that begins with * or & must be in quotes"},
        {"found character that cannot start any token", "text that begins with this character must be in quotes"},
        {"mapping values are not allowed in this context", "is the indentation right? text with \": \" in it must be in quotes"},
        {"did not find expected key", "is the indentation right?"},
        {"did not find expected ',' or ']'", "is a ] missing?"},
        {"did not find expected ',' or '}'", "is a } missing?"},
        {"found unexpected end of stream", "a quote is not closed"},
};

static const char *hint_for(const char *says)
{
        for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
                if (strcmp(hints[i].says, says) == 0)
                        return hints[i].todo;
        return NULL;
}

static void syntax_error(const yaml_parser_t *y, const char *text, size_t len, struct problems *p)
{
        struct place at = place_of(y->problem_mark), tab;
        const char *what = y->problem ? y->problem : "unknown error", *hint = hint_for(what);
        if (y->error == YAML_MEMORY_ERROR || y->error == YAML_READER_ERROR)
                problem_error(p, whole_file, "", "is not YAML: %s", what);
        else if (tab_near(text, len, at, &tab))
                problem_error(p, tab, "", "a tab; YAML is indented with spaces");
        else
                problem_error(p, at, "", "is not YAML: %s%s%s%s%s", y->context ? y->context : "", y->context ? ", " : "", what,
                              hint ? "; " : "", hint ? hint : "");
}

static struct node *make_root(yaml_document_t *doc, struct arena *arena, struct problems *p)
{
        if (!yaml_document_get_root_node(doc)) {
                problem_error(p, whole_file, "", "is empty");
                return NULL;
        }
        size_t n = (size_t)(doc->nodes.top - doc->nodes.start);
        if (n > DOCUMENT_MAX_NODES) {
                problem_error(p, whole_file, "", "has more than %d values, the most that are read", DOCUMENT_MAX_NODES);
                return NULL;
        }
        struct node proto = {.parent = NULL};
        struct maker m = {.doc = doc, .arena = arena, .p = p, .seen = ARENA_ARRAY(arena, bool, n + 1)};
        return make(&m, 1, &proto, 0);
}

static void refuse_second(yaml_parser_t *y, const char *text, size_t len, struct problems *p)
{
        yaml_document_t doc;
        if (!yaml_parser_load(y, &doc)) {
                syntax_error(y, text, len, p);
                return;
        }
        const yaml_node_t *root = yaml_document_get_root_node(&doc);
        if (root)
                problem_error(p, place_of(doc.start_mark), "", "a second document begins here; one file is one document");
        yaml_document_delete(&doc);
}

struct node *document_parse(const char *text, size_t len, struct arena *arena, struct problems *p)
{
        yaml_parser_t y;
        yaml_document_t doc;
        struct node *root = NULL;
        if (!check_bytes(text, len, p))
                return NULL;
        if (!yaml_parser_initialize(&y)) {
                problem_error(p, whole_file, "", "cannot be parsed: out of memory");
                return NULL;
        }
        yaml_parser_set_input_string(&y, (const unsigned char *)text, len);
        yaml_parser_set_encoding(&y, YAML_UTF8_ENCODING);
        if (!yaml_parser_load(&y, &doc)) {
                syntax_error(&y, text, len, p);
        } else {
                root = make_root(&doc, arena, p);
                yaml_document_delete(&doc);
                if (root)
                        refuse_second(&y, text, len, p);
        }
        yaml_parser_delete(&y);
        return root;
}
