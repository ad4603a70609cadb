#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "change/wire.h"
#include "daemon/command.h"
#include "daemon/refuse.h"
#include "kafka/kafka.h"

#define MAX_RECORD (256U << 20)
#define READ_TIMEOUT_MS 10000

static int failed(const struct err *e)
{
        return refuse_for("event decode", e);
}

/* One record as JSON on a line of its own. */
static enum status print_record(const uint8_t *data, size_t len, const struct regset *known, struct err *e)
{
        struct regset regs = *known; /* what a foreign record names stays with it */
        struct arena arena;
        struct record record;
        struct buf out;
        arena_init(&arena);
        buf_init(&out, 0);
        enum status s = wire_decode(data, len, &regs, &arena, &record, e);
        if (s == ST_OK) {
                wire_print(&record, &regs, &out);
                const char *text = buf_cstr(&out);
                printf("%s%s", text, out.len && text[out.len - 1] == '\n' ? "" : "\n");
        }
        buf_release(&out);
        arena_release(&arena);
        return s;
}

/* ---- from a file -------------------------------------------------------------------------------------------------------------------- */
static enum status read_file(const char *name, struct buf *out, struct err *e)
{
        bool std = strcmp(name, "-") == 0;
        FILE *f = std ? stdin : fopen(name, "rb");
        if (!f)
                return err_set(e, ST_CONFIG, "%s cannot be opened: %m", name);
        for (size_t n = 1; n > 0;) {
                uint8_t *room = buf_reserve(out, 65536);
                if (!room)
                        break;
                n = fread(room, 1, 65536, f);
                out->len += n;
        }
        bool bad = ferror(f);
        if (!std)
                fclose(f);
        if (bad)
                return err_set(e, ST_CONFIG, "%s cannot be read", name);
        if (out->full)
                return err_set(e, ST_CONFIG, "%s is larger than any record (%u bytes)", name, MAX_RECORD);
        return ST_OK;
}

static int decode_file(const char *name)
{
        struct buf bytes;
        struct err e = {0};
        struct regset none = {0};
        buf_init(&bytes, MAX_RECORD);
        enum status s = read_file(name, &bytes, &e);
        if (s == ST_OK && print_record(bytes.data, bytes.len, &none, &e) != ST_OK)
                s = err_wrap(&e, "%s", strcmp(name, "-") == 0 ? "standard input" : name);
        buf_release(&bytes);
        return s == ST_OK ? EXIT_DONE : failed(&e);
}

/* ---- from a region's log ------------------------------------------------------------------------------------------------------------- */
static enum status next_record(struct kafka_reader *r, const struct topology *t, const struct region *region, koffset_t from,
                               struct err *e)
{
        struct kafka_msg m;
        enum status s = kafka_reader_next(r, READ_TIMEOUT_MS, &m, e);
        if (s != ST_OK)
                return err_wrap(e, "log of %s from offset %" PRId64, region->name, from.v);
        s = print_record(m.data, m.len, &t->names, e);
        if (s != ST_OK)
                err_wrap(e, "log of %s at offset %" PRId64, region->name, m.offset.v);
        kafka_msg_done(&m);
        return s;
}

static enum status decode_log(const struct topology *t, const struct region *region, koffset_t from, int64_t count, struct err *e)
{
        char topic[128];
        struct kafka_reader *r = NULL;
        struct kafka_conf conf = region->kafka;
        koffset_t low = {0}, high = {0};
        conf.client_id = "pangea-event";
        topology_topic(t, region->id, topic, sizeof topic);
        enum status s = kafka_reader_open(&r, &conf, topic, KAFKA_FROM_END, 16384, e);
        if (s == ST_OK)
                s = kafka_reader_watermarks(r, READ_TIMEOUT_MS, &low, &high, e);
        if (s == ST_OK && (from.v < low.v || from.v >= high.v))
                s = err_set(e, ST_CONFIG, "there is no offset %" PRId64 " in %s: it holds %" PRId64 " to %" PRId64, from.v, topic,
                            low.v, high.v - 1);
        if (s == ST_OK)
                s = kafka_reader_seek(r, from, READ_TIMEOUT_MS, e);
        for (int64_t i = 0; s == ST_OK && i < count && from.v + i < high.v; i++)
                s = next_record(r, t, region, (koffset_t){from.v + i}, e);
        kafka_reader_close(r);
        return s;
}

static bool number(const char *s, int64_t *out)
{
        char *end;
        if (!isdigit((unsigned char)s[0]))
                return false;
        *out = strtoll(s, &end, 10);
        return *end == 0;
}

static int decode_offset(const struct invocation *in, koffset_t from, int64_t count)
{
        int code = EXIT_USAGE;
        struct err e = {0};
        struct topology *t = invocation_topology(in, &code);
        if (!t)
                return code;
        const struct region *region = invocation_region(in, t, &code);
        if (region)
                code = decode_log(t, region, from, count, &e) == ST_OK ? EXIT_DONE : failed(&e);
        topology_free(t);
        return code;
}

int cmd_event(struct invocation *in)
{
        int64_t from, count = 1;
        if (in->noperands < 1 || strcmp(in->operands[0], "decode") != 0)
                return refuse("word_missing",
                              "usage: pangea event decode [FILE|-]                     a raw record\n"
                              "       pangea event decode --region R OFFSET [COUNT]    records of the region's log");
        if (in->noperands == 1)
                return decode_file("-");
        if (!number(in->operands[1], &from)) /* a file whose name is a number: ./7 */
                return in->noperands == 2 ? decode_file(in->operands[1])
                                          : refuse("bad_value", "event decode: '%s' is not an offset", in->operands[1]);
        if (in->noperands == 3 && (!number(in->operands[2], &count) || count < 1))
                return refuse("bad_value", "event decode: '%s' is not a count of records", in->operands[2]);
        return decode_offset(in, (koffset_t){from}, count);
}
