"""Rules that need the siblings, and a transaction larger than a record: its chunks are one version of each row, in the region that wrote it too."""
from harness.apart import apart, published
from harness.case import test
from harness.wait import same, until

TABLES = """
CREATE TABLE public.tm (id int PRIMARY KEY, body text, note text);
CREATE TABLE public.un (id int PRIMARY KEY, items text[]);
CREATE TABLE public.filler (id serial PRIMARY KEY, pad text);
"""
RULES = {"conflicts": {"tables": {"public.tm": {"columns": {"body": "text_merge"}}, "public.un": {"columns": {"items": "union"}}}}}
FILL = "INSERT INTO filler (pad) SELECT repeat(md5(g::text), 64) FROM generate_series(1, 1500) g; "  # 3 MB


@test(tables=TABLES, topology=RULES, limit=90)
def text_goes_on(c):
    """text_merge: what a transaction made of a row in its last chunk is what is merged, with the row that its first chunk found"""
    c.us.app(r"INSERT INTO tm SELECT i, E'a\nb\nc\n', 'old' FROM generate_series(1, 2) i")
    c.barrier()
    apart(c, [("eu", r"UPDATE tm SET body = E'first\nb\nc\n', note = 'first'; INSERT INTO tm VALUES (3, E'a\nb\nc\n', 'new'); " + FILL +
               r"UPDATE tm SET body = E'eu\nb\nc\n', note = 'eu' WHERE id IN (1, 3); DELETE FROM tm WHERE id = 2; INSERT INTO tm VALUES (2, E'anew\nb\nc\n', 'eu')"),
              ("us", r"UPDATE tm SET body = E'a\nb\nus\n' WHERE id < 3; INSERT INTO tm VALUES (3, E'a\nb\nus\n', 'us')")], order=["eu", "us"])
    c.converged("SELECT * FROM tm ORDER BY id")
    c.expect("SELECT body FROM tm WHERE id = 1", [("eu\nb\nus\n",)])


@test(tables=TABLES, topology=RULES, regions=("us", "eu", "ap"), limit=120)
def taken_in_once(c):
    """union: an element of a later chunk that another region has removed must not come back when its own region's apply starts again"""
    c.us.app("INSERT INTO un VALUES (1, '{a}')")
    c.barrier()
    c.us.kill()  # as long as it says nothing, nothing is stable
    c.eu.app(FILL + "UPDATE un SET items = items || 'x'::text WHERE id = 1")
    c.expect("SELECT items FROM un", [(["a", "x"],)], regions=("eu", "ap"))
    c.ap.app("UPDATE un SET items = array_remove(items, 'x') WHERE id = 1")
    c.expect("SELECT items FROM un", [(["a"],)], regions=("eu",))
    read = c.eu.status("apply")["own_log"]["processed_hlc"]
    c.eu.kill()
    c.eu.run()
    until(lambda: c.eu.status("apply")["own_log"]["processed_hlc"] >= read or (False, c.eu.status("apply")["own_log"]), "eu has read its own log again", 30)
    for r in (c.eu, c.ap):
        r.kill()
    c.eu.app("UPDATE un SET items = items || 'y'::text WHERE id = 1")
    c.ap.app("UPDATE un SET items = items || 'z'::text WHERE id = 1")
    for r in c:
        r.run()
    for r in (c.eu, c.ap):
        published(r)
    c.barrier()
    for r in c:
        same(lambda r=r: sorted(r.value("SELECT items FROM un")), ["a", "y", "z"], f"{r.name}: what is in the set", 20)
    c.converged("SELECT * FROM un")
