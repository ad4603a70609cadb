"""PostgreSQL servers and Kafka brokers of one test run, by scripts/postgres.sh and scripts/kafka.sh, below one temporary folder."""
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

import psycopg2

from harness.wait import SLOW, until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
POSTGRES = os.path.join(ROOT, "scripts", "postgres.sh")
KAFKA = os.path.join(ROOT, "scripts", "kafka.sh")


def call(*args, env=None):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL,
                          env=dict(os.environ, **(env or {})))
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(args)}: exit {done.returncode}: {done.stdout.strip()}")
    return done.stdout


def scratch():
    """Where the folder of many short tests goes: in memory when there is plenty of it (7 % less time was measured than through a file system), else
    where TMPDIR says (None)."""
    shm, need = "/dev/shm", 8 << 30
    if os.environ.get("TMPDIR") or not os.access(shm, os.W_OK) or os.statvfs(shm).f_flag & os.ST_NOEXEC \
            or shutil.disk_usage(shm).free < need:
        return None
    with open("/proc/meminfo") as f:
        available = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable:"))
    return shm if available << 10 > 2 * need else None


def number(path):
    with open(path) as f:
        return int(f.read())


class Postgres:
    """One server. Its superuser is postgres; `pangea` is the run-time role (no superuser), `app` owns the databases and tables."""

    # Every test has origins and slots of its own in the shared server; fsync is off because only processes die here, not the machine.
    # A sanitizer's capture reads nothing for a while when it splits a row of 50 MB.
    OPTIONS = ("max_replication_slots=200", "max_wal_senders=100", "max_connections=400", "autovacuum_naptime=20s",
               f"wal_sender_timeout={30 * SLOW:g}s")

    def __init__(self, folder, options=(), encoding=None, clock=None, full=None):
        """clock: a library (tests/harness/clock.c) with which set_clock works. full: one (full.c) with which fill() works."""
        self.folder, self.env, self.full = folder, {}, full
        os.makedirs(folder)
        if clock:
            self.clock = os.path.join(folder, "clock")
            with open(self.clock, "wb") as f:
                f.write(bytes(16))
            os.chmod(self.clock, 0o644)
            self.env = {"PG_PRELOAD": clock, "CLOCK_FILE": self.clock}
        if full:
            self.env = full_disk(full, folder)
        args = ["--nofsync"] + (["--encoding", encoding] if encoding else [])
        for o in self.OPTIONS + tuple(options):
            args += ["--set", o]
        call(POSTGRES, "start", folder, *args, env=self.env)
        self.port = number(os.path.join(folder, "postgres.port"))
        c = self.connect("postgres")
        c.cursor().execute("CREATE ROLE app LOGIN; CREATE ROLE pangea LOGIN REPLICATION; GRANT app TO pangea")
        c.close()

    def conninfo(self, database, user):
        return f"host=127.0.0.1 port={self.port} dbname={database} user={user}"

    def connect(self, database, user="postgres"):
        c = psycopg2.connect(self.conninfo(database, user), application_name="test", connect_timeout=10)
        c.autocommit = True
        return c

    def pid(self):
        return number(os.path.join(self.folder, "postgres.pid"))

    def set_clock(self, ahead):
        """So many seconds ahead of the machine's (negative: behind)."""
        self._write_clock(0, int(ahead * 1000000))
        self._write_clock(8, 0)

    def stop_clock(self, at):
        """It stands still at this Unix time, in seconds, until it is set."""
        self._write_clock(8, int(at * 1000000))

    def _write_clock(self, where, us):
        with open(self.clock, "r+b", buffering=0) as f:
            f.seek(where)
            f.write(struct.pack("=q", us))

    def fill(self, what):
        """The disk is full for files whose path holds this, until fill("")."""
        set_full(self.folder, what)

    def start(self):
        call(POSTGRES, "start", self.folder, env=self.env)

    def stop(self, mode="fast"):
        call(POSTGRES, "stop", self.folder, mode)

    def crash(self):
        """Power cut, as far as PostgreSQL can tell: no shutdown checkpoint, recovery at the next start."""
        self.stop("immediate")

    def kill(self):
        """SIGKILL to each of its processes, at once."""
        first = self.pid()
        os.kill(first, signal.SIGSTOP)  # it makes no more of them
        with open(f"/proc/{first}/task/{first}/children") as f:
            pids = [first, *map(int, f.read().split())]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "all processes of PostgreSQL have gone")


def full_disk(library, folder):
    set_full(folder, "")
    return {"PG_PRELOAD": library, "FULL_FILE": os.path.join(folder, "full")}


def set_full(folder, what):
    path = os.path.join(folder, "full")
    with open(path + ".new", "w") as f:
        f.write(what)
    os.chmod(path + ".new", 0o644)
    os.rename(path + ".new", path)


class Standby(Postgres):
    """A physical standby of a server, streaming from it under this application_name."""

    def __init__(self, folder, primary, name):
        self.folder, self.env = folder, {}
        os.mkdir(folder)
        user = []
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "env", f"HOME={folder}"]
        bin_folder = os.environ.get("PG_BIN", "/usr/lib/postgresql/15/bin")
        call(*user, os.path.join(bin_folder, "pg_basebackup"), "-D", os.path.join(folder, "data"), "-R", "-X", "stream", "-c", "fast", "--no-sync",
             "-d", f"host=127.0.0.1 port={primary.port} user=postgres application_name={name}")
        args = ["--nofsync"]
        for o in self.OPTIONS + ("wal_retrieve_retry_interval=200ms",):
            args += ["--set", o]
        call(POSTGRES, "start", folder, *args)
        self.port = number(os.path.join(folder, "postgres.port"))

    def promote(self):
        c = self.connect("postgres")
        c.cursor().execute("SELECT pg_promote()")
        c.close()


class Kafka:
    """One broker. listeners: {NAME: (port, advertised port[, protocol])} beside the plain one; properties: lines for server.properties."""

    def __init__(self, folder, listeners=None, properties=(), full=None):
        self.folder = folder
        os.makedirs(folder)
        self.env = dict(full_disk(full, folder), LD_PRELOAD=full) if full else {}
        with open(os.path.join(folder, "listeners"), "w") as f:
            for listener, (at, advertised, *protocol) in (listeners or {}).items():
                f.write(f"{listener} {at} {advertised} {protocol[0] if protocol else 'PLAINTEXT'}\n")
        if properties:
            with open(os.path.join(folder, "extra.properties"), "w") as f:
                f.write("".join(line + "\n" for line in properties))
        self.plain = not (listeners or properties or full)
        call(KAFKA, "start", folder, env=self.env)
        self.port = number(os.path.join(folder, "kafka.port"))
        self.brokers = f"127.0.0.1:{self.port}"

    def answers(self):
        """Within two seconds."""
        try:
            return subprocess.run(["kcat", "-b", self.brokers, "-L", "-m", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=2).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def fill(self, what):
        set_full(self.folder, what)

    def start(self):
        call(KAFKA, "start", self.folder, env=self.env)

    def stop(self):
        call(KAFKA, "stop", self.folder)

    def kill(self):
        call(KAFKA, "kill", self.folder)

    def freeze(self):
        os.kill(number(os.path.join(self.folder, "kafka.pid")), signal.SIGSTOP)

    def thaw(self):
        os.kill(number(os.path.join(self.folder, "kafka.pid")), signal.SIGCONT)


IDLE_BROKERS = 3

# Stops and removes what a run has left when the run itself is killed: its standard input ends then.
GUARD = """
read -r _
for d in "$0"/postgres*; do if [ -e "$d/postgres.pid" ]; then "$1" stop "$d" immediate; fi; done
for d in "$0"/kafka*; do if [ -e "$d/kafka.pid" ]; then "$2" kill "$d"; fi; done
rm -rf "$0"
"""


class Servers:
    """What the tests of one run share: one Kafka, and a PostgreSQL for the first region of a test, one for the second.. in each process that runs
    tests: a slot decodes all that its server writes. Started when first asked for; more on demand (a test that crashes a server has one of its own)."""

    def __init__(self, folder=None):
        self.folder = tempfile.mkdtemp(prefix="pangea-test-", dir=folder)
        os.chmod(self.folder, 0o755)  # PostgreSQL runs as another user
        self.guard = subprocess.Popen(["bash", "-c", GUARD, self.folder, POSTGRES, KAFKA], stdin=subprocess.PIPE,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.owner = os.getpid()
        self.made = 0
        self.idle = []  # brokers that a test of this process had and left well: starting one costs more than most tests
        self._postgres, self._kafka = [], None

    def path(self, kind):
        self.made += 1
        return os.path.join(self.folder, f"{kind}-{os.getpid()}-{self.made}")

    def postgres(self, number):
        while len(self._postgres) <= number:
            self._postgres.append(Postgres(self.path("postgres")))
        return self._postgres[number]

    @property
    def kafka(self):
        if not self._kafka:
            self._kafka = Kafka(self.path("kafka"))
        return self._kafka

    def new_postgres(self, **kw):
        return Postgres(self.path("postgres"), **kw)

    def new_standby(self, primary, name):
        return Standby(self.path("postgres"), primary, name)

    def new_kafka(self, **kw):
        while self.idle and not kw:
            kafka = self.idle.pop()
            if kafka.answers():
                return kafka
            self.end(kafka)
        return Kafka(self.path("kafka"), **kw)

    @staticmethod
    def free_port():
        """Outside the range from which the kernel serves outgoing connections: nothing takes it before we do."""
        while True:
            port = random.randrange(20000, 32000)
            with socket.socket() as s:
                try:
                    s.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue

    def drop(self, server):
        """Takes back a test's own server. Topics are named after their test: what it left in a broker meets nobody."""
        if isinstance(server, Kafka) and server.plain and len(self.idle) < IDLE_BROKERS:
            self.idle.append(server)
        else:
            self.end(server)

    @staticmethod
    def end(server):
        try:
            if isinstance(server, Postgres):
                server.stop("immediate")
            else:
                server.kill()
        finally:
            shutil.rmtree(server.folder, ignore_errors=True)

    def close(self):
        if os.getpid() == self.owner:
            self.guard.stdin.close()
            self.guard.wait()
