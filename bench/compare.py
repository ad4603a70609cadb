#!/usr/bin/python3
"""make bench [QUICK=1] [DEBEZIUM=1]: Pangea beside pg_recvlogical, native logical replication and Debezium, in one run: same servers, same tables,
same WAL. Blocks in the order A B C C B A; after every drain the target's rows are compared with the source's. Each run is a line of JSON in --out,
with the versions and the command in its first line; bench/report.py makes tables and charts of it."""
import json
import os
import platform
import time

from common import ROOT, made_by, main, said  # first: it makes tests/harness known
import debezium
import figures
import proc
import variants
from rig import SETTINGS, Rig
from work import WORKS


def cpu_model():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown")


def environment(rig, args, connect):
    kafka = next((f for f in os.listdir(os.path.join(ROOT, ".cache", "kafka", "libs")) if f.startswith("kafka-server-common")), "unknown")
    return {"kind": "environment", **made_by(), "pangea": said(rig.c.pangea, "version"), "postgres": rig.us.value("SHOW server_version"), "kafka": kafka,
            "librdkafka": said("pkg-config", "--modversion", "rdkafka"), "java": said("java", "-version"), "kernel": platform.release(), "cpus": os.cpu_count(),
            "cpu": cpu_model(), "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20, "settings": SETTINGS,
            "debezium": connect.versions if connect else "not run", "autogroup": proc.OWN, "blocks": args.blocks}


class Runs:
    """The raw results: what was run, right or wrong or failed, each a line."""

    def __init__(self, path):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        self.path, self.all = path, []
        open(path, "w").close()

    def put(self, line):
        with open(self.path, "a") as f:
            f.write(json.dumps(line) + "\n")

    def add(self, run):
        self.all.append(run)
        self.put(run)
        if not figures.counts(run):
            print(f"  VOID: {run['work']} {run['measure']} {run['variant']}: {run.get('wrong') or 'not compared'}", flush=True)


def measured(rig, block, measure, variant, drain):
    """One run, as a line of the raw results; one that fails is there too."""
    run = {"kind": "run", "work": rig.work.name, "measure": measure, "variant": variant, "block": block, "at": time.strftime("%H:%M:%S")}
    begin, busy = time.monotonic(), proc.busy()
    try:
        r = drain(rig, variants.Looker(rig))
        run.update(r, rate=figures.rate(r["changes"], r["seconds"]),
                   cpu={k: figures.per_million(v, r["changes"]) for k, v in r["cpu_seconds"].items()})
    except Exception as e:
        run.update(right=False, wrong=f"{type(e).__name__}: {str(e)[:1500]}")
        for d in rig.us.daemons + rig.eu.daemons:
            d.kill()
    if "rate" in run:
        cpu = " ".join(f"{k} {v:.1f}" for k, v in run["cpu"].items() if v >= 0.05)
        print(f"  {run['work']} {measure:7} {variant:16} {run['rate']:9.0f}/s  {run['seconds']:6.2f} s  CPU s/M: {cpu}", flush=True)
    # what else ran on the machine meanwhile, as CPUs kept busy by everybody
    return dict(run, load=proc.load(), busy=(proc.busy() - busy) / (time.monotonic() - begin))


# who takes part; Debezium's join when asked for
CAPTURE = {"pangea": variants.pangea_capture, "pg_recvlogical": variants.pg_recvlogical}
APPLY = {"pangea": variants.pangea_apply, "native": variants.native}


def with_debezium(connect):
    for v in debezium.SOURCES:
        CAPTURE[v] = debezium.capture(connect, v)
    for v in debezium.SINKS:
        APPLY[v] = debezium.apply(connect, v)


def block_of(rig, runs, block):
    """Each variant once. A capture counts when what apply made of its log is right."""
    captured = [measured(rig, block, "capture", v, CAPTURE[v]) for v in figures.order(CAPTURE, block)]
    # the sink has no key for pgbench_history, and takes one topic for one table
    appliers = [v for v in APPLY if not (rig.work.clients and v in debezium.SINKS)]
    applied = [measured(rig, block, "apply", v, APPLY[v]) for v in figures.order(appliers, block)]
    whole = [measured(rig, block, "whole", "pangea", variants.pangea_whole)]
    into = {r["variant"]: r for r in applied}
    for r in captured:
        if "right" not in r:
            r["right"], r["wrong"] = into[r["variant"]].get("right", False), into[r["variant"]].get("wrong", "")
    for r in captured + applied + whole:
        runs.add(r)


def summary(runs, works):
    for w in works:
        for measure in ("capture", "apply", "whole"):
            for v in dict.fromkeys(r["variant"] for r in runs if r["work"] == w and r["measure"] == measure):
                got = figures.of(runs, work=w, measure=measure, variant=v)
                if not got:
                    print(f"{w} {measure:7} {v:16} no run counts")
                    continue
                m, low, high = figures.middle(r["rate"] for r in got)
                c = figures.middle(figures.cpu_total(r) for r in got)[0]
                print(f"{w} {measure:7} {v:16} median {m:9.0f}/s ({low:.0f} to {high:.0f}, {len(got)} runs), CPU {c:.1f} s a million")


def blocks_of(rig, runs, work, args, begin):
    """All blocks of one work. False: another one like the last would not end within the limit, and there may be some left."""
    rows = args.rows or int((work.quick if args.quick else work.rows) * args.scale)
    rig.prepare(work, rows, work.base // 5 if args.quick else work.base)
    print(f"{work.name}: {work.what}; {rig.changes} changes in {rig.commits} transactions, {rig.wal / 1e6:.0f} MB of WAL, made in {rig.made:.1f} s "
          f"({time.monotonic() - begin:.0f} s since the start)", flush=True)
    runs.put({"kind": "work", "work": work.name, "what": work.what, "changes": rig.changes, "messages": rig.messages, "transactions": rig.commits,
              "wal": rig.wal, "base": rig.base})
    for block in range(args.blocks):
        started = time.monotonic()
        block_of(rig, runs, block)
        took = time.monotonic() - started
        if args.limit and time.monotonic() + took - begin > args.limit:
            print(f"{work.name}: {block + 1} of {args.blocks} blocks")
            return False
    return True


def run(servers, args):
    if proc.OWN is None:
        print("no autogroups here: all processes weigh alike")
    runs, begin = Runs(args.out), time.monotonic()
    rig, connect = Rig(servers, os.path.join(servers.folder, "bench"), args.build), None
    try:
        if args.debezium:
            connect = debezium.Connect(servers, rig)
            with_debezium(connect)
        runs.put(environment(rig, args, connect))
        works = args.works.split(",")
        for n, w in enumerate(works):
            if not blocks_of(rig, runs, WORKS[w], args, begin):
                print(f"{args.limit:g} s are not enough for more: left out are {', '.join(works[n + 1:]) or 'no works'}")
                break
        summary(runs.all, works)
    finally:
        if connect:
            connect.close()
        rig.close()
    bad = figures.void(runs.all)
    print(f"{len(runs.all)} runs, {len(bad)} void, {time.monotonic() - begin:.0f} s; raw results in {os.path.relpath(args.out)}")
    return 1 if bad else 0


if __name__ == "__main__":
    main(__doc__, run, {"works": (str, "W1,W3,W4,W2,W5,W6,W7,W8", "which"), "rows": (int, 0, "changes, instead of each work's own number"), "scale": (float, 1, "times each work's own number"),
                        "blocks": (int, 5, "of every variant"), "quick": (int, 0, "1: few rows"), "debezium": (int, 0, "1: with Debezium"),
                        "limit": (float, 0, "seconds: no block is begun that would last longer; what is left out is said"),
                        "out": (str, os.path.join(ROOT, "build", "bench", "results.jsonl"), "raw results")})
