#!/usr/bin/python3
"""make soak SECONDS= SEED=: three regions written at once by clients with a journal; capture, apply, PostgreSQL and Kafka killed at random
from a seed; then everything heals, and the journal, the tables and `pangea verify` must agree. Each region has a PostgreSQL and a Kafka of its own."""
import os
import sys

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
sys.dont_write_bytecode = True

from harness import blows  # noqa: E402
from harness.load import Load  # noqa: E402


class Soak(blows.LongRun):
    name = "soak"
    tables = Load.TABLES
    heals = 600
    passed = "no acknowledged write lost, no effect doubled, all regions identical"

    def cluster(self, args):
        return {"regions": ("us", "eu", "ap"), "own_postgres": "each", "own_kafka": "each"}

    def load(self, c, args):
        return Load(c, seed=args.seed, clients=args.clients, pause=args.pause)

    def check(self, c, load):
        return f"{load.check(c)} journal entries"


if __name__ == "__main__":
    sys.exit(blows.main(Soak(), blows.options(__doc__, kill_every=6, pause=0.01)))
