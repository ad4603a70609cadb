"""The daemon as deploy/systemd runs it: what the unit forbids must be what the daemon never does."""
import os
import re
import subprocess
import urllib.request

from harness.case import test
from harness.wait import until

UNIT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "systemd", "pangea@.service")
T = "CREATE TABLE public.t (id int PRIMARY KEY, v text)"


def setting(key):
    with open(UNIT) as f:
        return [line.split("=", 1)[1].split() for line in f.read().splitlines() if line.startswith(key + "=")]


def system_calls(group, seen=()):
    """What a group of SystemCallFilter holds, as the installed systemd knows it."""
    out = subprocess.run(["systemd-analyze", "syscall-filter", group], stdout=subprocess.PIPE, text=True, check=True).stdout
    words = [w for line in out.splitlines()[1:] if not line.lstrip().startswith("#") for w in line.split()]
    found = set()
    for w in words:
        found |= {w} if not w.startswith("@") else system_calls(w, (*seen, group)) if w not in seen else set()
    return found


def allowed():
    out = system_calls("@default")
    for words in setting("SystemCallFilter"):
        take_away = words[0].startswith("~")
        for word in words:
            word = word.lstrip("~")
            calls = system_calls(word) if word.startswith("@") else {word}
            out = out - calls if take_away else out | calls
    return out | system_calls("@default")


def forbidden(trace):
    """Each line of the trace that the unit would not have let pass."""
    calls, families = allowed(), {w for words in setting("RestrictAddressFamilies") for w in words}
    assert len(calls) > 200 and "ptrace" not in calls and "AF_INET" in families, (len(calls), families)
    seen, out = set(), []
    for line in trace.splitlines():
        m = re.match(r"\d+ +(\w+)\((.*)", line)
        if not m:
            continue
        name, rest = m.groups()
        seen.add(name)
        writes = re.search(r"O_(WRONLY|RDWR|CREAT)", rest) and not re.search(r'"/(dev/null|proc/self/)', rest)
        if name not in calls or name == "socket" and rest.split(",")[0] not in families or name == "openat" and writes or \
           name in ("mmap", "mprotect") and "PROT_EXEC" in rest and (name == "mprotect" or "PROT_WRITE" in rest):
            out.append(line)
    return seen, out


@test(tables=T, run=False, limit=90)
def does_nothing_that_the_unit_forbids(c):
    """a system call, a kind of socket, a written file or executable memory that the hardened unit refuses would be the end of the daemon"""
    if "/test-" in c.pangea:
        return  # a sanitizer does things of its own (ptrace, personality): the plain build is the one that tells
    file = os.path.join(c.folder, "us.strace")
    http = f"127.0.0.1:{c.servers.free_port()}"
    c.topology["regions"]["us"]["http"] = {"listen": http}
    c.write_topology()
    c.us.run(under=["strace", "-D", "-f", "-q", "-o", file])
    c.eu.run()
    c.us.app("INSERT INTO t SELECT i, repeat('x', 5000) FROM generate_series(1, 200) i")
    c.eu.app("INSERT INTO t VALUES (0, 'from eu')")
    c.barrier()
    for path in ("healthz", "metrics", "status", "conflicts"):
        with urllib.request.urlopen(f"http://{http}/{path}", timeout=20) as answer:
            assert answer.status == 200 and answer.read(), path
    c.us.daemon.signal(1)
    c.us.daemon.wait_log("topology.reloaded")
    c.eu.app("UPDATE t SET v = 'again' WHERE id = 0")
    c.barrier()
    assert c.us.daemon.stop(30) == 0

    def ended():
        with open(file) as f:
            text = f.read()
        return text if "+++" in text.splitlines()[-1] else None
    seen, found = forbidden(until(ended, "strace has written the end", 20))
    assert {"socket", "openat", "mmap"} <= seen and len(seen) > 30, seen  # else the trace is not what it should be
    assert not found, "\n".join(sorted(set(found))[:20])
