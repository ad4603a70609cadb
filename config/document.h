/* document: a YAML file -> nodes with places.  The only file that includes yaml.h.
 * Refused, each with its place: what is not UTF-8 or not YAML, tabs as indentation, duplicate keys, keys that are not text, aliases,
 * tags, more than one document, an empty file, a directory, anything above the limits below.
 * The nodes live in the arena.  Pure but for document_read. */
#ifndef PANGEA_CONFIG_DOCUMENT_H
#define PANGEA_CONFIG_DOCUMENT_H

#include "config/node.h"

#define DOCUMENT_MAX_BYTES ((size_t)1 << 20)
#define DOCUMENT_MAX_NODES 20000
#define DOCUMENT_MAX_DEPTH 32

/* The file's bytes in *text; false with a problem when it cannot be read. */
bool document_read(const char *file, struct buf *text, struct problems *p);
/* NULL when the text cannot be read at all; nodes that have a problem are marked bad and the rest is there. */
struct node *document_parse(const char *text, size_t len, struct arena *arena, struct problems *p);

#endif
