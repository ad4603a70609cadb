"""The pages of docs/ that show commands: every command is run, in the page's order, and prints what the page says."""
import os
import re
import shlex
import subprocess

import yaml

from harness import foreign
from harness.book import Page, agrees, blocks, indented, not_run
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


@test(http=True, tables="CREATE TABLE public.t (id int PRIMARY KEY, v text)", own_postgres="one")
def operations(c):
    """docs/operations.md: what is typed when an alert has fired, against regions that run"""
    for r in c:
        r.listening()
    names = {"127.0.0.1:8300": c.us.http, "host=pg.us dbname=shop ": f"{c.us.postgres.conninfo(c.us.database, 'postgres').replace('user=postgres', '')} ",
             "cluster shop": f"cluster {c.name}"}
    environment = dict(os.environ, PATH=f"{os.path.dirname(c.pangea)}:{os.environ['PATH']}", PSQL_PAGER="", PANGEA_TOPOLOGY=c.topology_file)
    p = Page(os.path.join(DOCS, "operations.md"), c.folder, environment, names, {})
    try:
        assert p.run() > 5
    finally:
        p.shell.close()


@test(init=False, regions=())
def every_command_is_run(c):
    """a page that shows a command which no test runs"""
    run_here = {"start.md", "operations.md"}  # and deploy/systemd/README.md by deb_check.py
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


BASE = {"version": 1, "cluster": "shop", "regions": {r: {"postgres": {"conninfo": f"host=pg.{r} dbname=shop user=pangea"},
                                                         "kafka": {"brokers": [f"kafka.{r}:9092"]}} for r in REGIONS}}


def merged(base, part):
    """The part of a topology within a whole one."""
    if isinstance(base, dict) and isinstance(part, dict):
        return {k: merged(base.get(k), part[k]) if k in part else base[k] for k in {**base, **part}}
    return part


@test(init=False, regions=())
def examples_are_valid(c):
    """a part of a topology that a page shows and the program refuses"""
    found, seen = [], 0
    for name, text in pages():
        for b in blocks(text):
            if b.kind != "yaml" or b.words or not name.startswith("docs/"):
                continue
            seen += 1
            file = os.path.join(c.folder, "topology.yaml")
            with open(file, "w") as f:
                yaml.safe_dump(merged(BASE, yaml.safe_load(b.text)), f, sort_keys=False)
            code, _, err = c.command("validate", file, check=None)
            if code:
                found.append(f"{name}:{b.line}: {err}")
    assert seen > 3 and not found, "\n".join(found) or f"only {seen} were found"


REFUSED = re.compile(r"^pangea: (unknown_command|unknown_option|option_not_here|value_missing|bad_value|word_too_many): .*", re.M)


def refused(c, command):
    """What the program's own command line has against this one; None: nothing. There is no topology, so nothing is done."""
    done = subprocess.run([c.pangea, *shlex.split(command)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          cwd=c.folder, env={**os.environ, "PANGEA_TOPOLOGY": os.path.join(c.folder, "none.yaml")}, timeout=20)
    said = REFUSED.search(done.stderr)
    return said.group(0) if said else None


@test(init=False, regions=())
def what_is_named_is_there(c):
    """a command, an option or a value that a page names within its text, or in a block that no test runs, and that the program does not take"""
    found, seen, asked = [], 0, {}
    for name, text in pages():
        spans = re.findall(r"`pangea ([a-z][^`]*)`", text) + [line[len("pangea "):] for _, line in indented(text) if line.startswith("pangea ")]
        for span in spans:
            seen += 1
            if span not in asked:
                asked[span] = refused(c, span)
            if asked[span]:
                found.append(f"{name}: `pangea {span}`: {asked[span]}")
    assert seen > 100 and not found, "\n".join(found) or f"only {seen} commands were found"
    for wrong in ("stauts", "lag --wach", "lag --admin x", "init --admin", "verify --timeout soon", "status us", "run --agent both"):
        assert refused(c, wrong), f"`pangea {wrong}` is not refused"


@test(init=False, regions=(), limit=180)
def commands_of_others_are_there(c):
    """a command of systemd, make, Kafka, kubectl .. on a page whose word or option the program that is installed here does not know; one that is not
    installed here, and docs/limits.md does not say so"""
    programs, faults, seen, absent = foreign.Programs(), [], {}, set()
    with open(os.path.join(DOCS, "limits.md")) as f:
        limits = f.read()
    for name, text in pages():
        for line, words in foreign.shown(text):
            seen.setdefault(words[0], []).append(words)
            if words[0] != "make" and not foreign.program(words[0]):
                absent.add(words[0])
                continue
            fault = programs.fault(words)
            if fault:
                faults.append(f"{name}:{line}: {shlex.join(words)}: {fault}")
    faults += [f"docs/limits.md does not say that {p} was never run" for p in sorted(absent) if f"`{p}`" not in limits]
    assert {"make", "systemctl", "psql", "curl", "kubectl", "kustomize", "docker"} <= set(seen) and sum(map(len, seen.values())) > 40, seen
    assert not faults, "\n".join(faults)
    for wrong in ("make chek", "make check SANE=address", "psql --comand x", "curl -s --frobnicate x"):
        assert programs.fault(shlex.split(wrong)), f"`{wrong}` is not refused"
    for wrong in ("systemctl relaod pangea@us", "systemctl enable --nwo x", "kafka-configs.sh --altre", "kustomize biuld x", "kubectl aply -f -"):
        if foreign.program(wrong.split()[0]):
            assert programs.fault(shlex.split(wrong)), f"`{wrong}` is not refused"


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
