"""LoadModel, UnloadModel and ListModels over a real socket, with real workers."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from farm.v1 import device_service_pb2 as pb

from tests.farmd.modelfarm import (
    DOUBLE,
    EIGHT,
    Farm,
    Gate,
    failed,
    farm,
    floats,
    header_of,
    until,
    x_of,
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Farm]:
    with farm(tmp_path, infer_timeout_s=20.0) as found:
        yield found


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
    assert time.monotonic() - begin < 20


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


@pytest.mark.slow
def test_a_worker_that_does_not_end_is_killed(served: Farm) -> None:
    model = served.model(options={"fault": "hang", "at": "close"})
    served.stub.UnloadModel(pb.UnloadModelRequest(model_id=model.model_id))
    assert served.supervisor.workers() == []


def test_an_unload_waits_for_the_running_inference(served: Farm, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    model = served.model(options=gate.options)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(served.infer, model.model_id, x_of(*EIGHT))
        assert until(gate.is_reached)
        unload = pool.submit(served.stub.UnloadModel, pb.UnloadModelRequest(model_id=model.model_id))
        time.sleep(0.1)
        assert not unload.done()
        gate.open()
        unload.result(30)
        assert floats(running.result(30).outputs[0])[1] == 2.0
