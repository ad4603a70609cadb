#!/usr/bin/python3
"""Each deliberate mistake has one place in today's sources, so that a change that moves one is told at once, not by the next long run."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "deploy")]
sys.dont_write_bytecode = True

import tap  # noqa: E402
from mistakes import MISTAKES  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))


def found_once(m):
    with open(os.path.join(ROOT, m.file), encoding="utf-8") as f:
        found = f.read().count(m.old)
    assert found == 1, f"{m.file}: what {m.name!r} replaces was found {found} times; mend tests/mutation/mistakes.py"
    assert m.new != m.old, f"{m.name!r} changes nothing"


def each_place_is_found_once():
    assert MISTAKES, "no mistakes at all"
    for m in MISTAKES:
        found_once(m)


if __name__ == "__main__":
    sys.exit(tap.run([(each_place_is_found_once.__name__, each_place_is_found_once)]))
