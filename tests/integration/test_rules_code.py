"""Rules that are somebody's code: SQL functions and plug-ins decide on the set of versions, or the origin waits by name (C5)."""
import os
import shutil

from harness.apart import apart, published
from harness.case import test
from harness.rules import ALONE, nothing_kept, same_everywhere
from harness.servers import ROOT
from harness.wait import until

SETTLE = """
CREATE TABLE public.so (id int PRIMARY KEY, v int, tags int[], g int GENERATED ALWAYS AS (v + 1) STORED, note text);
CREATE FUNCTION public.settle(versions public.so[], regions text[], hlcs bigint[]) RETURNS public.so LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE r public.so; x public.so;
BEGIN
        r := versions[array_length(versions, 1)];
        r.v := 0;
        r.note := array_to_string(regions, '+');
        IF hlcs[1] >= hlcs[2] THEN RAISE 'not in order'; END IF;
        FOREACH x IN ARRAY versions LOOP
                IF x.v < 0 THEN RAISE 'negative'; END IF;
                r.v := r.v + x.v;
        END LOOP;
        RETURN r;
END $$
"""


@test(tables=SETTLE, topology={"group": ALONE, "conflicts": {"tables": {"public.so": {"resolver": "sql", "function": "public.settle"}}}}, regions=("us", "eu", "ap"), limit=120)
def sql_function(c):
    """an SQL function decides on the set of versions, in canonical order; when it fails the origin waits by name until it is mended"""
    c.us.app("INSERT INTO so (id, v, tags, note) VALUES (1, 1, '{1,2}', 'old'), (2, 1, NULL, 'old')")
    c.barrier()
    for order in (("us", "eu", "ap"), ("ap", "us", "eu")):
        apart(c, [(r, f"UPDATE so SET v = {i} WHERE id = 1") for i, r in ((1, "us"), (10, "eu"), (100, "ap"))], order)
        c.expect("SELECT * FROM so WHERE id = 1", [(1, 111, [1, 2], 112, "us+eu+ap")])
        c.us.app("UPDATE so SET v = 1, note = 'old' WHERE id = 1")
        c.barrier()
    for r in c:
        r.kill()
    c.us.app("UPDATE so SET v = -1 WHERE id = 2")
    c.eu.app("UPDATE so SET v = 5 WHERE id = 2")
    for r in c:
        r.run()
    until(lambda: "negative" in (c.us.origin("eu").get("why") or "") or (False, c.us.origin("eu")), "eu waits in us", 30)
    assert c.us.origin("eu")["error"] == "resolver_failed"
    for r in c:
        r.sql("CREATE OR REPLACE FUNCTION public.settle(versions public.so[], regions text[], hlcs bigint[]) RETURNS public.so LANGUAGE sql IMMUTABLE AS 'SELECT versions[1]'")
    c.barrier()
    c.expect("SELECT v FROM so WHERE id = 2", [(-1,)])
    for r in c:  # volatile: refused by name when the table is looked at anew
        r.sql("ALTER FUNCTION public.settle(public.so[], text[], bigint[]) VOLATILE")
    c.us.kill()
    c.us.run()
    c.eu.app("UPDATE so SET v = 6 WHERE id = 2")
    until(lambda: c.us.origin("eu").get("error") == "rule_refused" or (False, c.us.origin("eu")), "a volatile function is refused", 30)
    assert "IMMUTABLE" in c.us.origin("eu")["why"]
    for r in c:
        r.sql("ALTER FUNCTION public.settle(public.so[], text[], bigint[]) IMMUTABLE")
    c.barrier()
    same_everywhere(c, ["so"])
    nothing_kept(c)


def plugin_folder(c):
    folder = os.path.join(c.folder, "plugins")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "longest.so")
    shutil.copy(os.path.join(ROOT, "build", "longest.so"), path)
    os.chmod(folder, 0o755)
    os.chmod(path, 0o644)
    return folder, path


@test(tables="CREATE TABLE public.notes (id int PRIMARY KEY, body text, n int)", run=False, init=False, limit=120)
def plugin(c):
    """a shared object decides, where it may be loaded; a missing permission, a file that others can write, make the origin wait by name"""
    folder, path = plugin_folder(c)
    c.topology["group"] = ALONE
    c.topology["conflicts"] = {"tables": {"public.notes": {"resolver": "plugin", "path": path}}}
    c.write_topology()
    c.tables("CREATE TABLE public.notes (id int PRIMARY KEY, body text, n int)")
    c.init()
    allowed = ("--allow-plugins", folder)
    for r in c:
        r.run("capture")
    c.us.app("INSERT INTO notes VALUES (1, 'a long text', 1), (2, 'x', 1)")
    published(c.us)
    c.eu.app("INSERT INTO notes VALUES (1, 'short', 2), (2, 'y', 2)")
    published(c.eu)
    c.us.run("apply")
    until(lambda: c.us.origin("eu").get("error") == "rule_refused" or (False, c.us.origin("eu")), "no plug-in without permission", 30)
    assert "--allow-plugins" in c.us.origin("eu")["why"]
    c.us.daemon.kill()
    os.chmod(path, 0o666)
    c.us.run("apply", args=allowed)
    until(lambda: "can be written by others" in (c.us.origin("eu").get("why") or "") or (False, c.us.origin("eu")), "nor one that others can write", 30)
    os.chmod(path, 0o644)
    c.eu.run("apply", args=allowed)
    c.barrier()
    c.expect("SELECT * FROM notes ORDER BY id", [(1, "a long text", 1), (2, "y", 2)])
    nothing_kept(c)
