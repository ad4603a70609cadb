#include "apply/tombs.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

#define BITS ((uint64_t)1 << 26) /* 8 MB: one false "perhaps" in a hundred at 7 million keys */
#define HASHES 4

struct tombs {
        uint64_t *bits;
        uint64_t count, removed;
};

struct tombs *tombs_new(void)
{
        struct tombs *t = MEM_NEW(struct tombs);
        t->bits = mem_zalloc(BITS / 8);
        return t;
}

void tombs_free(struct tombs *t)
{
        if (!t)
                return;
        free(t->bits);
        free(t);
}

static uint64_t hash_of(const char *rel, const uint8_t *key, uint32_t len)
{
        return hash64(key, len, hash64(rel, strlen(rel), 0));
}

bool tombs_perhaps(const struct tombs *t, const char *rel, const uint8_t *key, uint32_t len)
{
        if (!t->count)
                return false;
        uint64_t h = hash_of(rel, key, len), step = h >> 32 | 1;
        for (int i = 0; i < HASHES; i++, h += step)
                if (!(t->bits[h % BITS / 64] >> (h % 64) & 1))
                        return false;
        return true;
}

void tombs_add(struct tombs *t, const char *rel, const uint8_t *key, uint32_t len)
{
        uint64_t h = hash_of(rel, key, len), step = h >> 32 | 1;
        for (int i = 0; i < HASHES; i++, h += step)
                t->bits[h % BITS / 64] |= UINT64_C(1) << (h % 64);
        t->count++;
}

uint64_t tombs_count(const struct tombs *t)
{
        return t->count;
}

bool tombs_removed(struct tombs *t, uint64_t n)
{
        t->removed += n;
        return t->removed * 2 >= t->count;
}

static uint8_t nibble(char c)
{
        return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

enum status tombs_load(struct tombs *t, struct pg *side, const char *table, struct err *e)
{
        struct pgres *r = NULL;
        memset(t->bits, 0, BITS / 8);
        t->count = t->removed = 0;
        enum status s = pg_execf(side, NULL, e, "BEGIN; DECLARE tombs CURSOR FOR SELECT rel, encode(key, 'hex') FROM %s", table);
        while (s == ST_OK) {
                s = pg_exec(side, "FETCH 10000 FROM tombs", &r, e);
                int n = s == ST_OK ? pgres_rows(r) : 0;
                for (int i = 0; i < n; i++) {
                        const char *hex = pgres_text(r, i, 1);
                        uint32_t len = (uint32_t)pgres_len(r, i, 1) / 2;
                        uint8_t *key = mem_alloc(len);
                        for (uint32_t b = 0; b < len; b++)
                                key[b] = (uint8_t)(nibble(hex[2 * b]) << 4 | nibble(hex[2 * b + 1]));
                        tombs_add(t, pgres_text(r, i, 0), key, len);
                        free(key);
                }
                pgres_free(r);
                r = NULL;
                if (n == 0)
                        break;
        }
        struct err ignored;
        enum status end = pg_exec(side, s == ST_OK ? "COMMIT" : "ROLLBACK", NULL, s == ST_OK ? e : &ignored);
        return s == ST_OK ? end : s;
}

void tomb_list_init(struct tomb_list *l)
{
        l->n = 0;
        array_begin(&l->rel, 25);
        array_begin(&l->key, 17);
        array_begin(&l->hlc, 20);
}

void tomb_list_release(struct tomb_list *l)
{
        buf_release(&l->rel);
        buf_release(&l->key);
        buf_release(&l->hlc);
}

void tomb_list_add(struct tomb_list *l, struct tombs *t, const char *rel, const void *key, uint32_t len, hlc_t hlc)
{
        array_add(&l->rel, rel, strlen(rel));
        array_add(&l->key, key, len);
        buf_put_u32(&l->hlc, 8);
        buf_put_u64(&l->hlc, hlc.v);
        l->n++;
        tombs_add(t, rel, key, len);
}

enum status tomb_list_send(struct tomb_list *l, struct session *s, struct stmt *stmt, const char *region, struct err *e)
{
        static const char sql[] =
                "INSERT INTO pangea.tombstone AS t (rel, key, region, hlc)"
                " SELECT s.rel, s.key, $4, pg_catalog.max(s.hlc) FROM ROWS FROM (pg_catalog.unnest($1::text[]),"
                " pg_catalog.unnest($2::bytea[]), pg_catalog.unnest($3::int8[])) AS s(rel, key, hlc) GROUP BY s.rel, s.key"
                " ON CONFLICT (rel, key, region) DO UPDATE SET hlc = greatest(t.hlc, EXCLUDED.hlc)";
        if (!l->n)
                return ST_OK;
        struct pg_param p[4] = {array_end(&l->rel, l->n, 1009), array_end(&l->key, l->n, 1001), array_end(&l->hlc, l->n, 1016),
                                param_text(region)};
        return session_send(s, stmt, sql, 4, p, NULL, NULL, e);
}
