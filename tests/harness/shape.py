"""docs/json.md as a check: what a command prints with --json has the members that the document shows, no others, and of those types.

A block there is JSON whose strings say what stands in their place: "text", "text or null", "number", "integer", "true or false", "anything", "column value", or the
words that are possible: "error, warning, note". A list shows its element; an object with the one member "*" shows the values of a map. A member
whose name ends in "?" may be absent."""
import json
import os
import re

from harness.servers import ROOT


def documented(command):
    """The block below the heading of this command."""
    with open(os.path.join(ROOT, "docs", "json.md")) as f:
        found = re.search(r"^## `pangea " + re.escape(command) + r"[^\n]*\n.*?^```json\n(.*?)^```", f.read(), re.S | re.M)
    assert found, f"docs/json.md has no block for pangea {command}"
    return json.loads(found.group(1))


def check(command, value, whole=False):
    """whole: members that may be absent must be there."""
    shape = documented(command)
    wrong = list(differences(required(shape) if whole else shape, value, "value"))
    assert not wrong, f"pangea {command}: JSON is not what docs/json.md says:\n" + "\n".join(wrong)


def required(shape):
    if isinstance(shape, list):
        return [required(one) for one in shape]
    return {name.rstrip("?"): required(one) for name, one in shape.items()} if isinstance(shape, dict) else shape


SIMPLE = {"text": lambda v: isinstance(v, str), "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
          "integer": lambda v: isinstance(v, int) and not isinstance(v, bool), "true or false": lambda v: isinstance(v, bool),
          "anything": lambda v: True, "column value": lambda v: column_value(v)}


def column_value(v):
    """As `pangea event decode` shows it: null, text, binary with what it means, or a large value that did not change."""
    if isinstance(v, dict):
        return v == {"unsent": True} or (set(v) <= {"hex", "text"} and all(isinstance(one, str) for one in v.values()) and re.fullmatch("([0-9a-f]{2})*", v["hex"]))
    return v is None or isinstance(v, str)


def record(value):
    """One record of `pangea event decode`."""
    kind = value["kind"]
    check(f"event decode`, {'an' if kind == 'epoch' else 'a'} {kind.upper()}", value)
    return kind


def fits(shape, value):
    if shape.endswith(" or null"):
        return value is None or fits(shape[:-len(" or null")], value)
    if shape in SIMPLE:
        return SIMPLE[shape](value)
    return value in shape.split(", ")


def differences(shape, value, at):
    if isinstance(shape, str):
        if not fits(shape, value):
            yield f"{at}: {json.dumps(value)[:80]}, documented: {shape}"
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{at}: no list"
            return
        for i, one in enumerate(value):
            yield from differences(shape[0], one, f"{at}[{i}]")
    elif not isinstance(value, dict):
        yield f"{at}: no object"
    elif set(shape) == {"*"}:
        for name, one in value.items():
            yield from differences(shape["*"], one, f"{at}.{name}")
    else:
        members = {name.rstrip("?"): (one, name.endswith("?")) for name, one in shape.items()}
        for name, (one, optional) in members.items():
            if name in value:
                yield from differences(one, value[name], f"{at}.{name}")
            elif not optional:
                yield f"{at}.{name}: documented, and not there"
        for name in value:
            if name not in members:
                yield f"{at}.{name}: there, and not documented"
