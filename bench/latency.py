#!/usr/bin/python3
"""make latency RATE= SECONDS=: commit in us -> visible in eu, at a fixed rate (open loop, a writer for each 250 tx/s). The time ends when a session
in eu hears a NOTIFY that an ALWAYS trigger sent in the applying transaction: it is delivered when that one is visible. It begins when the
transaction was due (so that one which waits behind a stall says so: no coordinated omission), and, as a second figure, when COMMIT has returned."""
import os
import select
import threading
import time

from common import OUT, Cluster, case, main, paced, put
import figures
import proc

TABLE = "CREATE TABLE public.beat (id bigint PRIMARY KEY, v text)"
TRIGGER = """SET ROLE app; CREATE FUNCTION public.heard() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_notify('beat', NEW.id::text); RETURN NULL; END $$;
  CREATE TRIGGER heard AFTER INSERT ON public.beat FOR EACH ROW EXECUTE FUNCTION public.heard();
  ALTER TABLE public.beat ENABLE ALWAYS TRIGGER heard; RESET ROLE"""


def listen(region, heard, ready, end):
    c = region.connect("postgres")
    c.autocommit = True
    c.cursor().execute("LISTEN beat")
    ready.set()
    while not end.is_set():
        if select.select([c], [], [], 0.2)[0]:
            c.poll()
            now = time.monotonic()
            while c.notifies:
                heard[int(c.notifies.pop(0).payload)] = now
    c.close()


def write(region, args, writer, begin, due, done):
    """Every args.writers-th transaction of the open loop."""
    c = region.connect()
    c.autocommit = True
    cur = c.cursor()
    for i, at in paced(args.rate, args.seconds, begin, writer, args.writers):
        due[i] = at
        cur.execute("INSERT INTO public.beat VALUES (%s, 'x')", (i,))
        done[i] = time.monotonic()
    c.close()


def figure(times):
    times = sorted(times)
    return {"p50": figures.quantile(times, 0.5), "p90": figures.quantile(times, 0.9), "p99": figures.quantile(times, 0.99), "max": times[-1]}


def load(c, args):
    """(when each was due, when its COMMIT returned, when the other region heard of it)."""
    due, done, heard, ready, end = {}, {}, {}, threading.Event(), threading.Event()
    ear = threading.Thread(target=listen, args=(c.eu, heard, ready, end))
    ear.start()
    ready.wait(10)
    begin = time.monotonic() + 0.2
    hands = [threading.Thread(target=write, args=(c.us, args, w, begin, due, done)) for w in range(args.writers)]
    for h in hands:
        h.start()
    for h in hands:
        h.join()
    c.expect("SELECT count(*) FROM public.beat", [(len(done),)], limit=120)
    end.set()
    ear.join()
    return due, done, heard


def run(servers, args):
    args.writers = max(1, round(args.rate / 250))
    c = Cluster(servers, "latency", os.path.join(servers.folder, "latency"), args.build, own_postgres="each", own_kafka="each")
    try:
        case.prepare(c, {"tables": TABLE})
        c.eu.sql(TRIGGER)
        due, done, heard = load(c, args)
        right = heard.keys() == done.keys()
        ids = [i for i in done if i in heard and i >= args.rate]  # the first second warms up
        whole = figure(1000 * t for t in figures.late_from([due[i] for i in ids], [heard[i] for i in ids]))
        commit = figure(1000 * (heard[i] - done[i]) for i in ids)
        put(args.out, {"kind": "latency", "rate": args.rate, "seconds": args.seconds, "n": len(ids), "right": right, **whole,
                       **{f"commit_{k}": v for k, v in commit.items()}, "load": proc.load()})
        for name, f in (("due -> visible", whole), ("commit -> visible", commit)):
            print(f"{args.rate:g} tx/s for {args.seconds:g} s, {len(ids)} measured: {name:17} p50 {f['p50']:.2f} ms, p90 {f['p90']:.2f} ms, "
                  f"p99 {f['p99']:.2f} ms, max {f['max']:.2f} ms")
        return 0 if right else 1
    finally:
        c.close()


if __name__ == "__main__":
    main(__doc__, run, {"rate": (float, 200, "transactions a second"), "seconds": (float, 30, "of load"), **OUT})
