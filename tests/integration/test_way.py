"""The way of a change, whole and thin."""
from harness.case import test

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"


@test(tables=T)
def one_row(c):
    """one committed row must appear in the other region, changed and deleted too"""
    c.us.app("INSERT INTO t VALUES (1, 'hello')")
    c.expect("SELECT id, v FROM t", [(1, "hello")])
    c.us.app("UPDATE t SET v = 'world' WHERE id = 1")
    c.expect("SELECT id, v FROM t", [(1, "world")])
    c.eu.app("UPDATE t SET v = v || '!' WHERE id = 1")
    c.expect("SELECT id, v FROM t", [(1, "world!")])
    c.us.app("DELETE FROM t WHERE id = 1")
    c.expect("SELECT id, v FROM t", [])


@test(tables=T, regions=("us", "eu", "ap"))
def three_regions(c):
    """what each region writes must reach the two others, and `verify` must say that they are identical"""
    for i, r in enumerate(c):
        r.app("INSERT INTO t VALUES (%s, %s)", i, r.name)
    c.expect("SELECT id, v FROM t ORDER BY id", [(0, "us"), (1, "eu"), (2, "ap")])
    c.barrier()
    c.verify()


@test(tables=T, run=False)
def written_before_the_first_run(c):
    """what commits after init is captured, whenever run first starts"""
    c.us.app("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g")
    c.eu.app("INSERT INTO t VALUES (1000, 'eu')")
    c.run()
    c.expect("SELECT count(*), max(id) FROM t", [(101, 1000)])


@test(tables=T + "; INSERT INTO t VALUES (1, 'common')")
def common_ground(c):
    """equal rows from before init are not copied, and can be changed from every region"""
    c.eu.app("UPDATE t SET v = 'eu' WHERE id = 1")
    c.expect("SELECT id, v FROM t", [(1, "eu")])
    c.us.app("DELETE FROM t")
    c.expect("SELECT id, v FROM t", [])
