"""Writers with a journal: what was acknowledged must be there once, what failed unseen may be there once, what was refused never."""
import os
import random
import threading

import psycopg2


class Load:
    """Clients in each region. Each transaction inserts one ledger row (a key of its own: it must survive), adds to a counter that only its
    region writes, moves a hot row that all regions write, and now and then deletes one of its own rows."""

    TABLES = """
    CREATE TABLE public.ledger (id bigint PRIMARY KEY, writer text NOT NULL, n int NOT NULL, pad text);
    CREATE TABLE public.counter (id int PRIMARY KEY, n bigint NOT NULL);
    CREATE TABLE public.hot (id int PRIMARY KEY, v text);
    """
    made = 0

    def __init__(self, cluster, seed=1, clients=2, pause=0.002):
        Load.made += 1
        self.cluster, self.seed, self.pause = cluster, seed, pause
        self.round = Load.made
        self.done = 0
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

    def note(self, text):
        """On disk before the client believes it."""
        with self.lock:
            self.journal.write(text + "\n")
            self.journal.flush()
            os.fdatasync(self.journal.fileno())

    def client(self, region, w):
        rng = random.Random(f"{self.seed}/{w}")
        connection, n = None, 0
        mine, self.counters[w] = [], [0, 0]
        while not self.ending.is_set():
            n += 1
            row, victim = w * 1000000 + n, None
            if mine and rng.random() < 0.2:
                victim = mine.pop(rng.randrange(len(mine)))
            try:
                if connection is None:
                    connection = region.connect()
                    connection.autocommit = False
                committing = False
                cursor = connection.cursor()
                cursor.execute("INSERT INTO ledger VALUES (%s, %s, %s, repeat('p', %s))", (row, region.name, n, rng.randrange(200)))
                cursor.execute("INSERT INTO counter VALUES (%s, 1) ON CONFLICT (id) DO UPDATE SET n = counter.n + 1", (w,))
                hot = rng.randrange(5)
                if rng.random() < 0.1:
                    cursor.execute("DELETE FROM hot WHERE id = %s", (hot,))
                else:
                    cursor.execute("INSERT INTO hot VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", (hot, f"{w}/{n}"))
                if victim:
                    cursor.execute("DELETE FROM ledger WHERE id = %s", (victim,))
                committing = True
                connection.commit()
            except psycopg2.Error as e:
                if committing and (connection.closed or e.pgcode is None or e.pgcode[:2] in ("57", "08")):
                    self.rows[row] = "maybe"
                    self.counters[w][1] += 1
                    if victim:
                        self.gone[victim] = "maybe"
                    self.note(f"maybe {row} {victim or ''}")
                elif victim:
                    mine.append(victim)
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
            self.note(f"sure {row} {victim or ''}")
            self.rows[row] = "sure"
            self.counters[w][0] += 1
            mine.append(row)
            if victim:
                self.gone[victim] = "sure"
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
