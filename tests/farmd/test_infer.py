"""Infer and InferStream over a real socket, with real workers, and workers that break in an inference."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from farm.v1 import device_service_pb2 as pb
from farm.v1 import tensor_pb2

from tests.farmd.modelfarm import (
    EIGHT,
    Farm,
    Gate,
    failed,
    farm,
    floats,
    until,
    x_of,
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Farm]:
    with farm(tmp_path, infer_timeout_s=20.0) as found:
        yield found


def test_an_inference_gives_outputs_and_times(served: Farm) -> None:
    model = served.model()
    before_ns = time.monotonic_ns()
    answer = served.infer(model.model_id, x_of(*EIGHT, *EIGHT))
    (y,) = answer.outputs
    assert (y.name, y.dtype, list(y.shape)) == ("y", "float32", [2, 8])
    assert floats(y) == [2 * n for n in EIGHT + EIGHT]
    assert answer.request_id == "r"
    assert answer.queue_ns >= 0
    assert answer.compute_ns > 0
    assert before_ns < answer.start_ns < time.monotonic_ns()
    assert served.supervisor.workers()[0].inference_count == 1


def test_tensors_may_grow_from_call_to_call(served: Farm) -> None:
    model = served.model()
    for rows in (1, 5000, 3, 20_000):
        answer = served.infer(model.model_id, x_of(*(float(n) for n in range(rows * 8))))
        assert floats(answer.outputs[0]) == [2.0 * n for n in range(rows * 8)]
    assert list(served.config.state_dir.glob("work/*/wattfarm-*")) == []


def test_outputs_larger_than_foretold_find_their_room(served: Farm) -> None:
    model = served.model(runtime="rogue", options={"fault": "big"})
    answer = served.infer(model.model_id, x_of(*EIGHT))
    assert list(answer.outputs[0].shape) == [20_000, 8]
    assert floats(answer.outputs[0])[-8:] == [2 * n for n in EIGHT]


def test_outputs_too_large_for_a_message_are_refused(tmp_path: Path) -> None:
    with farm(tmp_path, max_message_bytes=1 << 19) as served:
        model = served.model(runtime="rogue", options={"fault": "big"})
        failure = failed(served.infer, model.model_id, x_of(*EIGHT))
        assert (failure.code, failure.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "MESSAGE_TOO_LARGE",
        )
        assert failure.metadata == {"size_bytes": "640000", "limit_bytes": str(1 << 19)}


def tensor(**changes: Any) -> tensor_pb2.Tensor:
    values: dict[str, Any] = {"name": "x", "dtype": "float32", "shape": [1, 8], "data": bytes(32), **changes}
    return tensor_pb2.Tensor(**values)


@pytest.mark.parametrize(
    ("inputs", "fields", "words"),
    [
        ([], ["inputs"], "'x' is missing"),
        ([tensor(name="X1")], ["inputs[0].name", "inputs"], "no input 'X1'"),
        ([tensor(), tensor()], ["inputs[1].name"], "given twice"),
        ([tensor(dtype="float64", data=bytes(64))], ["inputs[0].dtype"], "takes float32, but float64"),
        ([tensor(dtype="")], ["inputs[0].dtype"], "no dtype"),
        ([tensor(shape=[8])], ["inputs[0].shape"], "[-1, 8]"),
        ([tensor(shape=[1, 9], data=bytes(36))], ["inputs[0].shape"], "[1, 9]"),
        ([tensor(shape=[-1, 8])], ["inputs[0].shape"], "[-1, 8] was sent"),
        ([tensor(data=bytes(31))], ["inputs[0].data"], "has 32 bytes, but 31"),
        ([tensor(shape=[2**40, 8])], ["inputs[0].data"], "but 32 were sent"),
    ],
)
def test_a_wrong_input_is_named(
    served: Farm, inputs: list[tensor_pb2.Tensor], fields: list[str], words: str
) -> None:
    model = served.model()
    failure = failed(served.infer, model.model_id, *inputs)
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_INVALID")
    assert failure.fields == fields
    assert words in failure.message
    assert served.infer(model.model_id, x_of(*EIGHT)).outputs


def test_an_inference_that_fails_leaves_the_model(served: Farm) -> None:
    model = served.model(options={"fault": "raise", "after": 1})
    served.infer(model.model_id, x_of(*EIGHT))
    failure = failed(served.infer, model.model_id, x_of(*EIGHT))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INTERNAL, "INFERENCE_FAILED")
    assert "vendor error 77" in failure.message
    assert served.model_ids() == [model.model_id]


def test_nan_is_a_result(served: Farm) -> None:
    model = served.model(options={"fault": "nan"})
    assert all(n != n for n in floats(served.infer(model.model_id, x_of(*EIGHT)).outputs[0]))


def test_what_a_runtime_prints_does_not_disturb_the_wire(served: Farm) -> None:
    model = served.model(options={"fault": "garbage"})
    for _ in range(3):
        assert floats(served.infer(model.model_id, x_of(*EIGHT)).outputs[0])[1] == 2.0


@pytest.mark.parametrize(
    ("options", "code", "reason", "facts"),
    [
        ({"fault": "segv"}, grpc.StatusCode.ABORTED, "WORKER_CRASHED", {"signal": "SIGSEGV"}),
        ({"fault": "abort"}, grpc.StatusCode.ABORTED, "WORKER_CRASHED", {"signal": "SIGABRT"}),
        ({"fault": "exit"}, grpc.StatusCode.ABORTED, "WORKER_CRASHED", {"exit_code": "17"}),
        ({"fault": "orphan"}, grpc.StatusCode.ABORTED, "WORKER_CRASHED", {"signal": "SIGABRT"}),
        ({"fault": "hang"}, grpc.StatusCode.DEADLINE_EXCEEDED, "WORKER_HUNG", {"signal": "SIGKILL"}),
        ({"fault": "stuck"}, grpc.StatusCode.DEADLINE_EXCEEDED, "WORKER_HUNG", {"signal": "SIGKILL"}),
        ({"fault": "wire"}, grpc.StatusCode.INTERNAL, "WORKER_GARBAGE", {"signal": "SIGKILL"}),
    ],
    ids=lambda value: value.get("fault") if isinstance(value, dict) else None,
)
@pytest.mark.slow
def test_a_worker_that_breaks_is_buried_and_the_daemon_serves_on(
    tmp_path: Path, options: dict[str, str], code: grpc.StatusCode, reason: str, facts: dict[str, str]
) -> None:
    with farm(tmp_path, infer_timeout_s=1.0) as served:
        other = served.model()
        model = served.model(runtime="rogue", options=options, name="fragile")
        pid = served.supervisor.workers()[-1].pid
        failure = failed(served.infer, model.model_id, x_of(*EIGHT))
        assert (failure.code, failure.reason) == (code, reason)
        assert facts.items() <= failure.metadata.items()
        assert failure.metadata["runtime"] == "rogue"
        assert "'fragile' on rogue" in failure.message
        assert not Path(f"/proc/{pid}").exists()
        assert served.model_ids() == [other.model_id]
        again = failed(served.infer, model.model_id, x_of(*EIGHT))
        assert again.code is grpc.StatusCode.NOT_FOUND
        assert "'fragile' on rogue" in again.message
        assert floats(served.infer(other.model_id, x_of(*EIGHT)).outputs[0])[1] == 2.0
        assert served.model(runtime="rogue").model_id


def test_a_worker_killed_in_mid_inference_is_named(served: Farm, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    model = served.model(options=gate.options)
    (view,) = served.supervisor.workers()
    assert view.pid
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(failed, served.infer, model.model_id, x_of(*EIGHT))
        assert until(gate.is_reached)
        os.kill(view.pid, signal.SIGKILL)
        failure = running.result(30)
    assert failure.reason == "WORKER_CRASHED"
    assert failure.metadata["signal"] == "SIGKILL"


def test_a_worker_killed_while_it_is_idle_takes_its_model_along(served: Farm) -> None:
    model = served.model()
    (view,) = served.supervisor.workers()
    assert view.pid
    os.kill(view.pid, signal.SIGKILL)
    assert until(lambda: served.model_ids() == [])
    assert "SIGKILL" in failed(served.infer, model.model_id).message


def test_requests_of_one_model_are_served_in_turn_and_their_waiting_is_told(
    served: Farm, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    model = served.model(options=gate.options)
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(served.infer, model.model_id, x_of(*EIGHT)) for _ in range(4)]
        assert until(gate.is_reached)
        time.sleep(0.3)  # so that the others come and wait
        gate.open()
        answers = [each.result(30) for each in running]
    spans = sorted((a.start_ns, a.start_ns + a.compute_ns) for a in answers)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert max(a.queue_ns for a in answers) > 100_000_000


def test_a_request_whose_client_has_gone_is_not_run(served: Farm, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    model = served.model(options=gate.options)
    request = pb.InferRequest(model_id=model.model_id, inputs=[x_of(*EIGHT)])
    first = served.stub.Infer.future(request)
    assert until(gate.is_reached)
    waiting = served.stub.Infer.future(request)
    assert until(lambda: served.supervisor.activity._inferences == 2)
    waiting.cancel()
    assert until(lambda: served.supervisor.activity._inferences == 1)
    gate.open()
    first.result(30)
    assert served.infer(model.model_id, x_of(*EIGHT)).outputs
    assert served.supervisor.workers()[0].inference_count == 2


def test_two_models_compute_at_the_same_time(served: Farm, tmp_path: Path) -> None:
    gates = [Gate(directory) for directory in (tmp_path / "a", tmp_path / "b")]
    models = [served.model(options=gate.options) for gate in gates]
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(served.infer, model.model_id, x_of(*EIGHT)) for model in models]
        assert all(until(gate.is_reached) for gate in gates)
        for gate in gates:
            gate.open()
        answers = [each.result(30) for each in running]
    assert max(a.start_ns for a in answers) < min(a.start_ns + a.compute_ns for a in answers)


def test_a_stream_of_inferences_keeps_its_order_and_ends_at_the_first_failure(served: Farm) -> None:
    model = served.model()

    def request(number: int, *inputs: tensor_pb2.Tensor) -> pb.InferStreamRequest:
        inner = pb.InferRequest(model_id=model.model_id, inputs=inputs, request_id=str(number))
        return pb.InferStreamRequest(request=inner)

    good = [request(n, x_of(*([float(n)] * 8))) for n in range(20)]
    answers = list(served.stub.InferStream(iter(good)))
    assert [a.response.request_id for a in answers] == [str(n) for n in range(20)]
    assert [floats(a.response.outputs[0])[0] for a in answers] == [2.0 * n for n in range(20)]
    seen = []

    def broken() -> None:
        for answer in served.stub.InferStream(iter([good[0], request(1), good[2]])):
            seen.append(answer.response.request_id)

    assert failed(broken).reason == "INPUT_INVALID"
    assert seen == ["0"]
