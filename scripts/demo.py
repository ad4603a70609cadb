#!/usr/bin/python3
"""demo.py: three regions on this machine, and what Pangea does for them.  Called by `make demo`.

Three PostgreSQL clusters and three Kafka brokers on loopback, all below one temporary folder. It stops everything it started, also on
Ctrl-C.  KEEP=1: leaves it running and says how to connect and how to stop it.  SECONDS_OF_LOAD: default 15.
Exit code: that of `pangea verify`, 1 when something did not work, 130 after Ctrl-C."""
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PANGEA = os.environ.get("PANGEA", os.path.join(ROOT, "build", "pangea"))
POSTGRES = os.path.join(ROOT, "scripts", "postgres.sh")
KAFKA = os.path.join(ROOT, "scripts", "kafka.sh")
PGBENCH = os.path.join(os.environ.get("PG_BIN", "/usr/lib/postgresql/15/bin"), "pgbench")
LOAD = int(os.environ.get("SECONDS_OF_LOAD", "15"))
SCALE = int(os.environ.get("SCALE", "10"))
KEEP = os.environ.get("KEEP", "") not in ("", "0")
NAMES = ("us", "eu", "ap")
COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

TABLES = """
CREATE TABLE notes (id text PRIMARY KEY, region text NOT NULL, text text NOT NULL);
CREATE TABLE prices (item text PRIMARY KEY, price numeric NOT NULL, said_by text NOT NULL);
INSERT INTO prices VALUES ('umbrella', 10.00, 'before the demo');
"""


class Failed(Exception):
    """What the demo cannot go on after; its text is for the reader."""


# ---- words on the terminal ----------------------------------------------------------------------------------------------------------
def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def bold(text):
    return paint("1", text)


def dim(text):
    return paint("2", text)


def good(text):
    return paint("32", text)


def say(text=""):
    print(text, flush=True)


def chapter(number, text):
    say()
    say(bold(f"{number}. {text}"))


def shell(text):
    """Shows a command as one would type it."""
    say("   " + dim("$ " + text))


# ---- waiting ------------------------------------------------------------------------------------------------------------------------
def until(look, what, limit=30.0, pause=0.002):
    """Waits for a true answer and returns it; the last difference is in the message when the time is out."""
    end = time.monotonic() + limit
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(f"not within {limit:.0f} s: {what}")
        time.sleep(pause)


def call(*args, **kw):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                          universal_newlines=True, **kw)
    if done.returncode != 0:
        raise Failed(f"{shlex.join(args)}: exit {done.returncode}\n{done.stdout.strip()[-2000:]}")
    return done.stdout


def number(path):
    with open(path) as f:
        return int(f.read())


# ---- one region ---------------------------------------------------------------------------------------------------------------------
def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Region:
    """A PostgreSQL cluster, a Kafka broker and a daemon."""

    def __init__(self, folder, name):
        self.name = name
        self.postgres, self.kafka = os.path.join(folder, name, "postgres"), os.path.join(folder, name, "kafka")
        self.log = os.path.join(folder, name, "daemon.log")
        self.http = f"127.0.0.1:{free_port()}"
        self.daemon = None
        self.local = threading.local()

    def start(self):
        with ThreadPoolExecutor(2) as pool:
            servers = [pool.submit(call, POSTGRES, "start", self.postgres, "--nofsync"), pool.submit(call, KAFKA, "start", self.kafka)]
            for s in servers:
                s.result()
        self.port, self.kafka_port = number(self.postgres + "/postgres.port"), number(self.kafka + "/kafka.port")
        c = self.connect("postgres", "postgres")
        for statement in ("CREATE ROLE app LOGIN", "CREATE ROLE pangea LOGIN REPLICATION", "GRANT app TO pangea",
                          "CREATE DATABASE shop OWNER app"):
            c.cursor().execute(statement)
        c.close()
        self.sql("SET ROLE app;" + TABLES + "RESET ROLE")
        call(PGBENCH, "-h", "127.0.0.1", "-p", str(self.port), "-U", "app", "-i", "-q", "-s", str(SCALE), "shop")

    def conninfo(self, user="app", database="shop"):
        return f"host=127.0.0.1 port={self.port} dbname={database} user={user}"

    def connect(self, user="app", database="shop"):
        c = psycopg2.connect(self.conninfo(user, database), application_name="demo", connect_timeout=10)
        c.autocommit = True
        return c

    def sql(self, text, *params):
        """Runs it as superuser, each statement its own transaction; the rows of the last one. One connection per thread."""
        if not hasattr(self.local, "c"):
            self.local.c = self.connect("postgres")
        cursor = self.local.c.cursor()
        cursor.execute(text, params or None)
        return cursor.fetchall() if cursor.description else None

    def run(self, topology):
        with open(self.log, "ab") as out:
            self.daemon = subprocess.Popen([PANGEA, "run", "--topology", topology, "--region", self.name], stdin=subprocess.DEVNULL,
                                           stdout=out, stderr=out, start_new_session=True)

    def cut(self, off):
        """Nobody reaches this region's Kafka or its daemon any more (or again); its database and its applications go on."""
        os.kill(number(self.kafka + "/kafka.pid"), signal.SIGSTOP if off else signal.SIGCONT)
        self.daemon.send_signal(signal.SIGSTOP if off else signal.SIGCONT)

    def stop_daemon(self):
        if not self.daemon or self.daemon.poll() is not None:
            return
        self.daemon.send_signal(signal.SIGCONT)
        self.daemon.terminate()
        try:
            self.daemon.wait(12)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()

    def stop_servers(self):
        for args in ((KAFKA, "kill", self.kafka), (POSTGRES, "stop", self.postgres, "immediate")):
            subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


# ---- all of them --------------------------------------------------------------------------------------------------------------------
class Demo:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="pangea-demo-")
        os.chmod(self.folder, 0o755)  # PostgreSQL runs as another user when this is run by root
        self.regions = {n: Region(self.folder, n) for n in NAMES}
        self.us, self.eu, self.ap = self.regions.values()
        self.topology = os.path.join(self.folder, "topology.yaml")
        self.began = time.monotonic()
        self.pool = ThreadPoolExecutor(8)  # kept: each of its threads keeps its connections

    def each(self, work):
        """The same in all regions at once; the results in their order."""
        return list(self.pool.map(work, self.regions.values()))

    def pangea(self, *args):
        return call(PANGEA, *args, "--topology", self.topology)

    def write_topology(self):
        lines = ["version: 1", "cluster: shop", "regions:"]
        for r in self.regions.values():
            lines += [f"  {r.name}:", "    role: leader", f"    postgres: {{conninfo: {r.conninfo('pangea')}}}",
                      f"    kafka: {{brokers: [127.0.0.1:{r.kafka_port}]}}", f"    http: {{listen: {r.http}}}"]
        lines += ["routes:", "  - tables: [public.*]", "  - {tables: [public.pgbench_history], insert_only: true}",
                  "log: {replication: 1, min_insync: 1}", ""]
        with open(self.topology, "w") as f:
            f.write("\n".join(lines))

    def status(self):
        out = subprocess.run([PANGEA, "status", "--json", "--topology", self.topology], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                             start_new_session=True).stdout
        return json.loads(out) if out else {"regions": []}

    def all_running(self):
        for r in self.regions.values():
            if r.daemon.poll() is not None:
                with open(r.log, errors="replace") as f:
                    raise Failed(f"the daemon of {r.name} ended with exit code {r.daemon.returncode}:\n{f.read()[-2000:]}")
        found = self.status()["regions"]
        states = [o["state"] for r in found for o in r.get("apply", {}).get("origins", [])]
        states += [r.get("capture", {}).get("state") for r in found]
        return len(states) == 9 and all(s == "running" for s in states)

    # ---- the story ----
    def set_up(self):
        chapter(1, "Three regions: us, eu, ap. Each has its own PostgreSQL and its own Kafka.")
        self.each(Region.start)
        self.write_topology()
        say(f"   {time.monotonic() - self.began:.1f} s: three PostgreSQL clusters, three Kafka brokers, a few tables, pgbench's among them")
        shell("pangea init --topology topology.yaml   (a slot, a publication and a topic in each region)")
        self.each(lambda r: self.pangea("init", "--region", r.name, "--admin", r.conninfo("postgres")))
        shell("pangea run --region us &   pangea run --region eu &   pangea run --region ap &")
        self.each(lambda r: r.run(self.topology))
        try:
            until(self.all_running, "every region runs and has heard of every other", 60, 0.1)
        except Failed as e:
            raise Failed("\n".join([str(e)] + self.status().get("problems", []))) from None
        say(f"   {time.monotonic() - self.began:.1f} s: every region has proof that it hears every other")

    def appears(self, region, key, since):
        """Milliseconds until the row is visible there."""
        until(lambda: region.sql("SELECT 1 FROM notes WHERE id = %s", key), f"row {key} in {region.name}", 20, 0.0005)
        return (time.monotonic() - since) * 1000

    def one_row(self):
        chapter(2, "A row written in us appears in eu and ap.")
        taken = {"eu": [], "ap": []}
        c = self.us.connect()
        for i in range(21):
            c.cursor().execute("INSERT INTO notes VALUES (%s, 'us', 'hello from us')", (f"hello-{i}",))
            committed = time.monotonic()
            waits = {n: self.pool.submit(self.appears, self.regions[n], f"hello-{i}", committed) for n in taken}
            for n, w in waits.items():
                taken[n].append(w.result())
        c.close()
        shell("INSERT INTO notes VALUES ('hello-0', 'us', 'hello from us');   -- in us")
        for n, ms in taken.items():
            ms = sorted(ms)
            say(f"   visible in {n} {good(f'{ms[len(ms) // 2]:.1f} ms')} after the commit (median of {len(ms)} rows; worst {ms[-1]:.1f} ms)")
        say("   (all on one machine: between continents the network's own time comes on top)")

    def write_price(self, region, price, at_once):
        c = region.connect()
        at_once.wait()
        c.cursor().execute("UPDATE prices SET price = %s, said_by = %s WHERE item = 'umbrella'", (price, region.name))
        c.close()

    def losers(self):
        return {n: r.sql("SELECT region, hlc, kind, winner->>'region', image->>'price', image->>'said_by' FROM pangea.conflict "
                         "WHERE rel = 'public.prices' ORDER BY at DESC LIMIT 1") for n, r in self.regions.items()}

    def agreed(self):
        prices = self.each(lambda r: r.sql("SELECT price::text, said_by FROM prices WHERE item = 'umbrella'"))
        return prices[0][0] if prices[0] == prices[1] == prices[2] and prices[0][0][1] != "before the demo" else None

    def same_row(self):
        chapter(3, "The same row written in us and in eu at the same moment.")
        for _ in range(10):  # on one machine a change is there so fast that the two may miss each other
            at_once = threading.Barrier(2)
            writers = [threading.Thread(target=self.write_price, args=(r, p, at_once)) for r, p in ((self.us, 11), (self.eu, 12))]
            for w in writers:
                w.start()
            for w in writers:
                w.join()
            until(self.agreed, "all regions hold the same price", 20, 0.01)
            try:
                until(lambda: all(self.losers().values()), "the loser is recorded", 2, 0.05)
                break
            except Failed:
                continue
        else:
            raise Failed("the two writes never met: each had always seen the other")
        price, winner = until(self.agreed, "all regions hold the same price", 20, 0.01)
        shell("UPDATE prices SET price = 11 WHERE item = 'umbrella';   -- in us")
        shell("UPDATE prices SET price = 12 WHERE item = 'umbrella';   -- in eu, neither has seen the other")
        say(f"   all three regions agree: {good(f'{price}, written in {winner}')}")
        say("   why: neither write had seen the other (their vectors say so), so the later one wins, by the hybrid logical clock")
        for n, rows in self.losers().items():
            for region, hlc, kind, _, lost, _ in rows:
                say(f"   the loser is kept in {n}: pangea.conflict has {lost}, written in {region}, HLC {hlc} ({kind})")

    def missing(self):
        """(origin, target) -> rows written in origin that target has not yet."""
        counts = dict(zip(NAMES, self.each(lambda r: dict(r.sql("SELECT region, count(*) FROM notes GROUP BY 1")))))
        return {(o, t): counts[o].get(o, 0) - counts[t].get(o, 0) for o in NAMES for t in NAMES if o != t}

    def lag_line(self, began, what=""):
        lag = self.missing()
        cells = "".join(f"{n:>11}" for n in lag.values())
        say(f"   {time.monotonic() - began:>6.1f} s{cells}   {what}")
        return lag

    def write_everywhere(self, seconds, tag):
        """About 50 rows a second in each region; the milliseconds of the slowest commit in us."""
        worst = {}

        def write(r):
            end, i, worst[r.name] = time.monotonic() + seconds, 0, 0.0
            while time.monotonic() < end:
                start = time.monotonic()
                r.sql("INSERT INTO notes VALUES (%s, %s, 'life goes on')", f"{tag}-{r.name}-{i}", r.name)
                worst[r.name] = max(worst[r.name], time.monotonic() - start)
                i += 1
                time.sleep(0.018)

        return worst, [threading.Thread(target=write, args=(r,)) for r in self.regions.values()]

    def cut_off(self):
        chapter(4, "us is cut off. All three go on writing. us returns.")
        say(dim("   (its Kafka and its daemon are frozen; its database and its applications are not)"))
        say("   rows not there yet")
        say("            " + "".join(f"{o + '>' + t:>11}" for o in NAMES for t in NAMES if o != t))
        began = time.monotonic()
        self.us.cut(True)
        worst, writers = self.write_everywhere(4, "cut")
        for w in writers:
            w.start()
        for i in range(4):
            until(lambda i=i: time.monotonic() - began > 1 + i, "a second passes", 10, 0.02)
            self.lag_line(began, "us is cut off" if i == 0 else "")
        for w in writers:
            w.join()
        self.us.cut(False)
        self.lag_line(began, "us returns")
        back = last = time.monotonic()
        lag = self.missing()
        while any(lag.values()):
            if time.monotonic() - back > 60:
                raise Failed("the lag does not fall to zero: " + str(lag))
            if time.monotonic() - last >= 0.5:
                last = time.monotonic()
                lag = self.lag_line(began)
            else:
                time.sleep(0.02)
                lag = self.missing()
        took = time.monotonic() - back
        self.lag_line(began, good("all there"))
        say(f"   slowest commit in us while it was cut off: {worst['us'] * 1000:.0f} ms; everything in place {took:.1f} s after its return")

    def load(self):
        chapter(5, f"pgbench (TPC-B) in all three regions at once, on the same rows, for {LOAD} s.")
        shell(f"pgbench -T {LOAD} -c 2 shop   # in us, eu and ap")
        benches = [subprocess.Popen([PGBENCH, "-h", "127.0.0.1", "-p", str(r.port), "-U", "app", "-n", "-T", str(LOAD), "-c", "2", "shop"],
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                                    universal_newlines=True) for r in self.regions.values()]
        try:
            outputs = [b.communicate(timeout=LOAD + 60)[0] for b in benches]
        finally:
            for b in benches:
                if b.poll() is None:
                    b.kill()
        self.ended = time.monotonic()
        for n, b, out in zip(NAMES, benches, outputs):
            if b.returncode != 0:
                raise Failed(f"pgbench in {n} failed:\n{out[-1000:]}")
            done = next(line.split(":")[1].split("/")[0].strip() for line in out.splitlines() if "actually processed" in line)
            tps = next(line.split("=")[1].split()[0] for line in out.splitlines() if line.startswith("tps"))
            say(f"   {n}: {int(done):,} transactions, {float(tps):,.0f} a second")

    def verify(self):
        chapter(6, "Are they identical?")
        shell("pangea verify")
        done = subprocess.run([PANGEA, "verify", "--timeout", "120", "--topology", self.topology], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True, universal_newlines=True)
        for line in done.stdout.splitlines():
            say("   " + (good(line) if "identical" in line and "different" not in line else line))
        say(f"   {time.monotonic() - self.ended:.1f} s after the last write of pgbench, the comparison itself included")
        lost = dict(zip(NAMES, self.each(lambda r: r.sql("SELECT count(*) FROM pangea.conflict")[0][0])))
        say("   writes that lost against a concurrent one, kept in pangea.conflict: " + ", ".join(f"{n} {c:,}" for n, c in lost.items()))
        say(dim("   (last write wins: a balance is what the last writer made of it. Sums that must add up need another rule or one writer.)"))
        return done.returncode

    # ---- the end ----
    def kept(self):
        stop = os.path.join(self.folder, "stop")
        lines = ["#!/bin/sh", "# Stops the demo in this folder and removes it."]
        # a pid may have been given to somebody else meanwhile
        lines += [f"grep -q -z -x {r.name} /proc/{r.daemon.pid}/cmdline 2>/dev/null && kill {r.daemon.pid}" for r in self.regions.values()]
        for r in self.regions.values():
            lines += [f"{shlex.quote(KAFKA)} stop {shlex.quote(r.kafka)}", f"{shlex.quote(POSTGRES)} stop {shlex.quote(r.postgres)}"]
        lines += [f"rm -rf {shlex.quote(self.folder)}", ""]
        with open(stop, "w") as f:
            f.write("\n".join(lines))
        os.chmod(stop, 0o755)
        say()
        say(bold("It is left running (KEEP=1)."))
        for r in self.regions.values():
            say(f"   {r.name}: psql '{r.conninfo()}'    Kafka 127.0.0.1:{r.kafka_port}    log {r.log}")
        say(f"   page:     http://{next(iter(self.regions.values())).http}/ui/")
        say(f"   topology: {self.topology}")
        say(f"   try:      {PANGEA} status --watch --topology {self.topology}")
        say(f"   stop it:  {stop}")

    def stop(self):
        self.pool.shutdown(wait=True)  # a server that is just being started must be there before it can be stopped
        self.pool = ThreadPoolExecutor(len(NAMES))
        for r in self.regions.values():
            try:
                os.kill(number(r.kafka + "/kafka.pid"), signal.SIGCONT)
            except (OSError, ValueError):
                pass
        self.each(Region.stop_daemon)
        self.each(Region.stop_servers)
        shutil.rmtree(self.folder, ignore_errors=True)

    def tell(self):
        self.set_up()
        self.one_row()
        self.same_row()
        self.cut_off()
        self.load()
        return self.verify()


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, interrupted)
    if not os.access(PANGEA, os.X_OK):
        sys.exit(f"demo.py: {PANGEA} is not there: run make")
    demo, code, keep = Demo(), 1, False
    try:
        code = demo.tell()
        say()
        say(f"{time.monotonic() - demo.began:.0f} s, exit code {code}.")
        keep = KEEP
    except Failed as e:
        say(f"demo.py: {e}")
        keep = KEEP
    except KeyboardInterrupt:
        say("\ninterrupted: stopping everything")
        code = 130
    finally:
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)  # a second Ctrl-C must not leave servers behind
        if keep and all(r.daemon for r in demo.regions.values()):
            demo.kept()
        else:
            demo.stop()
    return code


if __name__ == "__main__":
    sys.exit(main())
