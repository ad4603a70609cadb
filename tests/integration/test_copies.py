"""A database that is a copy of a region's, or has become one: restored, cloned, promoted. It must not write a history that others have otherwise."""
import io
import os
import shutil
import subprocess

from harness.case import test
from harness.load import Load, Mixed, settled
from harness.servers import Postgres, number
from harness.wait import until

T = Load.TABLES + "; CREATE TABLE public.t (id int PRIMARY KEY, v text)"


def copy_of(c, region):
    """A cold copy of a region's server: same identity, same slots, as a snapshot of its volume. The original runs on."""
    original = region.postgres
    original.stop()
    folder = os.path.join(os.path.dirname(original.folder), f"postgres-copy-{c.name}-{len(c.own)}")
    shutil.copytree(original.folder, folder, symlinks=True)
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "postgres:", folder], check=True)
    original.start()
    region._sql = None
    for name in ("postgres.port", "postgres.pid"):
        os.unlink(os.path.join(folder, name)) if os.path.exists(os.path.join(folder, name)) else None
    copy = Postgres.__new__(Postgres)
    copy.folder, copy.env = folder, {}
    c.own.append(copy)
    return copy


def in_its_place(c, region, other):
    """From now on the region's conninfo leads to the other server."""
    region.postgres, region._sql = other, None
    c.topology["regions"][region.name]["postgres"]["conninfo"] = other.conninfo(region.database, "pangea")
    c.write_topology()


def started(postgres):
    postgres.start()
    postgres.port = number(os.path.join(postgres.folder, "postgres.port"))


def stops_by_name(region, names):
    def look():
        doc = region.status("capture")
        return doc["error"] if doc.get("error") in names and doc.get("todo") else (False, {k: doc.get(k) for k in ("state", "error", "why", "todo")})
    return until(look, f"{region.name}: capture stops by one of {names}", 40)


def copy_rows(source, target):
    """Every table of the application as it is in a region that is whole."""
    for table in ("ledger", "counter", "hot", "t", "barrier"):
        rows = source.copy(f"SELECT * FROM public.{table}")
        target.sql(f"TRUNCATE public.{table}")
        target.session().cursor().copy_expert(f"COPY public.{table} FROM STDIN", io.BytesIO(rows))


def set_up_anew(c, source):
    """As the message says: all regions, because the others cannot go on where a log has ended."""
    for region in c:
        region.kill()
    for region in c:
        c.command("deinit", "--region", region.name, "--yes", "--admin", region.postgres.conninfo(region.database, "postgres"))
    for region in c:
        if region is not source:
            copy_rows(source, region)
    c.init()
    c.run()


@test(tables=T, own_postgres="each", limit=150)
def restored_backup(c):
    """F22: a backup of us is put in its place, older than what the others have: refused by name, and nothing of the others is undone"""
    c.us.app("INSERT INTO t VALUES (1, 'before')")
    c.barrier()
    c.us.kill()
    backup = copy_of(c, c.us)
    c.us.run()
    c.us.app("INSERT INTO t VALUES (2, 'after the backup')")
    c.us.app("UPDATE t SET v = 'changed' WHERE id = 1")
    c.barrier(60)
    c.us.kill()
    c.us.postgres.stop()
    started(backup)
    in_its_place(c, c.us, backup)
    c.us.app("INSERT INTO t VALUES (3, 'on the backup')")
    d = c.us.run("capture")
    stops_by_name(c.us, ("history_changed", "server_behind", "slot_ahead", "epoch_behind"))
    assert d.wait(30) in (1, 4, 5)
    assert c.eu.sql("SELECT id, v FROM t ORDER BY id") == [(1, "changed"), (2, "after the backup")]
    c.eu.app("INSERT INTO t VALUES (4, 'eu goes on')")
    assert c.eu.daemon.alive()


@test(tables=T, own_postgres="each", limit=150)
def clone_beside(c):
    """F22: a clone of us is started under its name while us lives on: one of them works, the other is refused by name; nothing is there twice"""
    load = Mixed(c, seed=1, clients=1).start()
    load.goes_on(50)
    load.stop()
    c.barrier()
    c.us.kill()
    clone = copy_of(c, c.us)
    c.us.run()
    c.us.app("INSERT INTO t VALUES (1, 'of the original')")
    c.barrier(60)
    original = c.us.postgres
    started(clone)
    in_its_place(c, c.us, clone)
    c.us.app("INSERT INTO t VALUES (1, 'of the clone')")
    d = c.us.run("capture")
    stops_by_name(c.us, ("history_changed", "server_behind", "slot_ahead", "epoch_behind"))
    assert d.wait(30) in (1, 4, 5)
    # the original was not harmed
    in_its_place(c, c.us, original)
    c.us.app("INSERT INTO t VALUES (2, 'of the original')")
    c.expect("SELECT id, v FROM t ORDER BY id", [(1, "of the original"), (2, "of the original")])
    load.check(c)
    c.verify()


@test(tables=T, own_postgres="each", limit=150)
def clone_that_takes_over(c):
    """F22: a clone that has all of the log takes over; the original, which is fenced then, must end by name and publish nothing more"""
    c.us.app("INSERT INTO t VALUES (1, 'before')")
    c.barrier()
    c.us.kill()
    original = c.us.postgres
    clone = copy_of(c, c.us)
    started(clone)
    in_its_place(c, c.us, clone)
    new = c.us.run()
    c.us.app("INSERT INTO t VALUES (2, 'of the clone')")
    c.expect("SELECT v FROM t WHERE id = 2", [("of the clone",)])
    session = original.connect(c.us.database, "app")
    session.cursor().execute("INSERT INTO t VALUES (2, 'of the original'), (3, 'of the original')")
    session.close()
    in_its_place(c, c.us, original)
    d = c.us.run("capture")
    stops_by_name(c.us, ("history_changed", "server_behind", "slot_ahead", "epoch_behind"))
    assert d.wait(30) in (1, 4, 5)
    in_its_place(c, c.us, clone)
    c.us.app("INSERT INTO t VALUES (4, 'of the clone')")
    c.expect("SELECT id, v FROM t ORDER BY id", [(1, "before"), (2, "of the clone"), (4, "of the clone")])
    assert new.alive()
    c.verify()


@test(tables=T, own_postgres="each", limit=150)
def promoted_without_slot(c):
    """F2: us fails over to a standby without its slot: refused by name; set up anew as the message says, the regions are identical again"""
    standby = c.servers.new_standby(c.us.postgres, "s1")
    c.own.append(standby)
    load = Mixed(c, seed=2, clients=1).start()
    load.goes_on(100)
    load.stop()
    c.barrier()
    lsn = c.us.value("SELECT pg_current_wal_flush_lsn()")
    session = standby.connect("postgres")
    cursor = session.cursor()

    def follows():
        cursor.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (lsn,))
        return cursor.fetchone()[0]

    until(follows, "the standby has it all", 30)
    session.close()
    c.us.postgres.crash()
    standby.promote()
    in_its_place(c, c.us, standby)
    d = c.us.daemon
    c.us.kill()
    d = c.us.run()
    until(lambda: not c.us.value("SELECT pg_is_in_recovery()"), "promoted", 30)
    assert stops_by_name(c.us, ("slot_missing", "timeline_changed")) in ("slot_missing", "timeline_changed")
    assert d.alive() or d.wait(1) in (1, 4, 5)
    assert "deinit" in c.us.status("capture")["todo"]
    # as the message says; the other region has all that us had, and its rows are copied anew
    c.us.kill()
    c.eu.app("INSERT INTO t VALUES (1, 'meanwhile')")
    set_up_anew(c, c.eu)
    c.us.app("INSERT INTO t VALUES (2, 'us again')")
    c.eu.app("UPDATE t SET v = 'eu' WHERE id = 1")
    c.barrier(60)
    c.expect("SELECT id, v FROM t ORDER BY id", [(1, "eu"), (2, "us again")])
    load.check(c)
    c.verify()
