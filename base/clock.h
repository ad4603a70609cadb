/* clock: the wall clock (Unix microseconds; feeds HLCs) and the monotonic clock (microseconds; time limits).  Any thread. */
#ifndef PANGEA_BASE_CLOCK_H
#define PANGEA_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_wall_us(void);
int64_t clock_mono_us(void);

#endif
