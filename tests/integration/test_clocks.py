"""Clocks that are wrong: what was written later, having seen the other, wins; equal times have one winner; too far ahead is paused by name."""
from harness.case import test
from harness.load import Load, Mixed, settled
from harness.seeds import rng, seeded
from harness.wait import until

T = Load.TABLES + "; CREATE TABLE public.t (id int PRIMARY KEY, v text)"
LAX = {"clock": {"max_skew": "3h"}}


@test(tables=T, own_postgres="clock", regions=("us", "eu", "ap"), topology=LAX, cases=seeded(1, 2), limit=150)
def wrong_and_jumping(c, case):
    """F17, C6: +1 h, -1 h, steps back, under load: a write that has seen the one before it always stands, everywhere"""
    r = rng("clocks", case[1])
    load = Mixed(c, seed=case[1], clients=1, pause=0.02).start()
    c.us.app("INSERT INTO t SELECT g, 'first' FROM generate_series(1, 3) g ON CONFLICT (id) DO UPDATE SET v = 'first'")
    c.barrier(60)
    for turn in range(8):
        region = r.choice(list(c))
        region.postgres.set_clock(r.choice((0, +3600, -3600, +1800, -5, +5, -0.5)))
        region.app("UPDATE t SET v = %s WHERE id = 1", f"{turn} {region.name}")
        if r.random() < 0.3:
            region.app("DELETE FROM t WHERE id = 2")
        else:
            region.app("INSERT INTO t VALUES (2, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", f"{turn} {region.name}")
        want = region.sql("SELECT id, v FROM t WHERE id < 3 ORDER BY id")
        c.barrier(60)
        c.expect("SELECT id, v FROM t WHERE id < 3 ORDER BY id", want)
        if r.random() < 0.4:  # and without having seen each other
            for other in c:
                other.app("UPDATE t SET v = %s WHERE id = 3", f"{turn} {other.name}")
    settled(c, load)
    c.converged("SELECT * FROM t ORDER BY id")
    for region in c:
        region.postgres.set_clock(0)


@test(tables=T, own_postgres="clock", regions=("us", "eu", "ap"), topology=LAX, limit=120)
def equal_timestamps(c):
    """F17: three regions commit in the same microsecond: one winner, the same everywhere, though nobody asks who applies"""
    c.us.app("INSERT INTO t SELECT g, 'first' FROM generate_series(1, 5) g")
    c.barrier()
    at = c.us.value("SELECT ceil(extract(epoch FROM clock_timestamp()) + 1200)")
    for key in (1, 2):
        for region in c:  # none hears of the others meanwhile: the second write would be a later one
            region.kill()
            region.postgres.stop_clock(at)
        for region in c:
            region.app("UPDATE t SET v = %s WHERE id = %s", region.name, key)
        times = {region.value("SELECT pg_xact_commit_timestamp(xmin) FROM t WHERE id = %s", key) for region in c}
        for region in c:
            region.postgres.set_clock(0)
        assert len(times) == 1, f"the clocks did not stand still: {times}"
        c.run()
        c.barrier(60)
        c.converged("SELECT * FROM t ORDER BY id")
    # the first time each region's HLC is that microsecond; a tie goes to the greater name
    c.expect("SELECT v FROM t WHERE id = 1", [("us",)])
    c.verify()


@test(tables=T, own_postgres="clock", regions=("us", "eu", "ap"), topology={"clock": {"max_skew": "4s"}}, limit=120)
def too_far_ahead(c):
    """F17: a clock further ahead than max_skew pauses its origin by name, the others go on; it goes on when that time has come"""
    c.us.app("INSERT INTO t VALUES (1, 'first')")
    c.barrier()
    c.us.postgres.set_clock(+11)
    c.us.app("UPDATE t SET v = 'of the future' WHERE id = 1")
    c.us.postgres.set_clock(0)

    def paused():
        o = c.eu.origin("us")
        return (o.get("state") in ("waiting", "stopped") and o.get("error") and "max_skew" in (o.get("why") or "")) or (False, o)

    until(paused, "eu pauses us by name", 20)
    assert c.eu.origin("us")["todo"], "it says what to do"
    assert c.eu.value("SELECT v FROM t WHERE id = 1") == "first"
    c.ap.app("INSERT INTO t VALUES (2, 'of ap')")
    c.expect("SELECT v FROM t WHERE id = 2", [("of ap",)], regions=("eu",))
    c.expect("SELECT v FROM t WHERE id = 1", [("of the future",)], limit=40)
    c.eu.app("UPDATE t SET v = 'after it' WHERE id = 1")
    c.expect("SELECT v FROM t WHERE id = 1", [("after it",)], limit=40)
    c.verify()
