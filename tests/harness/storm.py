"""A storm of conflicts under every rule, with an oracle from the clients' journals.

Clients in every region write the same few keys of a table for each rule, all kinds at once: inserts, updates, deletes, key changes, several tables in
one transaction. Each version bears a name of its own in `v`, and its client notes which version it saw and replaced (the row was locked when it
looked). At rest, in every region:

- all tables are the same;
- every acknowledged version stands, or was overwritten by somebody who saw it, or is recorded in pangea.conflict;
- no version stands that an acknowledged write had seen and replaced (a later write is never lost to an earlier one);
- bank: transfers between accounts with `balance: delta` keep the sum; counters are exact; a set with `union` has lost no element;
- at no time an answer is visible before its question."""
import random
import threading

import psycopg2
import psycopg2.extras

KEYS = 10
# table, rule, does a client delete rows
TABLES = [("s_lww", None, True), ("s_first", {"resolver": "first_write_wins"}, True), ("s_prio", {"resolver": "region_priority", "order": ["eu", "us"]}, True),
          ("s_great", {"resolver": "greatest", "by": "n"}, True), ("s_least", {"resolver": "least", "by": "n", "delete": "delete_wins"}, True),
          ("s_manual", {"resolver": "manual"}, True), ("s_delta", {"columns": {"n": "delta"}}, True), ("s_column", {"resolver": "column_merge"}, True),
          ("s_set", {"columns": {"tags": "union"}}, True), ("s_json", {"columns": {"j": "json_merge"}}, True),
          ("s_text", {"columns": {"t": "text_merge"}}, True), ("s_unique", None, True)]
ROW = "id int PRIMARY KEY, v text NOT NULL, n int NOT NULL DEFAULT 0, tags text[], j jsonb, t text"
SQL = "".join(f"CREATE TABLE public.{t} ({ROW}{', u int UNIQUE' if t == 's_unique' else ''});" for t, _, _ in TABLES) + """
CREATE TABLE public.account (id int PRIMARY KEY, balance numeric(14,2) NOT NULL);
CREATE TABLE public.counter (id int PRIMARY KEY, n bigint NOT NULL);
CREATE TABLE public.members (id int PRIMARY KEY, names text[] NOT NULL);
CREATE TABLE public.question (id text PRIMARY KEY);
CREATE TABLE public.answer (id text PRIMARY KEY);
INSERT INTO public.account SELECT i, 1000 FROM generate_series(1, 10) i;
INSERT INTO public.counter SELECT i, 0 FROM generate_series(1, 3) i;
INSERT INTO public.members SELECT i, '{}' FROM generate_series(1, 3) i
"""
RULES = {f"public.{t}": r for t, r, _ in TABLES if r}
RULES.update({"public.account": {"columns": {"balance": "delta"}}, "public.counter": {"columns": {"n": "delta"}}, "public.members": {"columns": {"names": "union"}}})
TOPOLOGY = {"conflicts": {"tables": RULES}}


class Doubt(Exception):
    """The connection was lost while it committed."""


class Storm:
    def __init__(self, cluster, seed=1, clients=2, pause=0.01, tables=None):
        self.cluster, self.seed, self.pause = cluster, seed, pause
        self.tables = [t for t in TABLES if tables is None or t[0] in tables]
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.done, self.errors, self.early = 0, [], []
        self.versions = {}    # (table, name) -> "sure" or "maybe"
        self.replaced = {}    # (table, name of what was seen and overwritten or deleted) -> "sure" or "maybe"
        self.counted = {}     # counter -> [sure, maybe]
        self.members = {}     # (row, element) -> "sure" or "maybe"
        self.threads = [threading.Thread(target=self.client, args=(r, f"{r.name}{k}"), daemon=True) for r in cluster.leaders for k in range(clients)]
        self.threads += [threading.Thread(target=self.reader, args=(r,), daemon=True) for r in cluster]
        cluster.loads.append(self)

    def start(self):
        for t in self.threads:
            t.start()
        return self

    def stop(self):
        if self in self.cluster.loads:
            self.cluster.loads.remove(self)
        self.ending.set()
        for t in self.threads:
            if t.is_alive():
                t.join(60)
        assert not self.errors, self.errors[:3]
        assert not self.early, f"answers before their questions: {self.early[:3]}"

    # ---- one client ----
    def client(self, region, me):
        rng, connection, number = random.Random(f"{self.seed}/{me}"), None, 0
        kinds = [self.write] * 10 + [self.transfer] * 3 + [self.count, self.join, self.ask, self.reply]
        while not self.ending.is_set():
            number += 1
            notes, committing = [], False
            try:
                if connection is None:
                    connection = region.connect()
                    connection.autocommit = False
                cursor = connection.cursor()
                for k in range(rng.choice((1, 1, 1, 2))):
                    rng.choice(kinds)(cursor, rng, f"{me}-{number}.{k}", notes)
                committing = True
                connection.commit()
            except psycopg2.Error as e:
                if committing and (connection.closed or e.pgcode is None or e.pgcode[:2] in ("57", "08")):
                    self.note(notes, "maybe")
                # two clients of one region may meet: unique keys, deadlocks, lock time-outs
                elif e.pgcode is not None and e.pgcode[:2] not in ("40", "55", "57", "53", "08") and e.pgcode not in ("23505",):
                    self.errors.append(f"{region.name}: {e}")
                    return
                try:
                    if connection is not None and not connection.closed:
                        connection.rollback()
                        continue
                except psycopg2.Error:
                    pass
                connection = None
                self.ending.wait(0.05)
                continue
            self.note(notes, "sure")
            self.ending.wait(self.pause * rng.random() * 2)
        if connection is not None:
            connection.close()

    def note(self, notes, how):
        with self.lock:
            self.done += how == "sure"
            for kind, *what in notes:
                if kind == "version":
                    self.versions[tuple(what)] = how
                elif kind == "replaced":
                    if self.replaced.get(tuple(what)) != "sure":
                        self.replaced[tuple(what)] = how
                elif kind == "count":
                    self.counted.setdefault(what[0], [0, 0])[how == "maybe"] += what[1]
                else:
                    self.members[tuple(what)] = how

    # ---- what a transaction does ----
    def write(self, cursor, rng, name, notes):
        table, _, deletes = rng.choice(self.tables)
        key = rng.randrange(KEYS)
        cursor.execute(f"SELECT v, tags, j, t FROM {table} WHERE id = %s FOR UPDATE", (key,))
        seen = cursor.fetchone()
        if seen:
            notes.append(("replaced", table, seen[0]))
        if seen and deletes and rng.random() < 0.15:
            cursor.execute(f"DELETE FROM {table} WHERE id = %s", (key,))
            return
        notes.append(("version", table, name))
        tags, j, text = (seen[1] or [], seen[2] or {}, seen[3]) if seen else ([], {}, "one\ntwo\nthree\n")
        tags = [t for t in tags if rng.random() < 0.8][-20:] + [name]
        j = {k: v for k, v in j.items() if rng.random() < 0.9}
        j[rng.choice("abcdef")] = name
        lines = (text or "").split("\n")[:8]
        lines[rng.randrange(len(lines))] = name
        row = (name, rng.randrange(1000), tags, psycopg2.extras.Json(j), "\n".join(lines))
        unique = f", u = {rng.randrange(6)}" if table == "s_unique" and rng.random() < 0.7 else ""
        if not seen:
            cursor.execute(f"INSERT INTO {table} (v, n, tags, j, t, id{', u' if unique else ''}) VALUES (%s, %s, %s, %s, %s, %s{',' + unique.split('=')[1] if unique else ''})",
                           (*row, key))
        elif rng.random() < 0.1:  # a key change: the row goes under another key, if nothing stands there
            other = rng.randrange(KEYS)
            cursor.execute(f"SELECT 1 FROM {table} WHERE id = %s", (other,))
            if other != key and not cursor.fetchone():
                cursor.execute(f"UPDATE {table} SET v = %s, n = %s, tags = %s, j = %s, t = %s, id = %s WHERE id = %s", (*row, other, key))
            else:
                cursor.execute(f"UPDATE {table} SET v = %s{unique} WHERE id = %s", (name, key))
        elif rng.random() < 0.5:
            cursor.execute(f"UPDATE {table} SET v = %s, n = n + %s{unique} WHERE id = %s", (name, rng.randrange(-5, 6), key))
        else:
            cursor.execute(f"UPDATE {table} SET v = %s, n = %s, tags = %s, j = %s, t = %s{unique} WHERE id = %s", (*row, key))

    def transfer(self, cursor, rng, name, notes):
        a, b = rng.sample(range(1, 11), 2)
        amount = rng.randrange(1, 10000) / 100
        for i, sign in sorted(((a, -1), (b, 1))):
            cursor.execute("UPDATE account SET balance = balance + %s WHERE id = %s", (round(sign * amount, 2), i))

    def count(self, cursor, rng, name, notes):
        i, n = rng.randrange(1, 4), rng.randrange(1, 10)
        cursor.execute("UPDATE counter SET n = n + %s WHERE id = %s", (n, i))
        notes.append(("count", i, n))

    def join(self, cursor, rng, name, notes):
        i = rng.randrange(1, 4)
        cursor.execute("UPDATE members SET names = array_append(names, %s) WHERE id = %s", (name, i))
        notes.append(("member", i, name))

    def ask(self, cursor, rng, name, notes):
        cursor.execute("INSERT INTO question VALUES (%s)", (name,))

    def reply(self, cursor, rng, name, notes):
        cursor.execute("SELECT q.id FROM question q WHERE NOT EXISTS (SELECT FROM answer a WHERE a.id = q.id) ORDER BY random() LIMIT 1")
        found = cursor.fetchone()
        if found:
            cursor.execute("INSERT INTO answer VALUES (%s) ON CONFLICT DO NOTHING", found)

    def reader(self, region):
        connection = None
        while not self.ending.wait(0.05):
            try:
                connection = connection or region.connect()
                cursor = connection.cursor()
                cursor.execute("SELECT a.id FROM answer a WHERE NOT EXISTS (SELECT FROM question q WHERE q.id = a.id)")
                self.early += [f"{region.name}: {row[0]}" for row in cursor.fetchall()]
            except psycopg2.Error:
                connection = None

    # ---- the oracle ----
    def check(self, cluster, limit=60):
        for t, _, _ in self.tables:
            cluster.converged(f"SELECT * FROM {t} ORDER BY id", limit)
        for t in ("account", "counter", "members", "question", "answer"):
            cluster.converged(f"SELECT * FROM {t} ORDER BY id", limit)
        first = next(iter(cluster))
        assert first.value("SELECT sum(balance) FROM account") == 10000, f"the bank has {first.value('SELECT sum(balance) FROM account')}, not 10000"
        for i, (sure, maybe) in self.counted.items():
            n = first.value("SELECT n FROM counter WHERE id = %s", i)
            assert sure <= n <= sure + maybe, f"counter {i} is {n}, acknowledged {sure}, unknown {maybe}"
        for i in range(1, 4):
            there = first.value("SELECT names FROM members WHERE id = %s", i)
            assert len(there) == len(set(there)), f"members {i}: an element twice"
            lost = [m for (row, m), how in self.members.items() if row == i and how == "sure" and m not in there]
            assert not lost, f"members {i}: {len(lost)} elements lost, such as {lost[:3]}"
        for t, _, _ in self.tables:
            self.check_versions(cluster, t)
        return len(self.versions)

    def check_versions(self, cluster, table):
        standing = {row[0] for row in next(iter(cluster)).sql(f"SELECT v FROM {table}")}
        waiting = {row[0] for r in cluster for row in r.sql("SELECT image->>'v' FROM pangea.suppressed WHERE rel = %s", f"public.{table}")}
        recorded = {row[0] for r in cluster for row in r.sql("SELECT image->>'v' FROM pangea.conflict WHERE rel = %s AND image IS NOT NULL", f"public.{table}")}
        mine = {n: how for (t, n), how in self.versions.items() if t == table}
        vanished = [n for n, how in mine.items() if how == "sure" and n not in standing | waiting | recorded and (table, n) not in self.replaced]
        assert not vanished, f"{table}: {len(vanished)} versions neither stand nor were seen nor are recorded, such as {vanished[:5]}"
        undead = [n for n in standing if self.replaced.get((table, n)) == "sure"]
        assert not undead, f"{table}: {undead[:5]} stand, though later writes that were acknowledged had seen and replaced them"
        nowhere = [n for n in standing if n not in mine]
        assert not nowhere, f"{table}: {nowhere[:5]} stand, and nobody wrote them"
