"""The pages of docs/ that show commands: every command is run, in the page's order, and prints what the page says."""
import os
import re

from harness.book import Page, agrees, blocks, not_run
from harness.case import test
from harness.servers import ROOT

DOCS = os.path.join(ROOT, "docs")
REGIONS = ("us", "eu", "ap")


def page(c, name):
    """The page's world: a PostgreSQL for each region, with an empty database `shop` and the application's role; one Kafka for all."""
    servers = {r: c.servers.new_postgres() for r in REGIONS}
    c.own += servers.values()
    kafka = c.servers.kafka.brokers
    names, sql = {}, {}
    for r, server in servers.items():
        admin = server.connect("postgres")
        for statement in ("DROP ROLE pangea", "CREATE DATABASE shop OWNER app"):  # the page makes the role
            admin.cursor().execute(statement)
        admin.close()
        names[f"host=pg.{r} "] = f"host=127.0.0.1 port={server.port} "
        names[f"kafka.{r}:9092"] = kafka
        sql[r] = lambda text, server=server: server.connect("shop").cursor().execute(text)
    folder = os.path.join(c.folder, "page")
    os.makedirs(folder)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PANGEA_")}
    environment.update(PATH=f"{os.path.dirname(c.pangea)}:{os.environ['PATH']}", PSQL_PAGER="", PGOPTIONS="", HOME=folder)
    return Page(os.path.join(DOCS, name), folder, environment, names, sql)


def run(c, name):
    p = page(c, name)
    try:
        assert p.run() > 0, f"{name} shows no command"
    finally:
        p.shell.close()


@test(init=False, regions=(), limit=150)
def start(c):
    """docs/start.md: what a new operator types"""
    run(c, "start.md")


@test(init=False, regions=())
def every_command_is_run(c):
    """a page that shows a command which no test runs"""
    run_here = {"start.md"}
    printed = {"commands.md", "errors.md", "topology.md", "metrics.md"}  # from tables, held by unit tests
    found = []
    for name in sorted(n for n in os.listdir(DOCS) if n.endswith(".md") and n not in printed):
        with open(os.path.join(DOCS, name)) as f:
            text = f.read()
        found += [f"{name}: {fault}" for fault in not_run(text)]
        if name not in run_here and any(b.kind == "console" for b in blocks(text)):
            found.append(f"{name} has console blocks and no test here")
    assert not found, "\n".join(found)


def pages():
    """(name, text) of every page of the tree."""
    files = [os.path.join(folder, f) for folder, _, names in os.walk(ROOT) if not re.search(r"/(build|\.\w+|node_modules)(/|$)", folder[len(ROOT):])
             for f in names if f.endswith(".md")]
    assert len(files) > 20
    for file in sorted(files):
        with open(file) as f:
            yield os.path.relpath(file, ROOT), f.read()


@test(init=False, regions=())
def what_is_named_is_there(c):
    """a command or an option that a page names and the program does not have"""
    helps = {}

    def known(command):
        if command not in helps:
            code, out, _ = c.command("help", command, check=None)
            helps[command] = out if code == 0 else None
        return helps[command]
    found, seen = [], 0
    for name, text in pages():
        for span in re.findall(r"`pangea ([a-z][^`]*)`", text):
            command, *rest = span.split()
            seen += 1
            if known(command) is None:
                found.append(f"{name}: `pangea {span}`: there is no such command")
                continue
            found += [f"{name}: `pangea {span}`: {command} has no {option}" for option in re.findall(r"--[a-z-]+", " ".join(rest)) if option not in known(command)]
    assert seen > 50 and not found, "\n".join(found) or f"only {seen} commands were found"


@test(init=False, regions=())
def links_lead_somewhere(c):
    """a link in docs/ or a README to a file or a heading that is not there"""
    def anchors(text):
        heads = re.findall(r"(?m)^#+ (.*)$", re.sub(r"(?ms)^```.*?^```", "", text))
        return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}
    found = []
    for name, text in pages():
        file = os.path.join(ROOT, name)
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"(?ms)^```.*?^```|`[^`\n]*`", "", text)):
            if re.match(r"(https?|mailto):", target):
                continue
            path, _, anchor = target.partition("#")
            there = os.path.normpath(os.path.join(os.path.dirname(file), path)) if path else file
            if not os.path.exists(there):
                found.append(f"{name}: {target} is not there")
            elif anchor and there.endswith(".md"):
                with open(there) as f:
                    if anchor not in anchors(f.read()):
                        found.append(f"{name}: {target}: no such heading")
    assert not found, "\n".join(found)


PRINTED = (
    ("the same", ["a b"], "a b\n", True),
    ("gaps do not count", ["a b"], "a     b   \n", True),
    ("another word", ["a b"], "a c\n", False),
    ("a line more", ["a"], "a\nb\n", False),
    ("a line less", ["a", "b"], "a\n", False),
    ("any text", ["a .. c"], "a b b c\n", True),
    ("any text within a word", ["(.. s)", "x..z"], "(0.1 s)\nxyz\n", True),
    ("any lines", ["a", "..", "c"], "a\nb\nb\nc\n", True),
    ("any lines, but the last", ["a", "..", "c"], "a\nb\nb\n", False),
    ("a regular expression is none", ["a.c"], "abc\n", False),
)


@test(init=False, regions=(), cases=PRINTED)
def patterns(c, case):
    """a comparison that lets everything pass"""
    why, lines, printed, want = case
    assert agrees(lines, printed) == want, why
