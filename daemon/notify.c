#include "daemon/notify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"

#define LET_GO_US INT64_C(5000000) /* from the end of drain_timeout to the end of the process */

void notify_init(struct notify *n)
{
        uint64_t limit_us = 0;
        *n = (struct notify){.due_us = INT64_MAX};
        if (sd_watchdog_enabled(0, &limit_us) <= 0)
                return;
        n->every_us = (int64_t)(limit_us / 3); /* two may be late before the manager acts */
        n->due_us = clock_mono_us();
}

void notify_ready(void)
{
        sd_notify(0, "READY=1");
}

void notify_status(const char *fmt, ...)
{
        char line[512];
        va_list args;
        va_start(args, fmt);
        vsnprintf(line, sizeof line, fmt, args);
        va_end(args);
        for (char *c = line; *c; c++)
                if (*c == '\n') /* would begin another assignment */
                        *c = ' ';
        sd_notifyf(0, "STATUS=%s", line);
}

void notify_reloading(void)
{
        sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_mono_us());
}

void notify_stopping(int64_t within_us)
{
        sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64, within_us + LET_GO_US);
}

bool notify_watchdog(struct notify *n, int64_t now_us, bool hangs)
{
        if (now_us < n->due_us)
                return false;
        n->due_us = now_us + n->every_us;
        if (!hangs)
                sd_notify(0, "WATCHDOG=1");
        return hangs;
}
