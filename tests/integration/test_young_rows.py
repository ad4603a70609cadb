"""Rows that are younger than the transaction that applies: age() counts from a point that is fixed for a transaction, and is negative then."""
from harness.case import test
from harness.wait import until

WAITS = ("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'pangea apply %' "
         "AND wait_event_type = 'Lock'")


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v int)", limit=60)
def a_local_row_younger_than_the_apply_transaction(c):
    """it was written after apply's transaction had begun and before its statement: concurrent, never older than everything"""
    c.us.app("INSERT INTO t VALUES (1, 0), (2, 0)")
    c.barrier()
    seen = 0
    for i in range(1, 13):
        blocker, writer = c.eu.connect(), c.eu.connect()
        blocker.autocommit = False
        lock, write, look = blocker.cursor(), writer.cursor(), c.eu.connect("postgres").cursor()
        lock.execute("SELECT FROM t WHERE id = 1 FOR UPDATE")
        c.us.app("BEGIN; UPDATE t SET v = %s WHERE id = 1; UPDATE t SET v = %s WHERE id = 2; COMMIT", i, i)
        until(lambda: look.execute(WAITS) or look.fetchone()[0] or (False, "no lock is waited for"), "apply waits for the first row", 20, 0.0005)
        write.execute("UPDATE t SET v = %s WHERE id = 2", (1000 + i,))  # later than us's, and us has not seen it: it wins
        blocker.rollback()
        c.barrier()
        for region in c:
            assert region.value("SELECT v FROM t WHERE id = 2") == 1000 + i, f"{region.name}, round {i}: the later write was overwritten by the earlier one"
        seen += 1
        for connection in (blocker, writer, look.connection):
            connection.close()
    assert seen == 12
