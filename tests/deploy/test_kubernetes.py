#!/usr/bin/python3
"""deploy/kubernetes, rendered by kustomize: strict schemas, policies, and the topology inside as `pangea validate` sees it. Then each thing
that matters is broken on purpose, and must be found. Needs no cluster; the tools come from scripts/deps_kubernetes.sh."""
import copy
import json
import os
import re
import subprocess
import sys
import tempfile

import tools

tools.under_their_python(__file__)

import policy  # noqa: E402
import schemas  # noqa: E402
import tap  # noqa: E402

HERE = os.path.join(tools.ROOT, "deploy", "kubernetes")
REGIONS = ("us", "eu", "ap")
SETS = {"overlays": "overlays/{}", "one-cluster": "examples/one-cluster/{}"}
SCHEMAS = schemas.Schemas(os.path.join(tools.TOOLS, "crd"))
rendered = {}


def render(folder):
    if folder not in rendered:
        done = subprocess.run([os.path.join(tools.TOOLS, "bin", "kustomize"), "build", os.path.join(HERE, folder)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode != 0 or done.stderr:
            raise AssertionError(f"kustomize build {folder}: exit {done.returncode}\n{done.stderr}")
        rendered[folder] = schemas.load_all(done.stdout)
    return rendered[folder]


def region(which, name):
    return policy.Region(name, render(SETS[which].format(name)))


def nothing(found):
    if found:
        raise AssertionError("\n".join(found))


# ---- what is there -----------------------------------------------------------------------------------------------------------------------
def valid(which, name):
    nothing([f for d in region(which, name).documents for f in SCHEMAS.faults(d)])


def lawful(which, name):
    nothing(policy.faults(region(which, name)))


def complete(which, name):
    """Every kind that is promised is there."""
    kinds = {d["kind"] for d in region(which, name).documents}
    wanted = {"Namespace", "ServiceAccount", "ConfigMap", "StatefulSet", "Job", "Service", "PodDisruptionBudget", "NetworkPolicy"}
    if which == "one-cluster":
        wanted |= {"Cluster", "Kafka", "KafkaNodePool", "KafkaUser", "ServiceMonitor", "PrometheusRule"}
    nothing(sorted(wanted - kinds))


def same_topology(which):
    texts = {region(which, name).topology_text for name in REGIONS}
    assert len(texts) == 1, f"the regions of {which} have {len(texts)} different topologies"
    assert set(region(which, "us").topology["regions"]) == set(REGIONS)


def alert_rules():
    """The operator wants the rules wrapped: the same text, four lines around it. UPDATE=1 writes them anew."""
    text = tools.read("deploy", "prometheus", "alerts.yaml")
    rules = "".join(f"  {line}" if line.strip() else line for line in text[text.index("groups:"):].splitlines(True))
    wanted = ("# deploy/prometheus/alerts.yaml as the Prometheus operator wants it; UPDATE=1 tests/deploy/test_kubernetes.py writes it\n"
              "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: pangea\n"
              f"  labels: {{app.kubernetes.io/name: pangea}}\nspec:\n{rules}")
    file = os.path.join(HERE, "components", "prometheus", "prometheusrule.yaml")
    if os.environ.get("UPDATE"):
        with open(file, "w") as f:
            f.write(wanted)
    with open(file) as f:
        assert f.read() == wanted, "prometheusrule.yaml is not deploy/prometheus/alerts.yaml: UPDATE=1 writes it anew"


def validated(which):
    """The secrets stand where the pod has them: validate reads those of Kafka."""
    with tempfile.TemporaryDirectory(prefix="pangea-manifests-") as folder:
        text = region(which, "us").topology_text.replace("/run/secrets/pangea", folder)
        for file in re.findall(re.escape(folder) + r"/\S+", text):
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with open(file, "w") as f:
                f.write("a secret\n")
        path = os.path.join(folder, "topology.yaml")
        with open(path, "w") as f:
            f.write(text)
        done = subprocess.run([tools.PANGEA, "validate", "--json", path], stdout=subprocess.PIPE, text=True)
    answer = json.loads(done.stdout)
    nothing([f"{e['line']}: {e['path']}: {e['message']}" for e in answer["errors"] + answer["warnings"]])


# ---- what must be found --------------------------------------------------------------------------------------------------------------------
def at(document, path):
    for key in path:
        document = document[key]
    return document


POD = ("spec", "template", "spec")
BOX = POD + ("containers", 0)


def put(kind, *path_and_value):
    *path, key, value = path_and_value

    def change(documents):
        at(next(d for d in documents if d["kind"] == kind), path)[key] = value
    return change


def drop(kind, *path):
    def change(documents):
        del at(next(d for d in documents if d["kind"] == kind), path[:-1])[path[-1]]
    return change


def topology(old, new):
    def change(documents):
        data = next(d for d in documents if d["kind"] == "ConfigMap")["data"]
        assert old in data["topology.yaml"]
        data["topology.yaml"] = data["topology.yaml"].replace(old, new)
    return change


def without(kind, name):
    def change(documents):
        documents[:] = [d for d in documents if d["kind"] != kind or d["metadata"]["name"] != name]
    return change


BROKEN = (
    ("a mistyped field", put("StatefulSet", *POD, "terminationGracePeriodSecond", 30), "unexpected"),
    ("a number that is a text", put("StatefulSet", "spec", "replicas", "1"), "is not of type"),
    ("a field that CloudNativePG does not know", put("Cluster", "spec", "instancez", 2), "instancez"),
    ("a listener that Strimzi does not know", put("Kafka", "spec", "kafka", "listeners", 0, "type", "inside"), "inside"),
    ("runs as root", put("StatefulSet", *POD, "securityContext", "runAsNonRoot", False), "may run as root"),
    ("writes to its root", put("StatefulSet", *BOX, "securityContext", "readOnlyRootFilesystem", False), "may write"),
    ("keeps capabilities", put("Job", *BOX, "securityContext", "capabilities", {"drop": ["NET_RAW"]}), "keeps capabilities"),
    ("no seccomp", drop("StatefulSet", *POD, "securityContext", "seccompProfile"), "no seccomp"),
    ("a token", put("StatefulSet", *POD, "automountServiceAccountToken", True), "token"),
    ("a folder of the node", put("StatefulSet", *POD, "volumes", 0, {"name": "topology", "hostPath": {"path": "/"}}), "neither configuration"),
    ("no limit", drop("StatefulSet", *BOX, "resources", "limits"), "no requests, or no limit"),
    ("any version", put("StatefulSet", *BOX, "image", "registry.example.com/pangea:latest"), "no fixed version"),
    ("a password in the environment", put("StatefulSet", *BOX, "env", 0, {"name": "PGPASSWORD", "value": "x"}), "PGPASSWORD"),
    ("a password in the ConfigMap", topology("sasl.password_file: /run/secrets/pangea/kafka-us/password", "sasl.password: geheim"), "holds a password"),
    ("two daemons", put("StatefulSet", "spec", "replicas", 2), "2 replicas"),
    ("another region", put("StatefulSet", *BOX, "env", 1, {"name": "PANGEA_REGION", "value": "eu"}), "PANGEA_REGION is eu"),
    ("killed while it drains", put("StatefulSet", *POD, "terminationGracePeriodSeconds", 10), "is killed after 10 s"),
    ("liveness asks for dependencies", put("StatefulSet", *BOX, "livenessProbe", "httpGet", "path", "/readyz"), "livenessProbe"),
    ("no startup probe", drop("StatefulSet", *BOX, "startupProbe"), "startupProbe"),
    ("listens on loopback", topology("0.0.0.0:8300", "127.0.0.1:8300"), "would not reach it"),
    ("a Service of nobody", put("Service", "spec", "selector", {"app": "other"}), "Service does not select"),
    ("a budget that blocks", put("PodDisruptionBudget", "spec", {"minAvailable": 1, "selector": {"matchLabels": {}}}), "keeps a node"),
    ("a ServiceMonitor of nothing", put("ServiceMonitor", "spec", "selector", "matchLabels", {"app": "other"}), "ServiceMonitor does not"),
    ("no ConfigMap of that name", put("StatefulSet", *POD, "volumes", 0, "configMap", "name", "pangea-topology"), "there is no ConfigMap"),
    ("a secret that is not mounted", drop("StatefulSet", *POD, "volumes", 1, "projected", "sources", 3), "nothing mounts"),
    ("no default deny", without("NetworkPolicy", "default-deny"), "denies everything first"),
    ("everybody may connect", put("NetworkPolicy", "spec", {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}), "lets in more"),
    ("a Kafka that is not let through", topology("9093", "9095"), "cannot reach TCP 9095"),
    ("another namespace", put("ServiceMonitor", "metadata", "namespace", "default"), "several namespaces"),
    ("no namespace", drop("ServiceMonitor", "metadata", "namespace"), "has no namespace"),
    ("no budget", without("PodDisruptionBudget", "pangea"), "PodDisruptionBudget does not select"),
)


def found(change, expected):
    documents = copy.deepcopy(region("one-cluster", "us").documents)
    change(documents)
    said = [f for d in documents for f in SCHEMAS.faults(d)] + policy.faults(policy.Region("us", documents))
    assert any(expected in s for s in said), f"not found; said: {said}"


def main():
    tests = [("the alert rules are those of deploy/prometheus", alert_rules)]
    for which in SETS:
        for name in REGIONS:
            for what in (valid, lawful, complete):
                tests.append((f"{which}: {name} is {what.__name__}", lambda what=what, which=which, name=name: what(which, name)))
        tests.append((f"{which}: one topology for all", lambda which=which: same_topology(which)))
        tests.append((f"{which}: pangea validate", lambda which=which: validated(which)))
    for why, change, expected in BROKEN:
        tests.append((f"found: {why}", lambda change=change, expected=expected: found(change, expected)))
    return tap.run(tests)


if __name__ == "__main__":
    sys.exit(main())
