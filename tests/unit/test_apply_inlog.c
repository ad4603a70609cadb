/* Reading a log: what is fenced, what is missing, what came twice, what spans records. The logs are written as text into librdkafka's mock
 * cluster and read as the apply agent does.
 *
 *     E2  EPOCH of epoch 2, which those behind it bear     G7  group with seq 7, HLC 1007     P8  PROGRESS     M  MARKER
 *     C9.0 C10.1!  chunks 0 and 1 (the last) of one group   F9.0/3 .. F11.2/3!  a row in three fragments
 *     e1: i2: eu:  before a record: of another epoch, incarnation, region      x: with a damaged byte      v: of a newer version
 *
 * and come out as items: E G7 P8 M, B1-4 a group of several records, its offsets; r: read again; ^: no place to begin from; or the name of
 * the stop. */
#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply/inlog.h"
#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/mock_broker.h"

#define LIMIT_US INT64_C(20000000)
#define TOPICS 64
#define LARGE 9000 /* bytes of the value of a row in fragments */

struct world {
        rd_kafka_t *rk; /* owns the mock cluster, writes the logs */
        rd_kafka_mock_cluster_t *cluster;
        struct kafka_conf conf;
        struct regset regs;
        struct wire_group *wire;
        struct buf large;
        int wake[2];
        rd_kafka_topic_t *topics[TOPICS];
        unsigned ntopics;
        const char *topic; /* of the log that was written last */
        int64_t nrecords;
};

static int start(void **state)
{
        /* the defaults are polite to a real broker, and cost half a second for each error or seek */
        static const char *const keys[] = {"fetch.wait.max.ms", "fetch.error.backoff.ms", "retry.backoff.ms",
                                           "topic.metadata.refresh.fast.interval.ms"},
                                 *const values[] = {"20", "20", "20", "20"};
        static struct world w;
        log_setup("shop", "ap", LOG_ERROR, true);
        w.rk = mock_broker_start(&w.cluster);
        for (int i = 0; i < TOPICS; i++) { /* made known together: each alone would take a second */
                char name[32];
                snprintf(name, sizeof name, "shop.us%d.log", i);
                assert_int_equal(rd_kafka_mock_topic_create(w.cluster, name, 1, 1), 0);
                w.topics[i] = rd_kafka_topic_new(w.rk, name, NULL);
        }
        const struct rd_kafka_metadata *md;
        assert_int_equal(rd_kafka_metadata(w.rk, 0, NULL, &md, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
        rd_kafka_metadata_destroy(md);
        w.conf = (struct kafka_conf){
                .brokers = rd_kafka_mock_cluster_bootstraps(w.cluster), .prop_keys = keys, .prop_values = values, .nprops = 4};
        regset_add(&w.regs, "ap", 2);
        regset_add(&w.regs, "eu", 2);
        regset_add(&w.regs, "us", 2);
        w.wire = wire_group_new(1 << 20);
        buf_init(&w.large, 0);
        assert_int_equal(pipe(w.wake), 0);
        *state = &w;
        return 0;
}

static int stop(void **state)
{
        struct world *w = *state;
        for (int i = 0; i < TOPICS; i++)
                rd_kafka_topic_destroy(w->topics[i]);
        rd_kafka_destroy(w->rk);
        wire_group_free(w->wire);
        buf_release(&w->large);
        close(w->wake[0]);
        close(w->wake[1]);
        return 0;
}

/* ---- writing a log -------------------------------------------------------------------------------------------------------------------- */

static const struct column cols[] = {{"id", "pg_catalog.text", true}};
static const uint16_t keys[] = {0};
static const struct relation rel = {.schema = "public", .name = "t", .ncols = 1, .nkeys = 1, .cols = cols, .keys = keys};

static void begin_tx(struct world *w, uint64_t seq)
{
        struct vector v = {.at = {{0}}};
        v.at[1].v = 500 + seq; /* of eu */
        struct txn tx = {
                .xid = {seq}, .commit_lsn = {seq * 100}, .end_lsn = {seq * 100 + 50}, .commit_us = (int64_t)(900 + seq), .vec = &v};
        wire_group_reset(w->wire);
        wire_group_begin_tx(w->wire, &tx, &w->regs);
}

static void encode_group(struct world *w, struct buf *out, const struct record_head *h, uint32_t chunk, bool last)
{
        char id[24];
        struct err e;
        struct value v = {
                .kind = VALUE_TEXT, .len = (uint32_t)snprintf(id, sizeof id, "%d", (int)h->seq), .data = (const uint8_t *)id};
        struct change c = {.op = CHANGE_INSERT, .rel = &rel, .row = &v};
        begin_tx(w, h->seq);
        assert_int_equal(wire_group_add(w->wire, &c), ST_OK);
        assert_int_equal(wire_group_finish(w->wire, out, h, (hlc_t){1000 + h->seq}, chunk, last, &w->regs, &e), ST_OK);
}

/* The row is as long as it is in one piece; piece k of n is the k-th part of its bytes. */
static void encode_fragment(struct world *w, struct buf *out, const struct record_head *h, uint32_t chunk, uint32_t of, bool last)
{
        uint8_t text[LARGE];
        struct err e;
        memset(text, 'z', sizeof text);
        struct value v = {.kind = VALUE_TEXT, .len = LARGE, .data = text};
        struct change c = {.op = CHANGE_INSERT, .rel = &rel, .row = &v};
        begin_tx(w, h->seq);
        assert_int_equal(wire_group_encode_large(w->wire, &c, &w->large, &e), ST_OK);
        size_t at = w->large.len * chunk / of, end = w->large.len * (chunk + 1) / of;
        assert_int_equal(wire_group_finish_fragment(w->wire, out, h, (hlc_t){1000 + h->seq}, chunk, last, w->large.data + at,
                                                    (uint32_t)(end - at), at, w->large.len, &w->regs, &e),
                         ST_OK);
}

static const char *encode_one(struct world *w, const char *s, uint64_t *epoch, struct buf *out)
{
        struct record_head h = {.epoch = *epoch, .region = {2}, .incarnation = 1};
        struct err e;
        bool damaged = false, newer = false;
        for (const char *colon; (colon = memchr(s, ':', strcspn(s, " "))) != NULL; s = colon + 1) {
                if (*s == 'x')
                        damaged = true;
                else if (*s == 'v')
                        newer = true;
                else if (isdigit((unsigned char)s[1]))
                        *(*s == 'e' ? &h.epoch : &h.seq) = strtoull(s + 1, NULL, 10);
                else
                        h.region = regset_find(&w->regs, s, (size_t)(colon - s));
        }
        if (h.seq) /* i2: */
                h.incarnation = (uint32_t)h.seq;
        char kind = *s++, *end = NULL;
        h.seq = strtoull(s, &end, 10);
        uint32_t chunk = *end == '.' ? (uint32_t)strtoul(end + 1, &end, 10) : 0;
        uint32_t of = *end == '/' ? (uint32_t)strtoul(end + 1, &end, 10) : 1;
        bool last = *end == '!';
        end += last;
        struct record_epoch re = {.writes = 1,
                                  .reads_min = 1,
                                  .reads_max = 1,
                                  .system_id = "7",
                                  .timeline = 1,
                                  .database = "d",
                                  .slot = "s",
                                  .wall_us = 5};
        struct record_progress rp = {.decoded = {h.seq * 100}, .xmin = {h.seq}, .xmin_lsn = {h.seq * 100}, .wall_us = 6};
        struct record_marker rm = {.what = "rules", .text = "{}"};
        enum status s1 = ST_OK;
        if (kind == 'E') {
                *epoch = h.epoch = h.seq;
                h.seq = 0;
                s1 = wire_encode_epoch(out, &h, &re, &w->regs, &e);
        } else if (kind == 'P') {
                s1 = wire_encode_progress(out, &h, &rp, &w->regs, &e);
        } else if (kind == 'M') {
                s1 = wire_encode_marker(out, &h, &rm, &w->regs, &e);
        } else if (kind == 'F') {
                encode_fragment(w, out, &h, chunk, of, last);
        } else {
                encode_group(w, out, &h, chunk, last || kind == 'G');
        }
        assert_int_equal(s1, ST_OK);
        if (newer) {
                out->data[8]++;
                wire_seal(out->data, out->len);
        }
        if (damaged)
                out->data[out->len / 2] ^= 1;
        return end;
}

/* A topic of its own for each log. */
static void write_log(struct world *w, const char *s)
{
        struct buf out;
        uint64_t epoch = 1;
        assert_in_range(w->ntopics, 0, TOPICS - 1);
        rd_kafka_topic_t *topic = w->topics[w->ntopics++];
        w->topic = rd_kafka_topic_name(topic);
        buf_init(&out, 1 << 20);
        for (w->nrecords = 0; *s; s += *s == ' ') {
                s = encode_one(w, s, &epoch, &out);
                assert_int_equal(rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, out.data, out.len, NULL, 0, NULL), 0);
                w->nrecords++;
        }
        assert_int_equal(rd_kafka_flush(w->rk, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
        buf_release(&out);
}

/* ---- reading it ----------------------------------------------------------------------------------------------------------------------- */

static struct inlog *open_copy(struct world *w, const struct log_position *from, size_t max_bytes, bool copy,
                               void (*note)(void *, const struct log_item *), void *ctx)
{
        struct inlog *l = NULL;
        struct err e = {.code = ST_OK};
        char *client = strdup("pangea-shop-ap-apply");
        struct kafka_conf conf = w->conf;
        conf.client_id = client;
        struct inlog_opts o = {.conf = &conf,
                               .topic = w->topic,
                               .region = {2},
                               .regs = &w->regs,
                               .from = *from,
                               .copy = copy,
                               .max_bytes = max_bytes,
                               .wake_fd = w->wake[1],
                               .note = note,
                               .note_ctx = ctx};
        if (inlog_open(&l, &o, &e) != ST_OK)
                fail_msg("inlog_open: %s", e.msg);
        free(client); /* what it needs of the configuration it has copied, but for what the topology owns */
        return l;
}

static struct inlog *open_log(struct world *w, const struct log_position *from, size_t max_bytes,
                              void (*note)(void *, const struct log_item *), void *ctx)
{
        return open_copy(w, from, max_bytes, false, note, ctx);
}

static void put_item(struct buf *b, const struct log_item *i)
{
        static const char letters[] = {
                [ITEM_EPOCH] = 'E', [ITEM_GROUP] = 'G', [ITEM_BIG] = 'B', [ITEM_PROGRESS] = 'P', [ITEM_MARKER] = 'M'};
        buf_printf(b, "%s%c", b->len ? " " : "", letters[i->kind]);
        if (i->kind == ITEM_GROUP || i->kind == ITEM_PROGRESS)
                buf_printf(b, "%d", (int)i->seq);
        if (i->kind == ITEM_BIG)
                buf_printf(b, "%d-%d", (int)i->first_offset.v, (int)i->offset.v);
        buf_put_str(b, i->replay ? "r" : "");
        if (i->kind == ITEM_PROGRESS)
                buf_put_str(b, i->no_start ? "^" : "");
        else
                assert_true(i->no_start == (i->kind == ITEM_EPOCH || i->kind == ITEM_MARKER));
        if (i->kind != ITEM_GROUP && i->kind != ITEM_BIG)
                return;
        assert_int_equal(i->hlc.v, 1000 + i->seq);
        assert_int_equal(i->vec.at[2].v, i->hlc.v); /* its own component */
        assert_int_equal(i->vec.at[1].v, 500 + i->seq);
        assert_int_equal(i->end_lsn.v, i->seq * 100 + 50);
        assert_true((i->msg.handle != NULL) == (i->kind == ITEM_GROUP && !i->replay));
}

static void wait_for_more(struct world *w, int64_t until)
{
        char sink[64];
        struct pollfd fd = {.fd = w->wake[0], .events = POLLIN};
        if (clock_mono_us() > until)
                fail_msg("%s: nothing more came", w->topic);
        if (poll(&fd, 1, 100) > 0)
                assert_true(read(w->wake[0], sink, sizeof sink) > 0);
}

/* Everything the log gives, in words; stops at the first error or behind the last record. */
static void read_all(struct world *w, struct inlog *l, struct buf *got)
{
        int64_t until = clock_mono_us() + LIMIT_US;
        for (int searched = 0;;) {
                struct err e = {.code = ST_OK};
                enum status s = inlog_pump(l, &e);
                while (inlog_head(l)) {
                        struct log_item *i = inlog_take(l);
                        put_item(got, i);
                        log_item_free(i);
                }
                if (s != ST_OK && s != ST_RETRY) {
                        buf_printf(got, "%s%s", got->len ? " " : "", e.name);
                        if (s != ST_DATA || !strstr(e.msg, w->topic))
                                fail_msg("%s: %s %s", w->topic, status_name(s), e.msg);
                        return;
                }
                if (inlog_read_offset(l).v == w->nrecords - 1)
                        return;
                if (*inlog_searches(l) && s == ST_RETRY && ++searched == 20) { /* of 100 ms each */
                        buf_put_str(got, "?");
                        return;
                }
                if (s == ST_RETRY)
                        wait_for_more(w, until);
        }
}

struct log_case {
        const char *why, *log, *want;
        uint64_t epoch, seq; /* of the position; with an offset */
        int64_t offset;
        bool copy; /* a mirror: read_all ends with '?' when it waits for what is not there yet */
};

static void expect(struct world *w, const struct log_case *t, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                struct log_position from = {.offset = {-1}};
                struct buf got;
                buf_init(&got, 0);
                write_log(w, t[i].log);
                if (t[i].epoch)
                        from = (struct log_position){.incarnation = 1,
                                                     .epoch = t[i].epoch,
                                                     .seq = t[i].seq,
                                                     .hlc = {1000 + t[i].seq},
                                                     .offset = {t[i].offset}};
                struct inlog *l = open_copy(w, &from, 1 << 20, t[i].copy, NULL, NULL);
                read_all(w, l, &got);
                if (strcmp(buf_cstr(&got), t[i].want) != 0)
                        fail_msg("%s: %s\n  was read as %s\n  instead of  %s", t[i].why, t[i].log, buf_cstr(&got), t[i].want);
                inlog_close(l);
                buf_release(&got);
        }
}
#define EXPECT(w, t) expect(w, t, sizeof(t) / sizeof *(t))

/* ---- tests ---------------------------------------------------------------------------------------------------------------------------- */

static void from_the_beginning(void **state)
{
        static const struct log_case t[] = {
                {.why = "all kinds", .log = "E1 G1 P2 M G3", .want = "E G1 P2 M G3"},
                {.why = "delivered twice", .log = "E1 G1 G2 G1 G2 P3 P3 G4", .want = "E G1 G2 P3 G4"},
                {.why = "a zombie behind an EPOCH", .log = "E1 G1 E2 e1:G2 e1:P2 e1:M G2", .want = "E G1 E G2"},
                {.why = "a zombie with a seq of its own", .log = "E1 G1 E2 G2 e1:G3 G3", .want = "E G1 E G2 G3"},
                {.why = "a late EPOCH of a zombie", .log = "E5 G1 E4 e5:G2", .want = "E G1 G2"},
                {.why = "an EPOCH twice", .log = "E5 E5 G1", .want = "E G1"},
                {.why = "epochs may leave out numbers", .log = "E5 G1 E9 G2", .want = "E G1 E G2"},
                {.why = "a gap", .log = "E1 G1 G3 G4", .want = "E G1 seq_gap"},
                {.why = "a gap behind an EPOCH", .log = "E1 G1 E2 G3", .want = "E G1 E seq_gap"},
                {.why = "the beginning is missing", .log = "E1 G2", .want = "E seq_gap"},
                {.why = "an epoch without its EPOCH", .log = "E1 G1 e2:G2", .want = "E G1 seq_gap"},
                {.why = "another region's record", .log = "E1 eu:G1", .want = "E region_mismatch"},
                {.why = "whoever is too old says so", .log = "E1 G1 v:G2", .want = "E G1 record_version"},
                {.why = "a damaged byte", .log = "E1 G1 x:G2 G3", .want = "E G1 record_corrupt"},
        };
        EXPECT(*state, t);
}

static void chunked_groups(void **state)
{
        static const struct log_case t[] = {
                {.why = "told with its last chunk", .log = "E1 C1.0 C2.1 C3.2! G4", .want = "E B1-3 G4"},
                {.why = "PROGRESS between chunks is no place to begin from",
                 .log = "E1 P1 C2.0 P3 C4.1! P5",
                 .want = "E P1 P3^ B2-4 P5"},
                {.why = "unfinished", .log = "E1 C1.0 C2.1", .want = "E"},
                {.why = "voided by an EPOCH, and done again", .log = "E1 C1.0 C2.1 E2 C3.0 C4.1!", .want = "E E B4-5"},
                {.why = "the zombie goes on with it", .log = "E1 C1.0 E2 e1:C2.1 e1:C3.2! P2 G3", .want = "E E P2 G3"},
                {.why = "in the middle of the new one", .log = "E1 C1.0 E2 C2.0 e1:C2.1 C3.1!", .want = "E E B3-5"},
                {.why = "a chunk is missing", .log = "E1 C1.0 C3.2!", .want = "E seq_gap"},
                {.why = "a chunk twice", .log = "E1 C1.0 C2.1 C1.0 C2.1 C3.2!", .want = "E B1-5"},
                {.why = "one after the other", .log = "E1 C1.0 C2.1! C3.0 C4.1!", .want = "E B1-2 B3-4"},
        };
        EXPECT(*state, t);
}

static void from_a_position(void **state)
{
        static const struct log_case t[] = {
                {.why = "the stored record is read again",
                 .log = "E1 G1 G2 G3",
                 .want = "G2r G3",
                 .epoch = 1,
                 .seq = 2,
                 .offset = 2},
                {.why = "a PROGRESS is", .log = "E1 G1 P2 G3", .want = "P2r G3", .epoch = 1, .seq = 2, .offset = 2},
                {.why = "a group's last chunk is", .log = "E1 C1.0 C2.1! G3", .want = "G2r G3", .epoch = 1, .seq = 2, .offset = 2},
                {.why = "fencing goes on", .log = "E3 G1 G2 e2:G3 G3", .want = "G2r G3", .epoch = 3, .seq = 2, .offset = 2},
                {.why = "so does the sequence", .log = "E1 G1 G2 G4", .want = "G2r seq_gap", .epoch = 1, .seq = 2, .offset = 2},
                {.why = "an EPOCH behind it", .log = "E1 G1 E2 e1:G2 G2", .want = "G1r E G2", .epoch = 1, .seq = 1, .offset = 1},
                {.why = "set up anew", .log = "E1 G1 i2:G2", .want = "G1r incarnation_changed", .epoch = 1, .seq = 1, .offset = 1},
                {.why = "another record there", .log = "E1 G1 P3 P4", .want = "topic_recreated", .epoch = 1, .seq = 2, .offset = 3},
                {.why = "of another epoch", .log = "E1 G1 G2", .want = "topic_recreated", .epoch = 2, .seq = 2, .offset = 2},
                {.why = "of another kind", .log = "E2 E3 G3", .want = "topic_recreated", .epoch = 3, .seq = 1, .offset = 1},
                {.why = "the log ends before it", .log = "E1 G1", .want = "offset_gone", .epoch = 1, .seq = 9, .offset = 9},
        };
        EXPECT(*state, t);
}

/* Another topic than the one that was read until now: the record that was applied last is somewhere else. */
static void a_reader_finds_its_place_in_another_topic(void **state)
{
        static const struct log_case t[] = {
                {.why = "before the offset", .log = "E1 G1 G2 P3 G4", .want = "G2r P3 G4", .epoch = 1, .seq = 2, .offset = 4},
                {.why = "behind the offset", .log = "E1 G1 G2 P3 G4", .want = "P3r G4", .epoch = 1, .seq = 3, .offset = 1},
                {.why = "it is the first", .log = "G7 G8 P9", .want = "G7r G8 P9", .epoch = 1, .seq = 7, .offset = 2},
                {.why = "it is the last", .log = "E1 G1 G2", .want = "G2r", .epoch = 1, .seq = 2, .offset = 1},
                {.why = "the log ends before the offset",
                 .log = "E1 G1 G2 G3",
                 .want = "G2r G3",
                 .epoch = 1,
                 .seq = 2,
                 .offset = 99},
                {.why = "a mirror that went back a little",
                 .log = "E1 G1 G2 G3 G2 G3 P4 G3 P4 P5",
                 .want = "P4r P5",
                 .epoch = 1,
                 .seq = 4,
                 .offset = 8,
                 .copy = true},
                {.why = "a mirror that went back behind an EPOCH",
                 .log = "E1 G1 G2 E3 G3 e1:G2 E3 G3 G4",
                 .want = "G2r E G3 G4",
                 .epoch = 1,
                 .seq = 2,
                 .offset = 3,
                 .copy = true},
                {.why = "a zombie's record of that seq is not it",
                 .log = "E1 G1 E2 e1:G2 G2 G3",
                 .want = "G2r G3",
                 .epoch = 2,
                 .seq = 2,
                 .offset = 1},
                {.why = "the last chunk of a group",
                 .log = "E1 C1.0 C2.1! G3",
                 .want = "G2r G3",
                 .epoch = 1,
                 .seq = 2,
                 .offset = 0},
                {.why = "a mirror may still get it",
                 .log = "E1 G1 G2",
                 .want = "?",
                 .epoch = 1,
                 .seq = 3,
                 .offset = 1,
                 .copy = true},
                {.why = "not from a lower epoch", .log = "E1 G1 G4", .want = "?", .epoch = 2, .seq = 3, .offset = 1, .copy = true},
                {.why = "a mirror may be longer one day",
                 .log = "E1 G1",
                 .want = "?",
                 .epoch = 1,
                 .seq = 3,
                 .offset = 9,
                 .copy = true},
                {.why = "a mirror that lacks it is refused",
                 .log = "E1 G1 G2 G4",
                 .want = "topic_recreated",
                 .epoch = 1,
                 .seq = 3,
                 .offset = 1,
                 .copy = true},
                {.why = "a log that is past it is refused",
                 .log = "E4 G8 G9",
                 .want = "topic_recreated",
                 .epoch = 1,
                 .seq = 3,
                 .offset = 1},
        };
        EXPECT(*state, t);
}

/* The same seq in another history: the HLC tells. */
static void a_group_with_another_hlc_is_another(void **state)
{
        struct world *w = *state;
        struct buf got;
        buf_init(&got, 0);
        write_log(w, "E1 G1 G2");
        struct log_position from = {.incarnation = 1, .epoch = 1, .seq = 2, .hlc = {77}, .offset = {2}};
        struct inlog *l = open_log(w, &from, 1 << 20, NULL, NULL);
        read_all(w, l, &got);
        assert_string_equal(buf_cstr(&got), "topic_recreated");
        inlog_close(l);
        buf_release(&got);
}

/* A full queue holds another region's log back, record by record. */
static void a_full_queue_waits(void **state)
{
        struct world *w = *state;
        struct log_position from = {.offset = {-1}};
        struct buf got;
        buf_init(&got, 0);
        write_log(w, "E1 G1 G2 G3 G4");
        struct inlog *l = open_log(w, &from, 1, NULL, NULL);
        int64_t until = clock_mono_us() + LIMIT_US;
        while (inlog_read_offset(l).v < w->nrecords - 1) {
                struct err e;
                enum status s = inlog_pump(l, &e);
                assert_true(s == ST_OK || s == ST_RETRY);
                if (s == ST_RETRY && !inlog_head(l)) {
                        wait_for_more(w, until);
                        continue;
                }
                assert_int_equal(inlog_queued(l), 1);
                assert_int_equal(inlog_pump(l, &e), ST_RETRY); /* no room */
                assert_int_equal(inlog_queued(l), 1);
                struct log_item *i = inlog_take(l);
                put_item(&got, i);
                log_item_free(i);
                assert_int_equal(inlog_queued(l), 0);
        }
        assert_string_equal(buf_cstr(&got), "E G1 G2 G3 G4");
        inlog_close(l);
        buf_release(&got);
}

struct noted {
        struct buf text;
        uint32_t txs;
};

static void note(void *ctx, const struct log_item *i)
{
        struct noted *n = ctx;
        buf_printf(&n->text, "%d ", (int)i->seq);
        for (uint32_t k = 0; i->txs && k < i->ntxs; k++) {
                assert_int_equal(i->txs[k].xid, i->seq);
                assert_int_equal(i->txs[k].commit_us, 900 + i->seq);
                n->txs++;
        }
}

/* The own log is read on (its index must grow while a group waits for it); what does not fit is kept as offsets. */
static void the_own_log_is_read_on(void **state)
{
        struct world *w = *state;
        struct log_position from = {.offset = {-1}};
        struct noted n = {.txs = 0};
        struct buf got;
        buf_init(&n.text, 0);
        buf_init(&got, 0);
        write_log(w, "E1 G1 G2 C3.0 P4 C5.1! G6");
        struct inlog *l = open_log(w, &from, sizeof(struct log_item) + 100, note, &n);
        int64_t until = clock_mono_us() + LIMIT_US;
        while (inlog_read_offset(l).v < w->nrecords - 1) {
                struct err e;
                enum status s = inlog_pump(l, &e);
                assert_true(s == ST_OK || s == ST_RETRY);
                if (s == ST_RETRY)
                        wait_for_more(w, until);
        }
        assert_string_equal(buf_cstr(&n.text), "0 1 2 4 5 6 ");
        assert_int_equal(n.txs, 4);
        while (inlog_head(l)) {
                struct log_item *i = inlog_take(l);
                put_item(&got, i);
                log_item_free(i);
        }
        assert_string_equal(buf_cstr(&got), "E G1 B2-2 P4^ B3-5 B6-6");
        inlog_close(l);
        buf_release(&n.text);
        buf_release(&got);
}

/* ---- reading groups again -------------------------------------------------------------------------------------------------------------- */

static enum status put_chunk(void *ctx, const struct group *g, struct err *e)
{
        struct buf *b = ctx;
        (void)e;
        for (uint32_t i = 0; i < g->nchanges; i++) {
                const struct value *v = &g->changes[i].row[0];
                assert_string_equal(g->changes[i].rel->name, "t");
                if (v->len == LARGE) {
                        for (uint32_t k = 0; k < LARGE; k++)
                                assert_int_equal(v->data[k], 'z');
                        buf_put_str(b, "large ");
                } else {
                        buf_printf(b, "%.*s ", (int)v->len, (const char *)v->data);
                }
        }
        return g->hlc.v == 1007 ? ST_STOP : ST_OK;
}

static void reading_again(void **state)
{
        static const struct {
                const char *why, *log;
                int64_t first, last;
                uint64_t epoch;
                enum status status;
                const char *want;
        } t[] = {
                {"one group", "E1 G1 G2 G3", 2, 2, 1, ST_OK, "2 "},
                {"the chunks of one, without what lies between", "E1 C1.0 P2 C3.1 E1 C4.2! G5", 1, 5, 1, ST_OK, "1 3 4 "},
                {"what was delivered twice, once", "E1 C1.0 C2.1 C1.0 C2.1 C3.2!", 1, 5, 1, ST_OK, "1 2 3 "},
                {"a fragment twice", "E1 F1.0/3 F2.1/3 F2.1/3 F3.2/3!", 1, 4, 1, ST_OK, "large "},
                {"not what a zombie wrote", "E2 C1.0 e1:G2 e1:C2.1 C2.1!", 1, 4, 2, ST_OK, "1 2 "},
                {"a search over all of it, each epoch to its end", "E1 G1 E2 e1:G2 G2 G3", 0, 5, 0, ST_OK, "1 2 3 "},
                {"a row in fragments", "E1 F1.0/3 F2.1/3 P3 F4.2/3! G5", 1, 4, 1, ST_OK, "large "},
                {"between whole rows", "E1 C1.0 F2.0/2 F3.1/2 C4.3!", 1, 4, 1, ST_OK, "1 large 4 "},
                {"in one fragment", "E1 F1.0/1!", 1, 1, 1, ST_OK, "large "},
                {"a fragment is missing", "E1 F1.0/3 F2.2/3!", 1, 2, 1, ST_DATA, "record_corrupt"},
                {"the first is", "E1 F2.1/3 F3.2/3!", 1, 2, 1, ST_DATA, "record_corrupt"},
                {"a damaged record", "E1 C1.0 x:C2.1!", 1, 2, 1, ST_DATA, "1 record_corrupt"},
                {"whoever reads may stop", "E1 C6.0 C7.1 C8.2!", 1, 3, 1, ST_STOP, "6 7 "},
        };
        struct world *w = *state;
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                struct log_position from = {.offset = {-1}};
                struct err e = {.code = ST_OK};
                struct buf got;
                buf_init(&got, 0);
                write_log(w, t[i].log);
                struct inlog *l = open_log(w, &from, 1, NULL, NULL);
                enum status s = inlog_reread(l, (koffset_t){t[i].first}, (koffset_t){t[i].last}, t[i].epoch, put_chunk, &got, &e);
                buf_put_str(&got, s == ST_DATA ? e.name : "");
                if (s != t[i].status || strcmp(buf_cstr(&got), t[i].want) != 0)
                        fail_msg("%s: %s\n  was read again as %s (%s %s)\n  instead of  %s", t[i].why, t[i].log, buf_cstr(&got),
                                 status_name(s), e.msg, t[i].want);
                inlog_close(l);
                buf_release(&got);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(from_the_beginning),
                cmocka_unit_test(chunked_groups),
                cmocka_unit_test(from_a_position),
                cmocka_unit_test(a_reader_finds_its_place_in_another_topic),
                cmocka_unit_test(a_group_with_another_hlc_is_another),
                cmocka_unit_test(a_full_queue_waits),
                cmocka_unit_test(the_own_log_is_read_on),
                cmocka_unit_test(reading_again),
        };
        return cmocka_run_group_tests(tests, start, stop);
}
