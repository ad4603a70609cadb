#!/usr/bin/python3
"""Instructions of the hot paths, counted by callgrind with fixed input, against figures.txt: a test of `make check`, and `make micro`.

It fails when a figure has grown by more than 5 % over the recorded one, or when two runs differ by a single instruction. UPDATE=1 records the
figures anew. What could make the same program count differently elsewhere is pinned: see PINNED; the compiler is named in figures.txt."""
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PROGRAM = os.path.join(ROOT, "build", "micro", "micro")
FIGURES = os.path.join(HERE, "figures.txt")
ALLOWED = 1.05

# glibc chooses the variants of memcpy and its like by the processor: the oldest ones are the same everywhere. Nothing of the caller's environment
# goes in; the second run has a larger one, so that what depends on where the stack begins shows.
PINNED = {"LC_ALL": "C", "LD_BIND_NOW": "1", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-AVX_Fast_Unaligned_Load,-BMI1,-BMI2,-ERMS,-FSRM,-LZCNT,-MOVBE,-RTM,-SSE4_2,-SSE4_1,-SSSE3"}
VALGRIND = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--combine-dumps=yes", "--dump-line=no"]

HEAD = """# Instructions of one unit (a row, a transaction, a decision) in each bench: `make micro UPDATE=1` writes this file.
# compiler: {compiler}
"""


class Broken(Exception):
    pass


def compiler():
    """What the release build was compiled with; it says so itself."""
    said = subprocess.run(["readelf", "-p", ".comment", PROGRAM], capture_output=True, text=True, check=True).stdout
    machine = subprocess.run(["readelf", "-h", PROGRAM], capture_output=True, text=True, check=True).stdout
    return f"{re.search('GCC.*', said).group()}, {re.search('Machine: *(.*)', machine).group(1)}"


def count(extra):
    """{bench: (instructions, units)} of one run under callgrind."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "counts")
        done = subprocess.run([*VALGRIND, f"--callgrind-out-file={out}", PROGRAM], cwd="/", env={"PATH": os.environ["PATH"], **PINNED, **extra},
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise Broken(f"{' '.join(done.args)}: exit {done.returncode}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}")
        with open(out, encoding="utf-8") as f:
            counts = dict(re.findall(r"^desc: Trigger: Client Request: (\S+)\n(?:.*\n)*?totals: (\d+)$", f.read(), re.M))
    units = dict(line.split() for line in done.stdout.splitlines())
    if set(units) != set(counts) or not units:
        raise Broken(f"the program ran {sorted(units)}, callgrind counted {sorted(counts)}")
    return {name: (int(counts[name]), int(units[name])) for name in units}


def recorded():
    """The compiler and {bench: instructions of a unit}."""
    with open(FIGURES, encoding="utf-8") as f:
        text = f.read()
    return re.search("^# compiler: (.*)$", text, re.M).group(1), {n: float(v) for n, v in re.findall(r"^(\S+) +([\d.]+)$", text, re.M)}


def record(now):
    with open(FIGURES, "w", encoding="utf-8") as f:
        f.write(HEAD.format(compiler=compiler()))
        f.writelines(f"{name:26}{value:12.1f}\n" for name, value in now.items())
    print(f"{len(now)} figures recorded in {os.path.relpath(FIGURES, ROOT)}")


class Tap:
    """The lines that tests/run.py counts."""
    def __init__(self):
        self.n, self.bad = 0, 0

    def say(self, ok, what, why=""):
        self.n += 1
        self.bad += not ok
        print(f"{'ok' if ok else 'not ok'} {self.n} - {what}")
        if why:
            print(f"#   {why}")


def compare(tap, now):
    made_by, before = recorded()
    if made_by != compiler():
        tap.say(True, "figures of another compiler are not compared", f"they are of {made_by}, this program is of {compiler()}")
        return
    for name, value in now.items():
        was = before.get(name)
        if was is None:
            tap.say(False, name, "it has no recorded figure: make micro UPDATE=1")
            continue
        change = f"{value:.1f} instructions, recorded {was:.1f} ({value / was - 1:+.1%})"
        tap.say(value <= was * ALLOWED, name, change if abs(value / was - 1) >= 0.01 else "")
    for name in before.keys() - now.keys():
        tap.say(False, name, "it is recorded but was not measured: make micro UPDATE=1")


def main():
    tap = Tap()
    try:
        first, second = count({}), count({"A_LARGER_ENVIRONMENT": "x" * 3001})
    except Broken as e:
        tap.say(False, "the hot paths run under callgrind", str(e).replace("\n", "\n#   "))
        return 1
    now = {name: instructions / units for name, (instructions, units) in first.items()}
    if os.environ.get("UPDATE"):
        record(now)
    differ = {name: (first[name][0], second[name][0]) for name in first if first[name] != second[name]}
    tap.say(not differ, "two runs count the same", str(differ) if differ else "")
    compare(tap, now)
    if "--print" in sys.argv:
        for name, value in now.items():
            print(f"#   {name:26}{value:12.1f}")
    return 1 if tap.bad else 0


if __name__ == "__main__":
    sys.exit(main())
