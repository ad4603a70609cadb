/* key: the key of a row as bytes that are equal exactly when PostgreSQL calls the keys equal, whichever region and whichever of text or
 * binary they come from.
 *
 *     for each key column, in the order of the key index:   varint 0                     NULL
 *                                                           varint length+1, bytes       canonical text
 *
 * Canonical: numeric without leading and trailing zeros and without the sign of zero; floats by value, -0 = 0; bpchar without trailing
 * blanks; everything else as PostgreSQL prints it (the sessions of DESIGN 4.2 all print alike).  Key columns whose equality is not that of
 * their text (citext, interval, jsonb, nondeterministic collations) are refused for tables with several writers before they get here.
 * The bytes are stored (pangea.tombstone): what is written here cannot change.  Pure, any thread. */
#ifndef PANGEA_CHANGE_KEY_H
#define PANGEA_CHANGE_KEY_H

#include "base/buf.h"
#include "change/change.h"

/* Appends; nothing for a table without a key. Unsent key columns count as NULL: ask key_has_unsent before. */
void key_bytes(struct buf *out, const struct relation *rel, const struct value *row);
bool key_has_unsent(const struct relation *rel, const struct value *row);
/* Have both rows the same key? An unsent value is an unchanged one; no old row: the key did not change. */
bool key_equal_rows(const struct relation *rel, const struct value *old_row, const struct value *new_row);
/* {"col":"text",..} for people and for pangea.conflict; appends. */
void key_json(struct buf *out, const struct relation *rel, const struct value *row);
/* The same of the whole row: NULL is null, an unsent value is {"unsent":true}. */
void row_json(struct buf *out, const struct relation *rel, const struct value *row);

#endif
