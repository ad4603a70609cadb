#include "base/map.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"

struct map_slot {
        uint64_t hash;
        uint8_t *key; /* NULL: never used; &gone: deleted */
        size_t len;
        void *value;
};

static uint8_t gone; /* only its address is used */

uint64_t hash64(const void *p, size_t n, uint64_t seed)
{
        return XXH3_64bits_withSeed(p, n, seed);
}

void map_init(struct map *m, size_t max_entries)
{
        memset(m, 0, sizeof *m);
        m->max = max_entries;
}

void map_clear(struct map *m)
{
        for (size_t i = 0; i < m->cap; i++)
                if (m->slots[i].key && m->slots[i].key != &gone)
                        free(m->slots[i].key);
        if (m->slots)
                memset(m->slots, 0, m->cap * sizeof *m->slots);
        m->used = m->count = 0;
}

void map_release(struct map *m)
{
        size_t max = m->max;
        map_clear(m);
        free(m->slots);
        map_init(m, max);
}

static struct map_slot *find(const struct map *m, uint64_t hash, const void *key, size_t len)
{
        if (!m->cap)
                return NULL;
        for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
                struct map_slot *s = &m->slots[i];
                if (!s->key)
                        return NULL;
                if (s->key != &gone && s->hash == hash && s->len == len && memcmp(s->key, key, len) == 0)
                        return s;
        }
}

void *map_get(const struct map *m, const void *key, size_t len)
{
        struct map_slot *s = m->count ? find(m, hash64(key, len, 0), key, len) : NULL;
        return s ? s->value : NULL;
}

static void place(struct map *m, struct map_slot slot)
{
        size_t i = slot.hash & (m->cap - 1);
        while (m->slots[i].key && m->slots[i].key != &gone)
                i = (i + 1) & (m->cap - 1);
        m->used += m->slots[i].key == NULL;
        m->slots[i] = slot;
}

static void grow(struct map *m)
{
        struct map_slot *old = m->slots;
        size_t n = m->cap, cap = 64;
        while (cap < (m->count + 1) * 2)
                cap *= 2;
        m->slots = mem_zalloc(cap * sizeof *m->slots);
        m->cap = cap;
        m->used = 0;
        for (size_t i = 0; i < n; i++)
                if (old[i].key && old[i].key != &gone)
                        place(m, old[i]);
        free(old);
}

bool map_put(struct map *m, const void *key, size_t len, void *value)
{
        uint64_t hash = hash64(key, len, 0);
        struct map_slot *s = find(m, hash, key, len);
        if (s) {
                s->value = value;
                return true;
        }
        if (m->max && m->count >= m->max)
                return false;
        if (m->used + 1 > m->cap / 4 * 3)
                grow(m);
        uint8_t *copy = mem_alloc(len + 1);
        memcpy(copy, key, len);
        place(m, (struct map_slot){.hash = hash, .key = copy, .len = len, .value = value});
        m->count++;
        return true;
}

void *map_del(struct map *m, const void *key, size_t len)
{
        struct map_slot *s = m->count ? find(m, hash64(key, len, 0), key, len) : NULL;
        if (!s)
                return NULL;
        void *value = s->value;
        free(s->key);
        *s = (struct map_slot){.key = &gone};
        m->count--;
        return value;
}

bool map_next(const struct map *m, size_t *it, const void **key, size_t *len, void **value)
{
        for (; *it < m->cap; (*it)++) {
                const struct map_slot *s = &m->slots[*it];
                if (!s->key || s->key == &gone)
                        continue;
                *key = s->key;
                *len = s->len;
                *value = s->value;
                (*it)++;
                return true;
        }
        return false;
}
