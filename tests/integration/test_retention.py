"""log.retention: what every region has applied goes, what one of them lacks stays, and nobody stumbles over what is gone."""
import re

from harness.case import test
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"
SHORT = {"log": {"retention": "2s"}}
DEBUG = {"PANGEA_LOG_LEVEL": "debug"}  # capture says each look at its log


def write(region, first, n=20):
    for i in range(first, first + n):  # a transaction each: a record each
        region.app("INSERT INTO t VALUES (%s, %s)", i, region.name)


def low(c, region):
    """The first offset of a region's log, in the words of `pangea event decode`."""
    code, out, err = c.command("event", "decode", "99999999", "--region", region.name, check=None)
    found = re.search(r"it holds (\d+) to (\d+)", err)
    assert code == 2 and found, (code, out, err)
    return int(found.group(1))


def shortened(c, region, above, limit=40):
    """Waits until the log begins behind this offset; where it begins."""
    return until(lambda: (lambda at: at if at > above else (False, f"{region.name}'s log begins at {at}"))(low(c, region)),
                 f"{region.name}: its log begins behind {above}", limit, every=0.3)


def position(region, origin):
    """Where origin's log is read from when this region starts the next time."""
    return region.value("SELECT kafka_offset FROM pangea.position WHERE origin = %s", origin.name)


def looked(region, times=3, limit=40):
    """Capture has looked at its log so often again."""
    d, seen = region.daemon, len(region.daemon.events("capture.retention"))
    until(lambda: len(d.events("capture.retention")) >= seen + times, f"{region.name}: retention looks at the log", limit)


def kept_for(region):
    return region.status("apply").get("own_log", {}).get("kept_for")


def kept(c, region, away, last):
    """Nothing that `away` lacks goes, although it is older than log.retention, and status says for whom."""
    until(lambda: kept_for(region) == [away.name] or (False, kept_for(region)), f"{region.name} keeps its log for {away.name}", 30)
    looked(region)
    assert low(c, region) <= last, f"{region.name}'s log begins at {low(c, region)}, {away.name} reads on at {last}"
    problems = c.status()["problems"]
    want = f"{region.name}: its log grows: records older than log.retention stay for {away.name}"
    assert any(p.startswith(want) for p in problems), problems


@test(tables=T, regions=("us", "eu", "ap"), topology=SHORT, limit=150)
def what_is_applied_goes(c):
    """old records are deleted in every region, again and again, and a daemon that is killed afterwards finds its place"""
    at = {r.name: 0 for r in c}
    for turn in range(3):
        for i, r in enumerate(c):
            write(r, 1000 * turn + 100 * i)
        c.barrier()
        for r in c:
            at[r.name] = shortened(c, r, at[r.name])
            assert at[r.name] <= position(r, r)
        for r in c:
            r.kill()
        c.us.app("UPDATE t SET v = 'while nobody looked' WHERE id < 5")
        c.run()
        c.barrier()
    for r in c:
        assert not r.daemon.events("apply.stopped") and not r.daemon.events("capture.stopped")
    c.verify()


@test(tables=T, regions=("us", "eu", "ap"), topology=SHORT, run=False, limit=150,
      cases=[("killed", lambda r: r.kill()), ("stopped", lambda r: r.daemon.stop()), ("frozen", lambda r: r.daemon.freeze())])
def leader_away(c, case):
    """a leader that is away keeps what it has not applied in the others' logs, finds it there, and then it goes"""
    _, leave = case
    for r in c:
        if not r.daemons or not r.daemon.alive():
            r.run(env=DEBUG)
    base = c.us.value("SELECT coalesce(max(id), 0) + 1 FROM t")
    write(c.us, base)
    c.barrier()
    leave(c.ap)
    last = position(c.ap, c.us)
    write(c.us, base + 100)
    write(c.eu, base + 200)
    c.expect(f"SELECT count(*) FROM t WHERE id >= {base}", [(60,)], regions=("us", "eu"))
    kept(c, c.us, c.ap, last)
    if c.ap.daemon.alive():
        c.ap.daemon.thaw()
    else:
        c.ap.run(env=DEBUG)
    c.barrier(60)
    c.verify()
    shortened(c, c.us, last)
    until(lambda: kept_for(c.us) == [] or (False, kept_for(c.us)), "nobody is waited for any more")


@test(tables=T, regions=("us", "eu", "ap"), followers=("ap",), topology=SHORT, run=False, limit=150)
def follower_away(c):
    """a follower that is away keeps what it has not applied, also when the leaders are restarted meanwhile"""
    c.run(env=DEBUG)
    write(c.us, 0)
    c.barrier()
    shortened(c, c.us, 0)
    c.ap.kill()
    last = position(c.ap, c.us)
    write(c.us, 100)
    write(c.eu, 200)
    c.expect("SELECT count(*) FROM t", [(60,)], regions=("us", "eu"))
    kept(c, c.us, c.ap, last)
    for r in (c.us, c.eu):
        r.kill()
        r.run(env=DEBUG)
    kept(c, c.us, c.ap, last)
    c.ap.run(env=DEBUG)
    c.barrier(60)
    c.verify()
    shortened(c, c.us, last)


@test(tables=T, topology=SHORT, own_postgres="each", limit=150)
def crash_after_deletion(c):
    """PostgreSQL that crashes just after records were deleted must not fall back behind them"""
    at = 0
    for turn in range(3):
        write(c.us, 100 * turn)
        c.barrier()
        at = shortened(c, c.us, at)
        for r in c:
            r.postgres.crash()
            r.postgres.start()
        assert position(c.us, c.us) >= at, f"the position fell back to {position(c.us, c.us)}, the log begins at {at}"
    write(c.eu, 1000)
    c.barrier(60)
    c.verify()


@test(tables=T, topology=SHORT, own_kafka="each", limit=120)
def broker_away(c):
    """a look at the log while its broker is away harms nobody, and is made up for"""
    write(c.us, 0)
    c.barrier()
    at = shortened(c, c.us, 0)
    c.us.kafka.kill()
    d = c.us.daemon
    d.wait_log("log.retention", 60)
    c.us.kafka.start()
    write(c.us, 100)
    c.barrier(60)
    shortened(c, c.us, at)
    c.verify()
