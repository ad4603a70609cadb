#!/usr/bin/python3
"""make image-check: the container image that scripts/image.sh left in build/image: its configuration, what is in it and what is not; then two regions
run with the program out of it, on real PostgreSQL and Kafka outside. No container engine: the layers are unpacked and entered by chroot."""
import json
import os
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]
sys.dont_write_bytecode = True

from deb_check import own_mounts, runs, same  # noqa: E402
from harness.debian import call  # noqa: E402
from harness.servers import ROOT  # noqa: E402

ARCHIVE = os.path.join(ROOT, "build", "image", "pangea.tar")
LARGEST = 64 << 20
# What a build leaves behind, or what only somebody who breaks in would need.
NOT_THERE = ("usr/bin/gcc", "usr/bin/make", "usr/bin/cc", "src", "usr/include/libpq-fe.h", "usr/bin/psql", "usr/bin/curl", "usr/sbin/sshd")


def unpack(folder):
    """The OCI archive as a root file system; its configuration."""
    layout, root = os.path.join(folder, "layout"), os.path.join(folder, "root")
    os.makedirs(root)
    with tarfile.open(ARCHIVE) as t:
        t.extractall(layout)

    def blob(digest):
        return os.path.join(layout, "blobs", *digest.split(":"))

    def document(path):
        with open(path) as f:
            return json.load(f)
    manifest = document(blob(document(os.path.join(layout, "index.json"))["manifests"][0]["digest"]))
    for layer in manifest["layers"]:
        call("tar", "-x", "-f", blob(layer["digest"]), "-C", root, "--exclude=dev/*", "--same-owner", "--numeric-owner")
    return root, document(blob(manifest["config"]["digest"]))["config"]


def configured(config):
    same("user", config["User"], "10001:10001")
    same("entry point", (config["Entrypoint"], config["Cmd"]), (["/usr/bin/pangea"], ["help"]))
    same("signal", config["StopSignal"], "SIGTERM")
    secrets = [e for e in config["Env"] if "PASS" in e.upper() or "SECRET" in e.upper()]
    same("secrets in the environment", secrets, [])


def contents(root):
    same("what should not be there", [f for f in NOT_THERE if os.path.lexists(os.path.join(root, f))], [])
    writable = call("find", root, "-xdev", "(", "-type", "f", "-o", "-type", "d", "!", "-perm", "-1000", ")", "(", "-user", "10001", "-o", "-perm", "-o+w", ")")
    same("what the user may write, but for /tmp and its like", writable.split(), [])
    size = os.path.getsize(ARCHIVE)
    assert size < LARGEST, f"the archive has {size >> 20} MB"
    said = subprocess.run(["chroot", root, "/usr/bin/setpriv", "--reuid=10001", "--regid=10001", "--clear-groups", "/usr/bin/pangea", "version"],
                          stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    print(f"{said}, {size >> 20} MB, user 10001, nothing that it may write", flush=True)


def main():
    own_mounts(__file__)
    if not os.path.exists(ARCHIVE):
        sys.exit("image_check.py: no build/image/pangea.tar: run make image")
    folder = tempfile.mkdtemp(prefix="pangea-image-")
    os.chmod(folder, 0o755)
    try:
        root, config = unpack(folder)
        configured(config)
        contents(root)
        runs(root, "10001", folder)
        print("image-check: passed")
    finally:
        call("rm", "-rf", "--one-file-system", folder)


if __name__ == "__main__":
    main()
