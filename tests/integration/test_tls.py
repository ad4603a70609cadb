"""Kafka behind TLS and a login: changes travel; what does not fit is named, retried, and nothing secret is said."""
import os
import subprocess

from harness.case import test
from harness.wait import until

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"
PASSWORD = "l0g1n-c4n4ry"


def openssl(*args, folder):
    subprocess.run(["openssl", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def certificate(folder, name, ca=None, days=2):
    """name.key, name.crt, and name.pem with both; signed by ca, or by itself."""
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", f"{name}.key", *(["-out", f"{name}.csr"] if ca else ["-x509", "-days", str(days), "-out", f"{name}.crt"]), folder=folder)
    if ca:
        with open(os.path.join(folder, "san"), "w") as f:
            f.write("subjectAltName=IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", str(days), "-extfile", "san",
                "-out", f"{name}.crt", folder=folder)
    with open(os.path.join(folder, f"{name}.pem"), "w") as out:
        for part in ("key", "crt"):
            with open(os.path.join(folder, f"{name}.{part}")) as f:
                out.write(f.read())


def secure_kafka(c):
    """One broker: TLS, TLS that asks for the client's certificate, and TLS with a login."""
    folder = os.path.join(c.folder, "tls")
    os.mkdir(folder)
    certificate(folder, "ca")
    certificate(folder, "other-ca")
    certificate(folder, "broker", "ca")
    certificate(folder, "client", "ca")
    ports = {name: c.servers.free_port() for name in ("TLS", "MUTUAL", "LOGIN")}
    jaas = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_pangea="{PASSWORD}";'
    kafka = c.servers.new_kafka(
        listeners={name: (port, port, "SASL_SSL" if name == "LOGIN" else "SSL") for name, port in ports.items()},
        properties=("ssl.keystore.type=PEM", f"ssl.keystore.location={folder}/broker.pem", "ssl.truststore.type=PEM", f"ssl.truststore.location={folder}/ca.crt",
                    "listener.name.mutual.ssl.client.auth=required", "sasl.enabled.mechanisms=PLAIN", f"listener.name.login.plain.sasl.jaas.config={jaas}"))
    c.own.append(kafka)
    for r in c:
        r.kafka = kafka
    return folder, ports


def reach(c, port, **properties):
    for r in c.topology["regions"].values():
        r["kafka"] = {"brokers": [f"127.0.0.1:{port}"], "properties": dict(properties)}
    c.write_topology()


@test(tables=T, init=False, limit=150)
def tls_and_login(c):
    """a row must travel by TLS alone, with a client's certificate, with a login; large rows too; another CA or password is refused by name"""
    folder, ports = secure_kafka(c)
    tls = {"security.protocol": "ssl", "ssl.ca.location": f"{folder}/ca.crt"}
    mutual = dict(tls, **{"ssl.certificate.location": f"{folder}/client.crt", "ssl.key.location": f"{folder}/client.key"})
    login = {"security.protocol": "sasl_ssl", "ssl.ca.location": f"{folder}/ca.crt", "sasl.mechanism": "PLAIN", "sasl.username": "pangea", "sasl.password": PASSWORD}
    reach(c, ports["TLS"], **tls)
    c.tables(T)
    c.init()
    for i, (listener, properties) in enumerate((("TLS", tls), ("MUTUAL", mutual), ("LOGIN", login))):
        reach(c, ports[listener], **properties)
        for r in c:
            r.kill()
            r.run()
        c.us.app("INSERT INTO t VALUES (%s, 'us'), (%s, repeat('large ', 300000))", 10 * i, 10 * i + 1)
        c.eu.app("INSERT INTO t VALUES (%s, 'eu')", 10 * i + 2)
        c.barrier(60)
    c.converged("SELECT * FROM t ORDER BY id")
    c.verify()

    refused(c, ports["TLS"], "kafka_tls", dict(tls, **{"ssl.ca.location": f"{folder}/other-ca.crt"}))
    refused(c, ports["MUTUAL"], "kafka_tls", tls)
    refused(c, ports["LOGIN"], "kafka_login", dict(login, **{"sasl.password": PASSWORD + "-wrong"}))
    c.us.kill()
    reach(c, ports["LOGIN"], **login)
    c.us.run()
    c.us.app("INSERT INTO t VALUES (100, 'after the mend')")
    c.expect("SELECT v FROM t WHERE id = 100", [("after the mend",)], limit=60)
    for name in os.listdir(c.folder):
        if name.endswith(".log"):
            with open(os.path.join(c.folder, name), errors="replace") as f:
                assert PASSWORD not in f.read(), f"{name} holds the password"


def refused(c, port, name, properties):
    """us cannot log in so: it says why, and what to do, and goes on trying."""
    c.us.kill()
    reach(c, port, **properties)
    d = c.us.run()

    def look():
        doc = c.us.status("capture")
        ok = doc.get("pid") == d.pid and name == doc.get("error") and doc.get("why") and doc.get("todo")
        return ok or (False, {k: doc.get(k) for k in ("pid", "state", "error", "why", "todo")})

    until(look, f"us says {name}", 40)
    text = str(c.us.status("capture")) + str(c.us.status("apply")) + str(c.command("status", check=None))
    assert PASSWORD not in text
    assert d.alive() or d.wait(1) in (2, 4, 5), "it ended in another way"
    d.wanted_end = True
