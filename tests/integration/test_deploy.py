"""What deploy/ gives a database: the rights there must be enough, and no right too few may be found out only in production."""
import os
import subprocess

import yaml

from harness.case import test
from harness.daemon import die_with_parent
from harness.servers import ROOT
from harness.wait import until

DEPLOY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy")


def compose():
    with open(os.path.join(DEPLOY, "compose", "postgres.sql")) as f:
        return f.read()


def cloudnative_pg():
    with open(os.path.join(DEPLOY, "kubernetes", "examples", "one-cluster", "postgres", "cluster.yaml")) as f:
        statements = yaml.safe_load(f)["spec"]["bootstrap"]["initdb"]["postInitApplicationSQL"]
    # CloudNativePG makes the owner and the database before
    return "CREATE ROLE app LOGIN; SET ROLE app; CREATE TABLE public.notes (id int PRIMARY KEY); RESET ROLE;" + ";".join(statements)


@test(init=False, own_postgres="one", regions=("us",), cases=[("compose", compose), ("cloudnative_pg", cloudnative_pg)])
def rights_are_enough(c, case):
    """`init` and `run` by the role that deploy/ makes, with nobody to grant it anything more"""
    name, text = case
    database, role, owner = f"shop_{name}", f"pangea_{name}", f"app_{name}"
    c.us.sql(f"CREATE DATABASE {database}")
    sql = text()
    for old, new in ((" pangea", f" {role}"), (" app", f" {owner}"), ("DATABASE shop ", f"DATABASE {database} ")):
        assert old in sql, (old, sql)
        sql = sql.replace(old, new)
    superuser = c.us.postgres.connect(database)
    superuser.cursor().execute(f"GRANT CREATE ON SCHEMA public TO PUBLIC; {sql}")
    c.topology["cluster"] = f"{c.name}_{name}"
    c.topology["regions"]["us"]["postgres"]["conninfo"] = c.us.postgres.conninfo(database, role)
    c.write_topology()
    c.command("init", "--region", "us")
    daemon = c.us.run()
    daemon.wait_log("capture.started")
    assert daemon.stop() == 0
    cursor = superuser.cursor()
    cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (role,))
    assert cursor.fetchone() == (False,)
    cursor.execute("SELECT tablename FROM pg_publication_tables WHERE schemaname = 'public'")
    assert cursor.fetchall() == [("notes",)]
    superuser.close()


LIBS = os.path.join(os.environ.get("PANGEA_CACHE", os.path.join(ROOT, ".cache")), "kafka", "libs", "*")
JAVA = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", LIBS]


def kafka_of_compose(c, folder):
    """server.properties as the image makes them of the compose file's environment (KAFKA_NODE_ID: node.id), with places of this machine."""
    with open(os.path.join(DEPLOY, "compose", "compose.yaml")) as f:
        environment = yaml.safe_load(f)["services"]["kafka-us"]["environment"]
    broker, controller = c.servers.free_port(), c.servers.free_port()
    lines = [f"log.dirs={folder}/data"]
    for name, value in environment.items():
        assert name.startswith("KAFKA_"), name
        value = str(value).replace("//:", "//127.0.0.1:").replace("//kafka-us:", "//127.0.0.1:").replace("@localhost:", "@127.0.0.1:")
        lines.append(f"{name[len('KAFKA_'):].lower().replace('_', '.')}={value.replace('9092', str(broker)).replace('9093', str(controller))}")
    os.makedirs(folder)
    file = os.path.join(folder, "server.properties")
    with open(file, "w") as f:
        f.write("\n".join(lines) + "\n")
    return file, f"127.0.0.1:{broker}"


@test(init=False, regions=("us",), limit=120)
def kafka_of_the_compose_file(c):
    """a broker with the settings of deploy/compose, made by Kafka itself: it starts, its health can be asked, and a region works with it"""
    file, brokers = kafka_of_compose(c, os.path.join(c.folder, "kafka"))
    done = subprocess.run([*JAVA, "kafka.tools.StorageTool", "format", "-t", "5L6g3nShT-eMCtK--X86sw", "-c", file], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    log = os.path.join(c.folder, "kafka.log")
    with open(log, "w") as out:
        broker = subprocess.Popen([*JAVA, "kafka.Kafka", file], stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=die_with_parent, cwd=c.folder)
    try:
        def healthy():
            assert broker.poll() is None, "it has ended: see kafka.log"
            return subprocess.run(["kcat", "-b", brokers, "-L", "-m", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
        until(healthy, "it answers", 60)
        asked = subprocess.run([*JAVA, "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", brokers, "--list"], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)  # as the health check does
        assert asked.returncode == 0, asked.stdout
        c.topology["regions"]["us"]["kafka"]["brokers"] = [brokers]
        c.write_topology()
        c.tables("CREATE TABLE public.t (id int PRIMARY KEY, v text)")
        c.init()
        daemon = c.us.run()
        daemon.wait_log("capture.started")
        c.us.app("INSERT INTO t VALUES (1, 'x')")
        until(lambda: c.us.status("capture").get("transactions", 0) > 0 or (False, c.us.status("capture")), "the commit is in its log", 20)
        assert daemon.stop() == 0
        c.command("deinit", "--region", "us", "--yes", "--admin", c.us.postgres.conninfo(c.us.database, "postgres"))
    finally:
        broker.kill()
        broker.wait()


def grant_in_kafka(kafka, c):
    """The rights that the Strimzi example gives the user pangea, for this cluster's topics instead of the shop's."""
    with open(os.path.join(DEPLOY, "kubernetes", "examples", "one-cluster", "kafka", "kafka.yaml")) as f:
        user = next(d for d in yaml.safe_load_all(f) if d["kind"] == "KafkaUser")
    for acl in user["spec"]["authorization"]["acls"]:
        assert acl["resource"] == {"type": "topic", "name": "shop.", "patternType": "prefix"}, acl
        args = ["--topic", f"{c.name}.", "--resource-pattern-type", "prefixed"]
        for operation in acl["operations"]:
            args += ["--operation", operation]
        subprocess.run([*JAVA, "org.apache.kafka.tools.AclCommand",
                        "--bootstrap-server", kafka.brokers, "--add", "--allow-principal", "User:pangea", *args],
                       check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


@test(init=False, limit=120)
def rights_in_kafka_are_enough(c):
    """a Kafka with a login and ACLs: refused by name without them; with those of the example everything works, deleting records and topics included"""
    port = c.servers.free_port()
    kafka = c.servers.new_kafka(listeners={"LOGIN": (port, port, "SASL_PLAINTEXT")}, properties=[
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS",
        "sasl.enabled.mechanisms=PLAIN",
        "listener.name.login.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_pangea=\"a long one\";"])
    c.own.append(kafka)
    password = os.path.join(c.folder, "kafka.password")
    with open(password, "w") as f:
        f.write("a long one\n")
    for r in c:
        c.topology["regions"][r.name]["kafka"] = {"brokers": [f"127.0.0.1:{port}"], "properties": {
            "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "pangea", "sasl.password_file": password}}
    c.topology["log"].update(retention="1s")
    c.write_topology()
    c.tables("CREATE TABLE public.t (id int PRIMARY KEY, v text)")
    admin = ["--admin", c.us.postgres.conninfo(c.us.database, "postgres")]
    code, out, err = c.command("init", "--region", "us", *admin, check=5)
    assert "authoriz" in (out + err).lower(), out + err
    grant_in_kafka(kafka, c)
    c.init()
    c.run()
    c.us.app("INSERT INTO t VALUES (1, 'from us')")
    c.eu.app("INSERT INTO t VALUES (2, 'from eu')")
    c.expect("SELECT id FROM t ORDER BY id", [(1,), (2,)])
    c.barrier()

    def low_watermark():  # capture deletes what everybody has applied
        out = subprocess.run(["kcat", "-b", kafka.brokers, "-C", "-t", c.us.topic, "-p", "0", "-o", "beginning", "-c", "1", "-e", "-f", "%o"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
        return int(out or 0) > 0 or (False, f"the first offset is {out}")
    until(low_watermark, "old records are deleted", 60)
    for r in c:
        assert r.daemon.stop() == 0
    c.command("deinit", "--region", "us", "--yes", *admin)
