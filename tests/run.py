#!/usr/bin/python3
"""Runs the tests of Pangea: unit, simulation and fuzz programs from the build folder, the instruction counts of bench/micro, the programs of
tests/bench, tests/deploy and tests/mutation, then tests/integration on real PostgreSQL and Kafka.
A line for each test with its seconds, the sum at the end: `N passed, M failed`."""
import argparse
import importlib
import itertools
import multiprocessing
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [HERE, os.path.join(HERE, "integration")]
sys.dont_write_bytecode = True

MICRO = os.path.join(ROOT, "bench", "micro", "micro.py")
HISTORIES = 108000  # of tests/simulation, always the same ones

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=66",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": f"halt_on_error=0:exitcode=66:suppressions={HERE}/harness/tsan.supp",
    "LSAN_OPTIONS": f"suppressions={HERE}/harness/lsan.supp:print_suppressions=0",
}


def line(ok, name, seconds, detail=""):
    head = f"{'ok  ' if ok else 'FAIL'} {seconds:6.1f} s  {name}"
    return head if ok else "\n".join([head, *("     | " + text for text in detail.rstrip().splitlines())])


class Sum:
    def __init__(self):
        self.passed, self.failed = 0, []

    def add(self, ok, name, seconds, detail=""):
        self.add_program(int(ok), [] if ok else [name], line(ok, name, seconds, detail))

    def add_program(self, passed, failed, text):
        self.passed += passed
        self.failed += failed
        print(text, flush=True)


# ---- programs: unit, simulation, fuzz, bench, deploy, mutation -------------------------------------------------------------------------
def programs(build):
    out = []
    for kind in ("unit", "fuzz"):
        folder = os.path.join(HERE, kind)
        for f in sorted(os.listdir(folder) if os.path.isdir(folder) else []):
            if re.fullmatch(r"(test|fuzz)_\w+\.c", f):
                out.append((f"{kind}/{f[:-2]}", os.path.join(ROOT, build, kind, f[:-2])))
    simulation = os.path.join(ROOT, build, "simulation")
    runs = HISTORIES // 40 if "/test-" in build else HISTORIES
    out.append(("simulation/seeds", simulation, "--seeds", os.path.join(HERE, "simulation", "seeds.txt")))
    out.append(("simulation/histories", simulation, "--seed", "1", "--runs", str(runs)))
    out.append(("simulation/exhaustive", simulation, "--exhaustive", str(2 * runs)))
    if "/test-" not in build:  # main() says so
        out.append(("micro/instructions", MICRO))
    for kind in ("bench", "deploy", "mutation"):
        for f in sorted(os.listdir(os.path.join(HERE, kind))):
            if re.fullmatch(r"test_\w+\.py", f):
                out.append((f"{kind}/{f[:-3]}", os.path.join(HERE, kind, f)))
    return out


def run_program(name, path, *args, limit):
    """(tests passed, names that failed, what to print). cmocka speaks TAP: each of its tests is counted; a crash or a program that says nothing
    is a failure of its own."""
    start = time.monotonic()

    def one(ok, detail=""):
        return (1, [], line(True, name, seconds)) if ok else (0, [name], line(False, name, seconds, detail))

    seconds = 0
    if not os.path.exists(path):
        return one(False, f"{path} was not built")
    try:
        done = subprocess.run([path, *args], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=limit,
                              env=dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", FUZZ_SECONDS=os.environ.get("FUZZ_SECONDS", "5")))
        code, text = done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as e:
        code, text = f"still running after {limit} s", (e.stdout or b"").decode(errors="replace")
    seconds = time.monotonic() - start
    results = re.findall(r"^(ok|not ok) \d+ -? ?(\S.*)$", text, re.M)
    bad = [f"{name}: {test}" for word, test in results if word != "ok"]
    if code != 0 and not bad:
        bad = [name]
        text = text[-4000:] + f"\nexit {code}"
    elif not results:
        return one(name.startswith("fuzz/"), "no test has run:\n" + text[-2000:])
    passed = sum(word == "ok" for word, _ in results)
    if not bad:
        return passed, bad, line(True, f"{name} ({passed} tests)", seconds)
    return passed, bad, line(False, name, seconds, "\n".join(t for t in text.splitlines() if not t.startswith("ok ")))


# ---- integration -----------------------------------------------------------------------------------------------------------------------
def integration():
    out = []
    for f in sorted(os.listdir(os.path.join(HERE, "integration"))):
        if re.fullmatch(r"test_\w+\.py", f):
            module = importlib.import_module(f[:-3])
            for value in vars(module).values():
                one = getattr(value, "test", None)
                if one is not None and one.function.__module__ == module.__name__:
                    out.append(one)
    return out


class LimitReached(BaseException):
    """Not an Exception: no test may swallow it."""


def alarm(_signal, _frame):
    raise LimitReached()


def failure():
    kind, value, trace = sys.exc_info()
    if kind is LimitReached:
        return "the test's time limit was reached at\n" + "".join(traceback.format_tb(trace)[-3:])
    frames = [f for f in traceback.format_tb(trace) if "/harness/" not in f and "run.py" not in f]
    return "".join(frames[-3:]) + f"{kind.__name__}: {value}"


def run_test(servers, one, number, build, logs, report):
    """One test function with all its cases. report(ok, name, seconds, detail) for each."""
    from harness import case, cluster
    from harness.wait import SLOW, watch
    start, c, counted = time.monotonic(), None, 0
    folder = os.path.join(servers.folder, f"{number:03d}-{one.name}")
    name = f"integration/{one.name}"
    signal.alarm(int(one.limit * SLOW))
    try:
        c = cluster.Cluster(servers, f"t{number}", folder, build, **{k: v for k, v in one.options.items() if k in case.CLUSTER_OPTIONS})
        watch["faults"] = c.faults
        case.prepare(c, one.options)
        if one.cases is None:
            one.function(c)
            signal.alarm(0)
        else:
            for each in one.cases:
                begin = time.monotonic()
                label = f"{name}[{each[0]}]"
                signal.alarm(int(one.limit * SLOW))
                try:
                    one.function(c, each)
                    report(True, label, time.monotonic() - begin, "")
                except (Exception, LimitReached):
                    report(False, label, time.monotonic() - begin, failure() + "\n" + c.dump(8))
                    shutil.copytree(folder, os.path.join(logs, one.name), dirs_exist_ok=True)
                    for load in list(c.loads):
                        load.ending.set()
                counted += 1
            signal.alarm(0)
        faults = c.faults()
        if faults:
            raise AssertionError("; ".join(faults))
        if not counted:
            report(True, name, time.monotonic() - start, "")
    except (Exception, LimitReached):
        signal.alarm(0)
        detail = failure() + (f"\n{c.dump()}" if c else "")
        shutil.copytree(folder, os.path.join(logs, one.name), dirs_exist_ok=True)
        report(False, name, time.monotonic() - start, detail + f"\nall logs: {os.path.relpath(os.path.join(logs, one.name), ROOT)}")
    finally:
        signal.alarm(0)
        watch["faults"] = None
        try:
            if c:
                c.close()
        except Exception:
            report(False, f"{name}: cleaning up", time.monotonic() - start, failure())


# ---- all of them, some at once ---------------------------------------------------------------------------------------------------------
def take(queues):
    """The next job of the first queue that has one."""
    for q in queues:
        job = q.get()
        if job is not None:
            return job
        q.put(None)  # its end, for the others
    return None


def worker(servers, queues, results, build, logs):
    """Takes programs and integration tests until there are none left: what a program needs of the processor goes beside what a test waits for."""
    signal.signal(signal.SIGALRM, alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tests = integration()
    while True:
        job = take(queues)
        if job is None:
            break
        if isinstance(job, int):
            run_test(servers, tests[job], job + 1, build, logs, lambda *result: results.put(("add", result)))
        else:
            limit = (600 if job[0].startswith(("simulation/", "micro/")) else 120) * float(os.environ.get("PANGEA_TEST_SLOW", "1"))
            results.put(("add_program", run_program(*job, limit=limit)))
        results.put(None)


def in_order(alone, chosen):
    """Two lists of jobs: those with servers of their own, and all others. The longest first, so that no worker is alone at the end."""
    chosen = sorted(chosen, key=lambda pair: -pair[1].limit)
    own = [index for index, test in chosen if test.options.get("own_postgres") or test.options.get("own_kafka")]
    return own, alone + [index for index, _ in chosen if index not in own]


def run_all(total, alone, chosen, args):
    from harness.servers import Servers, scratch
    logs = os.path.join(ROOT, "build", "test-logs")
    shutil.rmtree(logs, ignore_errors=True)
    os.makedirs(logs)
    servers = Servers(scratch())
    workers = []
    try:
        if chosen:
            _ = servers.kafka  # before the workers fork
        results, queues = multiprocessing.Queue(), []
        for jobs in in_order(alone, chosen):
            queues.append(multiprocessing.Queue())
            for job in (*jobs, None):
                queues[-1].put(job)
        for n in range(args.jobs):  # one begins with those that start servers: as many at once as there are workers would be a crowd
            order = queues if n == args.jobs - 1 else queues[::-1]
            workers.append(multiprocessing.Process(target=worker, args=(servers, order, results, args.build, logs), daemon=True))
            workers[-1].start()
        left = len(alone) + len(chosen)
        while left:
            try:
                result = results.get(timeout=5)
            except queue.Empty:
                if not any(w.is_alive() for w in workers):
                    total.add(False, "workers", 0, f"they ended with {left} tests left")
                    break
                continue
            if result is None:
                left -= 1
            else:
                getattr(total, result[0])(*result[1])
        for w in workers:
            w.join(60)
    finally:
        for w in workers:
            if w.is_alive():
                w.kill()
        servers.close()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("pattern", nargs="*", help="parts of names, such as `types`, `unit/`, `integration/faults`; without one: all")
    p.add_argument("--list", action="store_true", help="print the names, run nothing")
    p.add_argument("-j", "--jobs", type=int, default=4, help="tests at once (4)")
    p.add_argument("--build", default="build/test", help="folder of the test build (build/test)")
    p.add_argument("--seeds", help="seeds of the seeded tests, such as 1-50 or 7,9; without it the few that they name")
    args = p.parse_args()
    if args.seeds:
        os.environ["PANGEA_TEST_SEEDS"] = args.seeds  # harness/seeds.py; read when the tests are imported
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if "/test-" in args.build:
        os.environ.setdefault("PANGEA_TEST_SLOW", "4")
    os.environ["PANGEA_BUILD"] = args.build
    os.environ.update({k: v for k, v in SANITIZER_ENV.items() if k not in os.environ})

    def wanted(name):
        return not args.pattern or any(x in name for x in args.pattern)

    tests = [(i, t) for i, t in enumerate(integration()) if wanted(f"integration/{t.name}")]
    alone = [program for program in programs(args.build) if wanted(program[0])]
    if args.list:
        for name, *_ in alone:
            print(name)
        for _, t in tests:
            print(f"integration/{t.name}{f' ({len(t.cases)} cases)' if t.cases else ''}: {t.why}")
        return 0
    total, start = Sum(), time.monotonic()
    if "/test-" in args.build and wanted("micro/instructions"):
        print("     micro/instructions is not run: what a sanitizer adds is not what ships", flush=True)
    if tests and not os.path.exists(os.path.join(ROOT, args.build, "pangea")):
        total.add(False, "integration", 0, f"{args.build}/pangea was not built")
        tests = []
    try:
        run_all(total, alone, tests, args)
    except Exception:
        total.add(False, "servers", 0, traceback.format_exc())
    if total.failed:
        print(f"\nfailed in {time.monotonic() - start:.0f} s:")
        for name in total.failed:
            print(f"  {name}")
    print(f"{total.passed} passed, {len(total.failed)} failed")
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
