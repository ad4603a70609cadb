"""A table for each rule of conflict, and what must hold of all of them at rest."""
from harness.wait import until

TABLES = """
CREATE TABLE public.gt (id int PRIMARY KEY, v int, note text);
CREATE TABLE public.ls (id int PRIMARY KEY, v numeric, note text);
CREATE TABLE public.fw (id int PRIMARY KEY, note text);
CREATE TABLE public.pr (id int PRIMARY KEY, note text);
CREATE TABLE public.gd (id int PRIMARY KEY, v int, note text);
CREATE TABLE public.dl (id int PRIMARY KEY, n int NOT NULL, m numeric(12,2), note text);
CREATE TABLE public.gc (id int PRIMARY KEY, hi int, lo text COLLATE "C", note text);
CREATE TABLE public.un (id int PRIMARY KEY, items text[], tags jsonb, note text);
CREATE TABLE public.cm (id int PRIMARY KEY, a int, b int, c text);
CREATE TABLE public.tm (id int PRIMARY KEY, body text, note text);
CREATE TABLE public.jm (id int PRIMARY KEY, doc jsonb, note text);
CREATE TABLE public.mn (id int PRIMARY KEY, note text);
"""
# one transaction in a group: else it would bear the time of a later one that was waiting with it
ALONE = {"max_rows": 1}
RULES = {"group": ALONE, "conflicts": {"tables": {
    "public.gt": {"resolver": "greatest", "by": "v"},
    "public.ls": {"resolver": "least", "by": "v"},
    "public.fw": {"resolver": "first_write_wins"},
    "public.pr": {"resolver": "region_priority", "order": ["eu", "us"]},
    "public.gd": {"resolver": "greatest", "by": "v", "delete": "delete_wins"},
    "public.dl": {"columns": {"n": "delta", "m": "delta"}},
    "public.gc": {"columns": {"hi": "greatest", "lo": "least"}},
    "public.un": {"columns": {"items": "union", "tags": "union"}},
    "public.cm": {"resolver": "column_merge"},
    "public.tm": {"columns": {"body": "text_merge"}},
    "public.jm": {"columns": {"doc": "json_merge"}},
    "public.mn": {"resolver": "manual"},
}}}
NAMES = [line.split()[2].removeprefix("public.") for line in TABLES.strip().splitlines()]


def same_everywhere(c, tables=NAMES):
    for t in tables:
        c.converged(f"SELECT * FROM {t} ORDER BY id")


def nothing_kept(c, tables=None):
    """At rest everything becomes stable: no siblings (but the queue of manual), no contributions, no tombstones are left."""
    for r in c:
        def look(r=r):
            left = r.sql("SELECT 'sibling', rel, key::text, rule FROM pangea.sibling WHERE rule NOT LIKE 'manual%%' "
                         "UNION ALL SELECT 'column_dot', rel, key::text, col FROM pangea.column_dot "
                         "UNION ALL SELECT 'tombstone', rel, key::text, region FROM pangea.tombstone".replace("%%", "%"))
            return not left or (False, left[:5])
        until(look, f"{r.name} has forgotten what is stable", 30)
