#!/usr/bin/python3
"""make soak SECONDS= SEED=: three regions written at once by clients with a journal; capture, apply, PostgreSQL and Kafka killed at random
from a seed; then everything heals, and the journal, the tables and `pangea verify` must agree. Each region has a PostgreSQL and a Kafka of its own."""
import argparse
import os
import random
import shutil
import signal
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
sys.dont_write_bytecode = True

from harness import case  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.load import Load  # noqa: E402
from harness.servers import ROOT, Servers  # noqa: E402


class Restarter:
    """Keeps a daemon running for each agent of each region, whatever is killed; counts ends that nobody asked for."""

    def __init__(self, cluster):
        self.cluster, self.ending, self.unasked = cluster, threading.Event(), []
        self.lock = threading.Lock()
        self.now = {(r.name, a): r.run(a) for r in cluster for a in ("capture", "apply")}
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.ending.wait(0.05):
            with self.lock:
                for (name, agent), d in self.now.items():
                    if not d.alive() and not self.ending.is_set():
                        if not d.wanted_end:
                            d.wanted_end = True
                            self.unasked.append(f"{name} {agent}: exit {d.process.returncode}, {d.log}")
                        region = self.cluster.regions[name]
                        self.now[name, agent] = region.run(agent)
                        region.daemons[:-40] = []  # their logs stay on disk

    def kill(self, name, agent):
        with self.lock:
            self.now[name, agent].kill()

    def stop(self):
        self.ending.set()
        self.thread.join()


def kills(cluster, restarter, rng):
    """One random blow; what it hit."""
    r = rng.choice(list(cluster))
    kind = rng.choices(("capture", "apply", "postgres", "kafka"), (35, 35, 15, 15))[0]
    if kind in ("capture", "apply"):
        restarter.kill(r.name, kind)
    elif kind == "postgres":
        r.postgres.crash()
        r.postgres.start()
        r._sql = None
    else:
        r.kafka.kill()
        r.kafka.start()
    return kind, f"{kind} {r.name}"


def soak(servers, args):
    rng = random.Random(args.seed)
    folder = os.path.join(servers.folder, "soak")
    c = Cluster(servers, "soak", folder, args.build, regions=("us", "eu", "ap"), own_postgres="each", own_kafka="each")
    try:
        case.prepare(c, {"tables": Load.TABLES, "run": False})
        restarter = Restarter(c)
        load = Load(c, seed=args.seed, clients=args.clients, pause=args.pause).start()
        end, hits, count = time.monotonic() + args.seconds, 0, {}
        gap = args.seconds / (args.kills + 1)
        begin = time.monotonic()
        while time.monotonic() < end:
            due = begin + gap * (hits + rng.random())
            restarter.ending.wait(max(0.0, min(due, end) - time.monotonic()))
            if time.monotonic() >= end or hits >= args.kills:
                continue
            kind, what = kills(c, restarter, rng)
            hits += 1
            count[kind] = count.get(kind, 0) + 1
            print(f"{time.monotonic() - begin:7.1f} s  kill {hits}: {what}; {load.done} transactions acknowledged", flush=True)
        load.stop()
        healed = time.monotonic()
        for r in c:
            r._sql = None
        c.barrier(600)
        print(f"         healed: everything has arrived {time.monotonic() - healed:.1f} s after the last write", flush=True)
        rows = load.check(c)
        c.verify(300)
        restarter.stop()
        conflicts = sum(r.value("SELECT count(*) FROM pangea.conflict") for r in c)
        faults = [f for f in c.faults() if "killed by" in f or "ended" not in f]
        print(f"{load.done} transactions acknowledged, {rows} journal entries checked in {len(c.regions)} regions, {hits} kills {count}, "
              f"{conflicts} conflict rows, {len(restarter.unasked)} ends that nobody asked for", flush=True)
        for u in restarter.unasked[:10]:
            print(f"         {u}")
        assert not faults, faults
        assert not restarter.unasked, "a daemon ended by itself"
        print("soak passed: no acknowledged write lost, no effect doubled, all regions identical")
        return 0
    except (AssertionError, Exception) as e:
        print(f"soak FAILED (seed {args.seed}): {type(e).__name__}: {e}\n{c.dump()}", flush=True)
        logs = os.path.join(ROOT, "build", "soak-logs")
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
    p.add_argument("--kills", type=int, help="how many (one for every 6 seconds)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--clients", type=int, default=2, help="in each region (2)")
    p.add_argument("--pause", type=float, default=0.01, help="seconds between a client's transactions (0.01)")
    p.add_argument("--build", default="build/test")
    args = p.parse_args()
    if args.kills is None:
        args.kills = max(1, int(args.seconds / 6))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    servers = Servers()
    try:
        return soak(servers, args)
    finally:
        servers.close()


if __name__ == "__main__":
    sys.exit(main())
