"""What every program of this folder does first and last: the harness on the path, arguments, servers that are stopped whatever happens."""
import argparse
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "tests")]
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
