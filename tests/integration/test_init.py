"""init: again, at once, interrupted, told to leave identities alone; what the first run and verify say about rows that were never equal."""
import os
import re
import subprocess

from harness.case import test
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"


def waiting(region):
    return {w["table"]: w for w in region.status("capture").get("tables_waiting", [])}


@test(tables=T, init_args=("--keep-identity",))
def keep_identity(c):
    """no table gets another REPLICA IDENTITY, not by the running daemon either; it waits by name, and goes on after the mend"""
    c.us.app("INSERT INTO t VALUES (1, 'a')")
    named = until(lambda: waiting(c.us).get("public.t") or (False, c.us.status("capture")), "status names the table", 20)
    assert "REPLICA IDENTITY FULL" in named["todo"], named
    assert c.us.value("SELECT relreplident::text FROM pg_class WHERE oid = 'public.t'::regclass") == "d"
    assert c.us.value("SELECT count(*) FROM pg_publication_tables WHERE tablename = 't'") == 0
    for r in c:
        r.sql("ALTER TABLE public.t REPLICA IDENTITY FULL; ALTER TABLE public.barrier REPLICA IDENTITY FULL")
    c.expect("SELECT * FROM t", [(1, "a")])
    c.eu.app("UPDATE t SET v = 'b'")
    c.expect("SELECT * FROM t", [(1, "b")])


@test(tables=T, init_args=("--keep-identity",), run=False)
def keep_identity_no_more(c):
    """an init without it sets what is needed"""
    c.init()
    assert c.us.value("SELECT relreplident::text FROM pg_class WHERE oid = 'public.t'::regclass") == "f"
    c.run()
    c.us.app("INSERT INTO t VALUES (1, 'a')")
    c.expect("SELECT * FROM t", [(1, "a")])


@test(tables=T, run=False)
def publication_made_anew_before_the_first_run(c):
    """a slot older than its publication cannot be decoded: it is made anew as long as nothing was published"""
    slot = c.us.value("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s", c.us.slot)
    c.us.sql(f"DROP PUBLICATION {c.us.slot}")
    c.init("us")
    assert c.us.value("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s", c.us.slot) != slot
    c.run()
    c.us.app("INSERT INTO t VALUES (1, 'a')")
    c.expect("SELECT * FROM t", [(1, "a")])


@test(tables=T)
def publication_made_anew_after_the_first_run(c):
    """what was between cannot be decoded any more: a named stop, never a slot made anew in silence"""
    c.us.app("INSERT INTO t VALUES (1, 'a')")
    c.barrier()
    c.us.daemon.stop()
    c.us.sql(f"DROP PUBLICATION {c.us.slot}; CREATE PUBLICATION {c.us.slot} FOR TABLE public.t, public.barrier")
    _, out, err = c.command("init", "--region", "us", check=4)
    assert "publication_younger" in err, out + err


@test(tables=T, init=False, regions=("us", "eu", "ap"))
def all_regions_at_once(c):
    """two inits of each region at the same time: all succeed, each thing is made once"""
    c.tables(T)
    environment = dict(os.environ, PANGEA_TOPOLOGY=c.topology_file)
    runs = [subprocess.Popen([c.pangea, "init", "--region", r.name, "--admin", r.postgres.conninfo(r.database, "postgres")],
                             env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for r in c for _ in range(2)]
    for run in runs:
        text = run.communicate(timeout=60)[0].decode()
        assert run.returncode == 0, text
    c.run()
    c.us.app("INSERT INTO t VALUES (1, 'a')")
    c.expect("SELECT * FROM t", [(1, "a")])


def unequal(c):
    c.tables(T + "; CREATE TABLE public.same (id int PRIMARY KEY, v text); INSERT INTO public.same VALUES (1, 'x')")
    c.tables("INSERT INTO public.t VALUES (1, 'a'), (2, 'b')")
    c.tables("UPDATE public.t SET v = 'B' WHERE id = 2", [c.eu])


@test(tables=unequal)
def first_run_names_what_differs(c):
    """rows that were not equal before init: nothing else would ever say so"""
    def look():
        text = "".join(r.daemon.text() for r in c)
        return re.search(r'"event":"first.compared".*', text) and text or (False, text[-500:])
    text = until(look, "one of the regions has compared", 40)
    assert re.search(r'"event":"first.differs".*"table":"public.t".*2', text), text
    assert "public.same" not in text, text


@test(tables=T, topology={"routes": [{"tables": ["public.t"], "from": ["us"]}, {"tables": ["public.barrier"]}]})
def verify_and_rows_on_no_route(c):
    """a row that a leader wrote into a table it does not send is no difference; a delete that did not arrive is one"""
    c.us.app("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    c.eu.app("INSERT INTO t VALUES (10, 'own')")
    c.barrier()
    told = {t["table"]: t for t in c.verify()["tables"]}["public.t"]
    assert told["result"] == "identical" and "1 row" in told["note"], told
    for r in c:
        r.kill()
    c.us.sql("DELETE FROM t WHERE id = 2")
    told = {t["table"]: t for t in c.verify(limit=10, check=6)["tables"]}["public.t"]
    assert [d["key"] for d in told["differences"]] == [{"id": "2"}], told


RULES = """
CREATE TABLE public.a (id int PRIMARY KEY, n float8, t text, c text COLLATE "C", j jsonb, tags text[]);
CREATE FUNCTION public.f(v public.a[], r text[], h bigint[]) RETURNS public.a LANGUAGE sql AS 'SELECT v[1]';
CREATE FUNCTION public.g(v public.a[], r text[], h bigint[]) RETURNS public.a LANGUAGE sql IMMUTABLE AS 'SELECT v[1]'
"""


@test(tables=RULES, run=False)
def rules_are_held_against_the_table(c):
    """what cannot converge on these columns is refused by name and place before anything is touched"""
    def say(rule):
        c.topology["conflicts"] = {"tables": {"public.a": rule}}
        c.write_topology()
        code, out, err = c.command("init", "--dry-run", check=None)
        return code, out + err
    for rule, why in (({"resolver": "greatest", "by": "n"}, "NaN"), ({"resolver": "greatest", "by": "t"}, "collation"), ({"resolver": "least", "by": "nothing"}, "nothing"),
                      ({"columns": {"n": "delta"}}, "delta"), ({"columns": {"t": "union"}}, "union"), ({"columns": {"j": "delta"}}, "delta"),
                      ({"columns": {"id": "greatest"}}, "key"), ({"resolver": "sql", "function": "public.f"}, "not IMMUTABLE"),
                      ({"resolver": "sql", "function": "public.h"}, "there is no function public.h")):
        code, said = say(rule)
        assert code == 2 and "topology.yaml:" in said and "conflicts.tables" in said and why in said, (rule, code, said)
    for rule in ({"resolver": "greatest", "by": "c"}, {"columns": {"tags": "union", "j": "json_merge", "t": "text_merge"}}, {"resolver": "sql", "function": "public.g"}):
        code, said = say(rule)
        assert code == 0 and "public.a waits" not in said, (rule, code, said)
