#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define BLOCK_SIZE ((size_t)64 * 1024)

struct arena_block {
        struct arena_block *next;
        size_t size, used;
        max_align_t data[];
};

void arena_init(struct arena *a)
{
        memset(a, 0, sizeof *a);
}

static void free_from(struct arena_block *b)
{
        while (b) {
                struct arena_block *next = b->next;
                free(b);
                b = next;
        }
}

void arena_reset(struct arena *a)
{
        struct arena_block *keep = NULL, *b = a->head;
        while (b) {
                struct arena_block *next = b->next;
                if (!keep && b->size == BLOCK_SIZE)
                        keep = b;
                else
                        free(b);
                b = next;
        }
        if (keep) {
                keep->next = NULL;
                keep->used = 0;
        }
        a->head = keep;
        a->used = 0;
}

void arena_release(struct arena *a)
{
        free_from(a->head);
        memset(a, 0, sizeof *a);
}

void *arena_room(struct arena *a, size_t size)
{
        size_t need = (size + 15) & ~(size_t)15;
        if (need < size)
                mem_die("arena", size);
        struct arena_block *b = a->head;
        if (!b || b->size - b->used < need) {
                size_t room = need > BLOCK_SIZE ? need : BLOCK_SIZE;
                b = mem_alloc(sizeof *b + room);
                b->size = room;
                b->used = 0;
                if (need > BLOCK_SIZE / 2 && a->head) { /* keep filling the old block */
                        b->next = a->head->next;
                        a->head->next = b;
                } else {
                        b->next = a->head;
                        a->head = b;
                }
        }
        void *p = (char *)b->data + b->used;
        b->used += need;
        a->used += need;
        return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
        void *p = arena_room(a, size);
        memset(p, 0, size);
        return p;
}

void *arena_copy(struct arena *a, const void *p, size_t size)
{
        void *out = arena_room(a, size);
        if (size)
                memcpy(out, p, size);
        return out;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
        char *out = arena_room(a, n + 1);
        if (n)
                memcpy(out, s, n);
        out[n] = 0;
        return out;
}

char *arena_strdup(struct arena *a, const char *s)
{
        return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
        va_list ap, again;
        va_start(ap, fmt);
        va_copy(again, ap);
        int n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        char *out = arena_room(a, (size_t)n + 1);
        vsnprintf(out, (size_t)n + 1, fmt, again);
        va_end(again);
        return out;
}
