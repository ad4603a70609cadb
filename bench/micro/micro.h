/* micro: the hot paths of the product with fixed input, counted in instructions by callgrind.
 * Each subject has one function that measures it; main.c calls them in order.  A bench does the same work each time it is called: once to
 * warm up and once to be counted.  Whatever it computes is checked: a wrong result ends the program.
 * Single-threaded; without valgrind the program only runs. */
#ifndef PANGEA_BENCH_MICRO_H
#define PANGEA_BENCH_MICRO_H

#include <stddef.h>
#include <stdint.h>

/* Counts one call of run(ctx), which handles so many units (rows, transactions, decisions). name: "subject/case". */
void micro(const char *name, unsigned units, void (*run)(void *ctx), void *ctx);
/* Ends the program unless ok. */
void micro_check(int ok, const char *what);

void micro_decode(void);
void micro_encode(void);
void micro_capture(void);
void micro_read(void);
void micro_fold(void);
void micro_guard(void);
void micro_apply(void);
void micro_resolve(void);

#endif
