/* fuzz_wire: any bytes into the decoder; what it accepts is encoded again and must decode to the same.
 *   libFuzzer:   clang -g -O1 -fsanitize=fuzzer,address,undefined -I. tests/fuzz/fuzz_wire.c change/.c base/.c -lisal -lxxhash
 *   standalone:  -DFUZZ_STANDALONE; fuzz_wire [ITERATIONS [SEED]] mutates records made from random groups; without ITERATIONS for
 *                FUZZ_SECONDS of the environment. */
#include <limits.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "change/key.h"
#include "tests/unit/wire_sample.h"

static void fault(const char *what)
{
        fprintf(stderr, "fuzz_wire: %s\n", what);
        abort();
}

static void again(const struct record *r, const struct regset *regs, struct arena *arena, struct buf *out)
{
        struct err e;
        struct record back;
        struct regset known = *regs;
        enum status st = ST_FATAL;
        struct wire_group *w = NULL;
        switch (r->head.kind) {
        case RECORD_EPOCH: st = wire_encode_epoch(out, &r->head, &r->u.epoch, regs, &e); break;
        case RECORD_PROGRESS: st = wire_encode_progress(out, &r->head, &r->u.progress, regs, &e); break;
        case RECORD_MARKER: st = wire_encode_marker(out, &r->head, &r->u.marker, regs, &e); break;
        case RECORD_GROUP:
                w = wire_group_new(64u << 20);
                if (r->u.group.frag) { /* piece by piece is tested in test_wire_chunks.c */
                        wire_group_free(w);
                        return;
                }
                st = sample_add(w, &r->u.group, regs);
                if (st == ST_OK)
                        st = wire_group_finish(w, out, &r->head, r->u.group.hlc, r->u.group.chunk, r->u.group.last, regs, &e);
                wire_group_free(w);
        }
        if (st != ST_OK)
                fault("a decoded record cannot be encoded");
        if (wire_decode(out->data, out->len, &known, arena, &back, &e) != ST_OK)
                fault(e.msg);
        if (r->head.kind != back.head.kind || r->head.seq != back.head.seq || r->head.epoch != back.head.epoch ||
            r->head.region.i != back.head.region.i || r->head.incarnation != back.head.incarnation ||
            r->head.generation != back.head.generation)
                fault("head");
        const char *diff = r->head.kind == RECORD_GROUP ? group_diff(&r->u.group, &back.u.group) : NULL;
        if (diff)
                fault(diff);
        if (r->head.kind == RECORD_PROGRESS && memcmp(&r->u.progress.vec, &back.u.progress.vec, sizeof(struct vector)) != 0)
                fault("vector of a PROGRESS");
}

/* What readers do with a record: print it, take its keys. */
static void use(const struct record *r, const struct regset *regs, struct buf *out)
{
        buf_reset(out);
        wire_print(r, regs, out);
        for (uint32_t i = 0; r->head.kind == RECORD_GROUP && i < r->u.group.nchanges; i++) {
                const struct change *c = &r->u.group.changes[i];
                buf_reset(out);
                if (change_key_row(c))
                        key_bytes(out, c->rel, change_key_row(c));
                if (!key_equal_rows(c->rel, c->old, c->row) && (!c->old || !c->row))
                        fault("a key that changed without two rows");
        }
}

static void decode_large(const uint8_t *p, size_t n, struct arena *arena)
{
        struct change c, back;
        struct err e;
        if (wire_decode_large(p, n, arena, &c, &e) != ST_OK)
                return;
        struct buf whole;
        buf_init(&whole, 0);
        if (wire_group_encode_large(NULL, &c, &whole, &e) != ST_OK ||
            wire_decode_large(whole.data, whole.len, arena, &back, &e) != ST_OK)
                fault("a large change");
        const char *diff = change_diff(&c, &back);
        if (diff)
                fault(diff);
        buf_release(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const uint8_t begin[10] = {'P', 'G', 'E', 'A', 0, 0, 0, 0, WIRE_VERSION};
        if (size < sizeof begin)
                return 0;
        /* a copy of exactly this size, so that ASan sees the first byte too far; magic, version and CRC are put right, or nothing beyond
         * them would ever be reached */
        uint8_t *p = mem_alloc(size);
        memcpy(p, data, size);
        memcpy(p, begin, 9);
        p[9] = (uint8_t)(1 + (data[9] + 3) % 4); /* 1 to 4 stay what they are */
        wire_seal(p, size);
        struct regset regs = sample_regions(3);
        struct arena arena;
        struct buf out;
        struct record r;
        struct err e;
        arena_init(&arena);
        buf_init(&out, 0);
        if (wire_decode(p, size, &regs, &arena, &r, &e) == ST_OK) {
                again(&r, &regs, &arena, &out);
                use(&r, &regs, &out);
                if (wire_decode_head(p, size, &regs, &arena, &r, &e) != ST_OK)
                        fault("the head of a record that can be decoded");
        } else if (e.code != ST_DATA || r.head.kind != 0) {
                fault("refused with something else than ST_DATA, or not emptied");
        }
        decode_large(p + 10, size - 10, &arena);
        buf_release(&out);
        arena_release(&arena);
        free(p);
        return 0;
}

#ifdef FUZZ_STANDALONE
static size_t random_record(struct rng *r, struct arena *arena, struct buf *out)
{
        struct regset regs = sample_regions(5);
        struct record_head h = {.epoch = rng_next(r), .seq = rng_next(r), .region = {0}, .incarnation = 1, .generation = 2};
        struct record_progress progress = {.decoded = {rng_next(r)}};
        struct record_epoch epoch = {.writes = 1, .reads_min = 1, .reads_max = 1, .system_id = "7", .database = "d", .slot = "s"};
        struct record_marker marker = {.what = "rules", .text = "{}"};
        struct group g;
        struct err e;
        enum status st;
        struct wire_group *w = wire_group_new(64u << 20);
        switch (rng_below(r, 12)) {
        case 0: st = wire_encode_epoch(out, &h, &epoch, &regs, &e); break;
        case 1: st = wire_encode_marker(out, &h, &marker, &regs, &e); break;
        case 2:
                sample_vector(r, 5, 1000000, &progress.vec);
                st = wire_encode_progress(out, &h, &progress, &regs, &e);
                break;
        case 3:
                sample_group(r, arena, 5, 1, &g);
                wire_group_begin_tx(w, &g.txs[0], &regs);
                st = wire_group_finish_fragment(w, out, &h, g.hlc, 3, false, (const uint8_t *)"piece", 5, 7, 90, &regs, &e);
                break;
        default:
                sample_group(r, arena, 5, 12, &g);
                st = sample_add(w, &g, &regs);
                if (st == ST_OK)
                        st = wire_group_finish(w, out, &h, g.hlc, 0, true, &regs, &e);
        }
        wire_group_free(w);
        if (st != ST_OK)
                fault("cannot make a record");
        return out->len;
}

static size_t mutate(struct rng *r, uint8_t *p, size_t n)
{
        static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, 3, 64};
        for (unsigned times = rng_below(r, 4); times > 0 && n > 36; times--) {
                size_t at = rng_below(r, 4) ? rng_next(r) % n : rng_next(r) % (n < 160 ? n : 160);
                switch (rng_below(r, 5)) {
                case 0: p[at] ^= (uint8_t)(1u << rng_below(r, 8)); break;
                case 1: p[at] = odd[rng_below(r, sizeof odd)]; break;
                case 2: n -= rng_below(r, (unsigned)(n - 36)) / (1 + rng_below(r, 40)); break;
                case 3: memmove(p + at, p + at + (at + 1 < n), n - at - (at + 1 < n)); break;
                default: memset(p + at, 0xff, n - at < 9 ? n - at : 9); break;
                }
        }
        return n;
}

int main(int argc, char **argv)
{
        const char *seconds = argc > 1 ? NULL : getenv("FUZZ_SECONDS");
        unsigned long i = 0, rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : seconds ? ULONG_MAX : 20000;
        int64_t until = seconds ? clock_mono_us() + 1000000 * strtol(seconds, NULL, 10) : INT64_MAX;
        struct rng r = {.s = argc > 2 ? strtoull(argv[2], NULL, 10) : 1};
        struct arena arena;
        struct buf out;
        arena_init(&arena);
        buf_init(&out, 0);
        uint8_t *copy = NULL;
        while (i < rounds && clock_mono_us() < until) {
                size_t n = random_record(&r, &arena, &out);
                copy = mem_realloc(copy, n);
                for (unsigned times = 0; times < 8 && i < rounds; times++, i++) { /* each record in eight bad shapes */
                        memcpy(copy, out.data, n);
                        LLVMFuzzerTestOneInput(copy, mutate(&r, copy, n));
                }
                arena_reset(&arena);
        }
        free(copy);
        arena_release(&arena);
        buf_release(&out);
        printf("fuzz_wire: %lu records\n", i);
        return 0;
}
#endif
