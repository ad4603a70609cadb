"""Runs the commands that a page of docs/ shows, in the order of the page, and compares what they print with what the page says.

    ```yaml topology.yaml       the block becomes that file
    ```sql us eu                run in these regions' databases, as superuser
    ```console                  `$ ` begins a command (`> ` goes on with it), what follows is what it prints
    $ pangea validate topology.yaml
    topology.yaml: ok: ..

In what is printed `..` stands for any text, and alone on a line for any lines; leading and trailing blanks and the width of gaps do not count.
A command ends with 0 unless the page shows a last line `(exit 3)`. Commands that only look are tried again until they print what the page says.
Other blocks (ini, text, mermaid ..) are not run; a block that shows pangea or psql without being run is refused.
"""
import os
import re
import select
import shlex
import signal
import subprocess
import time

from harness.wait import SLOW

LOOKS = re.compile(r"^(pangea (status|verify|doctor|validate|conflicts (list|stats)|event)|curl|psql .*(SELECT|TABLE) |journalctl|systemctl (is-active|show|status) )")
MARK = "--- done "


class Block:
    def __init__(self, line, words, text):
        self.line, self.kind, self.words, self.text = line, words[0] if words else "", words[1:], text


def blocks(text):
    """The fenced blocks of a page."""
    out, start = [], None
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = i
        else:
            out.append(Block(start + 1, lines[start][3:].split(), "\n".join(lines[start + 1:i])))
            start = None
    assert start is None, f"the block at line {start + 1} does not end"
    return out


def indented(text):
    """(line number, text) of each line of an indented block that begins with a command, a remark behind it taken off."""
    inside = False
    for i, line in enumerate(text.split("\n")):
        inside ^= line.startswith("```")
        if not inside and re.match(r" {4,}(\$ )?(pangea|psql|curl|ALTER SYSTEM) ", line):
            yield i + 1, re.sub(r"\s+# .*", "", line.strip())


def not_run(text):
    """Blocks that show a command of ours and would not be run."""
    for i, _ in indented(text):
        yield f"line {i}: an indented block shows a command; make it a console block, so that it is run"
    for b in blocks(text):
        if b.kind not in ("console", "sql", "yaml") and re.search(r"(?m)^\s*(\$ )?(pangea|psql) ", b.text):
            yield f"line {b.line}: a block `{b.kind}` shows a command; make it a console block, so that it is run"


def commands(block):
    """(command, expected lines, exit code) of a console block."""
    out = []
    for line in block.text.split("\n"):
        if line.startswith("$ "):
            out.append([line[2:], [], 0])
        elif line.startswith("> ") and out and not out[-1][1]:
            out[-1][0] += "\n" + line[2:]
        elif re.fullmatch(r"\(exit \d\)", line):
            out[-1][2] = int(line[6])
        elif out:
            out[-1][1].append(line)
        elif line.strip():
            raise AssertionError(f"line {block.line}: output before the first command")
    return out


def pattern(lines):
    """What may be printed, as a regular expression over the printed lines joined by newlines."""
    parts = []
    for line in lines:
        words = line.split()
        if words == [".."]:
            parts.append(r"(?:[^\n]*\n)*?")
        elif words:
            parts.append(r"[ \t]*" + r"[ \t]+".join(r"[^\n]*".join(re.escape(p) for p in re.split(r"\.\.", w)) for w in words) + r"[ \t]*\n")
    return re.compile("".join(parts))


def agrees(lines, printed):
    printed = "".join(p + "\n" for p in printed.split("\n") if p.strip())
    return pattern(lines).fullmatch(printed) is not None


class Shell:
    """One bash for a page, so that `cd`, `export` and what runs in the background stay."""

    def __init__(self, folder, environment, inside=()):
        self.process = subprocess.Popen([*inside, "bash", "--noprofile", "--norc"], cwd=folder, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        os.set_blocking(self.process.stdout.fileno(), False)

    def run(self, command, limit=60.0):
        """(what it printed, its exit code)"""
        self.process.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n{MARK}%d\\n' $?\n".encode())
        self.process.stdin.flush()
        end, text = time.monotonic() + limit * SLOW, ""
        while True:
            m = re.search(rf"\n?{MARK}(\d+)\n", text)
            if m:
                return text[:m.start()].replace("\r\n", "\n"), int(m.group(1))  # apt gives dpkg a terminal
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"$ {command}\nhas not ended after {limit * SLOW:g} s; it has printed:\n{text}")
            more = self.process.stdout.read()
            if more == b"":
                raise AssertionError(f"$ {command}\nended the shell; printed:\n{text}")
            text += (more or b"").decode(errors="replace")

    def close(self):
        """Everything that the page started, the daemons in the background first."""
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Page:
    """One page in a folder of its own. names: what the page calls a thing -> what it is here; sql: region -> function of a text; inside: what to
    put before a program so that it runs where the folder is (harness/debian.py)."""

    def __init__(self, file, folder, environment, names, sql, inside=()):
        with open(file) as f:
            self.text = f.read()
        self.file, self.folder, self.names, self.sql = os.path.basename(file), folder, names, sql
        self.shell = Shell(folder, environment, inside)

    def here(self, text):
        for name, value in self.names.items():
            text = text.replace(name, value)
        return text

    def run(self):
        """Runs every block; the number of commands."""
        refused = list(not_run(self.text))
        assert not refused, f"{self.file}: " + "; ".join(refused)
        count = 0
        for block in blocks(self.text):
            if block.kind == "console":
                for command, expected, code in commands(block):
                    self.command(block, command, expected, code)
                    count += 1
            elif block.kind == "sql" and block.words:
                for region in block.words:
                    self.sql[region](self.here(block.text))
            elif block.kind == "yaml" and block.words:
                with open(os.path.join(self.folder, shlex.quote(block.words[0])), "w") as f:
                    f.write(self.here(block.text) + "\n")
        return count

    def command(self, block, command, expected, code):
        end = time.monotonic() + 30 * SLOW
        while True:
            printed, exit_code = self.shell.run(self.here(command))
            for name, value in self.names.items():
                printed = printed.replace(value, name)
            if exit_code == code and agrees(expected, printed):
                return
            if not LOOKS.match(command) or time.monotonic() > end:
                raise AssertionError(f"{self.file}: the block at line {block.line}: $ {command}\nprinted (exit {exit_code}):\n{printed}\n"
                                     f"the page says (exit {code}):\n" + "\n".join(expected))
