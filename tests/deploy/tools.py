"""Where the tools of scripts/deps_kubernetes.sh are; a test that needs their Python modules runs itself under their Python."""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(os.environ.get("PANGEA_CACHE", os.path.join(ROOT, ".cache")), "kubernetes")
PANGEA = os.path.join(ROOT, os.environ.get("PANGEA_BUILD", "build/test"), "pangea")


def under_their_python(program):
    if not os.path.exists(os.path.join(TOOLS, "COMPLETE")):
        sys.exit(f"{os.path.basename(program)}: no tools: run `make deps`")
    if sys.prefix == sys.base_prefix:
        python = os.path.join(TOOLS, "venv", "bin", "python")
        os.execv(python, [python, "-B", os.path.abspath(program)])


def read(*path):
    with open(os.path.join(ROOT, *path)) as f:
        return f.read()
