#!/usr/bin/python3
"""deploy/systemd as systemd's own tools judge it, offline: the unit, how exposed it is, the user and the folders. What the filter of system calls
would do to the daemon is tests/integration/test_service.py."""
import os
import re
import subprocess
import sys
import tempfile

import tap
import tools

HERE = os.path.join(tools.ROOT, "deploy", "systemd")
EXPOSED = 15  # in tenths, of 100: systemd calls up to 20 "OK"
UNIT = tools.read("deploy", "systemd", "pangea@.service")


def analyze(text, *args):
    """What systemd-analyze says about the unit with this text; the program is where this build has it."""
    with tempfile.TemporaryDirectory(prefix="pangea-unit-") as folder:
        file = os.path.join(folder, "pangea@us.service" if args[0] == "verify" else "pangea@.service")
        with open(file, "w") as f:
            f.write(text.replace("/usr/bin/pangea", tools.PANGEA))
        done = subprocess.run(["systemd-analyze", *args, file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # a machine that runs no systemd has no units of its own around it
    said = [line for line in done.stdout.splitlines() if "sysinit.target not found" not in line]
    return done.returncode, "\n".join(said)


def verified(text):
    _, said = analyze(text, "verify")
    return said


def verify():
    assert not verified(UNIT), verified(UNIT)


def verify_finds(old, new, expected):
    assert old in UNIT, old
    said = verified(UNIT.replace(old, new))
    assert expected in said, f"'{expected}' is not in: {said}"


def security(text=UNIT):
    return analyze(text, "security", "--offline=true", "--no-pager", f"--threshold={EXPOSED}")


def exposure():
    code, said = security()
    assert code == 0 and "Overall exposure" in said, said[-2000:]


def exposure_finds():
    code, said = security(re.sub(r"(?m)^(SystemCallFilter|CapabilityBoundingSet)=.*$", "", UNIT))
    assert code != 0, said.splitlines()[-1]


def account():
    with tempfile.TemporaryDirectory(prefix="pangea-unit-") as root:
        os.makedirs(os.path.join(root, "etc"))
        for tool, file in (("systemd-sysusers", "sysusers.conf"), ("systemd-tmpfiles", "tmpfiles.conf")):
            if tool == "systemd-tmpfiles" and os.getuid() != 0:
                break  # it would give the folder to the user just made
            args = ["--create"] if tool == "systemd-tmpfiles" else []
            done = subprocess.run([tool, f"--root={root}", *args, os.path.join(HERE, file)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert done.returncode == 0, f"{tool}: {done.stdout}"
        with open(os.path.join(root, "etc", "passwd")) as f:
            user = next(line for line in f if line.startswith("pangea:")).strip().split(":")
        assert user[2] != "0" and user[6].endswith("nologin"), user
        if os.getuid() != 0:
            return
        secrets = os.stat(os.path.join(root, "etc", "pangea", "secrets"))
        assert (secrets.st_mode & 0o777, secrets.st_gid) == (0o750, int(user[3])), oct(secrets.st_mode)


def main():
    return tap.run((
        ("the unit", verify),
        ("found: a mistyped key", lambda: verify_finds("WatchdogSec=", "WatchdogSecs=", "Unknown key 'WatchdogSecs'")),
        ("found: a value that is none", lambda: verify_finds("Type=notify", "Type=notifies", "Failed to parse")),
        ("found: a system call that is none", lambda: verify_finds("SystemCallFilter=setpriority", "SystemCallFilter=setpriorities", "Failed to parse system call")),
        ("how exposed it is", exposure),
        ("found: too exposed", exposure_finds),
        ("user and folders", account),
    ))


if __name__ == "__main__":
    sys.exit(main())
