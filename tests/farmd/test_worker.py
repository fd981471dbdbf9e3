"""The daemon's side of one worker, against a worker that says whatever a test wants.

The script below stands in for targets/worker.py where a real worker could not be made to misbehave so.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from farm.v1 import board_pb2

from farmd import errors, launch, probe
from farmd.config import Config
from farmd.dialogue import Deadline, Event
from farmd.tensors import TensorValue
from farmd.waiting import Cancel
from farmd.worker import Worker
from targets import wire
from tests.farmd.modelfarm import config_of, until

PROLOGUE = """\
import json, os, socket, struct, sys, time
fd = int(sys.argv[sys.argv.index("--fd") + 1])
sock = socket.socket(fileno=fd)
def raw(data): sock.sendall(data)
def send(obj): body = json.dumps(obj).encode(); raw(struct.pack(">I", len(body)) + body)
def recv():
    size = sock.recv(4, socket.MSG_WAITALL)
    if not size: sys.exit(0)
    return json.loads(sock.recv(struct.unpack(">I", size)[0], socket.MSG_WAITALL))
def ok(request, **members): send(dict(members, id=request["id"], ok=True))
request = recv()
"""
HELLO = f"ok(request, protocol={wire.PROTOCOL}, pid=os.getpid())\n"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    found = config_of(tmp_path)
    launch.prepare(found)
    return found


@pytest.fixture
def start(config: Config, tmp_path: Path) -> Iterator[Callable[[str], Worker]]:
    """Start a worker whose program after the hello is given."""
    path = config.state_dir / launch.WORKER_PATH
    started = []

    def start_one(program: str, hello: str = HELLO, interpreter: Path | None = None) -> Worker:
        (path / "targets").unlink()
        (path / "targets").mkdir()
        (path / "targets" / "__init__.py").touch()
        (path / "targets" / "worker.py").write_text(PROLOGUE + hello + program)
        chosen = replace(config, default_interpreter=interpreter or config.default_interpreter)
        worker = Worker.start(chosen, runtime="ort", model="net", timeout_s=30)
        started.append(worker)
        return worker

    yield start_one
    for worker in started:
        worker.kill()


@contextmanager
def turn_of(worker: Worker) -> Iterator[None]:
    worker.turn.acquire()
    try:
        yield
    finally:
        worker.turn.release()


def ask(worker: Worker, timeout_s: float = 20.0) -> dict[str, Any]:
    with turn_of(worker):
        return worker.request("memory", {}, timeout_s=timeout_s)


def talk(
    worker: Worker, cancel: Cancel, *, timeout_s: float = 20.0, grace_s: float | None = 20.0
) -> list[Event]:
    with turn_of(worker):
        return list(worker.converse("load", {}, deadline=Deadline(timeout_s), cancel=cancel, grace_s=grace_s))


def test_events_before_a_reply_are_passed_over_or_told(start: Callable[[str], Worker]) -> None:
    worker = start(
        "for _ in range(2):\n request = recv(); send({'id': request['id'], 'event': 'log', 'message': 'hi'})\n"
        " ok(request, answer=42)\n"
    )
    assert ask(worker)["answer"] == 42
    assert [(event.kind, event.members["message"]) for event in talk(worker, Cancel())] == [("log", "hi")]


def test_a_reply_may_come_in_pieces(start: Callable[[str], Worker]) -> None:
    worker = start(
        "request = recv(); body = json.dumps({'id': request['id'], 'ok': True}).encode()\n"
        "for byte in struct.pack('>I', len(body)) + body: raw(bytes([byte])); time.sleep(0.001)\nrecv()"
    )
    assert ask(worker)["ok"] is True


@pytest.mark.parametrize(
    "program",
    [
        "raw(b'\\xff' * 100)",
        "raw(struct.pack('>I', 5) + b'hello')",
        "raw(struct.pack('>I', 2) + b'[]')",
        "send({'id': 999, 'ok': True})",
        "send({'id': request['id'], 'ok': True, 'outputs': 3})",
        "send({'id': request['id'], 'ok': True})",
        "ok(request, outputs=[{'name': 'y', 'dtype': 'float32', 'shape': [8], 'offset': 1 << 40, 'nbytes': 32}])",
        "ok(request, outputs=[{'name': 'y', 'dtype': 'float32', 'shape': [8], 'offset': 0, 'nbytes': 31}])",
        "ok(request, outputs=[{'name': 'y', 'dtype': 'float33', 'shape': [8], 'offset': 0, 'nbytes': 32}])",
        "ok(request, outputs=[], start_ns='now', end_ns=1)",
        "send({'id': request['id'], 'ok': False, 'error': {'kind': 'BufferTooSmall', 'message': 'm',"
        " 'details': {'needed_bytes': 1}}})",
    ],
)
def test_nonsense_ends_the_worker(start: Callable[[str], Worker], program: str) -> None:
    worker = start(
        f"while True:\n request = recv()\n if request['op'] == 'map': ok(request)\n else: {program}\n"
    )
    x = TensorValue("x", "float32", [8], bytes(32))
    with pytest.raises(errors.WorkerGarbage, match="'net' on ort"):
        worker.infer([x], timeout_s=5)
    assert not Path(f"/proc/{worker.child.pid}").exists()
    with pytest.raises(errors.WorkerGarbage):
        ask(worker)


def test_an_error_without_sense_is_a_fault_and_the_worker_lives(start: Callable[[str], Worker]) -> None:
    worker = start("request = recv(); send({'id': request['id'], 'ok': False})\nok(recv(), fine=1)\nrecv()")
    with pytest.raises(errors.WorkerFault):
        ask(worker)
    assert ask(worker)["fine"] == 1


@pytest.mark.slow
def test_a_wire_that_is_closed_while_the_process_lives_ends_it(start: Callable[[str], Worker]) -> None:
    worker = start("recv(); sock.close(); time.sleep(60)")
    with pytest.raises(errors.WorkerGarbage, match="closed its wire during memory"):
        ask(worker)


def test_a_worker_that_drips_does_not_move_its_deadline(start: Callable[[str], Worker]) -> None:
    worker = start("recv()\nwhile True: raw(b'\\x00'); time.sleep(0.05)")
    begin = time.monotonic()
    with pytest.raises((errors.WorkerHung, errors.WorkerGarbage)):
        ask(worker, timeout_s=0.5)
    assert time.monotonic() - begin < 20


def test_a_worker_that_only_talks_does_not_move_its_deadline(start: Callable[[str], Worker]) -> None:
    worker = start(
        "request = recv()\nwhile True: send({'id': request['id'], 'event': 'log'}); time.sleep(0.02)"
    )
    begin = time.monotonic()
    with pytest.raises(errors.WorkerHung, match=r"within 0\.5 s"):
        ask(worker, timeout_s=0.5)
    assert time.monotonic() - begin < 20


def test_the_last_words_stand_in_the_error(start: Callable[[str], Worker]) -> None:
    worker = start("recv(); print('one'); print('two', file=sys.stderr); sys.exit(9)")
    with pytest.raises(errors.WorkerCrashed, match=r"ended with exit code 9 during memory.*'two'") as caught:
        ask(worker)
    assert caught.value.metadata == {
        "exit_code": "9",
        "runtime": "ort",
        "model": "net",
        "output": "one\ntwo",
    }


def test_a_worker_that_stops_when_asked_stays(start: Callable[[str], Worker]) -> None:
    worker = start(
        "request = recv(); cancel = recv(); assert cancel['op'] == 'cancel' and cancel['target'] == request['id']\n"
        "ok(cancel)\n"
        "send({'id': request['id'], 'ok': False, 'error': {'kind': 'Cancelled', 'message': 'm', 'details': {}}})\n"
        "ok(recv(), fine=1)\nrecv()"
    )
    cancel = Cancel()
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(errors.CallCancelled):
        talk(worker, cancel)
    assert ask(worker)["fine"] == 1


def test_a_cancel_answered_after_the_request_is_not_mistaken(start: Callable[[str], Worker]) -> None:
    worker = start(
        "request = recv(); cancel = recv(); ok(request)\nask = recv(); ok(cancel); ok(ask, fine=1)\nrecv()"
    )
    cancel = Cancel()
    cancel.set()
    with pytest.raises(errors.CallCancelled):
        talk(worker, cancel)
    assert ask(worker)["fine"] == 1


def test_work_that_is_overdue_is_stopped_and_the_worker_stays(start: Callable[[str], Worker]) -> None:
    worker = start(
        "request = recv(); ok(recv())\n"
        "send({'id': request['id'], 'ok': False, 'error': {'kind': 'Cancelled', 'message': 'm', 'details': {}}})\n"
        "ok(recv(), fine=1)\nrecv()"
    )
    with pytest.raises(errors.CallOverdue, match=r"within 0\.2 s"):
        talk(worker, Cancel(), timeout_s=0.2)
    assert ask(worker)["fine"] == 1


def test_a_request_larger_than_what_a_socket_holds(start: Callable[[str], Worker]) -> None:
    worker = start("time.sleep(0.1); request = recv(); ok(request, size=len(request['text']))\nrecv()")
    assert worker.request("map", {"text": "a" * 5_000_000}, timeout_s=20)["size"] == 5_000_000


def test_a_worker_that_reads_nothing_more_is_killed(start: Callable[[str], Worker]) -> None:
    worker = start("time.sleep(60)")
    with pytest.raises(errors.WorkerHung, match=r"within 0.2 s"):
        worker.request("map", {"text": "a" * 5_000_000}, timeout_s=0.2)


def test_a_worker_that_does_not_stop_in_time_is_killed(start: Callable[[str], Worker]) -> None:
    worker = start("recv(); time.sleep(60)")
    with pytest.raises(errors.WorkerHung):
        talk(worker, Cancel(), timeout_s=0.1, grace_s=0.1)


def test_work_that_cannot_be_stopped_is_killed_with_its_caller(start: Callable[[str], Worker]) -> None:
    worker = start("recv(); time.sleep(60)")
    cancel = Cancel()
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(errors.CallCancelled):
        talk(worker, cancel, grace_s=None)
    assert worker.expected_end
    assert not Path(f"/proc/{worker.child.pid}").exists()


def test_a_conversation_nobody_reads_to_its_end_is_wound_down(start: Callable[[str], Worker]) -> None:
    worker = start(
        "request = recv(); send({'id': request['id'], 'event': 'progress'}); ok(recv())\n"
        "send({'id': request['id'], 'event': 'progress'}); ok(request); ok(recv(), fine=1)\nrecv()"
    )
    events = worker.converse("load", {}, deadline=Deadline(20), cancel=Cancel(), grace_s=20.0)
    next(events)
    events.close()
    assert ask(worker)["fine"] == 1


def test_after_its_end_nothing_of_it_is_left(start: Callable[[str], Worker], config: Config) -> None:
    worker = start("recv()")
    worker.turn.acquire()
    worker.close()
    worker.turn.release()
    assert until(lambda: list((config.state_dir / launch.WORK).iterdir()) == [])
    with pytest.raises(errors.ModelNotFound):
        ask(worker)
    worker.close()


# The start.


def test_a_worker_of_another_protocol_is_refused(start: Any) -> None:
    with pytest.raises(errors.WorkerGarbage, match="speaks protocol 7"):
        start("recv()", hello="ok(request, protocol=7)\n")


def test_a_worker_that_dies_at_its_start_says_why(start: Any) -> None:
    with pytest.raises(errors.WorkerUnstartable, match="No module named 'nonsense'") as caught:
        start("", hello="import nonsense\n")
    assert caught.value.metadata["exit_code"] == "1"
    assert sys.executable in caught.value.message


def test_an_interpreter_of_its_own_sees_nothing_of_the_daemons_environment(start: Any) -> None:
    other = Path(getattr(sys, "_base_executable", sys.executable))
    if other == Path(sys.executable):
        pytest.skip("needs to run in a virtual environment")
    worker = start("ok(recv(), path=sys.path)\nrecv()", interpreter=other)
    paths = [Path(entry) for entry in ask(worker)["path"] if entry]
    assert not any((path / name).exists() for path in paths for name in ("farmd", "grpc"))


# The probe.


def test_each_interpreter_is_asked_for_its_own_runtimes_once(config: Config, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'libgone.so: not found' >&2\nexit 127\n")
    broken.chmod(0o755)
    own = tmp_path / "own"
    # A script and no link: a link outside of a virtual environment would not be part of it.
    own.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    own.chmod(0o755)
    mixed = replace(config, interpreters={"fake": own, "litert": broken, "novel": broken})
    found, is_sure = probe.probe_runtimes(mixed)
    runtimes = {info.name: info for info in found}
    assert list(runtimes) == sorted(runtimes)
    assert runtimes["fake"].available
    assert runtimes["fake"].interpreter == str(own)
    assert runtimes["onnxruntime"].interpreter == sys.executable
    assert list(runtimes["onnxruntime"].formats) == ["onnx"]
    for name in ("litert", "novel"):
        assert not runtimes[name].available
        assert "libgone.so" in runtimes[name].reason
    assert not is_sure


def test_runtimes_are_found_at_the_first_question_and_remembered(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = board_pb2.RuntimeInfo(name="ort")
    answers: list[tuple[list[board_pb2.RuntimeInfo], bool]] = [([], False), ([info], True)]
    calls: list[Config] = []

    def fake_probe(asked: Config) -> Any:
        calls.append(asked)
        return answers[len(calls) - 1]

    monkeypatch.setattr(probe, "probe_runtimes", fake_probe)
    found = probe.RuntimeProbe(config)
    assert found.runtimes(may_probe=False) == []
    assert calls == []
    assert found.runtimes() == []
    assert found.runtimes() == [info]
    assert found.runtimes() == [info]
    assert found.runtimes(may_probe=False) == [info]
    assert len(calls) == 2
