"""The kinds of work: tables, what fills them, the changes behind the slot, and how far a database has come with them.

Changes are made in two parts with a mark behind each (a row with a negative key): a tenth, mark 1, the rest, mark 2. What is measured lies
between the marks, so that nobody's start counts."""
import os
import subprocess
from dataclasses import dataclass, field

ENV = dict(os.environ)
S = "md5(i::text) || md5((i * 7)::text)"  # 64 characters that differ: lz4 gets no gift
MANY = "INSERT INTO public.t SELECT i + g, 1, md5((i + g)::text) || md5(g::text || i), now() FROM generate_series(0, {per} - 1) g"
T = "CREATE TABLE public.t (id bigint PRIMARY KEY, v int, s text, ts timestamptz)"
TYPES = ("int", "bigint", "smallint", "numeric(12,2)", "text", "boolean", "date", "timestamptz", "uuid", "double precision", "jsonb", "text")
VALUES = ("i", "i * 3", "i % 1000", "i / 100.0", "md5(i::text)", "i % 2 = 0", "date '2024-01-01' + (i % 1000)::int",
          "timestamptz '2024-01-01' + i * interval '1 second'", "md5(i::text)::uuid", "i / 3.0", "jsonb_build_object('n', i, 's', 'x')", "NULL")


@dataclass
class Work:
    name: str
    what: str
    rows: int                    # changes when the command line says nothing
    quick: int                   # and with --quick
    tables: str = T
    fill: str = ""               # {base}: rows that are there before
    change: str = ""             # one transaction; i is the number of the change, {per} the changes in it
    per: int = 1
    base: int = 0                # rows before; of it --quick takes a fifth
    done: str = "SELECT count(*) FROM public.t WHERE id >= 0"   # changes that have come, without the marks
    mark: str = "INSERT INTO public.t (id) VALUES (-{n})"
    marked: str = "SELECT count(*) FROM public.t WHERE id = -{n}"
    names: tuple = ("t",)
    routes: list = field(default_factory=list)
    warm: int = 0                # changes before the first mark where all others are one transaction (per = 0)
    clients: int = 0             # 0: one session, COMMIT after each transaction; else pgbench TPC-B

    def changes(self, rows):
        """In whole transactions."""
        return max(10, rows // self.per // 10 * 10) * self.per


ROUTES = [{"tables": ["public.*"]}, {"tables": ["public.pgbench_history"], "insert_only": True}]
WIDE = "CREATE TABLE public.t (id bigint PRIMARY KEY, " + ", ".join(f"c{n} {TYPES[n % len(TYPES)]}" for n in range(59)) + ")"
UPDATE = f"UPDATE public.t SET v = v + 1, s = {S}, ts = now() WHERE id = i * 7919 % {{base}}"

WORKS = {w.name: w for w in (
    Work("W1", "single-row inserts of about 100 bytes", 1000000, 100000, change=f"INSERT INTO public.t VALUES (i, 1, {S}, now())"),
    Work("W2", "pgbench TPC-B, 4 changes a transaction", 400000, 40000, tables="", per=4, clients=4, routes=ROUTES, base=1000000,
         done="SELECT 4 * count(*) FROM public.pgbench_history", mark="INSERT INTO public.pgbench_tellers (tid, bid, tbalance) VALUES (-{n}, 1, 0)",
         marked="SELECT count(*) FROM public.pgbench_tellers WHERE tid = -{n}",
         names=("pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history")),
    Work("W3", "single-row updates of 500,000 rows", 500000, 60000, base=500000, change=UPDATE,
         fill=f"INSERT INTO public.t SELECT i, 0, {S}, now() FROM generate_series(0, {{base}} - 1) i",
         done="SELECT sum(v) FROM public.t WHERE id >= 0"),
    Work("W4", "inserts in transactions of 1,000 rows", 2000000, 200000, per=1000, change=MANY),
    Work("W5", "one transaction of many rows", 10000000, 200000, per=0, change=MANY),
    Work("W6", "single-row inserts of 10 kB", 50000, 5000,
         change="INSERT INTO public.t VALUES (i, 1, (SELECT string_agg(md5((i * 1000 + g)::text), '') FROM generate_series(1, 312) g), now())"),
    Work("W7", "single-row inserts of 1 MB", 500, 50,
         change="INSERT INTO public.t VALUES (i, 1, (SELECT string_agg(md5((i * 100000 + g)::text), '') FROM generate_series(1, 32768) g), now())"),
    Work("W8", "single-row inserts of 60 columns of mixed types", 200000, 20000, tables=WIDE,
         change="INSERT INTO public.t VALUES (i, " + ", ".join(VALUES[n % len(VALUES)] for n in range(59)) + ")"),
)}


def psql(region, text):
    """One session of the server's own client: nothing else waits for a round trip. Nothing waits for the disk either, as its commits are
    no part of what is measured."""
    p = region.postgres
    done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", p.folder, "-p", str(p.port), "-U", "app", "-d", region.database],
                          input="SET synchronous_commit = off;\n" + text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f"psql: {done.stdout[-2000:]}")


def pgbench(region, *args):
    p = region.postgres
    done = subprocess.run(["pgbench", "-h", p.folder, "-p", str(p.port), "-U", "app", "-n", *args, region.database], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**ENV, "PGOPTIONS": "-c synchronous_commit=off"})
    if done.returncode:
        raise RuntimeError(f"pgbench: {done.stdout[-2000:]}")
    return done.stdout


def make_tables(region, work, base):
    """Tables and the rows before, as their owner."""
    if work.clients:
        pgbench(region, "-i", "-q", "-s", str(max(1, base // 100000)))
    else:
        psql(region, work.tables + ";\n" + work.fill.format(base=base))
    region.sql("VACUUM (FREEZE, ANALYZE)")


def some(region, work, first, last, base):
    """The changes first .. last - 1."""
    if last <= first:
        return
    per = work.per or last - first
    if work.clients:
        pgbench(region, "-M", "prepared", "-c", str(work.clients), "-j", "1", "-t", str(max(1, (last - first) // per // work.clients)))
        return
    one = work.change.format(base=base, per=per)
    psql(region, f"DO $$ DECLARE i bigint; BEGIN FOR n IN 0 .. {(last - first) // per - 1} LOOP i := {first} + n::bigint * {per};\n{one};"
         " COMMIT; END LOOP; END $$;")


def mark(region, work, n):
    psql(region, work.mark.format(n=n))
