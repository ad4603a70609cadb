#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mem_die(const char *what, size_t size)
{
        fprintf(stderr, "pangea: out of memory (%s, %zu bytes)\n", what, size);
        abort();
}

void *mem_alloc(size_t size)
{
        void *p = malloc(size ? size : 1);
        if (!p)
                mem_die("malloc", size);
        return p;
}

void *mem_zalloc(size_t size)
{
        void *p = calloc(1, size ? size : 1);
        if (!p)
                mem_die("calloc", size);
        return p;
}

void *mem_realloc(void *old, size_t size)
{
        void *p = realloc(old, size ? size : 1);
        if (!p)
                mem_die("realloc", size);
        return p;
}

char *mem_strdup(const char *s)
{
        size_t n = strlen(s) + 1;
        return memcpy(mem_alloc(n), s, n);
}
