"""Writers with a journal: what was acknowledged must be there once, what failed unseen may be there once, what was refused never."""
import io
import itertools
import os
import random
import threading

import psycopg2

from harness.wait import until


class Effect:
    """What one transaction will have done to the ledger and to its writer's counter when it is committed."""

    def __init__(self, numbers):
        self.numbers = numbers
        self.rows, self.gone, self.count = [], [], 0
        self.void = False  # it is rolled back instead

    def insert(self):
        self.rows.append(next(self.numbers))
        return self.rows[-1]

    def delete(self, row):
        self.gone.append(row)


class Load:
    """Clients in each region. Each transaction inserts one ledger row (a key of its own: it must survive), adds to a counter that only its
    region writes, moves a hot row that all regions write, and now and then deletes one of its own rows."""

    TABLES = """
    CREATE TABLE public.ledger (id bigint PRIMARY KEY, writer text NOT NULL, n int NOT NULL, pad text);
    CREATE TABLE public.counter (id int PRIMARY KEY, n bigint NOT NULL);
    CREATE TABLE public.hot (id int PRIMARY KEY, v text);
    """
    made = 0

    def __init__(self, cluster, seed=1, clients=2, pause=0.01):
        Load.made += 1
        self.cluster, self.seed, self.pause = cluster, seed, pause
        self.round = Load.made
        self.done, self.started = 0, False
        self.ending = threading.Event()
        self.threads = []
        # id of a ledger row -> "sure" (acknowledged), "maybe" (connection lost at COMMIT); deleted rows: gone surely or maybe
        self.rows, self.gone = {}, {}
        self.counters = {}
        self.lock = threading.Lock()
        self.errors = []
        cluster.loads.append(self)
        self.journal = open(os.path.join(cluster.folder, f"journal-{self.round}"), "w")
        for ri, r in enumerate(cluster.leaders):
            for k in range(clients):
                w = (ri * 16 + k) + 256 * self.round
                self.threads.append(threading.Thread(target=self.client, args=(r, w), daemon=True))

    def start(self):
        self.started = True
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

    def goes_on(self, n, limit=30):
        """So many more are acknowledged."""
        want = self.done + n
        until(lambda: self.done >= want or (False, f"{self.done} of {want}"), "the writers go on", limit)

    def note(self, text):
        """On disk before the client believes it."""
        with self.lock:
            self.journal.write(text + "\n")
            self.journal.flush()
            os.fdatasync(self.journal.fileno())

    def statements(self, cursor, rng, w, region, mine, effect):
        """What one transaction does; effect takes what it will have done."""
        row = effect.insert()
        if mine and rng.random() < 0.2:
            effect.delete(mine.pop(rng.randrange(len(mine))))
        cursor.execute("INSERT INTO ledger VALUES (%s, %s, %s, repeat('p', %s))", (row, region.name, row % 1000000, rng.randrange(200)))
        cursor.execute("INSERT INTO counter VALUES (%s, 1) ON CONFLICT (id) DO UPDATE SET n = counter.n + 1", (w,))
        effect.count += 1
        hot = rng.randrange(5)
        if rng.random() < 0.1:
            cursor.execute("DELETE FROM hot WHERE id = %s", (hot,))
        else:
            cursor.execute("INSERT INTO hot VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", (hot, f"{w}/{row}"))
        for victim in effect.gone:
            cursor.execute("DELETE FROM ledger WHERE id = %s", (victim,))

    def became(self, w, effect, how):
        """How it ended: "sure" or "maybe", on disk first."""
        self.note(f"{how} {effect.rows} {effect.gone}")
        self.counters[w][how == "maybe"] += effect.count
        self.rows.update({i: how for i in effect.rows})
        self.gone.update({i: how for i in effect.gone})

    def client(self, region, w):
        rng = random.Random(f"{self.seed}/{w}")
        connection, numbers = None, itertools.count(w * 1000000 + 1)
        mine, self.counters[w] = [], [0, 0]
        while not self.ending.is_set():
            effect, committing = Effect(numbers), False
            try:
                if connection is None:
                    connection = region.connect()
                    connection.autocommit = False
                self.statements(connection.cursor(), rng, w, region, mine, effect)
                if effect.void:
                    connection.rollback()
                    mine += effect.gone
                    continue
                committing = True
                connection.commit()
            except psycopg2.Error as e:
                if committing and (connection.closed or e.pgcode is None or e.pgcode[:2] in ("57", "08")):
                    self.became(w, effect, "maybe")
                else:
                    mine += effect.gone
                if e.pgcode is not None and e.pgcode[:2] not in ("40", "55", "57", "53", "08"):
                    self.errors.append(f"{region.name}: {e}")
                    return
                try:
                    if connection is not None and not connection.closed:
                        connection.rollback()
                        continue
                except psycopg2.Error:
                    pass
                connection = None
                self.ending.wait(0.05)  # the server is away; ending wakes it
                continue
            self.became(w, effect, "sure")
            mine += effect.rows
            self.done += 1
            self.ending.wait(self.pause)
        if connection is not None:
            connection.close()

    def check(self, cluster):
        """The journal against every region: nothing acknowledged is lost, nothing deleted is back, nothing is there twice or from nowhere."""
        low, high = 256 * self.round * 1000000, 256 * (self.round + 1) * 1000000
        for r in cluster:
            there = {row[0] for row in r.sql("SELECT id FROM ledger WHERE id >= %s AND id < %s", low, high)}
            lost = [i for i, how in self.rows.items() if how == "sure" and i not in there and i not in self.gone]
            back = [i for i, how in self.gone.items() if how == "sure" and i in there]
            nowhere = [i for i in there if i not in self.rows]
            assert not lost, f"{r.name}: {len(lost)} acknowledged rows lost, such as {lost[:5]}"
            assert not back, f"{r.name}: {len(back)} deleted rows are there, such as {back[:5]}"
            assert not nowhere, f"{r.name}: {len(nowhere)} rows nobody wrote, such as {nowhere[:5]}"
            counters = dict(r.sql("SELECT id, n FROM counter WHERE id = ANY(%s)", list(self.counters)))
            for w, (sure, maybe) in self.counters.items():
                n = counters.get(w, 0)
                assert sure <= n <= sure + maybe, f"{r.name}: counter {w} is {n}, acknowledged {sure}, unknown {maybe}: lost or doubled"
        return len(self.rows)


class Mixed(Load):
    """The same tables and the same journal, with everything a transaction may hold; the seed says which statements, how often, in which order."""

    def __init__(self, cluster, seed=1, **kw):
        rng = random.Random(f"mix/{seed}")
        kinds = (self.one, self.many, self.copied, self.counted, self.hot, self.hot_rows, self.unhot, self.deleted, self.moved, self.touched,
                 self.undone, self.caught, self.kept)
        self.kinds = [k for k in kinds for _ in range(rng.choice((0, 1, 1, 2, 4)))] or [self.one]
        self.large = rng.choice((0, 0, 0.01, 0.03))  # how many transactions are larger than a record
        super().__init__(cluster, seed, **kw)

    def statements(self, cursor, rng, w, region, mine, effect):
        for kind in rng.choices(self.kinds, k=rng.choice((1, 1, 2, 3, 5))):
            kind(cursor, rng, w, region, mine, effect)
        if rng.random() < self.large:
            self.many(cursor, rng, w, region, mine, effect, 600)
        if not effect.rows and not effect.gone and not effect.count:
            self.counted(cursor, rng, w, region, mine, effect)
        effect.void = rng.random() < 0.04

    # ---- the kinds ----
    def one(self, cursor, rng, w, region, mine, effect):
        cursor.execute("INSERT INTO ledger VALUES (%s, %s, 1, repeat('p', %s))", (effect.insert(), region.name, rng.choice((0, 10, 200, 3000))))

    def many(self, cursor, rng, w, region, mine, effect, n=None):
        ids = [effect.insert() for _ in range(n or rng.randrange(2, 60))]
        cursor.execute("INSERT INTO ledger SELECT unnest(%s), %s, 2, repeat('p', 150)", (ids, region.name))

    def copied(self, cursor, rng, w, region, mine, effect):
        ids = [effect.insert() for _ in range(rng.randrange(1, 60))]
        cursor.copy_expert("COPY ledger FROM STDIN", io.StringIO("".join(f"{i}\t{region.name}\t3\t\\N\n" for i in ids)))

    def counted(self, cursor, rng, w, region, mine, effect):
        cursor.execute("INSERT INTO counter VALUES (%s, 1) ON CONFLICT (id) DO UPDATE SET n = counter.n + 1", (w,))
        effect.count += 1

    def hot(self, cursor, rng, w, region, mine, effect):
        cursor.execute("INSERT INTO hot VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", (rng.randrange(5), f"{w}/{rng.random()}"))

    def hot_rows(self, cursor, rng, w, region, mine, effect):
        for i in rng.sample(range(8), 3):  # in any order: deadlocks belong to it
            cursor.execute("UPDATE hot SET v = %s WHERE id = %s", (f"{w}/{rng.random()}", i))

    def unhot(self, cursor, rng, w, region, mine, effect):
        cursor.execute("DELETE FROM hot WHERE id = %s", (rng.randrange(8),))

    def deleted(self, cursor, rng, w, region, mine, effect):
        for _ in range(min(len(mine), rng.randrange(1, 4))):
            effect.delete(mine.pop(rng.randrange(len(mine))))
            cursor.execute("DELETE FROM ledger WHERE id = %s", (effect.gone[-1],))

    def moved(self, cursor, rng, w, region, mine, effect):
        if mine:
            effect.delete(mine.pop(rng.randrange(len(mine))))
            cursor.execute("UPDATE ledger SET id = %s WHERE id = %s", (effect.insert(), effect.gone[-1]))

    def touched(self, cursor, rng, w, region, mine, effect):
        if mine:
            ids = rng.sample(mine, min(len(mine), rng.randrange(1, 20)))
            cursor.execute("UPDATE ledger SET n = n + 1 WHERE id = ANY (%s)", (ids,))

    def undone(self, cursor, rng, w, region, mine, effect):
        cursor.execute("SAVEPOINT s; INSERT INTO ledger VALUES (%s, 'undone', 0, NULL); UPDATE hot SET v = 'undone'; ROLLBACK TO s", (next(effect.numbers),))

    def caught(self, cursor, rng, w, region, mine, effect):
        cursor.execute("DO $$ BEGIN INSERT INTO ledger VALUES (%s, 'caught', 0, NULL); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN "
                       "INSERT INTO ledger VALUES (%s, 'handler', 0, NULL); END $$", (next(effect.numbers), effect.insert()))

    def kept(self, cursor, rng, w, region, mine, effect):
        cursor.execute("SAVEPOINT k; INSERT INTO ledger VALUES (%s, 'kept', 0, NULL)", (effect.insert(),))
        if mine:
            cursor.execute("UPDATE ledger SET pad = 'sub' WHERE id = %s", (rng.choice(mine),))
        cursor.execute("RELEASE k")


def settled(c, load, limit=90, more=40):
    """Some more is written, writers end, everything arrives, the journal and the regions agree."""
    if load in c.loads:
        load.goes_on(more)
    load.stop()
    c.barrier(limit)
    load.check(c)
    c.verify(limit)
