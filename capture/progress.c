#include "capture/progress.h"

void progress_pair(struct progress *p, struct xmin_pair pair)
{
        if (p->n == PROGRESS_PAIRS)
                return; /* the older ones become sayable first */
        p->waiting[(p->first + p->n++) % PROGRESS_PAIRS] = pair;
}

struct xmin_pair progress_known(struct progress *p, lsn_t decoded)
{
        while (p->n > 0 && !lsn_before(decoded, p->waiting[p->first].lsn)) {
                p->known = p->waiting[p->first];
                p->first = (p->first + 1) % PROGRESS_PAIRS;
                p->n--;
        }
        return p->known;
}

void progress_moved(struct progress *p, int64_t now)
{
        if (p->vec_moves == p->vec_said)
                p->moved_at = now;
        p->vec_moves++;
}

void progress_carried(struct progress *p, uint64_t moves)
{
        if (moves > p->vec_said)
                p->vec_said = moves;
}

int64_t progress_due_in(const struct progress *p, int64_t now)
{
        if (p->due_now)
                return 0;
        int64_t due = p->said_at + PROGRESS_HEARTBEAT_US;
        if (p->vec_moves != p->vec_said && p->moved_at + PROGRESS_VECTOR_US < due)
                due = p->moved_at + PROGRESS_VECTOR_US;
        return due - now;
}

void progress_said(struct progress *p, int64_t now)
{
        p->due_now = false;
        p->said_at = now;
        p->vec_said = p->vec_moves;
}
