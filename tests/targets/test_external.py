"""Executables as workers: what is refused before they run, and what the conformance check finds."""

import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from targets.client import Client
from targets.conformance import WITH_MODEL, WITHOUT_MODEL
from targets.errors import OptionInvalid, RuntimeUnavailable
from targets.external import main, refusal
from tests.targets.executables import example_worker
from tests.targets.helpers import ROOT
from tests.targets.interpreters import oldest

PROGRAM = """#!{python}
import json, os, socket, struct, sys, time
sock = socket.fromfd(int(sys.argv[sys.argv.index("--fd") + 1]), socket.AF_UNIX, socket.SOCK_STREAM)
def recv():
    size = sock.recv(4, socket.MSG_WAITALL)
    if not size: sys.exit(3)
    return json.loads(sock.recv(struct.unpack(">I", size)[0], socket.MSG_WAITALL).decode())
def send(obj): body = json.dumps(obj).encode(); sock.sendall(struct.pack(">I", len(body)) + body)
while True:
    request = recv()
    if request["op"] == "close":
        send(dict(id=request["id"], ok=True))
        sys.exit(0)
"""


def script(folder: Path, body: str) -> Path:
    """Write a worker that answers each request as the body says."""
    path = folder / "script"
    path.write_text(
        PROGRAM.format(python=sys.executable) + "".join(f"    {line}\n" for line in body.split("\n"))
    )
    path.chmod(0o755)
    return path


def through_external(
    *command: str, interpreter: str = sys.executable
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a command as farmd does; return the process and our end of its wire."""
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    fd = theirs.fileno()
    process = subprocess.Popen(
        [interpreter, "-m", "targets.external", "--fd", str(fd), "--", *command],
        pass_fds=[fd], cwd=ROOT, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()
    return process, ours


def test_the_executable_takes_the_place_of_its_starter(tmp_path: Path) -> None:
    program = script(
        tmp_path, "send({'id': request['id'], 'ok': True, 'pid': os.getpid(), 'argv': sys.argv[1:]})"
    )
    process, ours = through_external(str(program), "--device", "--", "0", interpreter=oldest())
    with ours, Speaker(ours) as speaker:
        reply = speaker.call("hello")
    assert reply["pid"] == process.pid
    assert reply["argv"][:-1] == ["--device", "--", "0", "--fd"]
    assert process.wait(30) == 3


def test_what_cannot_run_here_is_the_answer_to_hello(tmp_path: Path) -> None:
    for name, content, mode, words in (
        ("absent", None, 0, "does not exist; mend its path under [external]"),
        ("plain", b"#!/bin/sh\n", 0o644, "is not executable; run 'chmod +x"),
        ("mips", elf(machine=8), 0o755, "is for mips64, but this machine is"),
        ("odd", elf(machine=9999), 0o755, "is for machine 9999, but this machine is"),
        ("cut", elf(machine=62, sections=1 << 30), 0o755, "it is cut"),
        ("orphan", b"#!/nonexistent/interpreter\n", 0o755, "its loader or interpreter is missing"),
        ("nonsense", b"hello", 0o755, "Exec format error"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
            path.chmod(mode)
        process, ours = through_external(str(path))
        with ours, Speaker(ours) as speaker, pytest.raises(RuntimeUnavailable) as caught:
            speaker.call("hello")
        assert words in caught.value.message, name
        assert str(path) in caught.value.message
        assert process.wait(30) == 4


def test_a_refusal_nobody_waits_for_ends_the_process() -> None:
    process, ours = through_external("/nonexistent")
    ours.close()
    assert process.wait(30) == 4


def test_a_machine_runs_the_older_sort_of_its_own_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "arm32"
    path.write_bytes(elf(machine=40, bits=32))
    path.chmod(0o755)
    for machine, runs in (("aarch64", True), ("armv7l", True), ("x86_64", False)):
        monkeypatch.setattr("os.uname", lambda machine=machine: type("Uname", (), {"machine": machine}))
        assert (refusal(str(path)) is None) == runs, machine


def elf(*, machine: int, bits: int = 64, sections: int = 0) -> bytes:
    """The header of an ELF program of some machine."""
    ident = b"\x7fELF" + bytes([bits // 32, 1, 1]) + bytes(9)
    layout = "<HHIQQQIHHHHHH" if bits == 64 else "<HHIIIIIHHHHHH"
    return ident + struct.pack(layout, 2, machine, 1, 0, 0, sections, 0, 64, 0, 0, 64, 2, 0) + bytes(128)


class Speaker(Client):
    """A client of a wire whose process somebody else has started."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(["true"])
        self.sock.close()
        self.sock = sock


def test_the_example_in_c_holds_to_the_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worker, model = example_worker(tmp_path), tmp_path / "double"
    model.write_text("2.0")
    code = main(["--check", str(worker), str(model), "--format", "factor"])
    verdicts = [line[28:].strip() for line in capsys.readouterr().out.splitlines()]
    assert (code, verdicts) == (0, ["holds"] * len(WITHOUT_MODEL + WITH_MODEL))
    code = main(["--check", str(worker)])
    verdicts = [line[28:].strip() for line in capsys.readouterr().out.splitlines()]
    assert (code, verdicts) == (0, ["holds"] * len(WITHOUT_MODEL))


def test_the_example_takes_the_scenario_and_raises_the_marker(tmp_path: Path) -> None:
    (tmp_path / "double").write_text("2.0")
    load = {
        "path": str(tmp_path / "double"),
        "format": "factor",
        "runtime": "npu",
        "precision": None,
        "batch": None,
    }
    for line, text in (("line", "0"), ("absent/line", None)):
        marker = tmp_path / line
        if text is not None:
            marker.write_text("?")
        with Client([str(example_worker(tmp_path))], env={"WATTFARM_MARKER": str(marker)}) as client:
            reply = client.call("load", options={"scenario": "throughput"}, **load)
            assert reply["describe"]["requested"] == {"scenario": "throughput"}
            if text is None:
                with pytest.raises(OptionInvalid, match="marker line"):
                    client.benchmark()
            else:
                client.benchmark()
                assert marker.read_text() == text
            client.call("unload")
            assert (
                client.error("load", options={"scenario": "x", "speed": "9"}, **load).kind == "OptionInvalid"
            )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("send({'id': request['id'], 'ok': True, 'protocol': 2, 'pid': 1})", "hello tells protocol 2, not 1"),
        ("send({'id': request['id'], 'ok': True, 'protocol': 1})", "hello tells no pid"),
        ("send({'ok': True})", "KeyError: 'id'"),
        (
            "send({'id': request['id'], 'ok': False, 'error': {'kind': 'Odd', 'message': 'm'}})",
            "TargetsError: m",
        ),
        (
            "print('the chip is gone', file=sys.stderr); sys.exit(9)",
            "the worker ended with 9; its last words: the chip is gone",
        ),
        ("sock.sendall(b'garbage!')", "WireGarbage: A frame of"),
    ],
)
def test_a_worker_that_breaks_the_protocol_fails_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], body: str, expected: str
) -> None:
    assert main(["--check", str(script(tmp_path, body))]) == 1
    told = capsys.readouterr().out
    assert told.splitlines()[0].startswith("says hello                   FAILS: ")
    assert expected in told.splitlines()[0]


def test_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        ([], "--check"),
        (["--fd", "5"], "--check"),
        (["--fd", "5", "--"], "name the executable after --"),
        (["--", "/bin/true"], "--fd"),
        (["--check", "/bin/true", "model"], "a model and its --format"),
        (["--check", str(tmp_path / "absent")], "does not exist"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert words in capsys.readouterr().err
