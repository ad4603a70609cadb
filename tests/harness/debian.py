"""A fresh Debian in a folder: entered by chroot, or booted, its systemd as process 1 of namespaces of its own. Needs root; no container engine."""
import os
import re
import signal
import subprocess

from harness.wait import until

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "HOME": "/root"}
CGROUPS = "/sys/fs/cgroup"
# What a container gives: /proc/sys and /sys cannot be written, /run and /dev are its own, cgroups below its own one.
BOOT = """
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --bind "$1/proc/sys" "$1/proc/sys"
mount -o remount,bind,ro "$1/proc/sys"
mount -t sysfs sysfs "$1/sys"
mount -o remount,bind,ro "$1/sys"
mount -t tmpfs -o mode=755 tmpfs "$1/run"
mount -t tmpfs -o mode=755 tmpfs "$1/dev"
mkdir "$1/dev/pts" "$1/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$1/dev/pts"
ln -s pts/ptmx "$1/dev/ptmx"
for d in null zero full random urandom tty; do
        touch "$1/dev/$d"
        mount --bind "/dev/$d" "$1/dev/$d"
done
cd "$1"
pivot_root . mnt
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=pangea-check chroot . sh -ec "umount -l /mnt; exec /lib/systemd/systemd --system"
"""


def call(*args, **kw):
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, **kw)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(args)}: exit {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


class Debian:
    """A fresh Debian 12: what apt needs, systemd, and nothing else."""

    def __init__(self, folder):
        self.root = os.path.join(folder, "debian")
        # with systemd, as every host has it; the lists of packages stay, for the package's dependencies
        call("mmdebstrap", "--quiet", "--variant=minbase", "--include=systemd,dbus", "--skip=cleanup/apt/lists", "bookworm", self.root)
        self.copy("/etc/resolv.conf", "/etc")
        call("mount", "-t", "proc", "proc", self.file("/proc"))  # in a mount namespace of our own: deb_check.own_mounts()
        # the package starts nothing by itself; this makes sure
        with open(os.path.join(self.root, "usr/sbin/policy-rc.d"), "w") as f:
            f.write("#!/bin/sh\nexit 101\n")
        os.chmod(f.name, 0o755)

    def close(self):
        """Never deletes through a mount: what is still mounted makes rm stop there."""
        subprocess.run(["umount", self.file("/proc")], check=False)
        call("rm", "-rf", "--one-file-system", self.root)

    def __call__(self, *args):
        return call("chroot", self.root, *args, env=ENVIRONMENT)

    def file(self, path):
        return os.path.join(self.root, path.lstrip("/"))

    def copy(self, file, to="/tmp"):
        call("install", "-D", "-m", "644", file, os.path.join(self.file(to), os.path.basename(file)))
        return os.path.join(to, os.path.basename(file))

    def everything(self):
        """Every path but those that apt and dpkg keep for themselves."""
        left_out = re.compile(r"/(proc|sys|dev|tmp|run|var/(lib/(dpkg|apt|systemd)|cache|log)|root)(/|$)")
        return {p for p in call("find", self.root, "-xdev", "-printf", "/%P\n").splitlines() if not left_out.match(p)}


class Cgroup:
    """A cgroup of our own in each hierarchy that systemd would write to; what it leaves there goes with it."""

    def __init__(self):
        with open("/proc/self/mounts") as f:
            mounts = [line.split() for line in f]
        self.folders = [os.path.join(m[1], f"pangea-check-{os.getpid()}") for m in mounts if m[2].startswith("cgroup") and m[1].startswith(CGROUPS)]

    def enter(self):
        """A process that is about to become another program."""
        for folder in self.folders:
            os.makedirs(folder)
            for name in ("cpuset.cpus", "cpuset.mems"):  # of version 1: nobody may enter while they are empty
                above, own = os.path.join(os.path.dirname(folder), name), os.path.join(folder, name)
                if os.path.exists(own):
                    with open(above) as f, open(own, "w") as g:
                        g.write(f.read())
            with open(os.path.join(folder, "cgroup.procs"), "w") as f:
                f.write(str(os.getpid()))

    def remove(self):
        for top in self.folders:
            for folder, _, _ in os.walk(top, topdown=False):
                until(lambda folder=folder: self.removed(folder), f"{folder} is empty", 10)

    @staticmethod
    def removed(folder):
        try:
            os.rmdir(folder)
            return True
        except OSError as e:
            return False, str(e)


class Booted:
    """A Debian that runs: `with Booted(debian) as host: host("systemctl", ..)`. It has the network of the machine."""

    def __init__(self, debian):
        self.debian, self.cgroup = debian, Cgroup()

    def __enter__(self):
        self.process = subprocess.Popen(["unshare", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child", "sh", "-ec", BOOT, "sh",
                                         self.debian.root], stdin=subprocess.DEVNULL, preexec_fn=self.cgroup.enter)
        try:
            until(self.is_up, "systemd has booted", 60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.cgroup.remove()

    def is_up(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
            children = f.read().split()
        if not children or os.path.basename(os.readlink(f"/proc/{children[0]}/exe")) != "systemd":
            return False, f"processes {children}"
        self.init = children[0]
        done = subprocess.run([*self.inside(), "systemctl", "is-system-running"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return done.stdout.strip() in ("running", "degraded"), done.stdout

    def inside(self):
        """What to put before a command."""
        return ["nsenter", "-t", self.init, "-a", "-r", "env", "-i", "-C", "/root", *(f"{k}={v}" for k, v in ENVIRONMENT.items())]

    def __call__(self, *args):
        return call(*self.inside(), *args)
