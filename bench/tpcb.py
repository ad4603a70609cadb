#!/usr/bin/python3
"""make tpcb SECONDS= CLIENTS= SCALE= [DELTA=1] [DAEMON_KILLS=]: pgbench TPC-B in three regions at once, each with a PostgreSQL and a Kafka of its own, last
write wins; then until everything has arrived, and `pangea verify`. Prints transactions, conflicts recorded, seconds to converge, and the CPU
seconds and peak memory of the daemons.
--delta 1: the balances add up (`delta`), and in the end each must be the sum of its deltas in the history of all regions. --kills N: so many
daemons are killed (SIGKILL) and started again meanwhile."""
import os
import random
import subprocess
import time

from common import Cluster, case, main
import proc

ROUTES = [{"tables": ["public.*"]}, {"tables": ["public.pgbench_history"], "insert_only": True}]


BALANCES = (("accounts", "aid", "abalance"), ("tellers", "tid", "tbalance"), ("branches", "bid", "bbalance"))
DELTA = {"conflicts": {"tables": {f"public.pgbench_{t}": {"columns": {balance: "delta"}} for t, _, balance in BALANCES}}}


def pgbench(region, *args, **kw):
    p = region.postgres
    return subprocess.Popen(["pgbench", "-h", "127.0.0.1", "-p", str(p.port), "-U", "app", *args, region.database],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)


def kill(c, args):
    rng, begin = random.Random(1), time.monotonic()
    for k in range(args.kills):
        time.sleep(max(0.0, begin + args.seconds * (k + 1) / (args.kills + 1) - time.monotonic()))
        r = rng.choice(list(c))
        r.kill()
        r.run()
        print(f"{time.monotonic() - begin:6.1f} s  daemon of {r.name} killed and started", flush=True)


def add_up(c, done):
    """The history is insert only: it holds every delta of every region once."""
    for r in c:
        n = r.value("SELECT count(*) FROM pgbench_history")
        assert n >= done, f"{r.name}: {n} history rows, {done} transactions were acknowledged"
        for table, key, balance in BALANCES:
            wrong = r.sql(f"SELECT t.{key}, t.{balance}, coalesce(h.n, 0) FROM pgbench_{table} t LEFT JOIN (SELECT {key}, sum(delta) AS n FROM pgbench_history"
                          f" GROUP BY 1) h USING ({key}) WHERE t.{balance} <> coalesce(h.n, 0) LIMIT 3")
            assert not wrong, f"{r.name}: pgbench_{table} does not add up, such as (key, balance, sum of deltas) {wrong}"
        sums = [r.value(f"SELECT sum({balance}) FROM pgbench_{table}") for table, _, balance in BALANCES]
        print(f"  {r.name}: {n} history rows; balances of accounts, tellers, branches: {sums}, sum of all deltas "
              f"{r.value('SELECT sum(delta) FROM pgbench_history')}: every balance is the sum of its deltas", flush=True)


def run(servers, args):
    c = Cluster(servers, "tpcb", os.path.join(servers.folder, "tpcb"), args.build, regions=("us", "eu", "ap"), own_postgres="each",
                own_kafka="each", topology={"routes": ROUTES, **(DELTA if args.delta else {})})
    try:
        for r in c:
            out, _ = (p := pgbench(r, "-i", "-q", "-s", str(args.scale))).communicate()
            assert p.returncode == 0, out
        case.prepare(c, {"tables": ""})
        loads = [pgbench(r, "-n", "-c", str(args.clients), "-j", "1", "-T", str(args.seconds)) for r in c]
        kill(c, args)
        outs = [p.communicate()[0] for p in loads]
        end = time.monotonic()
        done = [int(next(x for x in o.splitlines() if "actually processed" in x).split(":")[1].split("/")[0]) for o in outs]
        print("transactions: " + ", ".join(f"{r.name} {n}" for r, n in zip(c, done)) + f"; together {sum(done)} in {args.seconds} s", flush=True)
        c.barrier(600)
        print(f"everything has arrived {time.monotonic() - end:.1f} s after the last transaction", flush=True)
        for r in c:
            pid = r.daemon.process.pid
            print(f"  {r.name}: daemon {proc.cpu(pid):.1f} CPU s, peak {proc.peak_mb(pid):.0f} MB; "
                  f"{r.value('SELECT count(*) FROM pangea.conflict')} conflicts recorded", flush=True)
            for o in r.status("apply")["origins"]:
                print(f"    from {o['origin']}: {o['transactions']} transactions in {o['groups']} groups, {o['conflicts']} conflicts, "
                      f"{o['retries']} retries")
        if args.delta:
            add_up(c, sum(done))
        for t in c.verify(300)["tables"]:
            print(f"  {t['table']}: {t['result']}")
        print(f"verify: identical; {time.monotonic() - end:.1f} s after the last transaction")
        return 0
    finally:
        c.close()


if __name__ == "__main__":
    main(__doc__, run, {"seconds": (int, 60, "of load"), "clients": (int, 4, "in each region"), "scale": (int, 10, "of pgbench"),
                        "delta": (int, 0, "1: balances are deltas"), "kills": (int, 0, "daemons killed meanwhile")})
