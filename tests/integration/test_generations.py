"""Rules of conflict change on a running system: the logs say from where on they hold (MARKER), regions may learn of it at different moments."""
import signal

from harness.case import test
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v int); CREATE TABLE public.n (id int PRIMARY KEY, v int)"
ASK = "SELECT * FROM t ORDER BY id"
SAID = "SELECT region, generation, doc->'tables' FROM pangea.rules ORDER BY region, from_hlc"


def rules(c, tables):
    c.topology["conflicts"] = {"tables": tables}
    c.write_topology()


def hup(region):
    for d in region.daemons:
        if d.alive():
            d.signal(signal.SIGHUP)


def said(region, *want):
    """(region, generation) of every announcement that this region knows."""
    def look():
        got = region.sql(SAID)
        return [tuple(r[:2]) for r in got] == sorted(want) or (False, got)
    until(look, f"{region.name} knows {sorted(want)}", 20)


@test(tables=T)
def announced(c):
    """a log without rules has none; a region that learns later takes the generation of the first; a restart says nothing again"""
    c.barrier()
    for r in c:
        assert r.sql(SAID) == []
    rules(c, {"public.t": {"resolver": "first_write_wins"}})
    hup(c.us)
    for r in c:
        said(r, ("us", 1))
    hup(c.eu)
    for r in c:
        said(r, ("us", 1), ("eu", 1))
    c.us.kill()
    c.us.run()
    c.us.app("INSERT INTO t VALUES (1, 1)")
    c.eu.app("INSERT INTO t VALUES (2, 1)")
    c.converged(ASK)
    for r in c:
        said(r, ("us", 1), ("eu", 1))
    rules(c, {"public.t": {"resolver": "manual"}})
    hup(c.eu)
    for r in c:
        said(r, ("us", 1), ("eu", 1), ("eu", 2))
    assert c.eu.value("SELECT doc->'tables'->0->'rule'->>'resolver' FROM pangea.rules WHERE generation = 2") == "manual"


@test(tables=T)
def needs_quiet(c):
    """a rule that adds up: SIGHUP keeps the old topology, a start stops by name, --accept-rules takes it"""
    c.us.app("INSERT INTO n VALUES (1, 1)")
    c.converged("SELECT * FROM n")
    rules(c, {"public.n": {"columns": {"v": "delta"}}})
    c.us.daemon.signal(signal.SIGHUP)
    c.us.daemon.wait_log("public.n changes from or to one that adds up")
    c.us.kill()
    c.us.run("capture")
    c.us.daemon.wait_log("rules_need_quiet")
    c.us.daemon.wait(10)
    assert c.us.sql(SAID) == []
    c.us.run(args=["--accept-rules"])
    for r in c:
        said(r, ("us", 1))
