"""Every kind of conflict under every rule at once, held against the clients' journals (harness/storm.py); `make storm` goes on for longer."""
import random

from harness.case import test
from harness.storm import SQL, TOPOLOGY, Storm
from harness.wait import until


def storm(c, seed, seconds, kills):
    rng = random.Random(seed)
    load = Storm(c, seed).start()
    for k in range(kills):
        want = load.done + 40
        until(lambda: load.done >= want or (False, load.done), "the writers go on", 30)
        r = c.regions[rng.choice([r.name for r in c])]
        r.kill()
        r.run()
    want = load.done + 200 * seconds
    until(lambda: load.done >= want or (False, load.done), "the writers go on", 60)
    load.stop()
    c.barrier(120)
    load.check(c, 120)


@test(tables=SQL, topology=TOPOLOGY, regions=("us", "eu"), limit=240)
def two_regions(c):
    """all rules, all kinds, two leaders, daemons killed"""
    storm(c, 1, 1, 2)


@test(tables=SQL, topology=TOPOLOGY, regions=("us", "eu", "ap"), limit=300)
def three_regions(c):
    """all rules, all kinds, three leaders, daemons killed"""
    storm(c, 2, 1, 3)
