"""One `pangea run`: started, signalled, waited for; its log kept."""
import ctypes
import json
import os
import re
import signal
import subprocess

from harness.wait import SLOW, until

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
# A sanitizer's report or a crash fails the test whatever the tables say.
REPORT = re.compile(r"AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:|stack smashing|buffer overflow detected|Assertion .* failed")


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Daemon:
    def __init__(self, region, agent=None, failpoint=None, env=None, extra=(), under=()):
        self.region, self.agent = region, agent
        cluster = region.cluster
        cluster.started += 1
        self.log = os.path.join(cluster.folder, f"{cluster.started:03d}-{region.name}-{agent or 'run'}.log")
        args = [*under, cluster.pangea, "run", "--topology", region.topology_file or cluster.topology_file, "--region", region.name]
        if agent:
            args += ["--agent", agent]
        args += extra
        self.args = args
        environment = dict(os.environ, **(env or {}))
        environment.pop("PANGEA_FAILPOINT", None)
        if failpoint:
            environment["PANGEA_FAILPOINT"] = failpoint
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment,
                                            preexec_fn=die_with_parent, cwd=cluster.folder)
        self.wanted_end = False

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL: nothing is drained, nothing is said."""
        self.wanted_end = True
        if self.alive():
            self.signal(signal.SIGKILL)
        self.process.wait()

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def stop(self, limit=15):
        """SIGTERM; the exit code."""
        self.wanted_end = True
        self.signal(signal.SIGTERM)
        return self.wait(limit)

    def wait(self, limit=15):
        """Waits for the end that somebody else (a failpoint, a named stop) causes; the exit code, negative for a signal."""
        self.wanted_end = True
        try:
            return self.process.wait(limit * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.region.name} {self.agent or 'run'}: still running after {limit * SLOW:g} s") from None

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def events(self, name=None):
        """The log's events (JSON lines)."""
        out = []
        for line in self.text().splitlines():
            if line.startswith("{"):
                try:
                    one = json.loads(line)
                except ValueError:
                    continue
                if name is None or one.get("event") == name:
                    out.append(one)
        return out

    def wait_log(self, pattern, limit=20):
        """Waits until the log holds a line that matches."""
        return until(lambda: re.search(pattern, self.text()), f"{self.log}: /{pattern}/", limit)

    def faults(self):
        """What must never be in a daemon's end: a crash or a sanitizer's report."""
        found = [line for line in self.text().splitlines() if REPORT.search(line)]
        code = self.process.poll()
        if code is not None and code < 0 and -code not in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            found.append(f"killed by {signal.Signals(-code).name}")
        if code is not None and not self.wanted_end:
            found.append(f"ended by itself, exit code {code}")
        return [f"{self.region.name} {self.agent or 'run'}: {f}" for f in found]
