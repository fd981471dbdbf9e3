"""The farmd.toml that fits what was found: commented, and such that `farmd --check-config` accepts it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from farmd.detect.findings import Findings


def farmd_toml(findings: Findings, given: Mapping[str, str]) -> str:
    """Return the file's text. `given` holds what the user said for device, board, listen, state_dir."""
    return (
        "\n".join([*_top(findings, given), "", *_interpreters(findings), "", *_missing(findings)]).rstrip()
        + "\n"
    )


def _top(findings: Findings, given: Mapping[str, str]) -> Iterator[str]:
    choice = findings.choice
    yield f"# Proposed by farmd --detect for {_plain(findings.machine.name)}. All settings: docs/farmd.md."
    if "device" in given:
        yield f"device = {_text(given['device'])}"
    else:
        yield '# device = "orin-1"               # its name in the farm; without this line the host name'
    yield f"board = {_text(choice.name)}   # {_plain(choice.why)}"
    if choice.caution:
        yield f"# Check it: {_plain(choice.caution)}."
    if choice.other:
        yield f"# board = {_text(choice.other)}   # {_plain(choice.other_why)}"
    if "listen" in given:
        yield f"listen = {_text(given['listen'])}"
    else:
        yield '# listen = "0.0.0.0:50051"        # to be reached from other machines; needs [tls]'
    if "state_dir" in given:
        yield f"state_dir = {_text(given['state_dir'])}"
    if findings.root != Path("/"):
        yield f"system_root = {_text(str(findings.root))}"


def _interpreters(findings: Findings) -> Iterator[str]:
    own = findings.interpreters[0].path
    yield f"[interpreters]   # a runtime without a line runs in farmd's own, {_plain(str(own))}"
    for name, (path, runtime) in findings.runtimes.items():
        version = _plain(f"{name} {runtime.version}".strip())
        if path == own:
            yield f"# {version} is there"
        else:
            yield f"{_key(name)} = {_text(str(path))}   # {version}"


def _missing(findings: Findings) -> Iterator[str]:
    missing = findings.missing()
    if missing:
        yield "# Missing when this was written:"
    for sentence in missing:
        yield f"# - {_plain(sentence)}"


def _text(value: str) -> str:
    """Write a TOML basic string, whose escapes are those of JSON without surrogates."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("-", "").replace("_", "").isalnum() else _text(name)


def _plain(text: str) -> str:
    """Return text that may stand in a comment: one line without control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
