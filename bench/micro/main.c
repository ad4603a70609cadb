/* Runs every bench and says their names and units; callgrind dumps the counts by the same names (micro.py joins both). */
#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/callgrind.h>

#include "bench/micro/micro.h"

void micro_check(int ok, const char *what)
{
        if (ok)
                return;
        fprintf(stderr, "micro: wrong result: %s\n", what);
        exit(1);
}

void micro(const char *name, unsigned units, void (*run)(void *ctx), void *ctx)
{
        run(ctx);
        CALLGRIND_START_INSTRUMENTATION;
        CALLGRIND_ZERO_STATS;
        run(ctx);
        CALLGRIND_DUMP_STATS_AT(name);
        CALLGRIND_STOP_INSTRUMENTATION;
        printf("%s %u\n", name, units);
}

#define PAGE 4096

static __attribute__((noinline)) void all(void)
{
        micro_decode();
        micro_encode();
        micro_capture();
        micro_read();
        micro_fold();
        micro_guard();
        micro_apply();
        micro_resolve();
}

/* The environment decides where the stack begins, and that how memcpy copies into it: everything runs at one place of a page. */
int main(void)
{
        char *fill = alloca((uintptr_t)__builtin_frame_address(0) % PAGE + 1);
        fill[0] = 0;
        __asm__ volatile("" : : "r"(fill) : "memory");
        all();
        return 0;
}
