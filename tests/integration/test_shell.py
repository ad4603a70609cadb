"""Completions and manual pages: in the real shells, and through groff."""
import os
import re
import subprocess

from harness.case import test

BASH = """
source "$1"; shift
COMP_WORDS=(pangea "$@"); COMP_CWORD=$#
_pangea
printf '%s\\n' "${COMPREPLY[@]}"
"""


def call(c, *args):
    environment = dict(os.environ, PATH=os.path.dirname(c.pangea) + ":" + os.environ["PATH"], PANGEA_TOPOLOGY=c.topology_file, HOME=c.folder)
    done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment, timeout=60)
    assert done.returncode == 0 and not done.stderr, (args, done.returncode, done.stderr.decode())
    return done.stdout.decode()


def script(c, shell):
    path = os.path.join(c.folder, f"completion.{shell}")
    with open(path, "w") as f:
        f.write(c.command("completion", shell)[1])
    return path


# words before the cursor, some of what must be offered, what must not
WORDS = [
    (["sta"], {"status"}, {"init", "--json"}),
    (["pause", "--re"], {"--region", "--reason"}, {"--json"}),
    (["pause", "--region", ""], {"us", "eu"}, {"--json", "pause"}),
    (["resume", "--origin", "e"], {"eu"}, {"us"}),
    (["run", "--agent", ""], {"capture", "apply"}, {"us"}),
    (["topology", "--format", "s"], {"svg"}, {"dot"}),
    (["conflicts", ""], {"list", "show", "resolve", "stats"}, {"init"}),
    (["explain", "doc"], {"doctor"}, {"status"}),
    (["verify", "--t"], {"--tables", "--timeout", "--topology"}, {"--region"}),
]


@test(init=False)
def completions(c):
    """bash and fish complete commands, options, their words and the regions' names; zsh takes the script; none says anything else"""
    bash, fish, zsh = (script(c, s) for s in ("bash", "fish", "zsh"))
    for words, there, absent in WORDS:
        for shell, out in (("bash", call(c, "bash", "--norc", "-c", BASH, "bash", bash, *words)),
                           ("fish", call(c, "fish", "--no-config", "-c", f"source {fish}; complete -C {repr('pangea ' + ' '.join(words))}"))):
            offered = {line.split("\t")[0] for line in out.splitlines()}
            assert there <= offered and not absent & offered, (shell, words, offered)
    call(c, "zsh", "-f", "-n", zsh)
    out = call(c, "zsh", "-f", "-c", f"autoload -Uz compinit && compinit -u -D; functions[_pangea_file]=\"$(<{zsh})\"; print ${{+functions[_pangea_file]}}")
    assert out.strip() == "1", out
    code, out, err = c.command("completion", "tcsh", check=2)
    assert "bash, zsh or fish" in err and not out, (code, out, err)


@test(init=False)
def manual_pages(c):
    """a page for the program and for each command, without a warning of groff, with each option and every word of the help"""
    _, overview, _ = c.command("help")
    commands = re.findall(r"^  ([a-z]+) +", overview, re.M)
    assert len(commands) > 15 and "doctor" in commands, commands
    for name in [None] + commands:
        _, page, _ = c.command("help", *([name] if name else []), "--man")
        path = os.path.join(c.folder, "page.1")
        with open(path, "w") as f:
            f.write(page)
        text = call(c, "groff", "-man", "-ww", "-Tascii", "-P-c", "-P-b", "-P-u", "-rLL=200n", path)
        if not name:
            assert all(re.search(rf"pangea-{n}\b", text) for n in commands), text
            continue
        _, said, _ = c.command("help", name)
        want = set(re.findall(r"--[a-z-]+", said)) | {"EXIT", "STATUS"}
        # groff breaks lines, and writes an accent for an apostrophe
        lost = want - set(re.findall(r"--[a-z-]+|EXIT|STATUS", text))
        assert not lost, (name, lost, text)
        for line in said.split("\n\n")[1].splitlines():
            for word in line.split():
                plain = word.strip("`'\",.;:()[]|")
                assert plain.replace("'", "").replace("`", "") in re.sub(r"[`']|-\n *", "", text) or "'" in word or "`" in word or "|" in word, (name, word)
