"""Waiting: on a condition, with a time limit, and with the last difference in the message. Nothing in the tests sleeps for a guess."""
import os
import time

# Sanitizer builds are several times slower: run.py sets this.
SLOW = float(os.environ.get("PANGEA_TEST_SLOW", "1"))


# Set by run.py for the test that runs: a list of faults (a daemon that crashed) makes waiting for its work pointless.
watch = {"faults": None}


class TimedOut(AssertionError):
    pass


def until(probe, what, limit=20.0, every=0.005):
    """Calls probe() until it returns a true value, which is returned. probe may return (False, text): the text is shown on time-out. every: seconds
    between two looks at least; they grow with the time waited, and looking costs what is waited for."""
    start = time.monotonic()
    end, look = start + limit * SLOW, start + 1
    while True:
        began = time.monotonic()
        seen = probe()
        said = None
        if isinstance(seen, tuple) and len(seen) == 2 and seen[0] is False:
            seen, said = False, seen[1]
        if seen:
            return seen
        now = time.monotonic()
        if now > end:
            raise TimedOut(f"{what}: not within {limit * SLOW:g} s" + (f"; last seen: {said}" if said is not None else ""))
        if now > look and watch["faults"]:
            look = now + 1
            faults = watch["faults"]()
            if faults:
                raise TimedOut(f"{what}: given up: {'; '.join(faults)}")
        time.sleep(max(every, min(0.1, (now - start) / 15), now - began))  # between two looks, never instead of one


def same(got, want, what, limit=20.0):
    """Polls got() until it equals want (a value, or a function that gives one)."""
    last = [None]

    def probe():
        w = want() if callable(want) else want
        g = got()
        last[0] = difference(g, w)
        return (True if g == w else (False, last[0]))

    return until(probe, what, limit)


def difference(got, want):
    """The first place where two row lists differ, short enough to read."""
    if isinstance(got, list) and isinstance(want, list):
        for i, (g, w) in enumerate(zip(got, want)):
            if g != w:
                return f"row {i}: got {short(g)}, want {short(w)} ({len(got)} rows, want {len(want)})"
        if len(got) != len(want):
            extra = got[len(want):] or want[len(got):]
            return f"{len(got)} rows, want {len(want)}; first odd one {short(extra[0])}"
    return f"got {short(got)}, want {short(want)}"


def short(value, n=300):
    s = repr(value)
    return s if len(s) <= n else f"{s[:n]}.. ({len(s)} characters)"
