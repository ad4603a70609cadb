"""The log itself, through kafka/ alone: whatever happens to the broker, every record is in it once, in order, and told so."""
import os
import subprocess

from harness.case import test
from harness.daemon import die_with_parent
from harness.wait import until


class Writer:
    """broker_log.c, and what it last said."""

    def __init__(self, c, case):
        name = case.replace(" ", "_")
        self.out = os.path.join(c.folder, f"{name}.txt")
        program = os.path.join(os.path.dirname(c.pangea), "integration", "broker_log")
        with open(self.out, "wb") as out:
            self.process = subprocess.Popen([program, c.us.kafka.brokers, f"{c.name}.{name}.log"], stdin=subprocess.PIPE, stdout=out,
                                            stderr=out, preexec_fn=die_with_parent)

    def said(self):
        with open(self.out) as f:
            lines = f.read().split("\n")[:-1]
        bad = [line for line in lines if line.startswith("wrong") or "Sanitizer" in line]
        assert not bad, bad[0]
        last = [line.split() for line in lines if line.startswith("delivered ")]
        return dict(zip(last[-1][::2], map(int, last[-1][1::2]))) if last else {"delivered": 0, "read": 0, "opened": 0}

    def goes_on(self, more=2000, limit=60):
        """Records are told and read that were neither before."""
        want = self.said()["delivered"] + more
        until(lambda: min(self.said()["delivered"], self.said()["read"]) >= want or (False, self.said()), "records go on", limit)

    def stands_still(self):
        """Nothing is told any more: two looks a second apart, at least, see the same."""
        seen = []

        def still():
            seen.append(self.said()["delivered"])
            return len(seen) > 10 and len(set(seen[-10:])) == 1

        until(still, "records stand still", 30, every=0.15)

    def end(self):
        self.process.stdin.close()
        code = self.process.wait(90)
        said = self.said()
        assert code == 0, f"exit {code}"
        assert said["delivered"] == said["read"] > 0, said
        return said


def frozen(kafka, w):
    kafka.freeze()
    w.stands_still()
    kafka.thaw()


def killed(kafka, w):
    kafka.kill()
    w.stands_still()
    kafka.start()


def restarted(kafka, w):
    kafka.stop()
    kafka.start()


@test(init=False, own_kafka="one", regions=("us",), limit=120,
      cases=[("frozen and thawed", (frozen,)), ("killed and then frozen", (killed, frozen)), ("restarted", (restarted,))])
def order(c, case):
    """nothing is lost, doubled or out of order when the broker goes and comes, and no report is wrong"""
    name, faults = case
    w = Writer(c, name)
    w.goes_on()
    for fault in faults:
        fault(c.us.kafka, w)
        w.goes_on()
    w.end()
