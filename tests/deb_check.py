#!/usr/bin/python3
"""make deb-check: the Debian package under lintian; installed into a fresh Debian (mmdebstrap, a folder and chroot: no container engine); there
`pangea version`, `validate`, the user and the folders; two regions run with that very program, on real PostgreSQL and Kafka outside;
removed without leaving anything. Then deploy/systemd/README.md, command by command, in that Debian with its systemd as process 1.
Needs root, for chroot and namespaces."""
import glob
import os
import shlex
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
sys.dont_write_bytecode = True

from harness import case  # noqa: E402
from harness.book import Page  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.debian import ENVIRONMENT, Booted, Debian, call  # noqa: E402
from harness.servers import ROOT, Servers  # noqa: E402
from harness.wait import until  # noqa: E402

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"


def same(what, seen, wanted):
    if seen != wanted:
        raise AssertionError(f"{what}: {seen!r}, want {wanted!r}")


def lintian(changes):
    said = call("lintian", "--allow-root", "--fail-on", "error,warning", changes)
    print(f"lintian: {said.strip() or 'nothing'}", flush=True)


def looks(debian, version):
    same("pangea version", debian("pangea", "version").split()[-1], version)
    examples = "/usr/share/doc/pangea/examples"
    print(debian("pangea", "validate", f"{examples}/one-machine.yaml").strip(), flush=True)
    print(debian("env", "US_KAFKA_PASSWORD=x", "pangea", "validate", f"{examples}/three-regions.yaml").strip(), flush=True)
    user = debian("getent", "passwd", "pangea").strip().split(":")
    assert user[2] != "0" and user[6] == "/usr/sbin/nologin", user
    same("/etc/pangea", debian("stat", "-c", "%U %G %a", "/etc/pangea").strip(), "root root 755")
    same("/etc/pangea/secrets", debian("stat", "-c", "%U %G %a", "/etc/pangea/secrets").strip(), "root pangea 750")
    said = debian("systemd-analyze", "verify", "/lib/systemd/system/pangea@.service")
    same("systemd-analyze verify", said, "")
    print("installed: version, examples, user, folders and unit are right", flush=True)


def program(root, user, folder):
    """A `pangea` that runs the one below root as this user. The test's files are inside: their names lose the way to the chroot."""
    os.makedirs(folder)
    file = os.path.join(folder, "pangea")
    with open(file, "w") as f:
        f.write("#!/bin/bash\n"
                f"export PANGEA_TOPOLOGY=\"${{PANGEA_TOPOLOGY#{root}}}\"\n"
                f"exec chroot {shlex.quote(root)} /usr/bin/setpriv --reuid={user} --regid={user} --clear-groups /usr/bin/pangea \"${{@#{root}}}\"\n")
    os.chmod(file, 0o755)
    return folder


def runs(root, user, folder):
    """Two regions with the program below root: rows both ways, verify, an orderly end."""
    servers, cluster = Servers(), None
    try:
        cluster = Cluster(servers, "installed", os.path.join(root, "tmp", "regions"), program(root, user, os.path.join(folder, "bin")))
        case.prepare(cluster, {"tables": T})
        cluster.us.app("INSERT INTO t VALUES (1, 'from us')")
        cluster.eu.app("INSERT INTO t VALUES (2, 'from eu')")
        cluster.expect("SELECT id, v FROM t ORDER BY id", [(1, "from us"), (2, "from eu")])
        cluster.barrier()
        print(cluster.command("verify")[1].strip().splitlines()[-1], flush=True)
        for r in cluster:
            same("what runs", os.readlink(f"/proc/{r.daemon.pid}/exe"), os.path.join(os.path.realpath(root), "usr/bin/pangea"))
            same("who runs it", os.stat(f"/proc/{r.daemon.pid}").st_uid, int(user))
            same("exit code", r.daemon.stop(), 0)
        print(f"running: two regions replicate with the installed program, as user {user}", flush=True)
    finally:
        if cluster:
            cluster.close()
        servers.close()


def under_systemd(debian, package):
    """Every command of deploy/systemd/README.md, with what it prints; then the watchdog, whose time a page cannot wait for."""
    servers = Servers()
    try:
        with Booted(debian) as host:
            names, sql = {"kafka.example:9092": servers.new_kafka().brokers}, {}
            for region in ("us", "eu"):
                server = servers.new_postgres()
                admin = server.connect("postgres")
                admin.cursor().execute("CREATE DATABASE shop OWNER app")
                admin.close()
                names[f"host=pg.{region} "] = f"host=127.0.0.1 port={server.port} "
                sql[region] = lambda text, server=server: server.connect("shop").cursor().execute(text)
            os.rename(debian.file(debian.copy(package, "/root")), debian.file("/root/pangea.deb"))
            page = Page(os.path.join(ROOT, "deploy", "systemd", "README.md"), debian.file("/root"), ENVIRONMENT, names, sql, host.inside())
            try:
                print(f"systemd as process 1: {page.run()} commands of {page.file}, each with what it prints", flush=True)
            except AssertionError:
                print(host("journalctl", "-q", "--no-pager", "-n", "60"), flush=True)
                raise
            finally:
                page.shell.close()
            watchdog(host)
    finally:
        servers.close()


def watchdog(host):
    """A daemon that stands still is ended by systemd's watchdog, and started again."""
    host("mkdir", "-p", "/run/systemd/system/pangea@us.service.d")
    with open(f"/proc/{host.init}/root/run/systemd/system/pangea@us.service.d/quick.conf", "w") as f:
        f.write("[Service]\nWatchdogSec=2s\nRestartSec=100ms\n")
    host("systemctl", "daemon-reload")
    host("systemctl", "start", "pangea@us")
    before = shown(host, "MainPID")
    host("systemctl", "kill", "--signal=STOP", "pangea@us")
    until(lambda: (shown(host, "NRestarts"), shown(host, "ActiveState")) == ("1", "active") or (False, shown(host, "ActiveState")), "the watchdog", 30)
    same("another process", shown(host, "MainPID") != before, True)
    print("systemd as process 1: a daemon that stood still was ended by the watchdog, and runs again", flush=True)
    host("systemctl", "stop", "pangea@us")


def shown(host, name):
    return host("systemctl", "show", "-P", name, "pangea@us").strip()


def own_mounts(file):
    """Runs the program in a mount namespace of its own: what it mounts is seen by nobody else, and goes with it."""
    if os.getuid() != 0:
        sys.exit(f"{os.path.basename(file)}: chroot needs root")
    if os.environ.get("PANGEA_MOUNTS") != "own":
        os.execvpe("unshare", ["unshare", "-m", os.path.abspath(file)], dict(os.environ, PANGEA_MOUNTS="own"))


def main():
    own_mounts(__file__)
    packages = glob.glob(os.path.join(ROOT, "build", "deb", "pangea_*.deb"))
    if len(packages) != 1:
        sys.exit(f"deb_check.py: {len(packages)} packages in build/deb: run make deb")
    version = os.path.basename(packages[0]).split("_")[1]
    lintian(packages[0].replace(".deb", ".changes"))
    folder = tempfile.mkdtemp(prefix="pangea-deb-")
    os.chmod(folder, 0o755)
    debian = Debian(folder)
    try:
        package = debian.copy(packages[0])
        before = debian.everything()
        debian("apt-get", "-q", "-y", "--no-install-recommends", "install", package)
        looks(debian, version)
        runs(debian.root, debian("id", "-u", "pangea").strip(), folder)
        debian("apt-get", "-q", "-y", "purge", "--autoremove", "pangea")
        left = sorted(p for p in debian.everything() - before if not p.startswith("/etc/pangea"))
        same("left behind by purge", left, [])
        print("removed: nothing is left but /etc/pangea, which holds what the operator wrote", flush=True)
        under_systemd(debian, packages[0])
    finally:
        debian.close()
        call("rm", "-rf", "--one-file-system", folder)
    print("deb-check: passed")


if __name__ == "__main__":
    main()
