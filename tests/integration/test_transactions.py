"""Transactions: order, atomicity, savepoints, COPY, prepared, large ones, what is interleaved."""
import io
import threading

from harness.case import test
from harness.seeds import rng, seeded
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"
ACCOUNTS = "CREATE TABLE public.account (id int PRIMARY KEY, balance bigint NOT NULL); INSERT INTO public.account SELECT g, 1000 FROM generate_series(1, 10) g"


@test(tables=T)
def savepoints(c):
    """what was rolled back to a savepoint or in an EXCEPTION block must not travel, the rest must"""
    c.us.app("""BEGIN; INSERT INTO t VALUES (1, 'a'); SAVEPOINT s; INSERT INTO t VALUES (2, 'no'); UPDATE t SET v = 'no'; ROLLBACK TO s;
                INSERT INTO t VALUES (3, 'c'); SAVEPOINT s2; INSERT INTO t VALUES (4, 'd'); RELEASE s2; COMMIT""")
    c.us.app("""DO $$ BEGIN INSERT INTO t VALUES (5, 'e'); BEGIN INSERT INTO t VALUES (6, 'no'); RAISE division_by_zero;
                EXCEPTION WHEN division_by_zero THEN INSERT INTO t VALUES (7, 'g'); END; END $$""")
    c.barrier()
    c.expect("SELECT * FROM t ORDER BY id", [(1, "a"), (3, "c"), (4, "d"), (5, "e"), (7, "g")])
    # rows of sub-transactions bear another xid than their transaction: they must still be known as local ones
    c.eu.app("UPDATE t SET v = v || '!'")
    c.barrier()
    c.us.app("BEGIN; SAVEPOINT a; UPDATE t SET v = 'sub' WHERE id = 3; RELEASE a; UPDATE t SET v = 'top' WHERE id = 4; COMMIT")
    c.eu.app("UPDATE t SET v = 'eu' WHERE id = 7")
    c.barrier()
    c.expect("SELECT * FROM t ORDER BY id", [(1, "a!"), (3, "sub"), (4, "top"), (5, "e!"), (7, "eu")])


@test(tables=T)
def copy(c):
    """COPY: thousands of rows with one LSN neighbourhood, then once more over a rolled-back one"""
    connection = c.us.connect()
    rows = "".join(f"{i}\tv{i}\n" for i in range(20000))
    connection.cursor().copy_expert("COPY t FROM STDIN", io.StringIO(rows))
    connection.autocommit = False
    connection.cursor().copy_expert("COPY t FROM STDIN", io.StringIO("".join(f"{i}\tno\n" for i in range(20000, 30000))))
    connection.rollback()
    connection.close()
    c.barrier()
    c.converged("SELECT * FROM t ORDER BY id")
    assert c.eu.value("SELECT count(*) FROM t") == 20000


def fewest_groups(commits, spread_us=20000, rows=1000):
    """Of transactions of one row, by their commit times: ADR 0003, group.max_rows."""
    groups, first, n = 0, None, rows
    for at in commits:
        if n >= rows or at - first > spread_us:
            groups, first, n = groups + 1, at, 0
        n += 1
    return groups


@test(tables=T, limit=90)
def a_backlog_makes_full_groups(c):
    """while capture is behind, a group is as full as commit times allow, not as full as one look at the socket: small ones cost everybody several times as much"""
    c.barrier()
    c.us.kill()
    connection = c.us.connect()
    cursor = connection.cursor()
    cursor.execute("SET synchronous_commit = off")
    cursor.execute("DO $$ BEGIN FOR i IN 1..10000 LOOP INSERT INTO t VALUES (i, 'x'); COMMIT; END LOOP; END $$")
    connection.close()
    fewest = fewest_groups([at for at, in c.us.sql("SELECT (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint FROM t ORDER BY 1")])
    c.us.run()
    c.expect("SELECT count(*) FROM t", [(10000,)], limit=60)
    done = until(lambda: c.us.status("capture")["transactions"] >= 10000 and c.us.status("capture") or (False, c.us.status("capture")), "capture has told", 20)
    assert done["groups"] <= 3 * fewest + 20, (done["groups"], fewest)


@test(tables=ACCOUNTS, limit=90)
def never_half(c):
    """a reader in another region never sees half of a transfer (C3), nor a sum that never was"""
    writer, stop, seen = c.us.connect(), threading.Event(), set()

    def read():
        reader = c.eu.connect()
        cursor = reader.cursor()
        while not stop.is_set():
            cursor.execute("SELECT sum(balance) FROM account")
            seen.add(int(cursor.fetchone()[0]))
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        cursor = writer.cursor()
        for i in range(400):
            a, b = i % 10 + 1, (i * 7 + 3) % 10 + 1
            cursor.execute(f"BEGIN; UPDATE account SET balance = balance - 1 WHERE id = {a}; UPDATE account SET balance = balance + 1 WHERE id = {b}; COMMIT")
        c.barrier()
    finally:
        stop.set()
        thread.join()
    assert seen == {10000}, seen
    c.converged("SELECT * FROM account ORDER BY id")


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v text); CREATE TABLE public.u (id int PRIMARY KEY, v text)")
def interleaved(c):
    """transactions that begin in one order and commit in another: commit order counts"""
    a, b, d = (c.us.connect() for _ in range(3))
    for x in (a, b, d):
        x.autocommit = False
    a.cursor().execute("INSERT INTO t VALUES (1, 'a')")
    b.cursor().execute("INSERT INTO t VALUES (2, 'b'); INSERT INTO u VALUES (1, 'b')")
    d.cursor().execute("INSERT INTO t VALUES (3, 'd')")
    b.commit()
    a.cursor().execute("UPDATE t SET v = 'a was here' WHERE id = 2; DELETE FROM u")
    d.rollback()
    c.expect("SELECT * FROM t ORDER BY id", [(2, "b")], ["eu"])
    a.commit()
    c.barrier()
    c.expect("SELECT * FROM t ORDER BY id", [(1, "a"), (2, "a was here")])
    c.expect("SELECT * FROM u", [])


class Interleaving:
    """Several open transactions of one region, moved on in turn by one thread: who wrote what, and in which order they commit, is known."""

    def __init__(self, c, region, r):
        self.c, self.region, self.r = c, region, r
        self.rows, self.commits, self.key = {}, 0, 0
        self.open = []
        self.idle = [region.connect() for _ in range(6)]
        for connection in self.idle:
            connection.autocommit = False

    def begin(self):
        connection = self.idle.pop(self.r.randrange(len(self.idle)))
        self.open.append((connection, {}))

    def free_keys(self, mine):
        others = {k for _, changes in self.open if changes is not mine for k in changes}
        seen = {**self.rows, **mine}
        return [k for k, v in seen.items() if v is not None and k not in others]

    def write(self, connection, changes):
        cursor, kind, keys = connection.cursor(), self.r.choice("iiuudkcsx"), self.free_keys(changes)
        value = f"v{self.r.random():.6f}"
        if kind in "uddk" and not keys:
            kind = "i"
        if kind == "c":
            ids = range(self.key + 1, self.key + 1 + self.r.randrange(1, 200))
            cursor.copy_expert("COPY t FROM STDIN", io.StringIO("".join(f"{i}\t{value}\n" for i in ids)))
            changes.update({i: value for i in ids})
            self.key = ids[-1]
        elif kind in "isx":
            self.key += 1
            undo = {"i": "", "s": "SAVEPOINT a; ", "x": "SAVEPOINT a; INSERT INTO t VALUES (-1, 'undone'); UPDATE t SET v = 'undone' WHERE id = ANY (%(free)s); ROLLBACK TO a; "}[kind]
            cursor.execute(undo + "INSERT INTO t VALUES (%(id)s, %(v)s)", {"id": self.key, "v": value, "free": keys})
            changes[self.key] = value
        elif kind == "u":
            some = self.r.sample(keys, min(len(keys), self.r.randrange(1, 30)))
            cursor.execute("UPDATE t SET v = %s WHERE id = ANY (%s)", (value, some))
            changes.update({k: value for k in some})
        elif kind == "d":
            k = self.r.choice(keys)
            cursor.execute("DELETE FROM t WHERE id = %s", (k,))
            changes[k] = None
        else:
            k, old = self.r.choice(keys), {**self.rows, **changes}
            self.key += 1
            cursor.execute("UPDATE t SET id = %s WHERE id = %s", (self.key, k))
            changes[self.key], changes[k] = old[k], None

    def end(self, which):
        connection, changes = self.open.pop(which)
        if self.r.random() < 0.15:
            connection.rollback()
        else:
            self.commits += 1
            connection.cursor().execute("INSERT INTO u VALUES (%s, '')", (self.commits,))
            connection.commit()
            self.rows.update(changes)
        self.idle.append(connection)

    def steps(self, n):
        for _ in range(n):
            if self.idle and (not self.open or self.r.random() < 0.25):
                self.begin()
            elif self.r.random() < 0.25:
                self.end(self.r.randrange(len(self.open)))
            else:
                self.write(*self.r.choice(self.open))
        while self.open:
            self.end(self.r.randrange(len(self.open)))
        for connection in self.idle:
            connection.close()


@test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v text); CREATE TABLE public.u (id int PRIMARY KEY, v text)",
      topology={"group": {"max_rows": 50, "max_bytes": "64kB"}}, cases=seeded(1, 2, 3), limit=120)
def commit_order(c, case):
    """F6: random transactions, interleaved, with COPY, savepoints and rollbacks: a reader elsewhere sees them in the order of their commits, whole"""
    c.tables("TRUNCATE t, u", [c.us])
    c.barrier()
    r, seen, stop = rng("commit_order", case[1]), set(), threading.Event()
    writer, reader = r.sample(list(c), 2)

    def read():
        connection = reader.connect()
        cursor = connection.cursor()
        while not stop.is_set():
            cursor.execute("SELECT count(*), coalesce(max(id), 0) FROM u")
            seen.add(cursor.fetchone())
        connection.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        way = Interleaving(c, writer, r)
        way.steps(300)
        c.barrier(60)
    finally:
        stop.set()
        thread.join()
    assert all(n == last for n, last in seen) and (way.commits, way.commits) in seen | {reader.sql("SELECT count(*), max(id) FROM u")[0]}, sorted(seen)[-5:]
    c.expect("SELECT id, v FROM t ORDER BY id", sorted((k, v) for k, v in way.rows.items() if v is not None))


@test(tables=T)
def prepared(c):
    """a prepared transaction travels at COMMIT PREPARED, not before; a rolled-back one never; daemons restarted in between"""
    c.us.app("BEGIN; INSERT INTO t VALUES (1, 'kept'); PREPARE TRANSACTION 'one'")
    c.us.app("BEGIN; INSERT INTO t VALUES (2, 'dropped'); PREPARE TRANSACTION 'two'")
    c.us.app("INSERT INTO t VALUES (3, 'between')")
    c.expect("SELECT id FROM t ORDER BY id", [(3,)])
    c.us.kill()
    c.us.run()
    c.us.app("COMMIT PREPARED 'one'")
    c.us.app("ROLLBACK PREPARED 'two'")
    c.barrier()
    c.expect("SELECT id, v FROM t ORDER BY id", [(1, "kept"), (3, "between")])


@test(tables=T)
def folded(c):
    """many changes of one key in one transaction and in one group: only the net effect is seen, deletes included"""
    c.us.kill()
    c.us.app("BEGIN; INSERT INTO t VALUES (1, 'a'); UPDATE t SET v = 'b'; DELETE FROM t; INSERT INTO t VALUES (1, 'c'); UPDATE t SET v = 'd'; COMMIT")
    c.us.app("INSERT INTO t VALUES (2, 'a')")
    c.us.app("UPDATE t SET v = 'x' WHERE id = 2")
    c.us.app("DELETE FROM t WHERE id = 2")
    c.us.app("INSERT INTO t VALUES (3, 'gone')")
    c.us.app("DELETE FROM t WHERE id = 3")
    c.us.app("INSERT INTO t VALUES (3, 'again')")
    for i in range(300):
        c.us.sql("UPDATE t SET v = %s WHERE id = 1", f"v{i}")
    c.us.run()
    c.barrier()
    c.expect("SELECT * FROM t ORDER BY id", [(1, "v299"), (3, "again")])


@test(tables=T, topology={"group": {"max_rows": 100, "max_bytes": "64kB"}}, limit=120)
def chunks(c):
    """a transaction larger than a record is applied as one, from several chunks, keys changed across chunks"""
    seen = set()
    stop = threading.Event()

    def read():
        reader = c.eu.connect()
        cursor = reader.cursor()
        while not stop.is_set():
            cursor.execute("SELECT count(*) FROM t")
            seen.add(cursor.fetchone()[0])
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        c.us.app("""BEGIN; INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 50000) g; UPDATE t SET v = 'even' WHERE id % 2 = 0;
                    DELETE FROM t WHERE id % 10 = 0; INSERT INTO t SELECT g, 'again' FROM generate_series(10, 50000, 100) g; UPDATE t SET id = -id WHERE id < 100; COMMIT""")
        c.barrier(60)
    finally:
        stop.set()
        thread.join()
    c.converged("SELECT * FROM t ORDER BY id")
    assert seen == {0, c.us.value("SELECT count(*) FROM t")}, f"half of a transaction was seen: {sorted(seen)[:5]}"


@test(tables=T, topology={"group": {"max_rows": 100, "max_bytes": "64kB"}}, limit=120)
def chunks_with_others(c):
    """small transactions that commit while a large one is open, before and after its chunks"""
    big = c.us.connect()
    big.autocommit = False
    cursor = big.cursor()
    for i in range(20):
        cursor.execute("INSERT INTO t SELECT g, 'big' FROM generate_series(%s, %s) g", (1000 * (i + 1), 1000 * (i + 1) + 999))
        c.us.app("INSERT INTO t VALUES (%s, 'small')", i)
        c.eu.app("INSERT INTO t VALUES (%s, 'eu')", 100 + i)
    big.commit()
    c.us.app("UPDATE t SET v = 'after' WHERE id IN (0, 1000)")
    c.barrier(60)
    c.converged("SELECT * FROM t ORDER BY id")
    assert c.eu.value("SELECT count(*) FROM t") == 20040


@test(tables=T + "; CREATE TABLE public.parent (id int PRIMARY KEY); CREATE TABLE public.child (id int PRIMARY KEY, parent int REFERENCES public.parent ON DELETE CASCADE);"
      "CREATE TABLE public.audit (id int PRIMARY KEY, what text);"
      "CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.audit VALUES (NEW.id, 'note'); RETURN NEW; END $$;"
      "CREATE TRIGGER note AFTER INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.note()")
def triggers_and_foreign_keys(c):
    """triggers and cascades fire where the change was made, and only there"""
    c.us.app("INSERT INTO t VALUES (1, 'x'); INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 1), (2, 2), (3, 1)")
    c.barrier()
    c.expect("SELECT * FROM audit", [(1, "note")])
    c.eu.app("DELETE FROM parent WHERE id = 1")
    c.barrier()
    c.expect("SELECT id FROM child", [(2,)])
    c.expect("SELECT id FROM parent", [(2,)])


@test(tables=T, regions=("us", "eu", "ap"), limit=90)
def causal(c):
    """C4: what eu wrote after it had seen us must not be seen in ap before us's own, however late us's log is read there"""
    order = []
    stop = threading.Event()

    def read():
        reader = c.ap.connect()
        cursor = reader.cursor()
        while not stop.is_set():
            cursor.execute("SELECT max(id) FILTER (WHERE v = 'question'), max(id) FILTER (WHERE v = 'answer') FROM t")
            order.append(cursor.fetchone())
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for i in range(1, 60):
            c.us.sql("INSERT INTO t VALUES (%s, 'question')", i * 2)
            until(lambda: c.eu.sql("SELECT 1 FROM t WHERE id = %s", i * 2), "the question is in eu", every=0.001)
            c.eu.sql("INSERT INTO t VALUES (%s, 'answer')", i * 2 + 1)
        c.barrier()
    finally:
        stop.set()
        thread.join()
    early = [(q, a) for q, a in order if a is not None and (q is None or a > q + 1)]
    assert not early, f"answers before their questions: {early[:3]}"


@test(tables=T, own_postgres="each", limit=90)
def causal_for_readers_of_the_own_commit(c):
    """C4 in the region that asked: a commit that waits for its standby is decoded, and answered by eu, before a reader in us can see it: the answer waits too"""
    c.us.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    c.us.sql("SELECT pg_reload_conf()")
    until(lambda: c.us.value("SHOW synchronous_standby_names") == "nobody", "commits wait for a standby")
    client = c.us.connect()
    question = threading.Thread(target=lambda: client.cursor().execute("INSERT INTO t VALUES (1, 'question')"))
    question.start()
    c.expect("SELECT v FROM t", [("question",)], regions=("eu",))
    c.eu.app("INSERT INTO t VALUES (2, 'answer')")
    tries = c.us.origin("eu").get("retries", 0)
    until(lambda: c.us.origin("eu").get("retries", 0) > tries + 5 or (False, c.us.origin("eu"), c.us.sql("SELECT * FROM t")), "us has tried to apply the answer", 30)
    assert c.us.sql("SELECT * FROM t") == [], c.us.sql("SELECT * FROM t")
    until(lambda: c.us.origin("eu").get("error") == "commit_not_visible" or (False, c.us.origin("eu")), "us says what it waits for", 40)
    c.us.sql("ALTER SYSTEM RESET synchronous_standby_names")
    c.us.sql("SELECT pg_reload_conf()")
    question.join()
    client.close()
    c.expect("SELECT id, v FROM t ORDER BY id", [(1, "question"), (2, "answer")])


@test(tables=T, databases={"us": "ENCODING 'UTF8' LOCALE 'C.UTF-8'", "eu": "ENCODING 'LATIN1' LOCALE 'C'"})
def encodings(c):
    """databases of different encodings: UTF-8 in the log; a character the target has not makes its origin wait by name"""
    c.us.app("INSERT INTO t VALUES (1, 'Füße')")
    c.expect("SELECT v FROM t", [("Füße",)])
    c.eu.app("UPDATE t SET v = 'café'")
    c.expect("SELECT v FROM t", [("café",)])
    c.us.app("INSERT INTO t VALUES (2, '日本')")
    until(lambda: "public.t" in str(c.eu.origin("us").get("why")) or (False, c.eu.origin("us")), "the table is named", 30)


@test(tables=T)
def settings_of_the_database(c):
    """ALTER DATABASE / ROLE SET reaches every session: formats must not change what travels"""
    for r in c:
        r.kill()
        for setting in ("datestyle = 'German, DMY'", "intervalstyle = 'sql_standard'", "extra_float_digits = 0", "bytea_output = 'escape'",
                        "timezone = 'Asia/Kathmandu'", "search_path = 'nowhere'", "statement_timeout = '200ms'" if r.name == "eu" else "lc_monetary = 'C'",
                        "default_transaction_isolation = 'serializable'"):
            r.sql(f"ALTER DATABASE {r.database} SET {setting}")
    c.tables("SET search_path = public; CREATE TABLE public.f (id int PRIMARY KEY, a date, b interval, c float8, d bytea, e timestamptz)")
    for r in c:
        r._sql.close()
        c.init(r.name)
    c.run()
    ask = "SELECT id, a::text, b::text, c::text, d::text, e::text FROM public.f"
    c.us.sql(r"SET datestyle = ISO; INSERT INTO public.f VALUES (1, '2024-02-01', '-1 mon +2 days 03:04:05', 0.1::float8 + 0.2, '\x00ff5c', '2024-02-01 12:00+00')")
    until(lambda: c.eu.sql("SELECT 1 FROM public.f"), "the row")
    for r in c:
        r.sql("SET datestyle = ISO; SET intervalstyle = postgres; SET extra_float_digits = 1; SET bytea_output = hex; SET timezone = 'UTC'")
    assert c.us.sql(ask) == c.eu.sql(ask) == [(1, "2024-02-01", "-1 mons +2 days 03:04:05", "0.30000000000000004", "\\x00ff5c", "2024-02-01 12:00:00+00")], c.eu.sql(ask)
