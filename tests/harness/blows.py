"""The long runs (soak.py, storm.py): writers, random blows from a seed, then everything heals and all must agree.

A run says which regions and servers it wants, who writes, and how that is checked; what is the same for all of them is here."""
import argparse
import os
import random
import shutil
import signal
import sys
import threading
import time

from harness import case
from harness.cluster import Cluster
from harness.servers import ROOT, Servers


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


def forget_connections(cluster):
    for r in cluster:
        r._sql = None


def blow(cluster, restarter, rng):
    """One random blow; what it hit."""
    r = rng.choice(list(cluster))
    kind = rng.choices(("capture", "apply", "postgres", "kafka"), (35, 35, 15, 15))[0]
    if kind in ("capture", "apply"):
        restarter.kill(r.name, kind)
    elif kind == "postgres":
        r.postgres.crash()
        r.postgres.start()
        forget_connections(cluster)  # regions may share the server
    else:
        r.kafka.kill()
        r.kafka.start()
    return kind, f"{kind} {r.name}"


def blows(cluster, restarter, load, args):
    """args.kills blows, spread over args.seconds; how many there were, and of which kind."""
    rng, hits, count = random.Random(args.seed), 0, {}
    begin = time.monotonic()
    end, gap = begin + args.seconds, args.seconds / (args.kills + 1)
    while time.monotonic() < end:
        due = begin + gap * (hits + rng.random())
        restarter.ending.wait(max(0.0, min(due, end) - time.monotonic()))
        if time.monotonic() >= end or hits >= args.kills:
            continue
        kind, what = blow(cluster, restarter, rng)
        hits += 1
        count[kind] = count.get(kind, 0) + 1
        print(f"{time.monotonic() - begin:7.1f} s  kill {hits}: {what}; {load.done} transactions acknowledged", flush=True)
    return f"{hits} kills {count}"


class LongRun:
    """A run fills in these, and the first three methods."""
    name = ""
    tables = ""
    heals = 600   # seconds in which everything must have arrived
    passed = ""

    def cluster(self, args):
        """Options of Cluster: regions, servers, topology."""
        raise NotImplementedError

    def load(self, c, args):
        """The writers, not yet started: start(), stop(), done."""
        raise NotImplementedError

    def check(self, c, load):
        """Holds the tables against the writers' journal; what was checked."""
        raise NotImplementedError

    def play(self, c, args):
        case.prepare(c, {"tables": self.tables, "run": False})
        restarter = Restarter(c)
        try:
            load = self.load(c, args).start()
            hits = blows(c, restarter, load, args)
            load.stop()
            healed = time.monotonic()
            forget_connections(c)
            c.barrier(self.heals)
            print(f"         healed: everything has arrived {time.monotonic() - healed:.1f} s after the last write", flush=True)
            checked = self.check(c, load)
            c.verify(300)
            restarter.stop()
        finally:
            restarter.ending.set()
        recorded = {r.name: r.value("SELECT count(*) FROM pangea.conflict") for r in c}
        faults = [f for f in c.faults() if "killed by" in f or "ended" not in f]
        print(f"{load.done} transactions acknowledged, {checked} checked in {len(c.regions)} regions, {hits}, recorded {recorded}, "
              f"{len(restarter.unasked)} ends that nobody asked for", flush=True)
        for u in restarter.unasked[:10]:
            print(f"         {u}")
        assert not faults, faults
        assert not restarter.unasked, "a daemon ended by itself"
        print(f"{self.name} passed: {self.passed}")

    def run(self, servers, args):
        folder = os.path.join(servers.folder, self.name)
        c = Cluster(servers, self.name, folder, args.build, **self.cluster(args))
        try:
            self.play(c, args)
            return 0
        except Exception as e:
            print(f"{self.name} FAILED (seed {args.seed}): {type(e).__name__}: {e}\n{c.dump()}", flush=True)
            logs = os.path.join(ROOT, "build", f"{self.name}-logs")
            shutil.rmtree(logs, ignore_errors=True)
            shutil.copytree(folder, logs)
            print(f"all logs: {os.path.relpath(logs, ROOT)}")
            return 1
        finally:
            c.close()


def options(doc, kill_every, pause):
    """The options that every long run has."""
    p = argparse.ArgumentParser(description=doc)
    p.add_argument("--seconds", type=float, default=600)
    p.add_argument("--kills", type=int, help=f"how many (one for every {kill_every} seconds)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--clients", type=int, default=2, help="in each region (2)")
    p.add_argument("--pause", type=float, default=pause, help=f"seconds between a client's transactions ({pause})")
    p.add_argument("--build", default="build/test")
    p.set_defaults(kill_every=kill_every)
    return p


def main(run, parser):
    args = parser.parse_args()
    if args.kills is None:
        args.kills = max(1, int(args.seconds / args.kill_every))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    servers = Servers()
    try:
        return run.run(servers, args)
    finally:
        servers.close()
