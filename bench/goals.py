"""What Pangea wants to reach, as ratios of one run, and how each is computed from the raw lines."""
from dataclasses import dataclass
from typing import Callable

import figures


@dataclass
class Goal:
    what: str
    sign: str
    bound: float
    value: Callable          # lines -> (median, least, greatest)
    unit: str = "x"
    limit: Callable = None   # the same ratio of "at most/s", where the goal is one of rates: a busy machine moves it less

    @property
    def shown(self):
        return f"{self.bound:g} {self.unit}"


def runs(lines):
    return [x for x in lines if x["kind"] == "run"]


def at_most(run):
    """Changes a second if the busiest of its processes had a processor of its own and nothing else held it up."""
    return 1e6 / max(run["cpu"].values())


def faster(what, bound, measure, work, than, who="pangea"):
    """A goal that is a ratio of two rates."""
    def ratio(value):
        return lambda lines: figures.ratios(runs(lines), {"work": work, "measure": measure, "variant": who},
                                            {"work": work, "measure": measure, "variant": than}, value)
    return Goal(what, ">=", bound, ratio(lambda r: r["rate"]), limit=ratio(at_most))


def agent_cpu(lines):
    return figures.ratios(runs(lines), {"work": "W1", "measure": "capture", "variant": "pangea"},
                          {"work": "W1", "measure": "capture", "variant": "debezium_tuned"}, lambda r: r["cpu"]["agent"])


def whole_cpu(lines):
    return figures.ratios(runs(lines), {"work": "W1", "measure": "whole", "variant": "pangea"}, {"work": "W1", "measure": "apply", "variant": "native"},
                          figures.cpu_total)


LARGEST = {"W6": 10e3 / 2**20, "W7": 1.0}  # MB of the largest row; others have less than a kilobyte


def memory(lines):
    """Capture and apply together, as in one daemon: the largest of any work, less eight times its largest row."""
    most = {}
    for r in figures.of(runs(lines), variant="pangea"):
        if r["measure"] in ("capture", "apply") and "agent" in r["peak_mb"]:
            at = (r["work"], r["measure"])
            most[at] = max(most.get(at, 0), r["peak_mb"]["agent"])
    sums = [sum(mb for (w, _), mb in most.items() if w == work) - 8 * LARGEST.get(work, 0) for work in {w for w, _ in most}]
    m, low, high = figures.middle(sums)
    return high, low, high


def quantile(which):
    def value(lines):
        return figures.middle(x[which] for x in lines if x["kind"] == "latency" and x["rate"] == 500 and x["right"] is True)
    return value


def local_p99(lines):
    at = {"work": "cost", "measure": "target"}
    return figures.ratios(runs(lines), dict(at, variant="beside"), dict(at, variant="alone"), lambda r: r["p99"])


SOURCE = ("capture", "walsender", "server")  # what regions.py counts as the source: its agent, and all of its PostgreSQL


def source_cpu(lines):
    return figures.ratios(runs(lines), {"work": "regions", "variant": "8"}, {"work": "regions", "variant": "2"}, lambda r: figures.cpu_total(r, *SOURCE))


def worst(kind, which):
    """The largest one counts, of all lines of a program."""
    def value(lines):
        _, low, high = figures.middle(x[which] for x in lines if x["kind"] == kind)
        return high, low, high
    return value


GOALS = (
    faster("apply W1 against native", 3.0, "apply", "W1", "native"),
    faster("apply W3 against native", 2.0, "apply", "W3", "native"),
    faster("apply W4 against native", 1.2, "apply", "W4", "native"),
    faster("apply W2 against native", 2.0, "apply", "W2", "native"),
    faster("apply W9 with 10 % conflicts against 0 %", 0.6, "apply", "W9", "0 %", "10 %"),
    faster("capture W1 against pg_recvlogical on a unix socket", 0.8, "capture", "W1", "pg_recvlogical"),
    faster("capture W1 against Debezium tuned", 2.0, "capture", "W1", "debezium_tuned"),
    faster("capture W4 against pg_recvlogical on a unix socket", 0.8, "capture", "W4", "pg_recvlogical"),
    faster("capture W4 against Debezium tuned", 3.0, "capture", "W4", "debezium_tuned"),
    Goal("CPU of the capture agent per million changes (W1) against Debezium tuned", "<=", 0.125, agent_cpu),
    Goal("CPU per million of the whole way (W1) against native", "<=", 1.0, whole_cpu),
    Goal("peak memory of the capture and the apply agent, less 8 times the largest row", "<", 128, memory, "MB"),
    Goal("commit to visible at 500 tx/s, p50", "<", 2, quantile("p50"), "ms"),
    Goal("commit to visible at 500 tx/s, p99", "<", 10, quantile("p99"), "ms"),
    Goal("p99 of a local pgbench while apply drains a backlog, against idle", "<", 2, local_p99),
    Goal("CPU of the source with 8 receiving regions against 2", "<=", 1.1, source_cpu),
    Goal("a unit at the largest size against the cheapest below, worst of the growth curves", "<=", 1.25, worst("growth", "growth")),
    Goal("peak memory of a whole daemon with two peers under a steady load, less 8 times the largest row", "<", 128, worst("memory", "less"), "MB"),
)
