/* A clock that can be set: loaded into a server (LD_PRELOAD), it shifts its wall clock by what the file CLOCK_FILE holds, or lets it stand still.
 * The file is two 64-bit integers, microseconds: the shift, and, when not 0, the Unix time at which it stands.  The file is mapped, not read:
 * PostgreSQL asks the time in signal handlers, where a library that opens files or allocates hangs or crashes a backend now and then (libfaketime
 * does: one run in hundreds).  Test only. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct setting {
        _Atomic int64_t shift_us, still_us;
};

static struct setting none;
static const struct setting *setting = &none;

__attribute__((constructor)) static void open_setting(void)
{
        const char *file = getenv("CLOCK_FILE");
        int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
        void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0);
        if (fd >= 0)
                close(fd);
        if (p == MAP_FAILED)
                abort(); /* a server whose clock cannot be set would pass tests for the wrong reason */
        setting = p;
}

static int64_t now_ns(void)
{
        struct timespec t;
        int64_t still = atomic_load(&setting->still_us);
        if (still)
                return still * 1000;
        syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
        return t.tv_sec * INT64_C(1000000000) + t.tv_nsec + atomic_load(&setting->shift_us) * 1000;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
        if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)
                return (int)syscall(SYS_clock_gettime, id, t);
        int64_t ns = now_ns();
        *t = (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
        return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
        (void)zone;
        int64_t us = now_ns() / 1000;
        *t = (struct timeval){.tv_sec = us / 1000000, .tv_usec = us % 1000000};
        return 0;
}

time_t time(time_t *out)
{
        time_t s = now_ns() / 1000000000;
        if (out)
                *out = s;
        return s;
}
