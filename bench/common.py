"""What every program of this folder does first and last: the harness on the path, arguments, servers that are stopped whatever happens, what is
printed and kept."""
import argparse
import json
import os
import select
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(ROOT, "tests")]
sys.dont_write_bytecode = True

from harness import case  # noqa: E402, F401
from harness.cluster import Cluster  # noqa: E402, F401
from harness.servers import Servers  # noqa: E402


def put(path, line):
    """A line of the raw results that bench/report.py reads; nothing without a path."""
    if path:
        with open(path, "a") as f:
            f.write(json.dumps(line) + "\n")


OUT = {"out": (str, "", "append the raw figures there, for bench/report.py")}


def kept_in(name):
    """The argument of a program that calls keep()."""
    return {"json": (str, os.path.join(ROOT, "build", "bench", f"{name}.json"), "where the figures are kept, for bench/report.py")}


def said(*args):
    try:
        return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT).stdout.strip().splitlines()[0]
    except (OSError, IndexError):
        return "unknown"


def made_by():
    """What was run, when, of which commit."""
    return {"command": " ".join(sys.argv), "at": time.strftime("%Y-%m-%d %H:%M:%S%z"), "commit": said("git", "rev-parse", "HEAD"),
            "changed": bool(subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=ROOT, stdout=subprocess.PIPE).stdout)}


def table(title, head, rows):
    """As text; the rows are texts already."""
    wide = [max(len(r[k]) for r in [head, *rows]) for k in range(len(head))]
    shown = (cells[0].ljust(wide[0]) + "".join("  " + cell.rjust(w) for cell, w in zip(cells[1:], wide[1:])) for cells in [head, *rows])
    return "\n".join([title, *("  " + line for line in shown)])


def keep(path, title, tables, charts=(), lines=()):
    """Prints the tables (title, head, rows) and keeps them, charts (svg.lines' arguments by name, and `file`) and the raw lines."""
    for t in tables:
        print(f"\n{table(*t)}", flush=True)
    if path:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "w") as f:
            json.dump({"kind": "tables", "title": title, **made_by(), "tables": tables, "charts": charts, "lines": lines}, f, indent=1)
            f.write("\n")


def numbers(text):
    """"1,10,100" as an argument."""
    return [int(x) for x in text.split(",") if x]


def paced(rate, seconds, begin, first=0, step=1):
    """The transactions of an open loop, (number, when it is due), each as soon as it is due: one that is late at once."""
    for i in range(first, int(rate * seconds), step):
        due = begin + i / rate
        select.select([], [], [], max(0.0, due - time.monotonic()))
        yield i, due


def main(doc, run, arguments):
    """arguments: name -> (type, default, help). Exits with what run(servers, args) returns."""
    p = argparse.ArgumentParser(description=doc)
    for name, (kind, default, text) in arguments.items():
        p.add_argument(f"--{name}", type=kind, default=default, help=text)
    p.add_argument("--build", default="build", help="folder of the pangea to measure (build)")
    args = p.parse_args()
    servers = Servers()
    try:
        code = run(servers, args)
    finally:
        servers.close()
    sys.exit(code)
