#!/usr/bin/python3
"""make deb-check: the Debian package under lintian; installed into a fresh Debian (mmdebstrap, a folder and chroot: no container engine); there
`pangea version`, `validate`, the user and the folders; two regions run with that very program, on real PostgreSQL and Kafka outside;
removed without leaving anything. Needs root, for chroot."""
import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
sys.dont_write_bytecode = True

from harness import case  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.servers import ROOT, Servers  # noqa: E402

T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"


def call(*args, **kw):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, **kw)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(args)}: exit {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def same(what, seen, wanted):
    if seen != wanted:
        raise AssertionError(f"{what}: {seen!r}, want {wanted!r}")


class Debian:
    """A fresh Debian 12 in a folder: what apt needs, and nothing else."""

    def __init__(self, folder):
        self.root = os.path.join(folder, "debian")
        # with systemd, as every host has it; the lists of packages stay, for the package's dependencies
        call("mmdebstrap", "--quiet", "--variant=minbase", "--include=systemd", "--skip=cleanup/apt/lists", "bookworm", self.root)
        self.copy("/etc/resolv.conf", "/etc")
        call("mount", "-t", "proc", "proc", self.file("/proc"))  # in a mount namespace of our own: main()
        # the package starts nothing by itself; this makes sure
        with open(os.path.join(self.root, "usr/sbin/policy-rc.d"), "w") as f:
            f.write("#!/bin/sh\nexit 101\n")
        os.chmod(f.name, 0o755)

    def close(self):
        """Never deletes through a mount: what is still mounted makes rm stop there."""
        subprocess.run(["umount", self.file("/proc")], check=False)
        call("rm", "-rf", "--one-file-system", self.root)

    def __call__(self, *args):
        return call("chroot", self.root, *args, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"})

    def file(self, path):
        return os.path.join(self.root, path.lstrip("/"))

    def copy(self, file, to="/tmp"):
        call("install", "-D", "-m", "644", file, os.path.join(self.file(to), os.path.basename(file)))
        return os.path.join(to, os.path.basename(file))

    def everything(self):
        """Every path but those that apt and dpkg keep for themselves."""
        left_out = re.compile(r"/(proc|sys|dev|tmp|run|var/(lib/(dpkg|apt|systemd)|cache|log)|root)(/|$)")
        return {p for p in call("find", self.root, "-xdev", "-printf", "/%P\n").splitlines() if not left_out.match(p)}


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
    finally:
        debian.close()
        call("rm", "-rf", "--one-file-system", folder)
    print("deb-check: passed")


if __name__ == "__main__":
    main()
