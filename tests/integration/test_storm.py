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


@test(tables=SQL, topology=TOPOLOGY, regions=("us", "eu", "ap"), own_kafka="wan", limit=300)
def cuts_and_kills(c):
    """bank, sets, counters, registers, question before answer: ways between regions are cut one after the other, daemons killed meanwhile"""
    rng = random.Random(3)
    load = Storm(c, 3).start()

    def go_on(n):
        want = load.done + n
        until(lambda: load.done >= want or (False, load.done), "the writers go on", 60)
    for k in range(5):
        cut = rng.sample(sorted(c.wan), rng.choice((1, 2, 3)))
        for way in cut:
            rng.choice((c.wan[way].cut, c.wan[way].reset, lambda w=way: c.wan[w].cut("down")))()
        go_on(40)
        r = c.regions[rng.choice([r.name for r in c])]
        r.kill()
        r.run()
        go_on(40)
        for way in cut:
            c.wan[way].heal()
    load.stop()
    c.barrier(120)
    load.check(c, 120)
