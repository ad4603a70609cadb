"""A cluster of regions for one test: fresh databases and topics under a fresh cluster name, a topology, `pangea init`, daemons."""
import copy
import itertools
import json
import os
import re
import socket
import subprocess
import urllib.error
import urllib.request

import psycopg2
import yaml

from harness import shape
from harness.daemon import Daemon
from harness.servers import ROOT
from harness.wait import SLOW, same, until
from harness.wan import Wan

class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def parse_metrics(text):
    out = {}
    for line in text.splitlines():
        m = re.fullmatch(r'(\w+)\{(.*)\} (\S+)', line)
        if not m:
            assert line.startswith("# "), line
            continue
        labels = tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m[2])))
        out.setdefault(m[1], {})[labels] = float(m[3])
    return out


# Every cluster has it: a change of a region's own row that has arrived means that all before it has arrived (C3).
BARRIER = "CREATE TABLE public.barrier (region text PRIMARY KEY, n bigint NOT NULL)"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Region:
    def __init__(self, cluster, name, role, postgres, kafka):
        self.cluster, self.name, self.role = cluster, name, role
        self.postgres, self.kafka = postgres, kafka
        self.database = f"{cluster.name}_{name}"
        self.daemons = []
        self.topology_file = None  # of its daemons, when it is not the cluster's
        self._sql = None

    # ---- SQL ----
    def connect(self, user="app"):
        return self.postgres.connect(self.database, user)

    def session(self):
        """The connection that sql() uses, opened anew when it was lost."""
        if self._sql is None or self._sql.closed:
            self._sql = self.connect("postgres")
        return self._sql

    def sql(self, text, *params):
        """Runs statements as superuser (autocommit) and returns the rows of the last one; once more when the session was lost meanwhile."""
        session = self.session()
        try:
            cursor = session.cursor()
            cursor.execute(text, params or None)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            if not session.closed:
                raise
            cursor = self.session().cursor()
            cursor.execute(text, params or None)
        rows = cursor.fetchall() if cursor.description else None
        cursor.close()
        return rows

    def app(self, text, *params):
        """The same as the application does it: as role app, in one transaction."""
        c = self.connect()
        try:
            cursor = c.cursor()
            cursor.execute(text, params or None)
            return cursor.fetchall() if cursor.description else None
        finally:
            c.close()

    def value(self, text, *params):
        rows = self.sql(text, *params)
        return rows[0][0] if rows else None

    def copy(self, query, binary=False):
        """The bytes of COPY (query): what the server itself says the values are."""
        import io
        out = io.BytesIO()
        self.session().cursor().copy_expert(f"COPY ({query}) TO STDOUT" + (" (FORMAT binary)" if binary else ""), out)
        return out.getvalue()

    # ---- daemons ----
    def run(self, agent=None, failpoint=None, env=None, args=(), under=()):
        d = Daemon(self, agent, failpoint, env, args, under)
        self.daemons.append(d)
        return d

    @property
    def daemon(self):
        """The one started last."""
        return self.daemons[-1]

    def kill(self):
        for d in self.daemons:
            d.kill()

    def status(self, agent):
        """This agent's status document, {} before the first."""
        rows = self.sql("SELECT doc FROM pangea.status WHERE agent = %s", agent)
        return rows[0][0] if rows else {}

    def origin(self, name):
        """What apply says about one origin."""
        for o in self.status("apply").get("origins", []):
            if o["origin"] == name:
                return o
        return {}

    def get(self, path, method="GET", headers=None, limit=20):
        """(code, headers, body) of the daemon's HTTP answer."""
        request = urllib.request.Request(f"http://{self.http}{path}", method=method, headers=headers or {})
        try:
            with urllib.request.build_opener(NoRedirect).open(request, timeout=limit * SLOW) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read().decode()

    def listening(self, limit=20):
        """Waits until the daemon answers."""
        def probe():
            try:
                return self.get("/healthz")[0] > 0
            except OSError as e:
                return False, str(e)
        until(probe, f"{self.name} answers at {self.http}", limit)

    def metrics(self):
        """{name: {labels as a sorted tuple of pairs: value}} of /metrics."""
        return parse_metrics(self.get("/metrics")[2])

    def metric(self, name, **labels):
        """The value of the only series with these labels; None without one."""
        found = [v for k, v in self.metrics().get(name, {}).items() if set(labels.items()) <= set(k)]
        assert len(found) < 2, f"{name} {labels}: {len(found)} series"
        return found[0] if found else None

    @property
    def slot(self):
        return f"pangea_{self.cluster.name}_{self.name}"

    @property
    def topic(self):
        return f"{self.cluster.name}.{self.name}.log"


class Cluster:
    def __init__(self, servers, name, folder, build, regions=("us", "eu"), followers=(), own_postgres=False, own_kafka=False,
                 topology=None, databases=None, http=False):
        """http: each daemon answers at a port of its own. own_postgres / own_kafka: "one" = a server of this test's own, "each" = one for each
        region, "first" = one for the first region, "two" = that and one for all others, "full" = each, with a disk that can be full; own_postgres "clock": each, with a clock that can be set; own_kafka "wan": one,
        and a proxy for each log and reader (harness/wan.py) in c.wan."""
        self.servers, self.name, self.folder = servers, name, folder
        self.pangea = os.path.join(ROOT, build, "pangea")
        self.topology_file = os.path.join(folder, "topology.yaml")
        self.started, self.own, self.regions = 0, [], {}
        self.loads = []  # writers that still run
        os.makedirs(folder, exist_ok=True)
        self.wan = {(log, reader): None for log in regions for reader in regions if log != reader and own_kafka == "wan"}
        library, clock = (os.path.join(ROOT, build, "harness", name) for name in ("full.so", "clock.so"))
        new_pg = {"clock": lambda: servers.new_postgres(clock=clock), "full": lambda: servers.new_postgres(full=library)}.get(own_postgres, servers.new_postgres)
        new_kafka = self.kafka_behind_wan if self.wan else (lambda: servers.new_kafka(full=library)) if own_kafka == "full" else servers.new_kafka
        number = itertools.count()
        pick_pg = self.picker(own_postgres, new_pg, lambda: servers.postgres(next(number)))
        pick_kafka = self.picker(own_kafka, new_kafka, lambda: servers.kafka)
        for r in regions:
            self.regions[r] = Region(self, r, "follower" if r in followers else "leader", pick_pg(), pick_kafka())
            setattr(self, r, self.regions[r])
        for r in self:
            r.http = f"127.0.0.1:{free_port()}" if http else None
        self.topology = self.document(topology or {})
        self.write_topology()
        for r in self:
            self.create_database(r, (databases or {}).get(r.name, ""))

    def kafka_behind_wan(self):
        listeners = {}
        for log, reader in self.wan:
            at = self.servers.free_port()
            self.wan[log, reader] = Wan(at)
            listeners[f"{log}_{reader}".upper()] = (at, self.wan[log, reader].port)
        return self.servers.new_kafka(listeners=listeners)

    def __iter__(self):
        return iter(self.regions.values())

    @property
    def leaders(self):
        return [r for r in self if r.role == "leader"]

    def picker(self, own, new, shared):
        made = []

        def make():
            made.append(new())
            self.own.append(made[-1])
            return made[-1]

        if own == "first":
            return lambda: shared() if made else make()
        if own == "two":
            return lambda: made[1] if len(made) == 2 else make()
        once = {"one": True, "wan": True, "each": False, "clock": False, "full": False}
        return shared if not own else lambda: made[0] if made and once[own] else make()

    def document(self, extra):
        doc = {"version": 1, "cluster": self.name, "regions": {}, "log": {"replication": 1, "min_insync": 1}}
        for r in self:
            doc["regions"][r.name] = {"role": r.role, "postgres": {"conninfo": r.postgres.conninfo(r.database, "pangea")},
                                      "kafka": {"brokers": [r.kafka.brokers]}}
            if r.http:
                doc["regions"][r.name]["http"] = {"listen": r.http}
        for key, value in extra.items():
            if isinstance(value, dict) and isinstance(doc.get(key), dict):
                doc[key].update(value)
            else:
                doc[key] = value
        return doc

    def write_topology(self):
        self.write_yaml(self.topology_file, self.topology)
        for reader in {reader for _, reader in self.wan}:
            mine = copy.deepcopy(self.topology)
            for log in mine["regions"]:
                if log != reader:
                    mine["regions"][log]["kafka"]["brokers"] = [f"127.0.0.1:{self.wan[log, reader].port}"]
            self.regions[reader].topology_file = os.path.join(self.folder, f"topology-{reader}.yaml")
            self.write_yaml(self.regions[reader].topology_file, mine)

    @staticmethod
    def write_yaml(path, document):
        with open(path + ".new", "w") as f:
            f.write(yaml.safe_dump(document, sort_keys=False))
        os.rename(path + ".new", path)

    def create_database(self, region, options):
        c = region.postgres.connect("postgres")
        c.cursor().execute(f"CREATE DATABASE {region.database} OWNER app TEMPLATE template0 {options}")
        c.close()
        region.sql(f"SET ROLE app; {BARRIER}; INSERT INTO public.barrier SELECT unnest(%s), 0; RESET ROLE", [r.name for r in self])

    def tables(self, text, regions=None):
        """The same statements in every region, as the role that owns the tables."""
        for r in self if regions is None else regions:
            r.sql(f"SET ROLE app; {text}; RESET ROLE")

    # ---- commands ----
    def command(self, *args, check=0, limit=60, env=None):
        """Runs `pangea ARGS`; (exit code, stdout, stderr). check: the exit code that is right, None for any."""
        environment = {**os.environ, "PANGEA_TOPOLOGY": self.topology_file, **(env or {})}
        done = subprocess.run([self.pangea, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                              env=environment, timeout=limit * SLOW)
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        with open(os.path.join(self.folder, "commands.log"), "a") as f:
            f.write(f"$ pangea {' '.join(args)}\n{out[-20000:]}{err[-20000:]}exit {done.returncode}\n")
        if check is not None and done.returncode != check:
            raise AssertionError(f"pangea {' '.join(args)}: exit {done.returncode}, want {check}\n{(out + err)[-3000:]}")
        return done.returncode, out, err

    def init(self, *regions, args=()):
        """`pangea init` in each region, with the superuser for what the run-time role may not."""
        for r in [self.regions[n] for n in regions] or self:
            self.command("init", "--region", r.name, "--admin", r.postgres.conninfo(r.database, "postgres"), *args)

    def run(self, *regions, **kw):
        for r in [self.regions[n] for n in regions] or self:
            r.run(**kw)

    def ready(self):
        """What a case before this one left or broke: one daemon runs in each region, for both agents."""
        for r in self:
            alive = [d for d in r.daemons if d.alive() and not d.agent]
            for d in r.daemons:
                if d.alive() and d not in alive[-1:]:
                    d.kill()
            if not alive:
                r.run()

    def verify(self, limit=60, check=0):
        code, out, _ = self.command("verify", "--json", "--timeout", str(int(limit * SLOW)), check=check, limit=limit + 30)
        return json.loads(out) if out.strip() else {}

    def status(self):
        _, out, _ = self.command("status", "--json", check=None)
        value = json.loads(out)
        shape.check("status", value)
        return value

    # ---- waiting ----
    def barrier(self, limit=30):
        """Everything that was committed anywhere before this call is applied everywhere when it returns."""
        want = {}
        for r in self.leaders:
            want[r.name] = r.value("UPDATE public.barrier SET n = n + 1 WHERE region = %s RETURNING n", r.name)
        for r in self:
            def look(r=r):
                seen = dict(r.sql("SELECT region, n FROM public.barrier"))
                late = {k: (seen.get(k), v) for k, v in want.items() if seen.get(k, -1) < v}
                return (False, f"{r.name} has not applied (have, want): {late}") if late else True
            until(look, f"barrier in {r.name}", limit)

    def expect(self, query, rows, regions=None, limit=20):
        """Every region (or those named) comes to answer the query with these rows (tuples)."""
        for r in self if regions is None else [self.regions[n] for n in regions]:
            same(lambda r=r: r.sql(query), rows, f"{r.name}: {query}", limit)

    def converged(self, query, limit=20):
        """Every region comes to give the same bytes for the query as the first one."""
        first, *rest = self
        for r in rest:
            same(lambda r=r: r.copy(query).split(b"\n"), lambda: first.copy(query).split(b"\n"), f"{r.name} as {first.name}: {query}", limit)

    # ---- the end ----
    def end_loads(self):
        for load in list(self.loads):
            load.stop()

    def faults(self):
        return [f for r in self for d in r.daemons for f in d.faults()]

    def dump(self, lines=25):
        """What a person wants to see of a failed test."""
        out = []
        for r in self:
            for agent in ("capture", "apply"):
                try:
                    out.append(f"--- {r.name} {agent}: {json.dumps(r.status(agent))[:1500]}")
                except Exception as e:
                    out.append(f"--- {r.name} {agent}: no status: {str(e).splitlines()[0]}")
            for d in r.daemons[-3:]:
                tail = d.text().splitlines()[-lines:]
                out.append(f"--- {d.log} (exit {d.process.poll()})\n" + "\n".join(line[:600] for line in tail))
        return "\n".join(out)

    def close(self):
        """Kills the daemons and takes everything out of the shared servers."""
        for load in self.loads:
            load.ending.set()
        for r in self:
            r.kill()
            if r._sql is not None and not r._sql.closed:
                r._sql.close()
        for r in self:
            if r.postgres not in self.own:
                self.drop_region(r)
        for server in self.own:
            self.servers.drop(server)
        for wan in self.wan.values():
            if wan:
                wan.close()

    def drop_region(self, r):
        c = r.postgres.connect("postgres")
        cursor = c.cursor()
        cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s", (r.database,))
        prepared = cursor.fetchall()
        if prepared:
            d = r.postgres.connect(r.database)
            for gid, in prepared:
                d.cursor().execute("ROLLBACK PREPARED %s", (gid,))
            d.close()

        def free():
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (r.database,))
            cursor.execute("SELECT count(*) FROM pg_replication_slots WHERE active AND database = %s", (r.database,))
            return cursor.fetchone()[0] == 0

        until(free, f"{r.database}: slots free", 10)
        cursor.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", (r.database,))
        def drop():  # a backend that is just ending is waited for by FORCE only for 5 seconds
            try:
                cursor.execute(f"DROP DATABASE {r.database} WITH (FORCE)")
                return True
            except psycopg2.errors.ObjectInUse as e:
                return False, str(e)

        until(drop, f"{r.database} dropped", 30)
        cursor.execute("SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname LIKE %s",
                       (f"pangea\\_{self.name}\\_{r.name}\\_%",))
        c.close()
