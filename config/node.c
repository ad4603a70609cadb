#include "config/node.h"

#include <string.h>

#include "config/utf8.h"

#define DEPTH_SHOWN 16
#define STEP_SHOWN 64

static const char *const kind_names[] = {[NODE_SCALAR] = "text", [NODE_LIST] = "a list", [NODE_MAP] = "a map"};
_Static_assert(sizeof kind_names / sizeof *kind_names == NODE_KIND_COUNT, "a kind without a name");

const char *node_kind_name(enum node_kind k)
{
        return kind_names[k];
}

static const char *step(struct arena *a, const char *before, const char *name)
{
        size_t len = strlen(name), n = 0;
        while (n < len && n < STEP_SHOWN) {
                size_t one = utf8_len(name + n, len - n);
                n += one ? one : 1;
        }
        return arena_printf(a, "%s%s%.*s%s", before, *before ? "." : "", (int)n, name, n < len ? ".." : "");
}

const char *node_path(struct arena *a, const struct node *n)
{
        const struct node *way[DEPTH_SHOWN];
        size_t depth = 0;
        for (; n && n->parent && depth < DEPTH_SHOWN; n = n->parent)
                way[depth++] = n;
        const char *path = "";
        while (depth > 0) {
                const struct node *at = way[--depth];
                path = at->name ? step(a, path, at->name) : arena_printf(a, "%s[%zu]", path, at->index);
        }
        return path;
}

const char *node_path_of(struct arena *a, const struct node *n, const char *key)
{
        return step(a, node_path(a, n), key);
}

const struct node *node_get(const struct node *map, const char *key)
{
        if (!map || map->kind != NODE_MAP || map->bad)
                return NULL;
        for (size_t i = 0; i < map->n; i++)
                if (!map->items[i]->bad && strcmp(map->items[i]->name, key) == 0)
                        return map->items[i];
        return NULL;
}

const char *node_text(const struct node *map, const char *key)
{
        const struct node *n = node_get(map, key);
        return n && n->kind == NODE_SCALAR ? n->text : NULL;
}

int64_t node_num(const struct node *map, const char *key)
{
        const struct node *n = node_get(map, key);
        return n ? n->num : 0;
}
