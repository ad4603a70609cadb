#include "topology/control.h"

static const char *const names[] = {
        [STATE_STARTING] = "starting", [STATE_RUNNING] = "running", [STATE_CATCHING_UP] = "catching up",
        [STATE_WAITING] = "waiting",   [STATE_PAUSED] = "paused",   [STATE_STOPPED] = "stopped",
};
_Static_assert(sizeof names / sizeof *names == STATE_COUNT, "a state without a name");

const char *state_name(enum agent_state s)
{
        return names[s];
}
