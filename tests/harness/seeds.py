"""Which seeds a test runs with: few in `make check`; `tests/run.py --seeds 1-50` (or PANGEA_TEST_SEEDS) for more, or for the one that failed."""
import os
import random


def seeds(*few):
    """The seeds that were asked for, else these few."""
    text = os.environ.get("PANGEA_TEST_SEEDS", "")
    if not text:
        return few
    out = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        out += range(int(first), int(last or first) + 1)
    return tuple(out)


def seeded(*few):
    """cases= of a test that has one case for each seed: (name, seed)."""
    return [(f"seed {s}", s) for s in seeds(*few)]


def rng(what, seed):
    """The same numbers for the same seed, others for each test."""
    return random.Random(f"{what}/{seed}")
