#!/usr/bin/python3
"""make storm SECONDS= SEED= [KILLS=]: five regions in one PostgreSQL (five databases) and one Kafka; clients write ten hot keys of a table for every
rule of conflict, all kinds at once; agents, PostgreSQL and Kafka killed at random from the seed. Then everything heals, and the journals
(harness/storm.py), the tables of all regions and `pangea verify` must agree."""
import os
import sys

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
sys.dont_write_bytecode = True

from harness import blows  # noqa: E402
from harness.storm import SQL, TABLES, TOPOLOGY, Storm  # noqa: E402

REGIONS = ("us", "eu", "ap", "sa", "af")


class ConflictStorm(blows.LongRun):
    name = "storm"
    tables = SQL
    heals = 900
    passed = "all tables identical; every version that neither stands nor was overwritten by somebody who saw it is recorded"

    def cluster(self, args):
        return {"regions": REGIONS[:args.regions], "own_postgres": "one", "own_kafka": "one", "topology": TOPOLOGY}

    def load(self, c, args):
        return Storm(c, args.seed, clients=args.clients, pause=args.pause, tables=[t[0] for t in TABLES if t[0] not in args.without])

    def check(self, c, load):
        return f"{load.check(c, 300)} versions"


def options():
    p = blows.options(__doc__, kill_every=15, pause=0.05)
    p.add_argument("--regions", type=int, default=5)
    p.add_argument("--without", nargs="*", default=[], help="tables that nobody writes, such as s_unique")
    return p


if __name__ == "__main__":
    sys.exit(blows.main(ConflictStorm(), options()))
