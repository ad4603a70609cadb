/* inlog_parts: what the files of inlog share (internal to them): inlog.c reads on, inlog_search.c finds the place, inlog_reread.c reads again. */
#ifndef PANGEA_APPLY_INLOG_PARTS_H
#define PANGEA_APPLY_INLOG_PARTS_H

#include "apply/inlog.h"

#define INLOG_SIZES 32

struct inlog {
        struct kafka_conf conf; /* but for its client_id borrowed from the topology */
        char client_id[160];
        char topic[256];
        region_id region;
        struct regset *regs;
        void (*note)(void *ctx, const struct log_item *i);
        void *note_ctx;
        struct kafka_reader *reader;
        struct arena arena;
        struct log_item *head, **tail;
        size_t bytes, max_bytes, items;
        struct log_position at; /* of the last accepted record */
        koffset_t stored;       /* the offset we began at: its record must be the one we remember */
        koffset_t read;
        struct kafka_reader *again; /* inlog_reread.c; NULL: none */
        koffset_t again_at;         /* what it gives next */
        bool copy, searching;
        koffset_t search_end; /* of the log itself: if it is not before it, it is nowhere */
        struct err misplaced; /* why it is searched: the named stop when it is not found */
        /* an unfinished chunked group */
        koffset_t big_first; /* -1: none */
        uint32_t big_next;
        uint64_t big_from;   /* as log_from of an item */
        uint64_t read_bytes; /* of all records read */
        /* the sizes of the records read last, a ring */
        size_t sizes[INLOG_SIZES];
        uint64_t nsizes; /* how many there were, in all */
};

/* inlog_search.c. The record at the stored offset must be the one that was applied: anything else means another topic. */
MUSTCHECK enum status inlog_check_stored(struct inlog *l, const struct record *r, koffset_t offset, struct err *e);
/* Looks through the topic from its start for the record that was applied last; why is told when it is not there. */
MUSTCHECK enum status inlog_search(struct inlog *l, const struct err *why, struct err *e);
/* One record of a search. *take: it is the one. In a copy what has not come yet is waited for; behind it, it is not to be found. */
MUSTCHECK enum status inlog_look(struct inlog *l, const struct record *r, koffset_t offset, bool *take, struct err *e);

/* inlog_reread.c. The second reader, its threads and its memory go. */
void inlog_reread_end(struct inlog *l);

/* inlog.c. What the decoder found wrong, with its place. */
MUSTCHECK enum status inlog_corrupt(const struct inlog *l, koffset_t offset, struct err *e);

#endif
