#!/usr/bin/python3
"""make storm SECONDS= SEED= [KILLS=]: five regions in one PostgreSQL (five databases) and one Kafka; clients write ten hot keys of a table for every
rule of conflict, all kinds at once; agents, PostgreSQL and Kafka killed at random from the seed. Then everything heals, and the journals
(harness/storm.py), the tables of all regions and `pangea verify` must agree."""
import argparse
import os
import random
import shutil
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
sys.dont_write_bytecode = True

from harness import case  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.servers import ROOT, Servers  # noqa: E402
from harness.storm import SQL, TABLES, TOPOLOGY, Storm  # noqa: E402
from soak import Restarter, kills  # noqa: E402

REGIONS = ("us", "eu", "ap", "sa", "af")


def storm(servers, args):
    rng = random.Random(args.seed)
    folder = os.path.join(servers.folder, "storm")
    c = Cluster(servers, "storm", folder, args.build, regions=REGIONS[:args.regions], own_postgres="one", own_kafka="one", topology=TOPOLOGY)
    try:
        case.prepare(c, {"tables": SQL, "run": False})
        restarter = Restarter(c)
        load = Storm(c, args.seed, clients=args.clients, pause=args.pause, tables=[t[0] for t in TABLES if t[0] not in args.without]).start()
        begin, hits, count = time.monotonic(), 0, {}
        end, gap = begin + args.seconds, args.seconds / (args.kills + 1)
        while time.monotonic() < end:
            due = begin + gap * (hits + rng.random())
            restarter.ending.wait(max(0.0, min(due, end) - time.monotonic()))
            if time.monotonic() >= end or hits >= args.kills:
                continue
            kind, what = kills(c, restarter, rng)
            for r in c:
                r._sql = None
            hits += 1
            count[kind] = count.get(kind, 0) + 1
            print(f"{time.monotonic() - begin:7.1f} s  kill {hits}: {what}; {load.done} transactions acknowledged", flush=True)
        load.stop()
        healed = time.monotonic()
        for r in c:
            r._sql = None
        c.barrier(900)
        print(f"         healed: everything has arrived {time.monotonic() - healed:.1f} s after the last write", flush=True)
        versions = load.check(c, 300)
        c.verify(300)
        restarter.stop()
        conflicts = {r.name: r.value("SELECT count(*) FROM pangea.conflict") for r in c}
        print(f"{load.done} transactions acknowledged, {versions} versions checked in {len(c.regions)} regions, {hits} kills {count}, "
              f"recorded {conflicts}, {len(restarter.unasked)} ends that nobody asked for", flush=True)
        for u in restarter.unasked[:10]:
            print(f"         {u}")
        assert not restarter.unasked, "a daemon ended by itself"
        print("storm passed: all tables identical; every version that neither stands nor was overwritten by somebody who saw it is recorded")
        return 0
    except (AssertionError, Exception) as e:
        print(f"storm FAILED (seed {args.seed}): {type(e).__name__}: {e}\n{c.dump()}", flush=True)
        logs = os.path.join(ROOT, "build", "storm-logs")
        shutil.rmtree(logs, ignore_errors=True)
        shutil.copytree(folder, logs)
        print(f"all logs: {os.path.relpath(logs, ROOT)}")
        return 1
    finally:
        if "restarter" in locals():
            restarter.ending.set()
        c.close()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seconds", type=float, default=600)
    p.add_argument("--kills", type=int, help="how many (one for every 15 seconds)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--regions", type=int, default=5)
    p.add_argument("--clients", type=int, default=2, help="in each region (2)")
    p.add_argument("--pause", type=float, default=0.05, help="seconds between a client's transactions (0.05)")
    p.add_argument("--without", nargs="*", default=[], help="tables that nobody writes, such as s_unique")
    p.add_argument("--build", default="build/test")
    args = p.parse_args()
    if args.kills is None:
        args.kills = max(1, int(args.seconds / 15))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    servers = Servers()
    try:
        return storm(servers, args)
    finally:
        servers.close()


if __name__ == "__main__":
    sys.exit(main())
