#!/usr/bin/python3
"""make recovery [KILLS=5] [CLIENTS=2]: kill -9 under a steady load, and how long it takes. us and eu write all the time (tests/harness/load.py: whoever loses a
connection comes again). A process is killed, stays away for --down seconds and is started again: the capture agent of us, the apply agent of eu, the
whole daemon of either, PostgreSQL of either, the Kafka of us. Time runs until a row that was committed in us after the restart is visible in eu ("caught
up": it stands behind all that waited), and until such a row takes no longer than the slowest one did before the kill ("as before"); it counts from the
restart (a daemon: its start; a server: when it answers), and with a server's own start included. In the end the writers' journal
is held against both regions, and these against each other."""
import itertools
import os
import time

from common import Cluster, case, kept_in, keep, main
import figures
import proc
from harness.load import Load, settled
from harness.wait import until

TABLES = Load.TABLES + "CREATE TABLE public.probe (id int PRIMARY KEY)"
LIMIT = 120


class Prober:
    """A row in us, until it is visible in eu."""

    def __init__(self, c):
        self.c, self.ids = c, itertools.count(1)

    def write(self):
        n = next(self.ids)
        until(lambda: self.tried(self.c.us, "INSERT INTO public.probe VALUES (%s) ON CONFLICT DO NOTHING", n), f"row {n} written in us", LIMIT)
        return n

    @staticmethod
    def tried(region, statement, *params):
        """Whether it could be done: the server's recovery may end a session once more."""
        try:
            rows = region.sql(statement, *params)
            return rows is None or bool(rows)
        except Exception as e:
            return False, str(e)

    def lag(self):
        """Seconds that one takes."""
        n, begin = self.write(), time.monotonic()
        until(lambda: self.tried(self.c.eu, "SELECT 1 FROM public.probe WHERE id = %s", n), f"row {n} visible in eu", LIMIT)
        return time.monotonic() - begin


# name -> (region, what is killed)
BLOWS = {"capture of us": ("us", "capture"), "apply of eu": ("eu", "apply"), "daemon of us": ("us", "daemon"), "daemon of eu": ("eu", "daemon"),
         "PostgreSQL of us": ("us", "postgres"), "PostgreSQL of eu": ("eu", "postgres"), "Kafka of us": ("us", "kafka")}


def running(c, apart):
    """An agent each in every region, or one daemon for both."""
    for r in c:
        alive = [d for d in r.daemons if d.alive()]
        if alive and bool(alive[0].agent) == apart:
            continue
        for d in alive:
            d.stop(30)
        for a in ("capture", "apply") if apart else (None,):
            r.run(a)
    c.barrier(LIMIT)


def kill(region, what):
    if what in ("postgres", "kafka"):
        getattr(region, what).kill()
    else:
        next(d for d in region.daemons if d.alive() and (d.agent or "daemon") == what).kill()


def start(region, what):
    """When it began to be there again."""
    now = time.monotonic()
    if what in ("postgres", "kafka"):
        getattr(region, what).start()
        return time.monotonic()
    region.run(None if what == "daemon" else what)
    return now


def blow(c, prober, name, load, down):
    """A line of the raw results."""
    where, what = BLOWS[name]
    region = c.regions[where]
    running(c, what in ("capture", "apply"))
    load.goes_on(20)
    before = [prober.lag() for _ in range(5)]
    kill(region, what)
    load.ending.wait(down)
    again = time.monotonic()
    ready = start(region, what)
    lag = prober.lag()
    caught = time.monotonic()
    while lag > max(before):
        assert time.monotonic() - ready < LIMIT, f"{name}: a row takes {lag:.3f} s, before at most {max(before):.3f} s"
        lag = prober.lag()
    return {"kind": "recovery", "blow": name, "before": max(before), "starting": ready - again, "caught_up": caught - ready,
            "as_before": time.monotonic() - ready, "with_start": caught - again, "load": proc.load()}


def row(got, name):
    mine = [r for r in got if r["blow"] == name]
    times = []
    for what in ("starting", "caught_up", "as_before", "with_start"):
        middle, _, most = figures.middle(r[what] for r in mine)
        times += [f"{middle:.2f}", f"{most:.2f}"]
    return [name, str(len(mine)), f"{1000 * figures.middle(r['before'] for r in mine)[0]:.0f}", *times]


def run(servers, args):
    c = Cluster(servers, "recovery", os.path.join(servers.folder, "recovery"), args.build, own_postgres="each", own_kafka="each")
    got, names = [], args.blows.split(",")
    try:
        case.prepare(c, {"tables": TABLES, "run": False})
        load, prober = Load(c, clients=args.clients, pause=args.pause).start(), Prober(c)
        begin = time.monotonic()
        for name in names:
            for _ in range(args.kills):
                got.append(blow(c, prober, name, load, args.down))
                r = got[-1]
                print(f"{name}: caught up {r['caught_up']:.2f} s after the restart, as before ({1000 * r['before']:.0f} ms) after {r['as_before']:.2f} s",
                      flush=True)
        rate = load.done / (time.monotonic() - begin)
        settled(c, load, 300)
        faults = c.faults()
        assert not faults, faults
    except Exception:
        print(c.dump(), flush=True)
        raise
    finally:
        c.close()
    keep(args.json, "Recovery after kill -9",
         [(f"Under {rate:.0f} transactions a second, killed for {args.down:g} s; seconds, median and most",
           ["killed", "times", "a row before: ms", "server's start", "most", "caught up after restart", "most", "as before after restart", "most",
            "caught up, start included", "most"], [row(got, name) for name in names])], lines=got)
    return 0


if __name__ == "__main__":
    main(__doc__, run, {"kills": (int, 5, "of each"), "blows": (str, ",".join(BLOWS), "which"), "clients": (int, 2, "writers in each region"),
                        "pause": (float, 0.01, "seconds between a writer's transactions"), "down": (float, 1, "seconds that it stays away"), **kept_in("recovery")})
