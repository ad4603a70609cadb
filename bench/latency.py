#!/usr/bin/python3
"""make latency RATE= SECONDS=: commit in us -> visible in eu, at a fixed rate (open loop). The time begins when COMMIT has returned in us, and
ends when a session in eu hears a NOTIFY that an ALWAYS trigger sent in the applying transaction: it is delivered when that one is visible."""
import os
import select
import threading
import time

from common import Cluster, case, main

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


def write(region, rate, seconds):
    c = region.connect()
    cur, done, begin = c.cursor(), {}, time.monotonic()
    for i in range(int(rate * seconds)):
        due = begin + i / rate
        select.select([], [], [], max(0.0, due - time.monotonic()))
        cur.execute("INSERT INTO public.beat VALUES (%s, 'x')", (i,))
        c.commit()
        done[i] = time.monotonic()
    c.close()
    return done


def run(servers, args):
    c = Cluster(servers, "latency", os.path.join(servers.folder, "latency"), args.build, own_postgres="each", own_kafka="each")
    try:
        case.prepare(c, {"tables": TABLE})
        c.eu.sql(TRIGGER)
        heard, ready, end = {}, threading.Event(), threading.Event()
        ear = threading.Thread(target=listen, args=(c.eu, heard, ready, end))
        ear.start()
        ready.wait(10)
        done = write(c.us, args.rate, args.seconds)
        c.expect("SELECT count(*) FROM public.beat", [(len(done),)], limit=60)
        end.set()
        ear.join()
        times = sorted((heard[i] - t) * 1000 for i, t in done.items() if i in heard and i >= args.rate)  # the first second warms up
        at = lambda q: times[min(len(times) - 1, int(len(times) * q))]  # noqa: E731
        print(f"{args.rate} tx/s for {args.seconds} s, {len(times)} measured: commit -> visible p50 {at(0.5):.2f} ms, p90 {at(0.9):.2f} ms, "
              f"p99 {at(0.99):.2f} ms, max {times[-1]:.2f} ms")
        return 0 if len(heard) == len(done) else 1
    finally:
        c.close()


if __name__ == "__main__":
    main(__doc__, run, {"rate": (float, 200, "transactions a second"), "seconds": (float, 30, "of load")})
