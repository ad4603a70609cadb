#!/usr/bin/python3
"""make conflicts [ROWS=] [RULE=greatest]: what conflicts cost apply. Two regions hold the same rows; both update a share of them while nobody
applies (so that these are concurrent), us all the others; then the apply agent of eu starts and drains us's log (its start, some tenths of a
second, counts). Prints rows a second at 0, 1, 10 and 50 % conflicts, interleaved, the median of the blocks, and the ratio to 0 %; and the CPU time of
a row, in the agent and its backend, which other work on the machine moves less. The tables are compared after each run: a wrong result voids the
figure. us writes transactions of 100 rows; eu's share is one transaction, so its losers all have one dot."""
import contextlib
import os
import statistics
import time

from common import OUT, Cluster, case, main, numbers, put
import proc

T = "CREATE TABLE public.t (id int PRIMARY KEY, v int NOT NULL, pad text NOT NULL)"
RULES = {"greatest": {"resolver": "greatest", "by": "v"}, "delta": {"columns": {"v": "delta"}}, "column_merge": {"resolver": "column_merge"}}


@contextlib.contextmanager
def two_regions(servers, build, rows, rule="last_write_wins"):
    """Both hold the rows, and run."""
    topology = {"conflicts": {"tables": {"public.t": RULES[rule]}}} if rule in RULES else {}
    c = Cluster(servers, "conflicts", os.path.join(servers.folder, "conflicts"), build, regions=("us", "eu"), own_postgres="each", own_kafka="each",
                topology=topology)
    try:
        c.tables(T + f"; INSERT INTO t SELECT i, 0, repeat('p', 60) FROM generate_series(0, {rows - 1}) i")
        case.prepare(c, {"tables": "", "run": False})
        for r in c:
            r.sql("VACUUM ANALYZE t")
        c.run()
        c.barrier(60)
        yield c
    finally:
        c.close()


def drain(c, rows, share):
    """Both regions write the first so many rows apart; then eu applies. A line of the raw results (microseconds a row are seconds a million)."""
    us, eu = c.us, c.eu
    for r in c:
        r.kill()
        r.run("capture")
    step = 100 // share if share else rows + 1
    if share:
        eu.sql(f"UPDATE t SET v = v + 1 WHERE id % {step} = 0 AND id < {rows}")
    us.sql("DO $$ BEGIN FOR i IN 0.." + str(rows // 100 - 1) + " LOOP UPDATE public.t SET v = v + 2 WHERE id >= i * 100 AND id < i * 100 + 100; COMMIT; END LOOP; END $$")
    for r in c:
        at = r.value("SELECT pg_current_wal_insert_lsn()")
        while not r.value("SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s", at, r.slot):
            time.sleep(0.05)
    # the last row that us wrote is none of those that eu wrote too, and is applied last
    want = us.value("SELECT v FROM t WHERE id = %s", rows - 1)
    begin = time.monotonic()
    agent = eu.run("apply")
    while eu.value("SELECT v FROM t WHERE id = %s", rows - 1) != want:
        assert time.monotonic() - begin < 600, eu.origin("us")
        time.sleep(0.02)
    seconds = time.monotonic() - begin
    backend = eu.value("SELECT pid FROM pg_stat_activity WHERE application_name = 'pangea apply eu' AND datname = current_database()")
    spent = {"agent": proc.cpu(agent.pid), "backend": proc.cpu(backend)}
    peak = {"agent": proc.peak_mb(agent.pid)}
    us.run("apply")
    c.barrier(120)
    c.converged("SELECT * FROM t ORDER BY id", 120)
    return {"rate": rows / seconds, "seconds": seconds, "changes": rows, "cpu": {k: v / rows * 1e6 for k, v in spent.items()}, "peak_mb": peak, "right": True}


def run(servers, args):
    with two_regions(servers, args.build, args.rows, args.rule) as c:
        shares = numbers(args.shares)
        got, spent = {s: [] for s in shares}, {s: [] for s in shares}
        for block in range(args.blocks):
            for s in shares if block % 2 == 0 else reversed(shares):
                r = drain(c, args.rows, s)
                put(args.out, dict(r, kind="run", work="W9", measure="apply", variant=f"{s} %", block=block, rule=args.rule, load=proc.load()))
                rate, us = r["rate"], sum(r["cpu"].values())
                got[s].append(rate)
                spent[s].append(us)
                print(f"block {block + 1}: {s:2} % conflicts: {rate:9.0f} rows/s, {us:6.1f} us CPU a row", flush=True)
        base, least = statistics.median(got[shares[0]]), statistics.median(spent[shares[0]])
        for s in shares:
            m, us = statistics.median(got[s]), statistics.median(spent[s])
            print(f"{args.rule}: {s:2} % conflicts: median {m:9.0f} rows/s, {m / base:.2f} of that at {shares[0]} % (from {min(got[s]):.0f} to {max(got[s]):.0f});"
                  f" CPU {us:.1f} us a row, {us / least:.2f} times (from {min(spent[s]):.1f} to {max(spent[s]):.1f})")
        print(f"recorded: {c.us.value('SELECT count(*) FROM pangea.conflict')} in us, {c.eu.value('SELECT count(*) FROM pangea.conflict')} in eu")
        return 0


if __name__ == "__main__":
    main(__doc__, run, {"rows": (int, 100000, "of the table"), "blocks": (int, 3, "runs of each share"), "shares": (str, "0,1,10,50", "percent of conflicts"),
                        "rule": (str, "last_write_wins", "or greatest, delta, column_merge"), **OUT})
