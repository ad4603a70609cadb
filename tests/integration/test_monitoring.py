"""Alert rules and dashboard against real Prometheus: a real lag, a real stop, a real slot that fills; names that do not exist."""
import json
import os
import re
import signal
import subprocess
import urllib.parse
import urllib.request

import yaml

from harness.case import test
from harness.cluster import free_port
from harness.daemon import die_with_parent
from harness.servers import ROOT
from harness.wait import SLOW, until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"
BIN = os.path.join(ROOT, ".cache", "prometheus", "usr", "bin")
RULES = os.path.join(ROOT, "deploy", "prometheus", "alerts.yaml")
DASHBOARD = os.path.join(ROOT, "deploy", "grafana", "pangea.json")


class Prometheus:
    """Scrapes the daemons of the cluster every second, with the rules of deploy/prometheus; `for` and the limits in seconds are shortened."""

    def __init__(self, c):
        self.address = f"127.0.0.1:{free_port()}"
        with open(RULES) as f:
            rules = yaml.safe_load(f)
        for rule in rules["groups"][0]["rules"]:
            rule["for"] = "1s"
            rule["expr"] = rule["expr"].replace("pangea_lag_seconds > 60", "pangea_lag_seconds > 5")
        rules["groups"][0]["interval"] = "1s"
        self.write(c, "alerts.yaml", rules)
        config = self.write(c, "prometheus.yaml", {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["alerts.yaml"],
            "scrape_configs": [{"job_name": "pangea", "static_configs": [{"targets": [r.http for r in c]}]}]})
        self.check(config)
        out = open(os.path.join(c.folder, "prometheus.log"), "ab")
        self.process = subprocess.Popen(
            [os.path.join(BIN, "prometheus"), f"--config.file={config}", f"--storage.tsdb.path={c.folder}/tsdb", f"--web.listen-address={self.address}"],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=die_with_parent, cwd=c.folder)
        out.close()

    @staticmethod
    def write(c, name, value):
        path = os.path.join(c.folder, name)
        with open(path, "w") as f:
            yaml.safe_dump(value, f)
        return path

    @staticmethod
    def check(config):
        done = subprocess.run([os.path.join(BIN, "promtool"), "check", "config", config], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout.decode()

    def get(self, path, **query):
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10 * SLOW) as answer:
            return json.load(answer)["data"]

    def query(self, expr):
        return self.get("query", query=expr)["result"]

    def scrapes_all(self):
        try:
            up = self.query('up{job="pangea"} == 1')
            return len(up) == 3 or (False, up)
        except OSError as e:
            return False, str(e)

    def firing(self):
        try:
            return {(a["labels"]["alertname"], a["labels"].get("region"), a["labels"].get("origin")) for a in self.get("alerts")["alerts"] if a["state"] == "firing"}
        except OSError as e:
            return {str(e)}

    def stop(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def expressions():
    """(where, expression) of every rule and every panel, Grafana's variables filled in."""
    with open(RULES) as f:
        for rule in yaml.safe_load(f)["groups"][0]["rules"]:
            yield rule["alert"], rule["expr"]
    with open(DASHBOARD) as f:
        for panel in json.load(f)["panels"]:
            for target in panel.get("targets", []):
                yield panel["title"], target["expr"].replace("$region", ".*").replace("$__rate_interval", "1m")


def anchors(text):
    return {re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in text.splitlines() if line.startswith("#")}


@test(init=False)
def rules_and_runbooks(c):
    """promtool takes the rules; each has a section in docs/operations.md, and no section is left over; every metric they name is documented"""
    done = subprocess.run([os.path.join(BIN, "promtool"), "check", "rules", RULES], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()
    with open(os.path.join(ROOT, "docs", "operations.md")) as f:
        book = f.read()
    with open(RULES) as f:
        rules = yaml.safe_load(f)["groups"][0]["rules"]
    for rule in rules:
        where, anchor = rule["annotations"]["runbook_url"].split("#")
        assert where == "docs/operations.md" and anchor in anchors(book), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule["alert"]
    assert set(re.findall(r"^### (Pangea\w+)$", book, re.M)) == {r["alert"] for r in rules}
    with open(os.path.join(ROOT, "docs", "metrics.md")) as f:
        documented = set(re.findall(r"^\| `(pangea_\w+)` \|", f.read(), re.M))
    for where, expr in expressions():
        for name in re.findall(r"pangea_\w+", expr):
            assert name in documented or re.sub("_(bucket|sum|count)$", "", name) in documented, f"{where}: {name} is no metric"


# What a rule says with its own limits: promtool's clock runs fast.
TIMES = """
rule_files: [%s]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series:
      - {series: 'pangea_lag_seconds{region="eu",origin="us"}', values: '0x20 61x20 5x20'}
      - {series: 'pangea_slot_full_seconds{region="us",slot="s"}', values: '3600x100'}
      - {series: 'pangea_slot_retained_bytes{region="us",slot="s"}', values: '1000x40 100000000x60'}
      - {series: 'up{job="pangea",instance="eu:1"}', values: '1x20 0x3 1x20'}
      - {series: 'pangea_agent_state{region="us",agent="apply",state="stopped"}', values: '0x20 1x60'}
    alert_rule_test:
      - {eval_time: 5m, alertname: PangeaLag, exp_alerts: []}
      - eval_time: 7m
        alertname: PangeaLag
        exp_alerts:
          - exp_labels: {severity: warning, region: eu, origin: us}
            exp_annotations:
              summary: eu is 1m 1s behind us
              description: Changes of us are applied in eu more than a minute late.
              runbook_url: docs/operations.md#pangealag
      - {eval_time: 14m, alertname: PangeaLag, exp_alerts: []}
      - {eval_time: 7m, alertname: PangeaDown, exp_alerts: []}
      - {eval_time: 12m, alertname: PangeaSlotFull, exp_alerts: []}
      - eval_time: 20m
        alertname: PangeaSlotFull
        exp_alerts:
          - exp_labels: {severity: critical, region: us, slot: s}
            exp_annotations:
              summary: The slot of us is lost in 1h 0m 0s
              description: At the rate of the last minute the WAL that slot s holds passes max_slot_wal_keep_size. A lost slot means that the region's changes since then never leave it, and a new beginning.
              runbook_url: docs/operations.md#pangeaslotfull
"""


@test(init=False)
def limits(c):
    """the rules fire when they should by their own times and limits, and not before (promtool's own clock)"""
    path = os.path.join(c.folder, "times.yaml")
    with open(path, "w") as f:
        f.write(TIMES % RULES)
    done = subprocess.run([os.path.join(BIN, "promtool"), "test", "rules", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout.decode()


@test(http=True, tables=T, regions=("us", "eu", "ap"), own_postgres="one", own_kafka="first", limit=240)
def alerts(c):
    """a lag, a slot that fills, a stop and a daemon that is gone, each made for real, fire their alerts in real Prometheus and no others
    before; every expression of the dashboard is understood"""
    c.us.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '200MB'")
    c.us.sql("SELECT pg_reload_conf()")
    for r in c:
        r.listening()
        until(lambda: r.get("/readyz?max_lag=5s")[0] == 200, f"{r.name} is ready", 60)
    p = Prometheus(c)
    try:
        until(p.scrapes_all, "all are scraped", 30)
        c.us.app("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i")
        c.barrier()
        until(lambda: len(p.query("pangea_slot_full_seconds")) == 3 or (False, p.query("pangea_slot_full_seconds")), "the slots have a bound", 30)
        assert p.firing() == set(), p.firing()
        for where, expr in expressions():
            p.query(expr)  # an error of Prometheus is an exception
        empty = [(w, e) for w, e in expressions() if w in ("Agents that move", "Longest lag", "Lag", "WAL held by the slot", "Slot full in", "Versions") and not p.query(e)]
        assert not empty, empty

        # a real lag, and a slot that fills: us cannot reach its Kafka while it is written to
        c.us.kafka.freeze()
        try:
            c.us.app("INSERT INTO t SELECT i, repeat(md5(i::text), 30) FROM generate_series(101, 20000) i")
            want = {("PangeaLag", "eu", "us"), ("PangeaLag", "ap", "us"), ("PangeaSlotFull", "us", None), ("PangeaAgentWaiting", "us", None)}
            until(lambda: want <= p.firing() or (False, p.firing()), f"{want} fire", 60)
        finally:
            c.us.kafka.thaw()
        until(lambda: not p.firing() or (False, p.firing()), "all is well again", 90)

        # a real stop: the slot is gone
        c.eu.daemon.stop()
        until(lambda: any(a[0] == "PangeaDown" for a in p.firing()) or (False, p.firing()), "the missing daemon is noticed", 30)
        c.eu.sql("SELECT pg_drop_replication_slot(%s)", c.eu.slot)
        d = c.eu.run()
        d.wanted_end = True
        want = {("PangeaAgentStopped", "eu", None), ("PangeaSlotInactive", "eu", None)}
        until(lambda: want <= p.firing() or (False, p.firing()), f"{want} fire", 60)
    finally:
        p.stop()
