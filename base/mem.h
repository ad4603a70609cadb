/* mem: allocation that cannot return NULL: when memory is out the process says so and ends (everything it holds is in PostgreSQL
 * or Kafka, so a restart loses nothing).  Thread: any. */
#ifndef PANGEA_BASE_MEM_H
#define PANGEA_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size); /* not zeroed; free() with free() */
void *mem_zalloc(size_t size);
void *mem_realloc(void *p, size_t size);
char *mem_strdup(const char *s);
_Noreturn void mem_die(const char *what, size_t size);

#define MEM_NEW(T) ((T *)mem_zalloc(sizeof(T)))

#endif
