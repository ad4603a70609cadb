/* notify: what the service manager (systemd, Type=notify) is told: started, reloading, stopping, a line for `systemctl status`, and that
 * the loop turns (watchdog).  Without NOTIFY_SOCKET in the environment every call does nothing.
 * Main thread only.   Fails: never; a manager that does not listen changes nothing for the daemon. */
#ifndef PANGEA_DAEMON_NOTIFY_H
#define PANGEA_DAEMON_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

struct notify {
        int64_t every_us; /* the watchdog wants a sign this often; 0: there is none */
        int64_t due_us;   /* monotonic: the next one; INT64_MAX: never */
};

void notify_init(struct notify *n);
void notify_ready(void);
/* A line for people: what runs, or what has stopped and why. */
void notify_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Followed by notify_ready() when the new topology is taken or refused. */
void notify_reloading(void);
/* within_us: how long draining may take, whatever the unit's TimeoutStopSec is. */
void notify_stopping(int64_t within_us);
/* Gives the sign when it is due; with hangs it is withheld, and the manager ends the process when its patience does. True when that
 * happened just now: the caller says why. */
bool notify_watchdog(struct notify *n, int64_t now_us, bool hangs);

#endif
