"""Rules that need the siblings, under load: hot rows in all regions at once, with kills; sums are exact, no element is lost, all agree (C2, C5)."""
import os
import random
import threading

import psycopg2
import psycopg2.errors

from harness.case import test
from harness.rules import NAMES, RULES, TABLES, nothing_kept, same_everywhere
from harness.wait import until


@test(tables=TABLES, topology={"conflicts": RULES["conflicts"]}, regions=("us", "eu", "ap"), limit=240)
def storm(c):
    """counters, sets and maxima under load in three regions, with agents killed: sums are exact, no element is lost, all agree"""
    c.us.app("INSERT INTO dl SELECT i, 0, 0, 'old' FROM generate_series(1, 4) i; INSERT INTO un SELECT i, '{}', '[]', 'old' FROM generate_series(1, 4) i; "
             "INSERT INTO cm SELECT i, 0, 0, '' FROM generate_series(1, 4) i; INSERT INTO gt SELECT i, 0, 'old' FROM generate_series(1, 4) i")
    c.barrier()
    sums, elements, ending, troubles = {}, {}, threading.Event(), []

    def write(region, seed):
        rng, n = random.Random(seed), 0
        connection = region.connect()
        cursor = connection.cursor()
        while not ending.is_set() and n < 400:
            n += 1
            k, kind, amount = rng.randrange(1, 5), rng.random(), rng.randrange(-50, 100)
            try:
                if kind < 0.4:
                    cursor.execute("UPDATE dl SET n = n + %s, note = %s WHERE id = %s", (amount, region.name, k))
                    sums[region.name, k] = sums.get((region.name, k), 0) + amount
                elif kind < 0.6:
                    element = f"{region.name}-{n % 20}"
                    have = elements.setdefault((region.name, k), set())
                    if element in have:
                        cursor.execute("UPDATE un SET items = array_remove(items, %s) WHERE id = %s", (element, k))
                        have.discard(element)
                    else:
                        cursor.execute("UPDATE un SET items = items || %s::text WHERE id = %s AND NOT %s = ANY (items)", (element, k, element))
                        have.add(element)
                elif kind < 0.75:
                    cursor.execute(f"UPDATE cm SET {rng.choice('ab')} = %s WHERE id = %s", (amount, k))
                elif kind < 0.9:
                    cursor.execute("INSERT INTO gt VALUES (%s, %s, %s) ON CONFLICT (id) DO UPDATE SET v = excluded.v, note = excluded.note", (k, amount, region.name))
                else:
                    cursor.execute("DELETE FROM gt WHERE id = %s", (k,))
            except Exception as e:
                troubles.append(f"{region.name}: {e}")
                return

    writers = [threading.Thread(target=write, args=(r, i)) for i, r in enumerate(c)]
    for w in writers:
        w.start()
    for i, r in enumerate((c.eu, c.us, c.ap, c.eu)):
        before = r.origin("us" if r is not c.us else "eu").get("groups", 0)
        until(lambda r=r: r.origin("us" if r is not c.us else "eu").get("groups", 0) > before + 3 or not any(w.is_alive() for w in writers), f"{r.name} applies", 30)
        r.daemon.kill()
        r.run()
    for w in writers:
        w.join()
    assert not troubles, troubles
    c.barrier(60)
    same_everywhere(c)
    for k in range(1, 5):
        have, want = c.us.value("SELECT n FROM dl WHERE id = %s", k), sum(v for (_, key), v in sums.items() if key == k)
        assert have == want, f"counter {k}: {have}, all increments together: {want}"
        have, want = set(c.us.value("SELECT items FROM un WHERE id = %s", k)), set().union(*[v for (_, key), v in elements.items() if key == k])
        assert have == want, f"set {k}: too much {have - want}, lost {want - have}"
    nothing_kept(c)


@test(tables="CREATE TABLE public.dl (id int PRIMARY KEY, n int NOT NULL, m numeric(12,2), note text)", topology={"conflicts": {"tables": {"public.dl": {"columns": {"n": "delta"}}}}}, limit=120)
def hot_row(c):
    """a row that is written here all the time does not keep out what comes from there"""
    c.us.app("INSERT INTO dl VALUES (1, 0, 0, '')")
    c.barrier()
    ending, counts = threading.Event(), {"us": 0, "eu": 0}

    def write(region):
        connection = region.connect()
        cursor = connection.cursor()
        while not ending.is_set():
            cursor.execute("UPDATE dl SET n = n + 1")
            counts[region.name] += 1

    writers = [threading.Thread(target=write, args=(r,)) for r in c]
    for w in writers:
        w.start()
    try:
        for r, other in ((c.us, "eu"), (c.eu, "us")):
            before = r.origin(other).get("groups", 0)
            until(lambda r=r, other=other: r.origin(other).get("groups", 0) > before + 5 or (False, r.origin(other)), f"{r.name} gets on with {other}", 40)
    finally:
        ending.set()
        for w in writers:
            w.join()
    c.barrier(60)
    c.expect("SELECT n FROM dl", [(sum(counts.values()),)])


WILD = {
    "gt": ("INSERT INTO gt VALUES (%(k)s, %(n)s, %(t)s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", "UPDATE gt SET v = %(n)s, note = %(t)s WHERE id = %(k)s"),
    "ls": ("INSERT INTO ls VALUES (%(k)s, %(n)s, %(t)s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", "UPDATE ls SET v = NULLIF(%(n)s, 3), note = %(t)s WHERE id = %(k)s"),
    "fw": ("INSERT INTO fw VALUES (%(k)s, %(t)s) ON CONFLICT (id) DO UPDATE SET note = excluded.note", "UPDATE fw SET note = %(t)s WHERE id = %(k)s"),
    "pr": ("INSERT INTO pr VALUES (%(k)s, %(t)s) ON CONFLICT (id) DO UPDATE SET note = excluded.note", "UPDATE pr SET note = %(t)s WHERE id = %(k)s"),
    "gd": ("INSERT INTO gd VALUES (%(k)s, %(n)s, %(t)s) ON CONFLICT (id) DO UPDATE SET v = excluded.v", "UPDATE gd SET v = %(n)s, note = %(t)s WHERE id = %(k)s"),
    "dl": ("INSERT INTO dl VALUES (%(k)s, %(n)s, 0, %(t)s) ON CONFLICT (id) DO UPDATE SET n = dl.n + excluded.n", "UPDATE dl SET n = n + %(n)s, m = m - 0.25 WHERE id = %(k)s"),
    "gc": ("INSERT INTO gc VALUES (%(k)s, %(n)s, %(t)s, %(t)s) ON CONFLICT (id) DO UPDATE SET hi = excluded.hi", "UPDATE gc SET hi = %(n)s, lo = %(t)s WHERE id = %(k)s"),
    "un": ("INSERT INTO un VALUES (%(k)s, ARRAY[%(e)s], '[]', %(t)s) ON CONFLICT (id) DO UPDATE SET tags = un.tags || to_jsonb(%(n)s)",
           "UPDATE un SET items = CASE WHEN %(e)s = ANY (items) THEN array_remove(items, %(e)s) ELSE items || %(e)s::text END WHERE id = %(k)s"),
    "cm": ("INSERT INTO cm VALUES (%(k)s, %(n)s, %(n)s, %(t)s) ON CONFLICT (id) DO UPDATE SET a = excluded.a", "UPDATE cm SET b = %(n)s, c = %(t)s WHERE id = %(k)s"),
    "tm": ("INSERT INTO tm VALUES (%(k)s, E'1\\n2\\n3\\n4\\n', %(t)s) ON CONFLICT (id) DO UPDATE SET body = tm.body || %(t)s || E'\\n'",
           "UPDATE tm SET body = replace(body, %(e)s, %(t)s) WHERE id = %(k)s"),
    "jm": ("INSERT INTO jm VALUES (%(k)s, jsonb_build_object(%(e)s, %(n)s), %(t)s) ON CONFLICT (id) DO UPDATE SET doc = jm.doc || excluded.doc", "UPDATE jm SET doc = doc - %(e)s WHERE id = %(k)s"),
    "mn": ("INSERT INTO mn VALUES (%(k)s, %(t)s) ON CONFLICT (id) DO UPDATE SET note = excluded.note", "UPDATE mn SET note = %(t)s WHERE id = %(k)s"),
}


# PANGEA_RULES_SEEDS=100 tries that many, with longer histories
SEEDS = [(f"seed {i}", i) for i in range(1, 1 + int(os.environ.get("PANGEA_RULES_SEEDS", "2")))]


@test(tables=TABLES, topology={"conflicts": RULES["conflicts"]}, regions=("us", "eu", "ap"), cases=SEEDS, limit=360 + 60 * len(SEEDS))
def wild(c, case):
    """inserts, updates, deletes, moves of keys, TRUNCATE of a few hot keys under every rule in all regions at once, with kills: identical at rest"""
    troubles = []

    def write(region, seed):
        rng = random.Random(seed)
        connection = region.connect()
        connection.autocommit = False
        cursor = connection.cursor()
        for i in range(150 if len(SEEDS) < 3 else 500):
            try:
                for _ in range(rng.choice((1, 1, 1, 2, 4))):
                    t, kind = rng.choice(NAMES), rng.random()
                    values = {"k": rng.randrange(4), "n": rng.randrange(10), "t": f"{region.name}{i}", "e": rng.choice("1234xyz")}
                    if kind < 0.4:
                        cursor.execute(WILD[t][0], values)
                    elif kind < 0.8:
                        cursor.execute(WILD[t][1], values)
                    elif kind < 0.93:
                        cursor.execute(f"DELETE FROM {t} WHERE id = %(k)s", values)
                    elif kind < 0.99:
                        cursor.execute(f"UPDATE {t} SET id = %(n)s WHERE id = %(k)s AND NOT EXISTS (SELECT FROM {t} WHERE id = %(n)s)", values)
                    else:
                        cursor.execute(f"TRUNCATE {t}")
                connection.commit()
            except (psycopg2.errors.DeadlockDetected, psycopg2.errors.LockNotAvailable, psycopg2.errors.UniqueViolation):
                connection.rollback()  # another writer or apply was in the way
            except Exception as e:
                troubles.append(f"{region.name}: {e}")
                return

    writers = [threading.Thread(target=write, args=(r, case[1] * 100 + i)) for i, r in enumerate(c)]
    for w in writers:
        w.start()
    rng = random.Random(case[1])
    for _ in range(5):
        r = rng.choice(list(c))
        other = "us" if r is not c.us else "eu"
        before = r.origin(other).get("groups", 0)
        until(lambda: r.origin(other).get("groups", 0) > before + 2 or not any(w.is_alive() for w in writers), f"{r.name} applies", 30)
        r.daemon.kill()
        r.run()
    for w in writers:
        w.join()
    assert not troubles, troubles
    c.barrier(90)
    same_everywhere(c)
    nothing_kept(c)
