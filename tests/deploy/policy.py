"""What the rendered manifests of one region must be, beyond what a schema can say. Each rule yields what it found wrong; a rule is a function
of the documents alone, so that test_kubernetes.py can break a manifest and see it found."""
import re
import shlex

import yaml

KIND_OF_PODS = ("StatefulSet", "Job", "Deployment", "DaemonSet", "CronJob", "Pod")


class Region:
    """The documents of one overlay, and the topology that its pods get."""

    def __init__(self, name, documents):
        self.name, self.documents = name, documents
        self.pods = [d for d in documents if d["kind"] in KIND_OF_PODS]
        self.maps = {d["metadata"]["name"]: d for d in self.all("ConfigMap")}
        texts = [d["data"]["topology.yaml"] for d in self.maps.values() if "topology.yaml" in d.get("data", {})]
        self.topology_text = texts[0] if texts else ""
        self.topology = yaml.safe_load(self.topology_text) or {"regions": {}}

    def all(self, kind):
        return [d for d in self.documents if d["kind"] == kind]

    def daemon(self):
        return next(d for d in self.all("StatefulSet") if d["metadata"]["name"] == "pangea")

    def files(self, pod):
        """Every file that the pod finds below its mounts."""
        spec, out = pod["spec"]["template"]["spec"], set()
        for mount in spec["containers"][0].get("volumeMounts", []):
            volume = next(v for v in spec["volumes"] if v["name"] == mount["name"])
            if "configMap" in volume:
                out |= {f"{mount['mountPath']}/{key}" for key in self.maps.get(volume["configMap"]["name"], {}).get("data", {})}
            for source in volume.get("projected", {}).get("sources", []):
                out |= {f"{mount['mountPath']}/{item['path']}" for item in source["secret"]["items"]}
        return out


def env(pod):
    return {e["name"]: e.get("value") for e in pod["spec"]["template"]["spec"]["containers"][0].get("env", [])}


def seconds(duration):
    number, unit = re.fullmatch(r"(\d+)(ms|s|min|h|d)", duration).groups()
    return int(number) * {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}[unit]


def secret_files(properties):
    return [v for k, v in properties.items() if str(v).startswith("/")]


# ---- rules -----------------------------------------------------------------------------------------------------------------------------
def least_privilege(r):
    for d in r.pods:
        spec, where = d["spec"]["template"]["spec"], f"{d['kind']}/{d['metadata']['name']}"
        context = spec.get("securityContext", {})
        if not context.get("runAsNonRoot") or not context.get("runAsUser"):
            yield f"{where}: may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{where}: no seccomp profile"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{where}: gets a token for the Kubernetes API"
        if spec.get("enableServiceLinks") is not False:
            yield f"{where}: Services put PANGEA_* into its environment"
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(key):
                yield f"{where}: {key}"
        for c in spec["containers"] + spec.get("initContainers", []):
            own = c.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False:
                yield f"{where}: {c['name']} may gain privileges"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{where}: {c['name']} may write to its root"
            if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
                yield f"{where}: {c['name']} keeps capabilities"
        for v in spec.get("volumes", []):
            if set(v) - {"name", "configMap", "projected", "secret", "emptyDir"}:
                yield f"{where}: volume {v['name']} is neither configuration nor secret"


def resources(r):
    for d in r.pods:
        for c in d["spec"]["template"]["spec"]["containers"]:
            want, limit = (c.get("resources", {}).get(k, {}) for k in ("requests", "limits"))
            if not {"cpu", "memory"} <= set(want) or "memory" not in limit:
                yield f"{d['kind']}/{d['metadata']['name']}: {c['name']} has no requests, or no limit of memory"


def images(r):
    for d in r.pods:
        image = d["spec"]["template"]["spec"]["containers"][0]["image"]
        if not re.search(r"/.*(:(?!latest$)[^/:]+|@sha256:[0-9a-f]{64})$", image):
            yield f"{d['kind']}/{d['metadata']['name']}: image {image} has no registry, or no fixed version"


def no_secret_in_sight(r):
    """A secret reaches the daemon as a file: neither in the environment, nor in an argument, nor in a ConfigMap."""
    for d in r.pods:
        for c in d["spec"]["template"]["spec"]["containers"]:
            for e in c.get("env", []):
                if "valueFrom" in e or re.search(r"password|secret|token", e["name"], re.I):
                    yield f"{d['kind']}/{d['metadata']['name']}: {e['name']} is in the environment"
            if c.get("envFrom"):
                yield f"{d['kind']}/{d['metadata']['name']}: envFrom"
    if re.search(r"(^|[\s{,])(sasl\.password|password|ssl\.key\.password)\s*[:=](?!\s*\$)", r.topology_text, re.M):
        yield "the topology holds a password"
    if r.all("Secret"):
        yield "a Secret with content stands among the manifests"


def one_daemon(r):
    spec = r.daemon()["spec"]
    if spec["replicas"] != 1:
        yield f"{spec['replicas']} replicas: a region has one daemon"
    if [d["metadata"]["name"] for d in r.all("Service")] != [spec["serviceName"]]:
        yield "serviceName names no Service"
    for d in r.pods:
        if env(d).get("PANGEA_REGION") != r.name:
            yield f"{d['kind']}: PANGEA_REGION is {env(d).get('PANGEA_REGION')}"
    if r.name not in r.topology["regions"]:
        yield f"the topology has no region {r.name}"


def ending(r):
    grace = r.daemon()["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30)
    drain = seconds(r.topology.get("drain_timeout", "10s"))
    if grace <= drain:
        yield f"the pod is killed after {grace} s, the daemon may take {drain:.0f} s to drain"


def probes(r):
    c = r.daemon()["spec"]["template"]["spec"]["containers"][0]
    ports = {p["name"]: p["containerPort"] for p in c.get("ports", [])}
    for name, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        get = c.get(name, {}).get("httpGet", {})
        if get.get("path", "").split("?")[0] != path or get.get("port") not in ports:
            yield f"{name} does not ask {path}"
    for name, region in r.topology["regions"].items():
        host, _, port = region.get("http", {}).get("listen", "").rpartition(":")
        if port != str(ports.get("http")) or host in ("127.0.0.1", "localhost", "[::1]"):
            yield f"region {name} listens on {host}:{port}: the kubelet would not reach it at port {ports.get('http')}"
    if r.all("Service")[0]["spec"]["ports"][0]["targetPort"] not in ports:
        yield "the Service leads to no port of the pod"


def selectors(r):
    labels = r.daemon()["spec"]["template"]["metadata"]["labels"]

    def covers(selector):
        return selector.items() <= labels.items()
    for kind, of in (("Service", lambda s: s["selector"]), ("PodDisruptionBudget", lambda s: s["selector"]["matchLabels"]),
                     ("StatefulSet", lambda s: s["selector"]["matchLabels"])):
        if len(r.all(kind)) != 1 or not covers(of(r.all(kind)[0]["spec"])):
            yield f"{kind} does not select the daemon's pod"
        elif any(of(r.all(kind)[0]["spec"]).items() <= d["spec"]["template"]["metadata"]["labels"].items() for d in r.all("Job")):
            yield f"{kind} selects the pod of init as well"
    for d in r.all("ServiceMonitor"):
        if not d["spec"]["selector"]["matchLabels"].items() <= r.all("Service")[0]["metadata"]["labels"].items():
            yield "ServiceMonitor does not select the Service"
    for d in r.all("PodDisruptionBudget"):
        if "minAvailable" in d["spec"] or not d["spec"].get("maxUnavailable"):
            yield "the budget keeps a node from being drained"


def names(r):
    """Everything is in the region's namespace, and whatever is referred to is there."""
    for d in r.documents:
        if d["kind"] != "Namespace" and not d["metadata"].get("namespace"):
            yield f"{d['kind']}/{d['metadata']['name']} has no namespace"
    spaces = {d["metadata"]["namespace"] for d in r.documents if d["kind"] in KIND_OF_PODS + ("NetworkPolicy", "ConfigMap", "Service", "ServiceMonitor",
              "PrometheusRule", "PodDisruptionBudget", "ServiceAccount") and d["metadata"].get("namespace")}
    if len(spaces) != 1:
        yield f"the daemon's things are in several namespaces: {sorted(spaces)}"
    for d in r.pods:
        spec = d["spec"]["template"]["spec"]
        for v in spec["volumes"]:
            if "configMap" in v and v["configMap"]["name"] not in r.maps:
                yield f"{d['kind']}: there is no ConfigMap {v['configMap']['name']}"
        if spec.get("serviceAccountName") not in [a["metadata"]["name"] for a in r.all("ServiceAccount")]:
            yield f"{d['kind']}: there is no ServiceAccount {spec.get('serviceAccountName')}"


def files_of_the_topology(r):
    """Each file that the topology names for this region is in its pods: its own database's, and every Kafka's."""
    wanted = {"/etc/pangea/topology.yaml"}
    for name, region in r.topology["regions"].items():
        wanted |= set(secret_files(region["kafka"].get("properties", {})))
        if name == r.name:
            wanted |= {region["postgres"]["password_file"]} if "password_file" in region["postgres"] else set()
            words = dict(w.split("=", 1) for w in shlex.split(region["postgres"]["conninfo"]))
            wanted |= {v for k, v in words.items() if k in ("sslrootcert", "sslcert", "sslkey") and v.startswith("/")}
    for d in r.pods:
        if env(d).get("PANGEA_TOPOLOGY") not in r.files(d):
            yield f"{d['kind']}: PANGEA_TOPOLOGY leads nowhere"
        for file in sorted(wanted - r.files(d)):
            yield f"{d['kind']}: nothing mounts {file}"


def network(r):
    policies = r.all("NetworkPolicy")
    if not any(p["spec"]["podSelector"] == {} and set(p["spec"]["policyTypes"]) == {"Ingress", "Egress"} and
               not p["spec"].get("ingress") and not p["spec"].get("egress") for p in policies):
        yield "no policy denies everything first"
    allowed, sources = set(), []
    for p in policies:
        for rule in p["spec"].get("egress", []):
            allowed |= {(x["protocol"], x["port"]) for x in rule.get("ports", [])}
            if not rule.get("ports"):
                yield "a policy lets every port out"
        for rule in p["spec"].get("ingress", []):
            sources += rule.get("from", [{}])
            if [x["port"] for x in rule.get("ports", [])] != ["http"]:
                yield "a policy lets in more than the http port"
    if {} in sources or not sources:
        yield "anybody may connect, or nobody"
    wanted = {("UDP", 53), ("TCP", 53)}
    for name, region in r.topology["regions"].items():
        wanted |= {("TCP", int(b.rpartition(":")[2])) for b in region["kafka"]["brokers"]}
        if name == r.name:
            wanted.add(("TCP", int(re.search(r"port=(\d+)", region["postgres"]["conninfo"]).group(1))))
    for protocol, port in sorted(wanted - allowed):
        yield f"the daemon cannot reach {protocol} {port}"
    for protocol, port in sorted(allowed - wanted):
        yield f"{protocol} {port} is open to the daemon, and nothing needs it"


RULES = (least_privilege, resources, images, no_secret_in_sight, one_daemon, ending, probes, selectors, names, files_of_the_topology, network)


def faults(region):
    return [f"{rule.__name__}: {found}" for rule in RULES for found in rule(region)]
