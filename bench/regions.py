#!/usr/bin/python3
"""make regions [ROWS=200000] [BLOCKS=2]: what more receiving regions cost the source. W1 of one leader is captured and applied by 2, 4 and 8 followers at
once, in interleaved blocks (2 4 8 8 4 2). The source has a PostgreSQL and a Kafka of its own; the followers are databases of a second server, their Kafka
a second broker, a daemon each. CPU time counts from the start of capture until every region has all rows. The source: its capture agent and all processes
of its PostgreSQL; beside it stand its apply agent, which hears the followers' heartbeats, and its broker. --load live: the rows are written while all run
(that session stands beside the others); else they stand in the WAL before."""
import os
import threading
import time

from common import Cluster, kept_in, keep, main, numbers
import figures
import proc
import variants
import work as works
from harness.wait import until
from goals import SOURCE
from rig import settle

WORK = works.WORKS["W1"]
BESIDE = ("writer", "apply", "broker")


def write(us, rows):
    works.some(us, WORK, 0, rows, 0)
    works.mark(us, WORK, 1)


def watch(c, receivers, meter):
    """Until every receiver has the mark behind the rows, and the source knows that Kafka has them."""
    us, missing = c.us, list(receivers)

    def arrived():
        meter.sample()
        while missing and missing[0].value(WORK.marked.format(n=1)):
            missing.pop(0)
        return (False, f"{missing[0].name}: {missing[0].origin('us')}") if missing else True
    until(arrived, "every region has all rows", 900)
    at = us.value("SELECT pg_current_wal_insert_lsn()")
    until(lambda: us.value("SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s", at, us.slot), "capture has published", 60)
    meter.sample()


def drain(c, receivers, args):
    """(seconds, {process: CPU seconds})."""
    us = c.us
    writer = threading.Thread(target=write, args=(us, args.rows))
    if args.load != "live":
        write(us, args.rows)
    for r in receivers:
        r.run()
    apply = us.run("apply")
    for r in c:
        until(lambda r=r: variants.apply_backends(r), f"apply of {r.name} has connected", 60)

    def find():
        sender = variants.senders(us, us.slot)
        writing = [r[0] for r in us.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'psql'")]
        return {"capture": [capture.pid], "apply": [apply.pid], "walsender": sender, "writer": writing,
                "server": variants.others(us, *sender, *writing), "broker": [variants.broker_pid(us)]}
    begin = time.monotonic()
    capture = us.run("capture")
    meter = proc.Meter(find)
    meter.first = {k: v for k, v in meter.first.items() if k[0] not in ("capture", "walsender")}  # these began with the measurement
    if args.load == "live":
        writer.start()
    watch(c, receivers, meter)
    return time.monotonic() - begin, meter.seconds()


def once(servers, args, number, n):
    """The source and n receivers, all new. A line of the raw results."""
    names = [f"r{k}" for k in range(1, n + 1)]
    c = Cluster(servers, f"regions{number}", os.path.join(servers.folder, f"regions{number}"), args.build, regions=("us", *names), followers=names,
                own_postgres="two", own_kafka="two")
    try:
        settle(c)
        for r in c:
            works.make_tables(r, WORK, 0)
        c.init()
        seconds, spent = drain(c, [c.regions[x] for x in names], args)
        c.verify(300)
        cpu = {k: figures.per_million(v, args.rows) for k, v in spent.items()}
        return {"kind": "run", "work": "regions", "measure": "source", "variant": str(n), "rate": figures.rate(args.rows, seconds), "seconds": seconds,
                "changes": args.rows, "cpu": cpu, "peak_mb": {}, "right": True, "load": proc.load()}
    except Exception:
        print(c.dump(), flush=True)
        raise
    finally:
        c.close()


def run(servers, args):
    counts, got = numbers(args.regions), []
    for block in range(args.blocks):
        for n in figures.order(counts, block):
            r = dict(once(servers, args, len(got), n), block=block)
            got.append(r)
            print(f"block {block + 1}: {n} regions: {r['rate']:7.0f} rows/s each, CPU s/M: "
                  + " ".join(f"{k} {r['cpu'].get(k, 0):.2f}" for k in (*SOURCE, *BESIDE)), flush=True)
    columns = [("source", SOURCE), *((k, (k,)) for k in (*SOURCE, *BESIDE)), ("all", (*SOURCE, *BESIDE))]
    rows, ratios = [], []
    for n in counts:
        mine = figures.of(got, variant=str(n))
        rows.append([str(n), figures.spread(r["rate"] for r in mine), *(figures.spread(figures.cpu_total(r, *which) for r in mine) for _, which in columns)])
    for name, which in (("source: capture agent and PostgreSQL", SOURCE), ("the same with its apply agent", (*SOURCE, "apply")), ("its broker", ("broker",))):
        for n in counts[1:]:
            ratios.append([name, f"{n} against {counts[0]}", figures.spread(figures.ratios(
                got, {"variant": str(n)}, {"variant": str(counts[0])}, lambda r: figures.cpu_total(r, *which)))])
    keep(args.json, "Receiving regions",
         [(f"{args.rows} single-row inserts of about 100 bytes, {args.load}; rows/s until all have them, CPU seconds a million at the source",
           ["regions", "rows/s", *(name for name, _ in columns)], rows), ("Ratios within a block", ["CPU time", "regions", "median (least - greatest)"], ratios)],
         lines=got)
    return 0


if __name__ == "__main__":
    main(__doc__, run, {"rows": (int, 200000, "of the load"), "regions": (str, "2,4,8", "how many receive"), "blocks": (int, 2, "runs of each"),
                        "load": (str, "backlog", "or live"), **kept_in("regions")})
