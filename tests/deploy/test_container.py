#!/usr/bin/python3
"""The container recipe, the Debian package and the compose file against the tree: packages for every library, every folder, one version
everywhere; the compose file against the specification's schema and against its own topology."""
import copy
import json
import os
import re
import subprocess
import sys

import tools

tools.under_their_python(__file__)

import jsonschema  # noqa: E402
import policy  # noqa: E402
import schemas  # noqa: E402
import tap  # noqa: E402

RECIPE = tools.read("deploy", "container", "Containerfile")
IGNORE = tools.read("deploy", "container", "Containerfile.dockerignore")
CONTROL = tools.read("deploy", "debian", "control")
MAKEFILE = tools.read("Makefile")
COMPOSE = schemas.load_all(tools.read("deploy", "compose", "compose.yaml"))[0]
TOPOLOGY = schemas.load_all(tools.read("deploy", "compose", "topology.yaml"))[0]
SCHEMA = json.loads(tools.read(tools.TOOLS, "compose-spec.json"))
SQL = tools.read("deploy", "compose", "postgres.sql")
VERSION = re.search(r'PANGEA_VERSION "(.*)"', tools.read("base", "version.h")).group(1)


def nothing(found):
    if found:
        raise AssertionError("\n".join(found))


# ---- packages ----------------------------------------------------------------------------------------------------------------------------
def words(text):
    return set(re.findall(r"[\w.+-]+", text))


def stages():
    build, _, last = RECIPE.partition("\nFROM ${BASE}\n")
    return words(build), words(last)


def lacks_dev(libraries, recipe, control):
    for lib in libraries:
        for where, said in (("the recipe's first stage", recipe), ("Build-Depends", control)):
            if f"lib{lib}-dev" not in said:
                yield f"{where}: no lib{lib}-dev"


def libraries_to_build():
    libs = [w for w in re.findall(r"-l([\w-]+)", re.search(r"(?m)^LDLIBS = (.*)$", MAKEFILE).group(1)) if w not in ("pthread", "m")]
    assert len(libs) > 5, libs
    nothing(list(lacks_dev(libs, stages()[0], words(CONTROL))))
    assert list(lacks_dev(["none"], stages()[0], words(CONTROL))), "a library that nobody has is not missed"


def libraries_to_run():
    """Each library that the program is linked with comes from a package that the second stage installs; libc is in every Debian."""
    out = subprocess.run(["ldd", tools.PANGEA], stdout=subprocess.PIPE, text=True, check=True).stdout
    direct = re.findall(r"NEEDED.*\[(.*)\]", subprocess.run(["readelf", "-d", tools.PANGEA], stdout=subprocess.PIPE, text=True, check=True).stdout)
    files = [path for name, path in re.findall(r"(\S+) => (/\S+)", out) if name in direct]
    packages = set()
    for f in files:
        said = subprocess.run(["dpkg", "-S", "*/" + "/".join(f.split("/")[-2:])], stdout=subprocess.PIPE, text=True, check=True).stdout
        packages.add(said.split(":")[0])
    packages -= {"libc6", "libasan8", "libubsan1", "libtsan2"}  # those of a sanitizer's build are not in a release
    assert len(packages) > 5, packages
    nothing([f"the recipe's second stage does not install {p}" for p in sorted(packages - stages()[1])])


def folders():
    wanted = {d for d in re.search(r"(?m)^DIRS = (.*)$", MAKEFILE).group(1).split()} | {"Makefile"}
    nothing([f"Containerfile.dockerignore leaves {w} out" for w in sorted(wanted - set(re.findall(r"(?m)^!(.*)$", IGNORE)))])


def confined():
    assert re.search(r"(?m)^USER [1-9]\d*:[1-9]\d*$", RECIPE), "the container runs as root"
    assert "COPY . /src" in RECIPE.split("\nFROM ${BASE}\n")[0] and "COPY . " not in RECIPE.split("\nFROM ${BASE}\n")[1]


def one_version():
    said = {"deploy/debian/changelog": re.search(r"\((.*?)\)", tools.read("deploy", "debian", "changelog")).group(1),
            "compose.yaml": COMPOSE["x-pangea"]["image"].split(":")[1]}
    for region in ("us", "eu", "ap"):
        file = os.path.join("deploy", "kubernetes", "overlays", region, "kustomization.yaml")
        said[file] = re.search(r"newTag: (\S+?)}", tools.read(file)).group(1)
    nothing([f"{file} says {v}, base/version.h {VERSION}" for file, v in said.items() if v != VERSION])


# ---- compose -----------------------------------------------------------------------------------------------------------------------------
def by_schema(compose):
    for e in jsonschema.Draft7Validator(SCHEMA).iter_errors(compose):
        yield f"{'.'.join(map(str, e.absolute_path))}: {e.message}"


def by_itself(compose):
    """The services against the topology that they get, and the topology against the SQL that made its roles."""
    services = compose["services"]
    for name, region in TOPOLOGY["regions"].items():
        conn = dict(w.split("=", 1) for w in region["postgres"]["conninfo"].split())
        database, broker = services.get(conn["host"], {}), region["kafka"]["brokers"][0]
        if database.get("environment", {}).get("POSTGRES_DB") != conn["dbname"]:
            yield f"{name}: no service {conn['host']} with a database {conn['dbname']}"
        if not re.search(rf"CREATE ROLE {conn['user']} LOGIN REPLICATION PASSWORD '{conn['password']}'", SQL):
            yield f"{name}: postgres.sql makes no role {conn['user']} with that password"
        if services.get(broker.split(":")[0], {}).get("environment", {}).get("KAFKA_ADVERTISED_LISTENERS") != f"PLAINTEXT://{broker}":
            yield f"{name}: no service says that it is {broker}"
        for service, command in ((f"init-{name}", "init"), (f"pangea-{name}", "run")):
            s = services.get(service, {})
            if s.get("environment", {}).get("PANGEA_REGION") != name or s.get("command") != [command]:
                yield f"{name}: {service} does not do `{command}` for it"
            if s.get("cap_drop") != ["ALL"] or not s.get("read_only"):
                yield f"{name}: {service} has more rights than it needs"
        if policy.seconds(services.get(f"pangea-{name}", {}).get("stop_grace_period", "10s")) <= policy.seconds(TOPOLOGY.get("drain_timeout", "10s")):
            yield f"{name}: it is killed while it drains"
    for name, s in services.items():
        for needed in s.get("depends_on", {}):
            if needed not in services:
                yield f"{name} depends on {needed}, which is not there"
            elif s["depends_on"][needed]["condition"] == "service_healthy" and "healthcheck" not in services[needed]:
                yield f"{name} waits for {needed} to be healthy, which has no check"
        for volume in s.get("volumes", []):
            if not os.path.exists(os.path.join(tools.ROOT, "deploy", "compose", volume.split(":")[0])):
                yield f"{name}: {volume} is not there"
        for port in s.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: port {port} is open to everybody"


def faults(compose):
    return [*by_schema(compose), *by_itself(compose)]


def found(service, key, value, expected):
    broken = copy.deepcopy(COMPOSE)
    broken["services"][service][key] = value
    said = faults(broken)
    assert any(expected in s for s in said), f"not found; said: {said}"


def topology_is_valid():
    done = subprocess.run([tools.PANGEA, "validate", "--json", os.path.join(tools.ROOT, "deploy", "compose", "topology.yaml")],
                          stdout=subprocess.PIPE, text=True)
    nothing([e["message"] for e in json.loads(done.stdout)["errors"]])


def main():
    return tap.run((
        ("packages to build with", libraries_to_build),
        ("packages to run with", libraries_to_run),
        ("every folder is in the context", folders),
        ("not as root, and without the sources", confined),
        ("one version everywhere", one_version),
        ("compose: by the specification and by itself", lambda: nothing(faults(COMPOSE))),
        ("compose: pangea validate", topology_is_valid),
        ("found: a mistyped key", lambda: found("pangea-us", "restarts", "always", "restarts")),
        ("found: a region without its database", lambda: found("postgres-us", "environment", {"POSTGRES_DB": "other"}, "no service postgres-us")),
        ("found: another broker's name", lambda: found("kafka-eu", "environment", {}, "no service says")),
        ("found: the wrong region", lambda: found("pangea-ap", "environment", {"PANGEA_REGION": "us"}, "pangea-ap does not")),
        ("found: a file that is not there", lambda: found("postgres-us", "volumes", ["./other.sql:/x"], "is not there")),
        ("found: killed while it drains", lambda: found("pangea-us", "stop_grace_period", "5s", "killed while it drains")),
        ("found: open to everybody", lambda: found("postgres-us", "ports", ["5432:5432"], "open to everybody")),
        ("found: waits for nobody", lambda: found("init-us", "depends_on", {"db": {"condition": "service_healthy"}}, "is not there")),
    ))


if __name__ == "__main__":
    sys.exit(main())
