"""A dozen fake machines: the board, the accelerators, what is missing, and a proposal that farmd takes."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from farmd import config as settings
from farmd.detect import command, runtimes
from farmd.detect.findings import Findings
from farmd.detect.proposal import farmd_toml
from farmd.detect.runtimes import Interpreter, Runtime
from targets.catalogue import BUILT_IN
from tests.farmd.detect.fakeboards import MACHINES, FakeBoard
from tests.farmd.detect.fakeroot import FakeRoot


def answers(paths: Iterable[Path], works: Mapping[str, Mapping[str, str]]) -> list[Interpreter]:
    """Answer for the interpreters as their workers would."""
    found = []
    for path in paths:
        has = works.get("" if path == Path(sys.executable) else path.name, {})
        infos = [
            Runtime(
                name, has.get(name, ""), name in has, "" if name in has else f"{name} cannot be imported."
            )
            for name in sorted(BUILT_IN)
        ]
        found.append(Interpreter(path, tuple(infos)))
    return found


@pytest.fixture
def pc(monkeypatch: pytest.MonkeyPatch) -> None:
    """The architecture that the fakes without a device tree have, whatever runs the tests."""
    monkeypatch.setattr(command, "architecture", lambda: "x86_64")


def look(
    machine: FakeBoard, folder: Path, monkeypatch: pytest.MonkeyPatch, **given: str
) -> tuple[Findings, str]:
    """Look at a fake machine; return what was found and the proposal."""
    monkeypatch.setattr(runtimes, "ask_all", lambda paths: answers(paths, machine.works))
    request = command.Request(root=machine.root(folder / "root"), given=given)
    findings = command.look(request)
    return findings, farmd_toml(findings, given)


@pytest.mark.usefixtures("pc")
@pytest.mark.parametrize("machine", MACHINES, ids=str)
def test_machine(machine: FakeBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    findings, text = look(machine, tmp_path, monkeypatch)
    assert findings.choice.name == machine.board
    found = [f"{one.kind.name} is {one.where}" for one in findings.accelerators]
    assert len(found) == len(machine.accelerators), found
    assert all(one.startswith(part) for one, part in zip(found, machine.accelerators, strict=True))
    missing = findings.missing()
    assert len(missing) == len(machine.missing), missing
    assert all(part in sentence for sentence, part in zip(missing, machine.missing, strict=True)), missing
    assert all(f"# - {sentence}" in text for sentence in missing)
    config = settings.from_document(tomllib.loads(text), "the proposal", tmp_path)
    assert config.board == machine.board
    root = tmp_path / "root"
    assert config.system_root == root
    assert config.interpreters == {name: root / path for name, path in machine.proposed.items()}


@pytest.mark.usefixtures("pc")
def test_what_is_said_on_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kv260 = next(machine for machine in MACHINES if machine.name == "KV260")
    findings, text = look(kv260, tmp_path, monkeypatch)
    said = list(findings.sentences())
    assert said[0] == "Board: kria-k26, because the device tree says 'xlnx,zynqmp-smk-k26'."
    assert said[-1] == "Power: rails SOM_5V0; the whole is SOM_5V0."
    assert f"Runtime: vitisai 3.5 in {tmp_path}/root/usr/bin/python3." in said
    assert f'vitisai = "{tmp_path}/root/usr/bin/python3"   # vitisai 3.5' in text
    assert findings.document()["board"]["name"] == "kria-k26"


@pytest.mark.usefixtures("pc")
def test_the_board_that_was_not_chosen_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coral = next(machine for machine in MACHINES if machine.name.startswith("Raspberry Pi 4"))
    _, text = look(coral, tmp_path, monkeypatch)
    assert '# board = "raspberry-pi-4"   # for its processor alone' in text
    orin = MACHINES[0]
    FakeRoot(tmp_path / "orin/root").usb("1-1", "18d1:9302")
    findings, _ = look(orin, tmp_path / "orin", monkeypatch)
    assert (findings.choice.name, findings.choice.other) == ("jetson-agx-orin", "edge-tpu")


@pytest.mark.usefixtures("pc")
def test_every_reason_against_a_runtime_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = next(machine for machine in MACHINES if machine.name.startswith("Nano"))
    monkeypatch.setattr(runtimes, "ask_all", lambda paths: answers(paths, {}))
    findings = command.look(command.Request(root=machine.root(tmp_path)))
    system = findings.interpreters[1]
    told = Runtime("tensorrt", "", False, "the driver is missing.")
    several = replace(findings, interpreters=[findings.interpreters[0], replace(system, runtimes=(told,))])
    (sentence,) = [one for one in several.missing() if "tensorrt" in one]
    assert f"{sys.executable}: tensorrt cannot be imported. {system.path}: the driver is missing." in sentence


def test_the_exit_code_says_whether_anything_can_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for works, code in (({}, 1), ({"": {"litert": "2.3.0"}}, 0)):
        monkeypatch.setattr(runtimes, "ask_all", lambda paths, works=works: answers(paths, works))
        assert command.run(command.Request(root=tmp_path)) == code
        told = capsys.readouterr().err
        assert ("Missing: No runtime works here" in told) == bool(code)
