#!/usr/bin/python3
"""Deliberate mistakes, one at a time, in a copy of the tree: the unit tests of the conflict core, the simulation's kept seeds or a short run of it
must notice each.
A line for each mistake with the test that killed it; a mistake that survives is a failure, and one whose place is no longer found as well.

    tests/mutation/mutate.py [PATTERN ..] [--runs 40000] [--list]"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
from mistakes import MISTAKES  # noqa: E402

UNITS = ("test_conflict", "test_conflict_laws", "test_conflict_value", "test_apply_fold", "test_apply_ownlog", "test_apply_unseen")
LEFT_OUT = (".git", ".cache", "build", "bench")


def copy_tree(to):
    parts = [p for p in os.listdir(ROOT) if p not in LEFT_OUT] + ["build/gen", "build/test"]
    for part in parts:
        source, target = os.path.join(ROOT, part), os.path.join(to, part)
        if os.path.isdir(source):
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("pangea", "broker_log", "fuzz_wire"), symlinks=True)
        else:
            shutil.copy2(source, target)


def build(tree):
    goals = ["build/test/simulation"] + [f"build/test/unit/{u}" for u in UNITS]
    done = subprocess.run(["make", "-s", "-j2", *goals], cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return None if done.returncode == 0 else done.stdout[-1500:]


def run(tree, *command):
    """What failed, or None. A crash and a test that does not end are failures too."""
    try:
        done = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=300,
                              env=dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP"))
    except subprocess.TimeoutExpired:
        return "does not end"
    if done.returncode == 0:
        return None
    fault = re.search(r"^# rule .*", done.stdout, re.M) or re.search(r"^not ok \d+ -? ?(.*)", done.stdout, re.M)
    return fault.group(0)[:110] if fault else f"exit {done.returncode}"


def killer(tree, runs, rule=None):
    for unit in UNITS:
        failed = run(tree, f"build/test/unit/{unit}")
        if failed:
            return f"unit/{unit}: {failed}"
    one = ("--stop", "--rule", rule) if rule else ("--stop",)
    for how in (("--seeds", "tests/simulation/seeds.txt"), ("--runs", str(runs), *one), ("--exhaustive", str(5 * runs), *one)):
        failed = run(tree, "build/test/simulation", *how)
        if failed:
            return f"simulation {how[0]}: {failed}"
    return None


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("pattern", nargs="*")
    p.add_argument("--runs", type=int, default=40000)
    p.add_argument("--list", action="store_true")
    args = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen = [m for m in MISTAKES if not args.pattern or any(x in m.name for x in args.pattern)]
    if args.list:
        for m in chosen:
            print(f"{m.file}: {m.name}")
        return 0
    survived = []
    with tempfile.TemporaryDirectory(prefix="pangea-mutation-") as tree:
        copy_tree(tree)
        wrong = build(tree) or killer(tree, args.runs)
        if wrong:
            print(f"FAIL without any mistake: {wrong}")
            return 1
        for m in chosen:
            begin, path = time.monotonic(), os.path.join(tree, m.file)
            with open(path, encoding="utf-8") as f:
                text = f.read()
            found = text.count(m.old)
            if found == 1:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text.replace(m.old, m.new))
                wrong = build(tree)
                by = None if wrong else killer(tree, args.runs, m.rule)
                with open(path, "w", encoding="utf-8") as f:
                    f.write(text)
            else:
                wrong, by = f"its place was found {found} times", None
            print(f"{'killed' if by else 'ALIVE '} {time.monotonic() - begin:5.1f} s  {m.name} ({m.file})\n"
                  f"                   {by or wrong or 'nothing noticed it'}", flush=True)
            if not by:
                survived.append(m.name)
    print(f"{len(chosen) - len(survived)} killed, {len(survived)} alive")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
