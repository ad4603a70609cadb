#!/usr/bin/python3
"""bench/report.py RESULTS.. --out docs/performance.md: tables and charts of raw results: .jsonl (compare.py, conflicts.py, latency.py, cost.py) and
.json (what common.keep() wrote); of a folder all of them. The raw lines are kept beside the charts, in a folder named as the page."""
import argparse
import glob
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
sys.dont_write_bytecode = True

import figures  # noqa: E402
import goals  # noqa: E402
import svg  # noqa: E402
from figures import number, spread  # noqa: E402

MEASURES = (("capture", "Capture: a backlog behind a slot, until it is in Kafka (pg_recvlogical: in a file)"),
            ("apply", "Apply: into a second database (native: decoding and shipping included, it knows no halves)"),
            ("whole", "The whole way: WAL, Kafka, table, both halves at once"))


def load(paths):
    out = []
    for path in paths:
        if os.path.isdir(path):
            out += load(sorted(glob.glob(os.path.join(path, "*.json*"))))
            continue
        with open(path) as f:
            if path.endswith(".json"):
                kept = json.load(f)
                out += [*kept.pop("lines"), kept]
            else:
                out += [json.loads(line) for line in f if line.strip()]
    return out


def variants(runs, work, measure):
    return list(dict.fromkeys(r["variant"] for r in runs if r["work"] == work and r["measure"] == measure))


def row(runs, work, measure, variant):
    got = figures.of(runs, work=work, measure=measure, variant=variant)
    if not got:
        return f"| {work} | {variant} | no run counts | | | | | |"
    names = list(dict.fromkeys(k for r in got for k in r["cpu"]))
    cpu = ", ".join(f"{k} {number(figures.middle(r['cpu'].get(k, 0) for r in got)[0])}" for k in names)
    slowest = figures.middle(max(r["cpu"].values()) for r in got)[0]
    peak = max((mb for r in got for k, mb in r["peak_mb"].items() if k in ("agent", "capture", "apply")), default=0)
    size = figures.middle(r["bytes"] / r["changes"] for r in got)[0] if all("bytes" in r for r in got) else None
    return (f"| {work} | {variant} | {spread([r['rate'] for r in got])} | {len(got)} | {spread([figures.cpu_total(r) for r in got])} | {cpu} "
            f"| {number(1e6 / slowest) if slowest else '-'} | {peak:.0f} | {f'{size:,.0f}' if size else '-'} |")


def tables(runs, works):
    out = []
    for measure, title in MEASURES:
        rows = [row(runs, w, measure, v) for w in works for v in variants(runs, w, measure)]
        if rows:
            out += [f"### {title}", "", "| work | who | changes/s: median (least - greatest) | runs | CPU s/M, all | CPU s/M of each | at most/s | peak MB "
                    "| bytes/change |", "|---|---|---|---|---|---|---|---|---|", *rows, ""]
    return out


def charts(runs, works, folder):
    """[(file, what it shows)]."""
    made = []
    for measure, title in MEASURES[:2]:
        for what, value in (("rate", lambda r: r["rate"]), ("cpu", figures.cpu_total)):
            groups = []
            for w in works:
                rows = [(v, *figures.middle(value(r) for r in figures.of(runs, work=w, measure=measure, variant=v)))
                        for v in variants(runs, w, measure) if figures.of(runs, work=w, measure=measure, variant=v)]
                if rows:
                    groups.append((w, rows))
            if groups:
                unit = "changes a second" if what == "rate" else "CPU seconds a million changes"
                made.append((f"{measure}-{what}.svg", f"{measure.capitalize()}: {unit}"))
                with open(os.path.join(folder, made[-1][0]), "w") as f:
                    f.write(svg.bars(made[-1][1], groups))
    return made


def latency(lines):
    got = [x for x in lines if x["kind"] == "latency"]
    if not got:
        return []
    out = ["## Latency", "", "Open loop: a transaction is due at a fixed rate; times are counted from when it was due, so that one that had to wait behind a "
           "stall says so. Until a session in the other region hears of it.", "",
           "| tx/s | seconds | p50 ms | p90 ms | p99 ms | max ms | from the commit's return: p50 ms | p99 ms |", "|---|---|---|---|---|---|---|---|"]
    for x in sorted(got, key=lambda x: x["rate"]):
        out.append("| {rate:.0f} | {seconds:.0f} | {p50:.2f} | {p90:.2f} | {p99:.2f} | {max:.2f} | {commit_p50:.2f} | {commit_p99:.2f} |".format(**x))
    return out + [""]


def cost(runs):
    """What local transactions notice (cost.py)."""
    out = []
    for measure, what in (("source", "at the source, beside capture"), ("target", "at the target, while apply drains a backlog")):
        at = {"work": "cost", "measure": measure}
        if not (figures.of(runs, **at, variant="alone") and figures.of(runs, **at, variant="beside")):
            continue
        for name, unit in (("rate", "tx/s"), ("p50", "ms"), ("p99", "ms")):
            alone, beside = (spread([r[name] for r in figures.of(runs, **at, variant=v)]) for v in ("alone", "beside"))
            ratio = figures.ratios(runs, dict(at, variant="beside"), dict(at, variant="alone"), lambda r: r[name])
            out.append(f"| {what} | {name} {unit} | {alone} | {beside} | " + "{:.2f} ({:.2f} - {:.2f}) x |".format(*ratio))
    head = ["## What local transactions notice", "", "| pgbench TPC-B | | alone | beside Pangea | |", "|---|---|---|---|---|"]
    return head + out + [""] if out else []


def kept(lines, folder):
    """The tables and charts that programs made themselves."""
    out = []
    for k in (x for x in lines if x["kind"] == "tables"):
        out += [f"## {k['title']}", "", f"`{k['command']}` at {k['at']}, commit {k['commit'][:12]}{' with changes' if k['changed'] else ''}", ""]
        for chart in k["charts"]:
            file = chart.pop("file")
            with open(os.path.join(folder, file), "w") as f:
                f.write(svg.lines(**chart))
            out += [f"![{chart['title']}]({os.path.basename(folder)}/{file})", ""]
        for title, head, rows in k["tables"]:
            out += [f"{title}:", ""] + ["| " + " | ".join(r) + " |" for r in (head, ["---"] * len(head), *rows)] + [""]
    return out


def goal_table(lines):
    out = ["## Goals", "", "| measure | goal | measured: median (least - greatest) | | the same of \"at most/s\" |", "|---|---|---|---|---|"]
    for g in goals.GOALS:
        try:
            m, low, high = g.value(lines)
        except figures.NoFigure as e:
            out.append(f"| {g.what} | {g.sign} {g.shown} | not measured here | {e} | |")
            continue
        said = "met" if figures.met((g.sign, g.bound), m) else "**missed**"
        limit = "{:.3g} ({:.3g} - {:.3g}) x".format(*g.limit(lines)) if g.limit else ""
        out.append(f"| {g.what} | {g.sign} {g.shown} | {m:.3g} ({low:.3g} - {high:.3g}) {g.unit} | {said} | {limit} |")
    return out + [""]


def setting(lines):
    out = ["## Setting", ""]
    for e in (x for x in lines if x["kind"] == "environment"):
        out += [f"- `{e['command']}` at {e['at']}, commit {e['commit'][:12]}{' with changes' if e['changed'] else ''}, {e['blocks']} blocks",
                f"- {e['cpus']} x {e['cpu']}, {e['memory_mb'] / 1024:.0f} GB, Linux {e['kernel']}; {e['pangea']}, PostgreSQL {e['postgres']}, "
                f"{e['kafka']}, librdkafka {e['librdkafka']}, {e['java']}; Debezium: {e['debezium']}",
                "- both servers: " + ", ".join(f"{k}={v}" for k, v in e["settings"].items()),
                f"- weight of the bench for the scheduler (autogroup nice): {e['autogroup']}"]
    runs = [x for x in lines if x["kind"] == "run" and "load" in x]
    if runs:
        m, low, high = figures.middle(r["load"] for r in runs)
        out.append(f"- load of the machine after the runs: median {m:.1f} ({low:.1f} - {high:.1f}); a machine of this size that runs nothing else has 1 to 3")
    return out + [""]


def work_table(lines):
    out = ["| work | what | changes | transactions | WAL MB |", "|---|---|---|---|---|"]
    out += [f"| {x['work']} | {x['what']} | {x['changes']:,} | {x['transactions']:,} | {x['wal'] / 1e6:,.0f} |" for x in lines if x["kind"] == "work"]
    return out + [""]


HEAD = """# Performance

Printed by `bench/report.py` from the raw results in [{folder}/results.jsonl]({folder}/results.jsonl); `make bench` makes both anew.
How it is measured, and what is the same for all: [bench/README.md](../bench/README.md); where the time goes, and what was tried and did not help:
[bench/notes.md](../bench/notes.md). Ratios are taken within a block, where all ran on the same machine
minutes apart; absolute figures are those of this machine at that hour. "At most/s" is what the busiest of the processes would allow with a processor of
its own: 1,000,000 / its CPU seconds a million. A run whose tables differed counts nowhere.
"""


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("results", nargs="+")
    p.add_argument("--out", required=True)
    args = p.parse_args()
    lines = load(args.results)
    folder = os.path.splitext(args.out)[0]
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "results.jsonl"), "w") as f:
        f.write("".join(json.dumps(x) + "\n" for x in lines))
    runs = [x for x in lines if x["kind"] == "run"]
    works = list(dict.fromkeys(r["work"] for r in runs))
    name = os.path.basename(folder)
    out = [HEAD.format(folder=name)] + setting(lines) + goal_table(lines) + ["## Work", ""] + work_table(lines)
    out += [f"![{what}]({name}/{file})\n" for file, what in charts(runs, works, folder)]
    out += ["## Figures", ""] + tables(runs, works) + latency(lines) + cost(runs) + kept(lines, folder)
    bad = figures.void(runs)
    out += [f"## Void\n\n{len(bad)} of {len(runs)} runs."] + [f"- {r['work']} {r['measure']} {r['variant']}, block {r['block']}: {r['wrong'][:300]}" for r in bad]
    with open(args.out, "w") as f:
        f.write("\n".join(out).rstrip() + "\n")
    print("\n".join(goal_table(lines)))
    print(f"{args.out} and {folder}/")


if __name__ == "__main__":
    main()
