/* A disk that is full: loaded into a server (LD_PRELOAD), it lets writes to files fail with ENOSPC while the file FULL_FILE names a part of
 * their paths.  Test only. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* What is full now; false: nothing. */
static int full_part(char *part, size_t size)
{
        const char *file = getenv("FULL_FILE");
        int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
        ssize_t n = fd < 0 ? 0 : read(fd, part, size - 1);
        if (fd >= 0)
                close(fd);
        part[n > 0 ? n : 0] = 0;
        return n > 0;
}

static int is_full(int fd)
{
        int saved = errno;
        char part[128], link[64], path[4096];
        int full = 0;
        if (full_part(part, sizeof part)) {
                snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
                ssize_t n = readlink(link, path, sizeof path - 1);
                path[n > 0 ? n : 0] = 0;
                full = path[0] == '/' && strstr(path, part) != NULL;
        }
        errno = full ? ENOSPC : saved;
        return full;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *p, size_t n)
{
        return is_full(fd) ? -1 : NEXT(write)(fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
        return is_full(fd) ? -1 : NEXT(pwrite)(fd, p, n, at);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t at)
{
        return is_full(fd) ? -1 : NEXT(pwrite64)(fd, p, n, at);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
        return is_full(fd) ? -1 : NEXT(writev)(fd, v, n);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
        return is_full(fd) ? -1 : NEXT(pwritev)(fd, v, n, at);
}

ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t at)
{
        return is_full(fd) ? -1 : NEXT(pwritev64)(fd, v, n, at);
}

int posix_fallocate(int fd, off_t at, off_t n)
{
        return is_full(fd) ? ENOSPC : NEXT(posix_fallocate)(fd, at, n);
}

int posix_fallocate64(int fd, off64_t at, off64_t n)
{
        return is_full(fd) ? ENOSPC : NEXT(posix_fallocate64)(fd, at, n);
}
