"""Everything that was found out about a machine, and the sentences that say it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from farmd.detect.board import Choice, Machine
from farmd.detect.devices import Accelerator
from farmd.detect.runtimes import Interpreter, Runtime, chosen
from power.rails import Rail, total_rails


@dataclass(frozen=True)
class Findings:
    """What a look at the machine below `root` showed. The first of `interpreters` is farmd's own."""

    root: Path
    machine: Machine
    choice: Choice
    accelerators: Sequence[Accelerator]
    interpreters: Sequence[Interpreter]
    rails: Sequence[Rail]

    @property
    def runtimes(self) -> dict[str, tuple[Path, Runtime]]:
        """The runtimes that work, each with the interpreter to use."""
        return chosen(self.interpreters)

    def missing(self) -> list[str]:
        """Say what keeps accelerators, interpreters and rails from being used; each thing once."""
        said = [
            *(sentence for one in self.accelerators for sentence in self._lacking(one)),
            *(rail.unreadable_reason for rail in self.rails if rail.unreadable_reason),
        ]
        if any(rail.unreadable_reason and rail.driver == "rapl" for rail in self.rails):
            said.append(
                "A udev rule that makes RAPL readable for good is in docs/farmd.md, section Power rails."
            )
        if not self.runtimes:
            said.append(
                "No runtime works here: install one for farmd's own interpreter (pip install 'wattfarm[onnxruntime]'), or "
                "name the virtual environment that has one with --interpreter."
            )
        return list(dict.fromkeys(said))

    def _lacking(self, one: Accelerator) -> Iterator[str]:
        yield from one.lacks
        working = [name for name in one.kind.runtimes if name in self.runtimes]
        if one.library_lacks and not (working and one.kind.is_only):
            yield one.library_lacks
        for name in one.kind.runtimes:
            if name not in self.runtimes:
                yield from self._without(one, name)
            elif one.kind.newest and _numbers(self.runtimes[name][1].version) > one.kind.newest:
                newest = ".".join(map(str, one.kind.newest))
                yield (
                    f"{one.kind.name} is {one.where}, but {name} {self.runtimes[name][1].version} no longer drives it, "
                    f"{newest} was the last: {one.kind.install}, and name its environment with --interpreter."
                )

    def _without(self, one: Accelerator, name: str) -> Iterator[str]:
        """Say why no interpreter has a runtime: each reason once, with the first interpreter that gives it."""
        reasons: dict[str, Path] = {}
        for interpreter in self.interpreters:
            runtime = interpreter.runtime(name)
            if runtime is not None:
                reasons.setdefault(runtime.reason, interpreter.path)
        if reasons:
            said = " ".join(
                f"{path}: {reason}" if len(reasons) > 1 else reason for reason, path in reasons.items()
            )
            yield f"{one.kind.name} is {one.where}, but its runtime {name} does not work: {said}"

    def sentences(self) -> Iterator[str]:
        """Say what was found."""
        yield f"Board: {self.choice.name}, because {self.choice.why}."
        if self.choice.caution:
            yield f"Check it: {self.choice.caution}."
        if self.choice.other:
            yield f"Another entry would be {self.choice.other}, {self.choice.other_why}."
        for one in self.accelerators:
            nodes = f" ({', '.join(one.nodes)})" if one.nodes else ""
            yield f"Accelerator: {one.kind.name} is {one.where}{nodes}."
        for name, (path, runtime) in self.runtimes.items():
            yield f"Runtime: {name} {runtime.version} in {path}."
        for interpreter in self.interpreters:
            if interpreter.problem:
                yield f"Interpreter: {interpreter.path} cannot be used: {interpreter.problem}"
        yield self._power()

    def _power(self) -> str:
        readable = [rail.name for rail in self.rails if not rail.unreadable_reason]
        if not readable:
            return "Power: no rail can be read here; use an instrument (docs/meters/README.md), or take an estimate."
        total = total_rails([rail for rail in self.rails if not rail.unreadable_reason])
        whole = f"; the whole is {' + '.join(total)}" if total else ""
        return f"Power: rails {', '.join(readable)}{whole}."

    def document(self) -> dict[str, Any]:
        """Return the same for programs; "" is unknown, paths are not yet text."""
        return {
            "schema": "wattfarm.detect/1",
            "machine": asdict(self.machine),
            "board": asdict(self.choice),
            "accelerators": [_accelerator(one) for one in self.accelerators],
            "interpreters": [asdict(one) for one in self.interpreters],
            "runtimes": {name: str(path) for name, (path, _) in self.runtimes.items()},
            "rails": [{"name": rail.name, "driver": rail.driver, "problem": rail.unreadable_reason} for rail in self.rails],
            "missing": self.missing(),
        }  # fmt: skip


def _accelerator(one: Accelerator) -> dict[str, Any]:
    return {
        "name": one.kind.name,
        "where": one.where,
        "id": one.id,
        "nodes": list(one.nodes),
        "runtimes": list(one.kind.runtimes),
    }


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading two numbers of a version, which is where releases differ in what they drive."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
