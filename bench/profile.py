#!/usr/bin/python3
"""bench/profile.py --works W1,W8: where the time of one capture and one apply goes: `perf record` on each measured process (agent, walsender, backend),
then for each its largest symbols. Needs perf and the right to use it; what it costs is in the figures, so they are not for comparison."""
import os
import signal
import subprocess

from common import main
import proc
import variants
from rig import Rig
from work import WORKS

WATCHED = ("agent", "walsender", "backend", "apply")


class Recorder(proc.Meter):
    """A meter that lets perf look, from the first mark on, at every process it knows then, with all its threads."""
    folder, running = "", []

    def again(self):
        super().again()
        for name, pid in self.last:
            if name in WATCHED and proc.cpu(pid) is not None:
                out = os.path.join(self.folder, f"{name}-{pid}.perf")
                p = subprocess.Popen(["perf", "record", "-q", "-F", "499", "-e", "cpu-clock", "-p", str(pid), "-o", out], stderr=subprocess.DEVNULL)
                self.running.append((name, out, p))


def top(path, lines):
    done = subprocess.run(["perf", "report", "-i", path, "--no-children", "--sort", "dso,sym", "--percent-limit", "0.5"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    return [x.rstrip() for x in done.stdout.splitlines() if x.strip() and not x.startswith("#")][:lines]


def show(what, lines):
    for name, path, p in Recorder.running:
        p.send_signal(signal.SIGINT)
        p.wait()
        print(f"\n{what}: {name}")
        print("\n".join("  " + x for x in top(path, lines)), flush=True)
    Recorder.running.clear()


def run(servers, args):
    rig = Rig(servers, os.path.join(servers.folder, "bench"), args.build)
    Recorder.folder, proc.Meter = servers.folder, Recorder
    try:
        for w in args.works.split(","):
            work = WORKS[w]
            rig.prepare(work, args.rows or work.quick, work.base // 5)
            for measure, drain in (("capture", variants.pangea_capture), ("apply", variants.pangea_apply), ("native", variants.native)):
                r = drain(rig, variants.Looker(rig))
                groups = r.get("status", {}).get("groups")
                said = f", {r['status']['rows'] / groups:.0f} rows a group" if groups else ""
                print(f"\n{w} {measure}: {r['changes']} changes in {r['seconds']:.1f} s{said}", flush=True)
                show(f"{w} {measure}", args.lines)
        return 0
    finally:
        for _, _, p in Recorder.running:
            p.kill()
            p.wait()
        rig.close()


if __name__ == "__main__":
    main(__doc__, run, {"works": (str, "W1", "which"), "rows": (int, 0, "changes"), "lines": (int, 12, "symbols of each process")})
