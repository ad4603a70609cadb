"""Writes that do not see each other, and the order in which they arrive."""
from harness.wait import until


def published(region):
    """Waits until all that this region has committed is in its log."""
    at = region.value("SELECT pg_current_wal_insert_lsn()")
    until(lambda: region.value("SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s", at, region.slot), f"{region.name} has published", 20)


def publish(region, statement):
    """Runs it and waits until capture has it in the log: grouped with a later transaction it would bear that one's time."""
    region.app(statement)
    published(region)


def apart(c, steps, order=None):
    """Commits (region, statement) in this order of time while nothing runs, so that all regions' writes are concurrent; then the regions
    publish one after the other, in `order`, while all apply."""
    for r in c:
        r.kill()
    for region, statement in steps:
        c.regions[region].app(statement)
    for r in c:
        r.run("apply")
    for name in order or [r.name for r in c.leaders]:
        c.regions[name].run("capture")
        published(c.regions[name])
    c.barrier()
