#!/usr/bin/python3
"""make growth [BLOCKS=1]: whether cost grows faster than what it is for. CPU time (agent and its backend: the walsender, or the session that applies) and
rate of capture and apply over the size of transactions, of the backlog, over the number of tables written in turns, of columns, of conflicts. Each
point is a drain of its own, as those of compare.py are, and counts only when the tables are equal. Of each curve: the exponent (cost = c * size^k: 1 is
in proportion; of a transaction of so many rows, of a backlog, of a change in each table, of a row of so many columns, of so many conflicts), and what one
row (change, value) costs at the largest size, as a multiple of the cheapest below. That is no worse than linear while it is below 1 + --tolerance."""
import os
import statistics
from dataclasses import dataclass
from typing import Callable

from common import kept_in, keep, main, numbers
import compare
import conflicts
import figures
import proc
import variants
from harness.wait import TimedOut
from rig import Rig
from work import MANY, S, WORKS, Work

BACKEND = {"capture": ("agent", "walsender"), "apply": ("agent", "backend")}
WARM = 1000


def work(name, change, **more):
    return Work(name, "", 0, 0, change=change, **more)


def sizes(args):
    """Of the same number of rows; the largest in one transaction, behind a small one."""
    for n in numbers(args.sizes):
        one = 10 * n > args.rows
        yield n, work(f"size {n}", MANY, per=0 if one else n, warm=WARM), n + WARM if one else args.rows, 1


def backlogs(args):
    for n in numbers(args.backlogs):
        yield n, work(f"backlog {n}", WORKS["W1"].change), n, 1


def tables(args):
    """A row into each in turn. A view of all is what is compared; how far the target has come the first table tells, as the view would take
    too long."""
    for n in numbers(args.tables):
        create = (f"DO $$ BEGIN FOR k IN 0 .. {n - 1} LOOP EXECUTE format('CREATE TABLE public.t%s (id bigint PRIMARY KEY, v int, s text, ts timestamptz)', k);"
                  " END LOOP; EXECUTE 'CREATE VIEW public.everything AS ' || (SELECT string_agg(format('SELECT %s AS place, t.* FROM public.t%s t', k, k),"
                  f" ' UNION ALL ') FROM generate_series(0, {n - 1}) k); END $$")
        yield n, work(f"tables {n}", f"EXECUTE format('INSERT INTO public.t%s VALUES ($1, 1, $2, now())', i % {n}) USING i, {S}", tables=create,
                      names=("everything",), done=f"SELECT {n} * count(*) FROM public.t0 WHERE id >= 0", mark="INSERT INTO public.t0 (id) VALUES (-{n})",
                      marked="SELECT count(*) FROM public.t0 WHERE id = -{n}"), args.rows, 1


def columns(args):
    """About as many values at each point."""
    for n in numbers(args.columns):
        create = "CREATE TABLE public.t (id bigint PRIMARY KEY, " + ", ".join(f"c{k} int" for k in range(1, n)) + ")"
        row = ", ".join(["i"] + [f"(i + {k}) % 1000000" for k in range(1, n)])
        yield n, work(f"columns {n}", f"INSERT INTO public.t VALUES ({row})", tables=create), max(1000, min(args.rows, args.values // n)), n


@dataclass
class Curve:
    across: str
    unit: str
    points: Callable = None   # args -> (size, work, rows, units in a change)..


CURVES = {"size": Curve("rows in a transaction", "row", sizes), "backlog": Curve("changes in the backlog", "change", backlogs),
          "tables": Curve("tables", "change", tables), "columns": Curve("columns", "value", columns), "conflicts": Curve("conflicts", "row")}


def point(name, block, size, measure, r, units=1):
    """A line of the raw results, out of a run."""
    cost = figures.cpu_total(r, *BACKEND[measure]) / units
    return {"kind": "point", "curve": name, "block": block, "size": size, "measure": measure, "rate": r["rate"], "changes": r["changes"], "cost": cost,
            "cpu": r["cpu"], "load": proc.load()}


def drained(rig, name, block, size, one, rows, units):
    """Capture and apply of one work."""
    rig.prepare(one, rows, 0)
    runs = {"capture": compare.measured(rig, block, "capture", "pangea", variants.pangea_capture)}
    runs["apply"] = compare.measured(rig, block, "apply", "pangea", variants.pangea_apply) if "rate" in runs["capture"] else {}
    if runs["apply"].get("right") is not True:
        raise TimedOut(f"{one.name}: {runs['apply'].get('wrong') or runs['capture'].get('wrong')}")
    return [point(name, block, size, measure, r, units) for measure, r in runs.items()]


def conflicting(servers, args):
    """Half of the rows conflict; apply only."""
    rows = [2 * n for n in numbers(args.conflicts)]
    with conflicts.two_regions(servers, args.build, max(rows)) as c:
        for block in range(args.blocks):
            for n in figures.order(rows, block):
                p = point("conflicts", block, n // 2, "apply", conflicts.drain(c, n, 50))
                print(f"  conflicts {n // 2} apply {p['rate']:9.0f} rows/s  CPU s/M: {p['cost']:.1f}", flush=True)
                yield p
        c.verify(300)


def measure(servers, args):
    """All points of all curves."""
    which, out = args.curves.split(","), []
    if set(which) != {"conflicts"}:
        rig = Rig(servers, os.path.join(servers.folder, "bench"), args.build)
        try:
            for block in range(args.blocks):
                for name in (k for k in which if CURVES[k].points):
                    for p in figures.order(CURVES[name].points(args), block):
                        out += drained(rig, name, block, *p)
        finally:
            rig.close()
    return out + (list(conflicting(servers, args)) if "conflicts" in which else [])


def curve(points, name, measure):
    """[(size, cost of a unit)], medians."""
    mine = [p for p in points if p["curve"] == name and p["measure"] == measure]
    return [(n, statistics.median(p["cost"] for p in mine if p["size"] == n)) for n in sorted({p["size"] for p in mine})]


def rows_of(points, name):
    """A row for each size: what a unit costs, and the rate, of capture and of apply."""
    out = []
    mine = [p for p in points if p["curve"] == name]
    for n in sorted({p["size"] for p in mine}):
        row = [f"{n:,}"]
        for measure in BACKEND:
            got = [p for p in mine if p["size"] == n and p["measure"] == measure]
            row += [figures.spread(p["cost"] for p in got), figures.spread(p["rate"] for p in got)] if got else ["-", "-"]
        out.append([row[0], f"{got[0]['changes']:,}", *row[1:]])
    return out


def run(servers, args):
    points = measure(servers, args)
    out, sums, lines, charts = [], [], [], []
    for name in args.curves.split(","):
        k = CURVES[name]
        costs = {m: c for m in BACKEND if (c := curve(points, name, m))}
        out.append((f"Over {k.across}: CPU seconds of a million {k.unit}s, changes a second",
                    [k.across, "changes", "capture CPU s/M", "capture/s", "apply CPU s/M", "apply/s"], rows_of(points, name)))
        charts.append({"file": f"growth-{name}.svg", "title": f"CPU of a million {k.unit}s, over {k.across}", "across": k.across, "up": "CPU seconds",
                       "series": costs, "log": True})
        for m, c in costs.items():
            if len(c) < 2:
                continue
            grows = figures.growth(c)
            lines.append({"kind": "growth", "curve": name, "measure": m, "exponent": figures.exponent(c), "growth": grows})
            sums.append([k.across, m, f"{c[0][0]:,} - {c[-1][0]:,}", f"{lines[-1]['exponent']:.2f}", f"{grows:.2f} x",
                         "no worse than linear" if grows <= 1 + args.tolerance else "grows"])
    out.append((f"Growth: exponent (1: in proportion), and a {'/'.join(dict.fromkeys(k.unit for k in CURVES.values()))} at the largest size against the "
                f"cheapest below; tolerance {args.tolerance:g}", ["over", "of", "from - to", "exponent", "growth", ""], sums))
    keep(args.json, "Growth curves", out, charts, lines + points)
    return 0


if __name__ == "__main__":
    main(__doc__, run, {"rows": (int, 200000, "of a point, where it says nothing else"), "sizes": (str, "1,10,100,1000,10000,100000,1000000", "of transactions"),
                        "backlogs": (str, "50000,200000,800000", "single-row transactions"), "tables": (str, "1,10,100,1000", "how many"),
                        "columns": (str, "2,20,200,1600", "how many"), "values": (int, 4000000, "of a point over columns, when its rows are fewer"),
                        "conflicts": (str, "5000,20000,80000", "how many"), "curves": (str, ",".join(CURVES), "which"), "blocks": (int, 1, "of each point"),
                        "tolerance": (float, 0.25, "what a unit may cost more"), **kept_in("growth")})
