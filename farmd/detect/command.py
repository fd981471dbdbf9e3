"""What `farmd --detect` does: look, propose, say what is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from farmd import host
from farmd.detect import board, devices, runtimes
from farmd.detect.findings import Findings
from farmd.detect.proposal import farmd_toml
from farmd.errors import ConfigInvalid
from farmd.machine import architecture
from farmd.rails import board_rails

EXIT_NOTHING_WORKS = 1


@dataclass(frozen=True)
class Request:
    """What the command line asks for. `given` holds device, board, listen and state_dir where they were given."""

    root: Path = Path("/")
    write: Path | None = None
    as_json: bool = False
    interpreters: Sequence[Path] = ()
    given: Mapping[str, str] = field(default_factory=dict)


def run(request: Request) -> int:
    """Print the proposal on stdout, or write it, and the findings on stderr; return the exit code.

    0: something can be measured; 1: no runtime works. Raises ConfigInvalid for an interpreter that is none, and for a file
    that exists already; StartRefused if it cannot be written.
    """
    if request.write is not None and request.write.exists():
        raise ConfigInvalid(
            f"{request.write} exists already; remove it, or choose another path with --write."
        )
    findings = look(request)
    text = farmd_toml(findings, request.given)
    if request.write is not None:
        host.write_whole(request.write, text)
    if request.as_json:
        click.echo(json.dumps({**findings.document(), "farmd_toml": text}, default=str))
    else:
        _tell(findings, text, request.write)
    return 0 if findings.runtimes else EXIT_NOTHING_WORKS


def look(request: Request) -> Findings:
    """Look at the machine. Raises ConfigInvalid for an interpreter that is none."""
    named = [_interpreter(path) for path in request.interpreters]
    boards = board.catalogue()
    machine = board.machine(request.root, architecture())
    accelerators = devices.find(request.root, machine.compatible)
    choice = board.choose(machine, [one.id for one in accelerators if one.id], boards)
    if "board" in request.given:
        choice = board.Choice(request.given["board"], "the command line says so")
    entries = {entry.name: entry for entry in boards}
    hints = [hint for name in (choice.name, choice.other) for hint in runtimes.hints_of(entries.get(name))]
    paths = runtimes.candidates(request.root, hints, named)
    rails = board_rails(request.root, choice.name)
    return Findings(request.root, machine, choice, accelerators, runtimes.ask_all(paths), rails)


def _interpreter(path: Path) -> Path:
    """Return the Python of a path that may be a virtual environment's folder."""
    found = (path / "bin/python" if path.is_dir() else path).absolute()
    if not (found.is_file() and os.access(found, os.X_OK)):
        raise ConfigInvalid(
            f"{path} is no Python and no virtual environment; name for example --interpreter /opt/venv/bin/python."
        )
    return found


def _tell(findings: Findings, text: str, written: Path | None) -> None:
    if written is None:
        click.echo(text, nl=False)
    for sentence in findings.sentences():
        click.echo(sentence, err=True)
    for sentence in findings.missing():
        click.echo(f"Missing: {sentence}", err=True)
    if written is not None:
        click.echo(
            f"Written to {written}; look at it with: farmd --config {written} --check-config", err=True
        )
