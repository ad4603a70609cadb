"""The commands of other programs that pages show: does the program that is installed here know the word and the options?

Nothing of it is run but its help (and make's own target list). What is not installed here must be named in docs/limits.md."""
import os
import re
import shlex
import shutil
import subprocess

from harness.servers import ROOT

KAFKA = {"kafka-configs.sh": "kafka.admin.ConfigCommand", "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
         "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand"}
KUSTOMIZE = os.path.join(ROOT, ".cache", "kubernetes", "bin", "kustomize")
# the words of each that begin a command: their first one is a verb, unless there are none
HELP = {"systemctl": ["--help"], "systemd-analyze": ["--help"], "journalctl": ["--help"], "psql": ["--help"], "pg_dump": ["--help"],
        "curl": ["--help", "all"], "kubectl": None, "kustomize": None, "docker": None, "podman": None, "make": None,
        **{script: ["--help"] for script in KAFKA}}
VERBS = {"systemctl", "systemd-analyze"}
DEEPER = {"kubectl": 3, "kustomize": 1, "docker": 2, "podman": 2}  # so many words at most choose the help


def shown(text):
    """(line, words) of each command of a program above that a page shows: inline, indented, or in a console block."""
    inside = ""
    for i, line in enumerate(text.split("\n"), 1):
        if line.startswith("```"):
            inside = "" if inside else line[3:].split(" ")[0] or "text"
        elif inside == "console" and line.startswith(("$ ", "> ")):
            yield from words_of(i, line[2:])
        elif not inside and re.match(r" {4,}\S", line):
            yield from words_of(i, re.sub(r"\s+# .*", "", line.strip()))
        elif not inside:
            for span in re.findall(r"`([^`]+)`", line):
                yield from words_of(i, span)


def words_of(line, command):
    try:
        words = shlex.split(command)
    except ValueError:
        return  # half a command: it goes on in the next line, or is no command
    part = []
    for word in [*words, "|"]:
        if word not in ("|", "&&", ";"):
            part.append(word)
            continue
        if part and part[0] in HELP and len(part) > 1:
            yield line, part
        part = []


def program(name):
    if name in KAFKA:
        return ["java", "-XX:TieredStopAtLevel=1", "-cp", os.path.join(ROOT, ".cache", "kafka", "libs", "*"), KAFKA[name]]
    if name == "kustomize":
        return [KUSTOMIZE] if os.path.exists(KUSTOMIZE) else None
    return [name] if shutil.which(name) and (name != "docker" or compose()) else None


def compose():
    """The pages show `docker compose`, which is a plug-in that docker may come without."""
    return subprocess.run(["docker", "compose", "version"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


class Programs:
    def __init__(self):
        self.said = {}

    def help(self, name, *words):
        if (name, words) not in self.said:
            done = subprocess.run([*program(name), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
            self.said[name, words] = done.returncode, done.stdout.decode(errors="replace")
        return self.said[name, words]

    def fault(self, words):
        """What is wrong with this command; None: nothing that help can tell."""
        name, rest = words[0], words[1:]
        if name == "make":
            return make(rest)
        options = [w.split("=")[0] for w in rest[:rest.index("--")] if w.startswith("-") and len(w) > 1] if "--" in rest else [
            w.split("=")[0] for w in rest if w.startswith("-") and len(w) > 1]
        plain = [w for w in rest if not w.startswith("-")]
        if "exec" in plain:  # behind the container's name it is the container's command
            inner = rest.index("exec") + 2
            return self.deeper(name, [w for w in rest[:inner] if w[0] != "-"], [w for w in rest[:inner] if w[0] == "-"])
        if name in DEEPER:
            return self.deeper(name, plain, options)
        text = self.help(name, *HELP[name])[1]
        if name in VERBS and not re.search(rf"^\s*{re.escape(plain[0])}\b", text, re.M):
            return f"{name} has no {plain[0]}"
        return unknown(name, options, text)

    def deeper(self, name, plain, options):
        """kubectl create secret generic --help: the longest that is known; a word that is none of its own ends it."""
        commands = [w for w in plain if re.fullmatch(r"[a-z]+", w)]
        code, text, depth = 1, "", min(len(commands), DEEPER[name])
        while depth:
            code, text = self.help(name, *commands[:depth], "--help")
            if code == 0:
                break
            depth -= 1
        if code:
            return f"{name} has no {commands[0]}: {text[-200:]}"
        everywhere = self.help(name, "options")[1] if name == "kubectl" else self.help(name, "--help")[1]
        return unknown(" ".join([name, *commands[:depth]]), options, text + everywhere)


def unknown(what, options, text):
    for o in options:
        spelled = re.search(rf"(?<![\w-])-?{re.escape(o)}(?![\w-])", text)
        letters = re.fullmatch("-[A-Za-z]+", o) and all(re.search(rf"(?<![\w-])-{c}(?![\w-])", text) for c in o[1:])
        if not spelled and not letters:
            return f"{what} has no option {o}"
    return None


def make(words):
    """Targets of the Makefile, and variables that it or what it runs reads."""
    with open(os.path.join(ROOT, "Makefile")) as f:
        text = f.read()
    scripts = ""  # what make runs reads some from its environment
    for file in ("scripts/demo.py", "tests/soak.py", "tests/storm.py"):
        with open(os.path.join(ROOT, file)) as f:
            scripts += f.read()
    targets = set(re.findall(r"^([\w-]+)(?: [\w-]+)*:(?!=)", text, re.M)) | {t for line in re.findall(r"^([\w -]+):(?!=)", text, re.M) for t in line.split()}
    for w in words:
        name, is_variable, _ = w.partition("=")
        if is_variable and not re.search(rf"\b{re.escape(name)}\b", text + scripts):
            return f"make knows no variable {name}"
        if not is_variable and name not in targets:
            return f"make has no target {name}"
    return None
