"""The worker process: operations, cancelling, faults, and what becomes of it when the daemon goes away."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from targets import errors
from targets.wire import encode, send
from tests.targets.helpers import WorkerClient, recv

FAKES = Path(__file__).resolve().parent / "fakes"
ENV = {
    "PYTHONPATH": str(FAKES),
    "WATTFARM_RUNNERS": "fake=wattfarm_fakes:FakeRunner,missing=wattfarm_fakes:MissingRunner",
}
X = np.arange(16, dtype="float32").reshape(2, 8)


@pytest.fixture
def worker() -> Iterator[WorkerClient]:
    with WorkerClient(env=ENV) as client:
        yield client


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.fake"
    path.write_text("2.5")
    return path


def load(worker: WorkerClient, model: Path, **options: str) -> dict[str, Any]:
    return worker.load(model, "fake", "fake", options=options)


def load_and_infer(worker: WorkerClient, model: Path, **options: str) -> None:
    load(worker, model, **options)
    worker.infer({"x": X})


def test_hello(worker: WorkerClient) -> None:
    reply = worker.call("hello")
    assert reply["protocol"] == 1
    assert reply["pid"] == worker.process.pid
    assert reply["numpy"] == np.__version__


def test_probe_tells_why_not(worker: WorkerClient) -> None:
    found = {
        info["name"]: info for info in worker.call("probe", runtimes=["fake", "missing", "typo"])["runtimes"]
    }
    assert found["fake"] == {
        "name": "fake", "available": True, "version": "1.0", "reason": None, "formats": ["fake"],
        "precisions": ["float32"], "conversion": "",
    }  # fmt: skip
    assert found["missing"]["available"] is False
    assert "pip install wattfarm-fakes" in found["missing"]["reason"]
    assert "is not known" in found["typo"]["reason"]


def test_load_infer_and_unload(worker: WorkerClient, model: Path) -> None:
    reply = load(worker, model)
    assert reply["spec"]["inputs"] == [
        {"name": "x", "dtype": "float32", "shape": [-1, 8], "scale": None, "zero_point": None}
    ]
    assert reply["load_ns"] > 0
    assert reply["memory"]["rss_bytes"] > 1_000_000
    assert reply["memory"]["peak_rss_bytes"] >= reply["memory"]["rss_bytes"]
    assert reply["memory"]["device_bytes"] is None
    assert reply["optimal_in_flight"] == 2
    assert worker.events == [{"id": 1, "event": "progress", "phase": "building"}]
    np.testing.assert_array_equal(worker.infer({"x": X})["y"], X * 2.5)
    assert worker.error("load", path=str(model), format="fake", runtime="fake").kind == "ProtocolError"
    worker.call("unload")
    assert worker.error("memory").kind == "NotLoaded"
    load(worker, model)
    np.testing.assert_array_equal(worker.infer({"x": X})["y"], X * 2.5)


def test_outputs_that_do_not_fit_say_what_they_need(model: Path) -> None:
    with WorkerClient(env=ENV, map_bytes=128) as worker:
        load(worker, model)
        refs = worker.place({"x": X})
        error = worker.error("infer", inputs=refs, output_offset=128)
        assert error.kind == "BufferTooSmall"
        assert error.details == {"needed_bytes": 192}
        path = worker.folder / "larger"
        path.write_bytes((worker.folder / "tensors").read_bytes() + bytes(64))
        worker.call("map", path=str(path), size_bytes=192)
        reply = worker.call("infer", inputs=refs, output_offset=128)
        assert path.read_bytes()[128:] == (X * np.float32(2.5)).tobytes()
        assert reply["outputs"] == [
            {"name": "y", "dtype": "float32", "shape": [2, 8], "offset": 128, "nbytes": 64}
        ]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"name": "z"}, "InputInvalid"),
        ({"dtype": "int32"}, "InputInvalid"),
        ({"shape": [8, 2]}, "InputInvalid"),
        ({"nbytes": 60}, "InputInvalid"),
        ({"offset": 1 << 30}, "ProtocolError"),
        ({"offset": "0"}, "ProtocolError"),
    ],
)
def test_wrong_tensors_leave_the_worker_serving(
    worker: WorkerClient, model: Path, change: dict[str, Any], kind: str
) -> None:
    load(worker, model)
    (ref,) = worker.place({"x": X})
    assert worker.error("infer", inputs=[{**ref, **change}], output_offset=128).kind == kind
    assert worker.error("infer", inputs=[ref, ref], output_offset=128).kind == "InputInvalid"
    assert worker.error("infer", inputs=[], output_offset=128).kind == "InputInvalid"
    assert worker.error("infer", inputs=["x"], output_offset=128).kind == "ProtocolError"
    assert worker.error("infer", inputs=[ref], output_offset=-64).kind == "BufferTooSmall"
    np.testing.assert_array_equal(worker.infer({"x": X})["y"], X * 2.5)


def test_each_inference_sees_its_own_tensors_whatever_the_last_one_had(
    worker: WorkerClient, model: Path
) -> None:
    load(worker, model)
    for rows in (2, 2, 1, 3, 2):
        x = np.random.default_rng(rows).random((rows, 8), np.float32)
        np.testing.assert_array_equal(worker.infer({"x": x})["y"], x * np.float32(2.5))
    (ref,) = worker.place({"x": X})
    path = worker.folder / "another"
    path.write_bytes((X + 1).tobytes() + bytes(256))
    worker.call("infer", inputs=[ref], output_offset=128)
    worker.call("map", path=str(path), size_bytes=320)
    for at in (128, 192):
        worker.call("infer", inputs=[ref], output_offset=at)
        assert path.read_bytes()[at : at + 64] == ((X + 1) * np.float32(2.5)).tobytes()
    assert worker.error("infer", inputs=[{**ref, "shape": [8, 2]}], output_offset=128).kind == "InputInvalid"
    assert worker.error("infer", inputs=[{**ref, "shape": [8, 2]}], output_offset=128).kind == "InputInvalid"
    worker.call("unload")
    assert worker.error("infer", inputs=[ref], output_offset=128).kind == "NotLoaded"


def test_a_cancel_that_comes_with_its_request_drops_it(worker: WorkerClient) -> None:
    requests = [{"id": 7, "op": "hello"}, {"id": 8, "op": "cancel", "target": 7}, {"id": 9, "op": "hello"}]
    worker.sock.sendall(b"".join(encode(request) for request in requests))
    replies = {reply["id"]: reply for reply in (recv(worker.sock) for _ in requests)}
    assert replies[8]["cancelled"] is True
    assert replies[7]["error"]["kind"] == "Cancelled"
    assert replies[9]["ok"] is True


def test_requests_out_of_order_or_malformed(worker: WorkerClient, model: Path) -> None:
    assert worker.error("dance").kind == "ProtocolError"
    assert worker.error("infer", inputs=[], output_offset=0).kind == "NotLoaded"
    assert worker.error("benchmark").kind == "NotLoaded"
    assert worker.error("load", path=3).kind == "ProtocolError"
    assert worker.error("map", path="/nonexistent", size_bytes=64).kind == "ProtocolError"
    assert worker.error("map", path=str(model), size_bytes=1 << 20).kind == "ProtocolError"
    load(worker, model)
    assert worker.error("infer", inputs=[], output_offset=0).kind == "NotLoaded"  # nothing is mapped
    wrongs: list[dict[str, Any]] = [
        {"scenario": "Latency"}, {"in_flight": 2}, {"scenario": "throughput", "in_flight": 0},
        {"scenario": "throughput", "in_flight": 10**6}, {"duration_ns": "1"}, {"duration_ns": -1}, {"seed": True},
        {"times_path": "/nonexistent/times"},
    ]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(errors.ProtocolError):
            worker.benchmark(**wrong)
    assert worker.call("hello")["ok"]


def test_load_errors_leave_no_model(worker: WorkerClient, model: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"path": "/nonexistent"}, "ModelInvalid"),
        ({"path": str(tmp_path)}, "ModelInvalid"),
        ({"path": str(empty)}, "ModelInvalid"),
        ({"runtime": "fak"}, "RuntimeUnavailable"),
        ({"runtime": "missing"}, "RuntimeUnavailable"),
        ({"format": "onnx"}, "FormatUnsupported"),
        ({"precision": "float64"}, "PrecisionUnsupported"),
        ({"batch": 0}, "OptionInvalid"),
        ({"options": {"delay": "3"}}, "OptionInvalid"),
        ({"options": {"fault": "raise", "at": "load"}}, "ModelInvalid"),
        ({"options": {"fault": "memory", "at": "load"}}, "OutOfMemory"),
    ]
    good: dict[str, Any] = {
        "path": str(model),
        "format": "fake",
        "runtime": "fake",
        "precision": None,
        "batch": None,
        "options": {},
    }
    for change, kind in cases:
        error = worker.error("load", **{**good, **change})
        assert error.kind == kind, change
        assert "\n" not in error.message
        assert error.message.endswith(".")
    worker.call("load", **good)


def test_latency_benchmark(worker: WorkerClient, model: Path) -> None:
    load(worker, model, delay_ms="2")
    reply, starts, ends = worker.benchmark(duration_ns=100_000_000, warmup_count=3)
    assert reply["in_flight"] == 1
    assert reply["batch"] == 1
    assert reply["requests"] == len(starts) == len(ends)
    assert 1 <= len(starts) <= 50
    assert (starts[1:] >= ends[:-1]).all()
    assert ((ends - starts) >= 2_000_000).all()
    assert starts[0] >= reply["window_start_ns"]
    assert reply["window_end_ns"] == ends[-1]
    assert ends[-1] - reply["window_start_ns"] >= 100_000_000
    assert abs(reply["window_end_ns"] - time.monotonic_ns()) < 60_000_000_000
    assert reply["outputs_finite"] is True
    assert reply["first_ns"] >= 2_000_000
    assert 0 <= reply["cpu_time_ns"] < ends[-1] - reply["window_start_ns"]
    assert [e["phase"] for e in worker.events] == ["building", "warmup", "running"]
    again, _, _ = worker.benchmark(duration_ns=0, min_count=5)
    assert again["first_ns"] == reply["first_ns"]  # the first ever of this load
    assert again["requests"] == 5


def test_throughput_benchmark(worker: WorkerClient, model: Path) -> None:
    load(worker, model, delay_ms="5")
    reply, starts, ends = worker.benchmark(scenario="throughput", in_flight=4, duration_ns=200_000_000)
    assert reply["in_flight"] == 4
    in_flight = [int(((starts <= at) & (ends > at)).sum()) for at in starts]
    assert max(in_flight) == 4
    assert (np.diff(starts) >= 0).all()
    assert reply["requests"] == len(starts)
    default, _, _ = worker.benchmark(scenario="throughput", duration_ns=0)
    assert default["in_flight"] == 2


def test_benchmark_uses_the_inputs_it_is_given(worker: WorkerClient, model: Path) -> None:
    load(worker, model)
    reply, _, _ = worker.benchmark(inputs=worker.place({"x": X}), duration_ns=0)
    assert reply["batch"] == 2
    with pytest.raises(errors.InputInvalid):
        worker.benchmark(inputs=worker.place({"z": X}))


def test_outputs_that_are_not_finite_are_told(worker: WorkerClient, model: Path) -> None:
    load(worker, model, fault="nan", after="10")
    reply, _, _ = worker.benchmark(duration_ns=0, min_count=20)
    assert reply["outputs_finite"] is False


def test_cancel_ends_a_benchmark_and_keeps_its_times(worker: WorkerClient, model: Path) -> None:
    load(worker, model, delay_ms="1")
    number = worker.start_benchmark(duration_ns=60 * 10**9)
    while not any(event.get("phase") == "running" for event in worker.events):
        worker.events.append(recv(worker.sock))
    time.sleep(0.1)
    cancel = worker.start("cancel", target=number)
    replies = {message["id"]: message for message in (recv(worker.sock), recv(worker.sock))}
    assert replies[cancel]["cancelled"] is True
    assert replies[number]["error"]["kind"] == "Cancelled"
    starts, _ = worker.times()
    assert replies[number]["error"]["details"] == {"requests": len(starts)}
    assert len(starts) >= 1
    assert worker.benchmark(duration_ns=0)[0]["requests"] == 1


def test_cancel_reaches_a_request_that_waits(worker: WorkerClient, model: Path) -> None:
    load(worker, model, delay_ms="300")
    first = worker.start_benchmark(duration_ns=0)
    second = worker.start_benchmark(duration_ns=60 * 10**9)
    assert worker.call("cancel", target=second)["cancelled"] is True
    worker.finish(first)
    with pytest.raises(errors.Cancelled, match="before it began"):
        worker.finish(second)
    assert worker.call("cancel", target=99)["cancelled"] is False


@pytest.mark.parametrize("at", ["load", "infer"])
@pytest.mark.parametrize(
    ("fault", "code"), [("segv", -signal.SIGSEGV), ("abort", -signal.SIGABRT), ("exit", 17)]
)
def test_native_deaths_end_the_wire_at_once(
    worker: WorkerClient, model: Path, at: str, fault: str, code: int
) -> None:
    with pytest.raises(errors.WireClosed):
        load_and_infer(worker, model, fault=fault, at=at)
    assert worker.process.wait(10) == code
    if fault != "exit":
        assert "_misbehave" in worker.stderr_path.read_text()  # faulthandler names the Python frame


def test_a_death_in_the_window_leaves_no_reply(worker: WorkerClient, model: Path) -> None:
    load(worker, model, fault="segv", after="100", delay_ms="1")
    with pytest.raises(errors.WireClosed):
        worker.benchmark(duration_ns=60 * 10**9)
    assert worker.process.wait(10) == -signal.SIGSEGV


@pytest.mark.parametrize("scenario", ["latency", "throughput"])
def test_a_vendor_error_in_the_window_is_one_sentence(
    worker: WorkerClient, model: Path, scenario: str
) -> None:
    load(worker, model, fault="raise", after="20")
    with pytest.raises(errors.InferenceFailed, match=r"vendor error 77 in a second line\.$"):
        worker.benchmark(scenario=scenario, duration_ns=60 * 10**9)
    assert worker.call("hello")["ok"]


def test_garbage_on_stdout_does_not_touch_the_wire(worker: WorkerClient, model: Path) -> None:
    load(worker, model, fault="garbage")
    np.testing.assert_array_equal(worker.infer({"x": X})["y"], X * 2.5)
    assert worker.stdout_path.read_bytes().count(b"hello") == 100
    assert b"not utf-8" in worker.stderr_path.read_bytes()


def test_a_leak_shows_in_the_memory(worker: WorkerClient, model: Path) -> None:
    load(worker, model, fault="leak", after="2")
    reply, _, _ = worker.benchmark(duration_ns=0, min_count=100)
    grown_bytes = reply["memory_end"]["rss_bytes"] - reply["memory"]["rss_bytes"]
    assert grown_bytes > 90_000_000


@pytest.mark.slow
def test_losing_the_daemon_ends_even_a_worker_that_hangs(model: Path) -> None:
    with WorkerClient(env=ENV) as worker:
        load(worker, model, fault="hang")
        worker.start("infer", inputs=worker.place({"x": X}), output_offset=128)
        time.sleep(0.2)
        worker.sock.close()
        assert worker.process.wait(20) == 3


@pytest.mark.parametrize("busy", [False, True])
def test_losing_the_daemon_ends_the_worker(model: Path, busy: bool) -> None:
    with WorkerClient(env=ENV) as worker:
        load(worker, model, delay_ms="1")
        if busy:
            worker.start_benchmark(duration_ns=60 * 10**9)
            time.sleep(0.2)
        worker.sock.close()
        assert worker.process.wait(10) == 3


def test_garbage_from_the_daemon_ends_the_worker(worker: WorkerClient) -> None:
    worker.call("hello")
    worker.sock.sendall(b"\xff\xff\xff\xffnonsense")
    assert worker.process.wait(10) == 3
    assert "announced" in worker.stderr_path.read_text()


def test_close(worker: WorkerClient, model: Path) -> None:
    load(worker, model)
    worker.call("close")
    assert worker.process.wait(10) == 0


def test_interrupt_from_the_terminal_is_ignored(worker: WorkerClient, model: Path) -> None:
    worker.call("hello")
    os.kill(worker.process.pid, signal.SIGINT)
    load(worker, model)
    np.testing.assert_array_equal(worker.infer({"x": X})["y"], X * 2.5)


def test_children_of_a_runtime_do_not_inherit_the_wire(worker: WorkerClient) -> None:
    worker.call("hello")
    for link in Path(f"/proc/{worker.process.pid}/fd").iterdir():
        if os.readlink(link).startswith("socket:"):
            flags = Path(f"/proc/{worker.process.pid}/fdinfo/{link.name}").read_text()
            assert int(flags.split("flags:")[1].split()[0], 8) & os.O_CLOEXEC


@pytest.mark.parametrize("number", [None, "7", [1, {}], {}])
def test_a_request_without_a_number_is_refused(worker: WorkerClient, number: Any) -> None:
    send(worker.sock, {"id": number, "op": "hello"})
    reply = recv(worker.sock)
    assert reply["id"] is None
    assert reply["error"]["kind"] == "ProtocolError"
    assert worker.call("cancel", target=[1])["cancelled"] is False
    assert worker.call("hello")["ok"]
