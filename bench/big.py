#!/usr/bin/python3
"""make big ROWS=: one transaction of many rows in us while eu writes small ones. Watches in ap that the large one appears at once and
whole, how long eu's changes waited for it there, and the peak memory of every capture and apply process (which run apart here)."""
import os
import threading
import time

from common import Cluster, case, main
import proc

TABLES = "CREATE TABLE public.big (id int PRIMARY KEY, v text); CREATE TABLE public.small (id bigint PRIMARY KEY, at double precision)"


def beat(region, end):
    """A small row every 50 ms."""
    c = region.connect()
    c.autocommit = True
    n = 0
    while not end.wait(0.05):
        c.cursor().execute("INSERT INTO public.small VALUES (%s, %s)", (n, time.time()))
        n += 1
    c.close()


def watch(region, rows, out, end):
    """Every count of the large table that is ever seen, and the longest time that nothing of eu arrived."""
    c = region.connect("postgres")
    c.autocommit = True
    cur = c.cursor()
    while not end.wait(0.1):
        cur.execute("SELECT count(*) FROM public.big WHERE id IN (1, %s, %s)", (rows // 2, rows))
        out["counts"].add(cur.fetchone()[0])
        cur.execute("SELECT max(at) FROM public.small")
        newest = cur.fetchone()[0]
        if newest:
            out["gap"] = max(out["gap"], time.time() - newest)
    c.close()


def run(servers, args):
    c = Cluster(servers, "big", os.path.join(servers.folder, "big"), args.build, regions=("us", "eu", "ap"), own_postgres="each",
                own_kafka="each")
    try:
        case.prepare(c, {"tables": TABLES, "run": False})
        daemons = {(r.name, agent): r.run(agent) for r in c for agent in ("capture", "apply")}
        c.barrier()
        end, seen = threading.Event(), {"counts": set(), "gap": 0.0}
        threads = [threading.Thread(target=beat, args=(c.eu, end)), threading.Thread(target=watch, args=(c.ap, args.rows, seen, end))]
        for t in threads:
            t.start()
        begin = time.monotonic()
        c.us.app(f"INSERT INTO public.big SELECT g, 'row number ' || g FROM generate_series(1, {args.rows}) g")
        committed = time.monotonic()
        print(f"{args.rows} rows committed in us after {committed - begin:.1f} s", flush=True)
        c.expect("SELECT count(*) FROM public.big", [(args.rows,)], limit=args.limit)
        print(f"visible everywhere {time.monotonic() - committed:.1f} s after the commit", flush=True)
        healed = time.monotonic()
        c.barrier(300)
        end.set()
        for t in threads:
            t.join()
        print(f"eu's changes: waited at most {seen['gap']:.1f} s in ap; caught up {time.monotonic() - healed:.1f} s later")
        print(f"of the large transaction's first, middle and last row ap's readers saw {sorted(seen['counts'])} (0: none, 3: all)")
        for (name, agent), d in daemons.items():
            print(f"  {name} {agent}: peak {proc.peak_mb(d.process.pid):.0f} MB")
        c.verify(300)
        print("verify: identical")
        return 0 if seen["counts"] <= {0, 3} else 1
    finally:
        c.close()


if __name__ == "__main__":
    main(__doc__, run, {"rows": (int, 5000000, "of the transaction"), "limit": (float, 900, "seconds that it may take to arrive")})
