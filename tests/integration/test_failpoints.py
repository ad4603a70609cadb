"""Capture and apply killed at every step they take, under a random load: which passage, which region, which statements, in which order and how
often says the seed. No acknowledged write lost, each effect once, identical at rest."""
from harness.case import test
from harness.load import Load, Mixed
from harness.seeds import rng, seeds
from harness.wait import until

CAPTURE_POINTS = ("capture.epoch", "capture.begin", "capture.midtx", "capture.produced", "capture.delivered", "capture.feedback")
APPLY_POINTS = ("apply.begin", "apply.midrows", "apply.rows", "apply.commit", "apply.committed")
# Small groups: many transactions are larger than a record, and travel in chunks.
SMALL = {"group": {"max_rows": 40, "max_bytes": "64kB"}}


def every(points):
    return [(f"{p}, seed {s}", p, s) for p in points for s in seeds(1, 2)]


def passage(r, point):
    """Which time the step is taken: often one of the first, where what was there before the start is still in hand."""
    return 1 if point == "capture.epoch" else r.choice((1, 2, 3, 5, 8, 13))


def killed(c, agent, point, seed):
    """One to three lives of an agent, each ending at the step; then one that goes on."""
    r = rng(point, seed)
    for region in c:
        region.kill()
    victim, other = r.sample(list(c), 2)
    together = r.random() < 0.4  # both agents in one process: it takes the other one with it
    load = Mixed(c, seed=f"{point}/{seed}", clients=r.choice((1, 2)))
    other.run()
    if not together:
        victim.run("apply" if agent == "capture" else "capture")
    if r.random() < 0.5:  # something to catch up with
        load.start()
        until(lambda: load.done > 60, "some load", 30)
    for _ in range(r.choice((1, 1, 2, 3))):
        d = victim.run(None if together else agent, failpoint=f"{point}=exit@{passage(r, point)}")
        if not load.started:
            load.start()
        code = d.wait(45)
        assert code == -9, f"exit {code}"
    victim.run(None if together else agent)
    want = load.done + 40
    until(lambda: load.done >= want, "the writers go on", 30)
    load.stop()
    c.barrier(90)
    load.check(c)
    c.verify(90)


@test(tables=Load.TABLES, cases=every(CAPTURE_POINTS), topology=SMALL, run=False, limit=150)
def capture_killed(c, case):
    """F4: capture killed at this step: duplicates in Kafka at most, none in effect"""
    _, point, seed = case
    killed(c, "capture", point, seed)


@test(tables=Load.TABLES, cases=every(APPLY_POINTS), topology=SMALL, run=False, limit=150)
def apply_killed(c, case):
    """F12: apply killed at this step: it goes on from the origin's progress"""
    _, point, seed = case
    killed(c, "apply", point, seed)
