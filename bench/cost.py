#!/usr/bin/python3
"""bench/cost.py: what local transactions notice. pgbench TPC-B (of tables of its own, in a schema that no route names for the target, in the replicated
tables at the source) runs for --seconds alone and beside Pangea, in interleaved blocks: at the source beside the capture agent, at the target
while the apply agent drains a backlog. TPS, and p50 and p99 of the transactions that ended while it drained."""
import glob
import os
import subprocess
import time

from common import OUT, main, put
import figures
import proc
import variants
import work as works
from harness.wait import until
from rig import Rig
from work import WORKS


class Load:
    """A pgbench that logs every transaction."""

    def __init__(self, rig, region, args, schema):
        self.prefix = os.path.join(rig.c.folder, f"pgbench-{time.monotonic_ns()}")
        p = region.postgres
        self.process = subprocess.Popen(
            ["pgbench", "-n", "-h", p.folder, "-p", str(p.port), "-U", "app", "-c", str(args.clients), "-j", "1", "-M", "prepared", "-T", str(args.seconds),
             "-l", "--log-prefix", self.prefix, region.database], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**works.ENV, "PGOPTIONS": f"-c search_path={schema} -c synchronous_commit=off"})

    def ended(self):
        """[(when it ended on the wall clock, milliseconds)]"""
        out = self.process.communicate()[0]
        if self.process.returncode:
            raise RuntimeError(f"pgbench: {out[-1000:]}")
        done = []
        for path in glob.glob(self.prefix + ".*"):
            with open(path) as f:
                done += [(int(x[4]) + int(x[5]) / 1e6, int(x[2]) / 1000) for x in map(str.split, f)]
            os.unlink(path)
        return sorted(done)


def figure(done, begin, end):
    times = sorted(ms for at, ms in done if begin <= at <= end)
    if len(times) < 100:
        raise figures.NoFigure(f"{len(times)} transactions in {end - begin:.1f} s: too few for a p99")
    return {"rate": figures.rate(len(times), end - begin), "p50": figures.quantile(times, 0.5), "p99": figures.quantile(times, 0.99), "changes": len(times),
            "seconds": end - begin, "cpu": {}, "peak_mb": {}}


def source(rig, args, beside):
    """At the source: with capture reading along, or with nobody."""
    d = rig.us.run("capture") if beside else None
    if d:
        d.wait_log("capture.started")
    load, begin = Load(rig, rig.us, args, "public"), time.time()
    done = load.ended()
    end = time.time()
    if d:
        at = rig.us.value("SELECT pg_current_wal_insert_lsn()")
        until(lambda: rig.us.value("SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s", at, rig.us.slot), "capture catches up", 300)
        d.stop(30)
    return dict(figure(done, begin, end), right=True)


def target(rig, args, look, beside):
    """At the target: while apply drains the log of the source, or alone."""
    rig.fresh_target()
    rig.c.init("eu")
    rig.eu.sql("CREATE SCHEMA side AUTHORIZATION app")
    p = rig.eu.postgres
    subprocess.run(["pgbench", "-i", "-q", "-h", p.folder, "-p", str(p.port), "-U", "app", rig.eu.database], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, env={**works.ENV, "PGOPTIONS": "-c search_path=side"})
    load, begin = Load(rig, rig.eu, args, "side"), time.time()
    end = None
    if beside:
        d = rig.eu.run("apply")
        until(lambda: look.marked(1), "the first mark", 120)
        begin = time.time()
        until(lambda: look.marked(2) or load.process.poll() is not None, "the second mark, or the end of pgbench", variants.LIMIT)
        end = time.time()
        until(lambda: look.marked(2), "the second mark", variants.LIMIT)
        d.stop(30)
    done = load.ended()
    wrong = rig.wrong() if beside else ""
    return dict(figure(done, begin, end or time.time()), right=not wrong, wrong=wrong)


def blocks(args, measure, one):
    got = []
    for block in range(args.blocks):
        for beside in figures.order((False, True), block):
            r = dict(one(beside), kind="run", work="cost", measure=measure, variant="beside" if beside else "alone", block=block, load=proc.load())
            got.append(r)
            put(args.out, r)
            void = "" if r["right"] else f"  VOID: {r['wrong']}"
            print(f"  {measure} {r['variant']:7} {r['rate']:8.0f} tx/s, p50 {r['p50']:.2f} ms, p99 {r['p99']:.2f} ms{void}", flush=True)
    for name in ("rate", "p50", "p99"):
        m, low, high = figures.ratios(got, {"variant": "beside"}, {"variant": "alone"}, lambda r: r[name])
        print(f"{measure}: {name} beside Pangea {m:.2f} x ({low:.2f} to {high:.2f}) of that alone")


def run(servers, args):
    rig = Rig(servers, os.path.join(servers.folder, "bench"), args.build)
    try:
        rig.prepare(WORKS["W2"], 400, 100000)
        blocks(args, "source", lambda beside: source(rig, args, beside))
        rig.prepare(WORKS["W1"], args.rows, 0)
        variants.pangea_capture(rig, variants.Looker(rig))
        blocks(args, "target", lambda beside: target(rig, args, variants.Looker(rig), beside))
        return 0
    finally:
        rig.close()


if __name__ == "__main__":
    main(__doc__, run, {"rows": (int, 300000, "of the backlog"), "seconds": (int, 20, "of pgbench, in each run"), "clients": (int, 2, "of pgbench"),
                        "blocks": (int, 5, "of both"), **OUT})
