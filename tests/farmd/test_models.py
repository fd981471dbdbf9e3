"""LoadModel, UnloadModel, ListModels, Infer and InferStream over a real socket, with real workers."""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import threading
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
    DOUBLE,
    Failure,
    Farm,
    failure_of,
    farm,
    floats,
    header_of,
    until,
    x_of,
)

EIGHT = [float(n) for n in range(8)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Farm]:
    with farm(tmp_path, infer_timeout_s=5.0) as found:
        yield found


def failed(call: Any, *arguments: Any, **named: Any) -> Failure:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **named)
    return failure_of(caught.value)


# Loading.


def test_a_load_tells_its_stages_and_ends_in_the_model(served: Farm) -> None:
    answers = served.load(options={"delay_ms": 0}, batch=2, name="double.fake")
    kinds = [answer.WhichOneof("event") for answer in answers]
    assert kinds[0] == "upload"
    assert answers[0].upload.offset_bytes == 0
    stages = [answer.progress.stage for answer in answers if answer.WhichOneof("event") == "progress"]
    assert stages == [pb.LoadProgress.STAGE_VERIFYING, pb.LoadProgress.STAGE_BUILDING]
    model = answers[-1].model
    assert (model.name, model.format) == ("double.fake", "fake")
    assert model.sha256 == hashlib.sha256(DOUBLE).hexdigest()
    assert [(s.name, s.dtype, list(s.shape)) for s in model.spec.inputs] == [("x", "float32", [2, 8])]
    assert not model.spec.inputs[0].HasField("scale")
    assert model.execution.requested["batch"] == "2"
    assert model.execution.effective["device"] == "numpy"
    assert model.load_duration_ns > 0
    assert model.memory.rss_bytes > 1 << 20
    assert model.optimal_in_flight == 2


def test_a_known_file_is_not_sent_again(served: Farm) -> None:
    served.load()
    answers = served.load()
    assert answers[0].upload.offset_bytes == len(DOUBLE)
    assert len(served.model_ids()) == 2


def test_lines_of_the_runtime_arrive_while_it_loads(served: Farm) -> None:
    answers = served.load(runtime="rogue", options={"fault": "talk", "at": "load"})
    lines = [answer.log_line for answer in answers if answer.WhichOneof("event") == "log_line"]
    assert lines == ["layer 1 of 3", "layer 2 of 3", "layer 3 of 3"]


def test_an_upload_reports_how_far_it_is(served: Farm) -> None:
    data = DOUBLE + b" " * (9 << 20)
    answers = served.load(data, chunk_bytes=1 << 20)
    received = [
        a.progress.received_bytes for a in answers if a.progress.stage == pb.LoadProgress.STAGE_RECEIVING
    ]
    assert received[:2] == sorted(received[:2])
    assert received[-1] <= len(data)
    assert len(received) >= 2


def test_a_client_that_leaves_in_the_middle_goes_on_from_there(served: Farm) -> None:
    data = DOUBLE + b" " * 100_000
    header = header_of(data)
    leave = threading.Event()

    def requests() -> Iterator[pb.LoadModelRequest]:
        yield pb.LoadModelRequest(header=header)
        yield pb.LoadModelRequest(chunk=data[:60_000])
        leave.wait(20)

    answers = served.stub.LoadModel(requests())
    next(answers)
    partial = served.config.state_dir / "models" / "partial" / header.sha256
    assert until(lambda: partial.exists() and partial.stat().st_size == 60_000)
    answers.cancel()
    leave.set()
    assert until(lambda: not served.supervisor.activity._loads)
    again = served.load(data)
    assert again[0].upload.offset_bytes == 60_000
    assert floats(served.infer(again[-1].model.model_id, x_of(*EIGHT)).outputs[0]) == [2 * n for n in EIGHT]


def test_a_stream_that_ends_early_says_how_far_it_came(served: Farm) -> None:
    requests = [pb.LoadModelRequest(header=header_of(DOUBLE)), pb.LoadModelRequest(chunk=DOUBLE[:2])]
    failure = failed(lambda: list(served.stub.LoadModel(iter(requests))))
    assert (failure.code, failure.reason) == (grpc.StatusCode.ABORTED, "UPLOAD_INCOMPLETE")
    assert failure.metadata["received_bytes"] == "2"


def test_bytes_of_another_file_are_refused(served: Farm) -> None:
    header = header_of(DOUBLE)
    requests = [pb.LoadModelRequest(header=header), pb.LoadModelRequest(chunk=b"3.0")]
    failure = failed(lambda: list(served.stub.LoadModel(iter(requests))))
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "HASH_MISMATCH")
    assert failure.fields == ["header.sha256"]
    assert served.load()[0].upload.offset_bytes == 0


def test_a_model_that_is_too_large_is_refused_before_any_byte(tmp_path: Path) -> None:
    with farm(tmp_path, max_model_bytes=1000, cache_bytes=1000) as served:
        failure = failed(next, served.loading(b"", header_of(DOUBLE, size_bytes=5 << 30)))
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MODEL_TOO_LARGE")
        assert failure.metadata == {"size_bytes": str(5 << 30), "limit_bytes": "1000"}


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": ""}, "header.name"),
        ({"name": "x" * 256}, "header.name"),
        ({"name": "a\nb"}, "header.name"),
        ({"format": ""}, "header.format"),
        ({"format": "../x"}, "header.format"),
        ({"runtime": ""}, "header.runtime"),
        ({"precision": "a b"}, "header.precision"),
        ({"batch": 0}, "header.batch"),
        ({"sha256": "../../etc/passwd"}, "header.sha256"),
        ({"size_bytes": 0}, "header.size_bytes"),
        ({"options": {"": "1"}}, "header.options"),
        ({"options": {str(n): "1" for n in range(65)}}, "header.options"),
        ({"load_timeout": {"seconds": 0}}, "header.load_timeout"),
        ({"load_timeout": {"seconds": 31}}, "header.load_timeout"),
        ({"load_timeout": {"seconds": -1}}, "header.load_timeout"),
        ({"load_timeout": {"nanos": -1}}, "header.load_timeout"),
        ({"options": {"fualt": "1"}}, "header.options.fualt"),
        ({"format": "onnx"}, "header.format"),
    ],
)
def test_a_wrong_header_names_the_field(served: Farm, fields: dict[str, Any], wrong: str) -> None:
    failure = failed(served.load, DOUBLE, **fields)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.fields == [wrong]
    assert served.supervisor.health() == (True, [])


@pytest.mark.parametrize(
    "requests",
    [[], [pb.LoadModelRequest()], [pb.LoadModelRequest(chunk=b"x")]],
    ids=["none", "empty", "chunk"],
)
def test_a_load_begins_with_its_header(served: Farm, requests: list[pb.LoadModelRequest]) -> None:
    failure = failed(lambda: list(served.stub.LoadModel(iter(requests))))
    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["header"])


def test_a_second_header_is_refused(served: Farm) -> None:
    header = pb.LoadModelRequest(header=header_of(DOUBLE))
    failure = failed(lambda: list(served.stub.LoadModel(iter([header, header]))))
    assert failure.fields == ["chunk"]


def test_a_file_the_runtime_cannot_read_is_the_clients_fault(served: Farm) -> None:
    failure = failed(served.load, b"no number")
    assert (failure.code, failure.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MODEL_INVALID")
    assert failure.metadata["runtime"] == "fake"
    assert str(served.config.state_dir) not in failure.message
    assert served.model_ids() == []
    served.model()


def test_a_runtime_the_board_lacks_is_named(served: Farm) -> None:
    failure = failed(served.load, runtime="onxruntime", format="onnx")
    assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RUNTIME_UNAVAILABLE")
    assert "onnxruntime" in failure.message


@pytest.mark.parametrize(("fault", "signal_name"), [("segv", "SIGSEGV"), ("abort", "SIGABRT")])
def test_a_runtime_that_dies_in_the_load_is_named_with_its_last_words(
    served: Farm, fault: str, signal_name: str
) -> None:
    failure = failed(served.load, options={"fault": fault, "at": "load"})
    assert (failure.code, failure.reason) == (grpc.StatusCode.ABORTED, "WORKER_CRASHED")
    assert failure.metadata["signal"] == signal_name
    assert all(word in failure.message for word in (signal_name, "fake", "'double'", "load"))
    assert served.model().model_id


def test_a_load_that_hangs_is_killed_in_time(served: Farm) -> None:
    begin = time.monotonic()
    failure = failed(
        served.load,
        options={"fault": "hang", "at": "load"},
        load_timeout={"seconds": 0, "nanos": 500_000_000},
    )
    assert (failure.code, failure.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "WORKER_HUNG")
    assert "0.5 s" in failure.message
    assert time.monotonic() - begin < 5


def test_a_client_that_leaves_while_a_model_builds_ends_the_worker(served: Farm) -> None:
    header = header_of(DOUBLE, options={"fault": "hang", "at": "load"})
    answers = served.stub.LoadModel(
        iter([pb.LoadModelRequest(header=header), pb.LoadModelRequest(chunk=DOUBLE)])
    )
    assert any(a.progress.stage == pb.LoadProgress.STAGE_BUILDING for a in answers)
    assert until(lambda: bool(served.supervisor._building))
    (worker,) = served.supervisor._building
    answers.cancel()
    assert worker.child.exited.wait(10)
    assert served.supervisor.health() == (True, [])
    assert until(lambda: not served.supervisor._building)
    served.model()


def test_no_more_models_than_allowed(tmp_path: Path) -> None:
    with farm(tmp_path, max_loaded_models=1) as served:
        model = served.model()
        failure = failed(served.load)
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_MODELS")
        served.stub.UnloadModel(pb.UnloadModelRequest(model_id=model.model_id))
        served.model()


# Listing and unloading.


def test_models_are_listed_page_by_page(served: Farm) -> None:
    ids = [served.model(name=f"m{n}").model_id for n in range(3)]
    assert ids == sorted(ids)
    first = served.stub.ListModels(pb.ListModelsRequest(page_size=2))
    second = served.stub.ListModels(pb.ListModelsRequest(page_size=2, page_token=first.next_page_token))
    assert [m.model_id for m in first.models] + [m.model_id for m in second.models] == ids
    assert second.next_page_token == ""
    assert served.stub.ListModels(pb.ListModelsRequest(page_size=5000)).next_page_token == ""
    assert failed(served.stub.ListModels, pb.ListModelsRequest(page_size=-1)).fields == ["page_size"]


def test_an_unloaded_model_is_gone_with_its_process(served: Farm) -> None:
    model = served.model()
    (view,) = served.supervisor.workers()
    served.stub.UnloadModel(pb.UnloadModelRequest(model_id=model.model_id))
    assert served.model_ids() == []
    assert not Path(f"/proc/{view.pid}").exists()
    failure = failed(served.infer, model.model_id)
    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert "was unloaded" in failure.message
    assert failed(served.stub.UnloadModel, pb.UnloadModelRequest(model_id="x")).reason == "MODEL_NOT_FOUND"
    assert served.supervisor.health() == (True, [])


def test_a_worker_that_does_not_end_is_killed(served: Farm) -> None:
    model = served.model(options={"fault": "hang", "at": "close"})
    served.stub.UnloadModel(pb.UnloadModelRequest(model_id=model.model_id))
    assert served.supervisor.workers() == []


def test_an_unload_waits_for_the_running_inference(served: Farm) -> None:
    model = served.model(options={"delay_ms": 300})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(served.infer, model.model_id, x_of(*EIGHT))
        time.sleep(0.1)
        served.stub.UnloadModel(pb.UnloadModelRequest(model_id=model.model_id))
        assert floats(running.result(10).outputs[0])[1] == 2.0


# Inference.


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


def test_a_worker_killed_in_mid_inference_is_named(served: Farm) -> None:
    model = served.model(options={"delay_ms": 3000})
    (view,) = served.supervisor.workers()
    assert view.pid
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(failed, served.infer, model.model_id, x_of(*EIGHT))
        time.sleep(0.2)
        os.kill(view.pid, signal.SIGKILL)
        failure = running.result(10)
    assert failure.reason == "WORKER_CRASHED"
    assert failure.metadata["signal"] == "SIGKILL"


def test_a_worker_killed_while_it_is_idle_takes_its_model_along(served: Farm) -> None:
    model = served.model()
    (view,) = served.supervisor.workers()
    assert view.pid
    os.kill(view.pid, signal.SIGKILL)
    assert until(lambda: served.model_ids() == [])
    assert "SIGKILL" in failed(served.infer, model.model_id).message


def test_requests_of_one_model_are_served_in_turn_and_their_waiting_is_told(served: Farm) -> None:
    model = served.model(options={"delay_ms": 100})
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: served.infer(model.model_id, x_of(*EIGHT)), range(4)))
    spans = sorted((a.start_ns, a.start_ns + a.compute_ns) for a in answers)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert max(a.queue_ns for a in answers) > 250_000_000


def test_a_request_whose_client_has_gone_is_not_run(served: Farm) -> None:
    model = served.model(options={"delay_ms": 500})
    request = pb.InferRequest(model_id=model.model_id, inputs=[x_of(*EIGHT)])
    first = served.stub.Infer.future(request)
    time.sleep(0.1)
    waiting = served.stub.Infer.future(request)
    time.sleep(0.1)
    waiting.cancel()
    first.result(10)
    assert served.infer(model.model_id, x_of(*EIGHT)).queue_ns < 400_000_000
    assert served.supervisor.workers()[0].inference_count == 2


def test_two_models_compute_at_the_same_time(served: Farm) -> None:
    models = [served.model(options={"delay_ms": 400}) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda m: served.infer(m.model_id, x_of(*EIGHT)), models))
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
