"""An executable without Python as a runtime of a real farmd: it is served, and dies and hangs, as any worker."""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
import pytest
from farm.v1 import device_service_pb2 as pb

from farmd import errors, launch
from farmd.probe import probe_runtimes
from farmd.worker import Worker
from tests.farmd.modelfarm import (
    EIGHT,
    Farm,
    benchmark_of,
    config_of,
    failed,
    farm,
    floats,
    until,
    x_of,
)
from tests.serving import device_service, serve_farmd
from tests.targets.executables import example_worker

MODEL: dict[str, Any] = {"runtime": "npu", "format": "factor"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Farm]:
    worker = example_worker(tmp_path)
    with farm(tmp_path / "state", external=MappingProxyType({"npu": (str(worker),)})) as found:
        yield found


def pid_of(served: Farm) -> int:
    (worker,) = served.supervisor.workers()
    assert worker.pid is not None
    return worker.pid


def test_it_loads_infers_benchmarks_and_unloads(served: Farm, tmp_path: Path) -> None:
    model = served.model(**MODEL)
    assert os.readlink(f"/proc/{pid_of(served)}/exe") == str(tmp_path / "worker")  # nothing stands between
    assert model.execution.runtime == "example"
    assert dict(model.execution.effective) == {"device": "cpu", "precision": "float32"}
    assert floats(served.infer(model.model_id, x_of(*EIGHT)).outputs[0]) == [2 * n for n in EIGHT]
    many = [float(n) for n in range(8 * 5000)]  # more than the first tensor file holds
    assert floats(served.infer(model.model_id, x_of(*many)).outputs[0]) == [2 * n for n in many]
    for scenario in (pb.BenchmarkRequest.SCENARIO_LATENCY, pb.BenchmarkRequest.SCENARIO_THROUGHPUT):
        *rest, last = served.benchmark(
            model.model_id, scenario=scenario, inputs=[x_of(*EIGHT)], min_request_count=3
        )
        result = last.result
        assert result.request_count == sum(len(answer.samples.start_ns) for answer in rest) >= 3
        assert (result.batch, result.in_flight, result.outputs_finite) == (1, 1, True)
        assert result.window_end_ns - result.window_start_ns >= 200_000_000
        assert result.memory.rss_bytes > 0
    pid = pid_of(served)
    served.stub.UnloadModel(pb.UnloadModelRequest(model_id=model.model_id))
    assert until(lambda: not Path(f"/proc/{pid}").exists())


def test_what_it_refuses_reaches_the_client(served: Farm) -> None:
    no_number = failed(served.load, b"two", **MODEL)
    assert (no_number.code, no_number.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MODEL_INVALID")
    assert "does not begin with a number" in no_number.message
    assert failed(served.load, options={"speed": "9"}, **MODEL).reason == "OPTION_INVALID"
    assert failed(served.load, runtime="npu", format="onnx").reason == "FORMAT_UNSUPPORTED"


def test_a_benchmark_that_nobody_waits_for_stops_and_the_worker_stays(served: Farm) -> None:
    model = served.model(**MODEL)
    pid = pid_of(served)
    answers = served.stub.Benchmark(benchmark_of(model.model_id, duration_s=50), timeout=60)
    while next(answers).progress.phase != pb.BenchmarkProgress.PHASE_RUNNING:
        pass
    answers.cancel()
    assert until(lambda: served.supervisor.activity.benchmark is None)
    assert floats(served.infer(model.model_id, x_of(*EIGHT)).outputs[0])[1] == 2.0
    assert pid_of(served) == pid


def test_its_death_is_told_and_the_next_load_starts_another(served: Farm) -> None:
    model = served.model(**MODEL)
    answers = served.stub.Benchmark(benchmark_of(model.model_id, duration_s=50), timeout=60)
    while next(answers).progress.phase != pb.BenchmarkProgress.PHASE_RUNNING:
        pass
    os.kill(pid_of(served), signal.SIGKILL)
    died = failed(list, answers)
    assert died.reason == "WORKER_CRASHED"
    assert "on npu was killed by SIGKILL during benchmark" in died.message
    again = served.model(**MODEL)
    assert floats(served.infer(again.model_id, x_of(*EIGHT)).outputs[0])[1] == 2.0


def test_one_that_hangs_is_killed(tmp_path: Path) -> None:
    worker = example_worker(tmp_path)
    external = MappingProxyType({"npu": (str(worker),)})
    with farm(tmp_path / "state", external=external, infer_timeout_s=3.0) as served:
        model = served.model(**MODEL)
        served.infer(
            model.model_id, x_of(*EIGHT)
        )  # the tensor file is mapped now, for which there is more time
        pid = pid_of(served)
        os.kill(pid, signal.SIGSTOP)
        hung = failed(served.infer, model.model_id, x_of(*EIGHT))
        assert hung.reason == "WORKER_HUNG"
        assert until(lambda: not Path(f"/proc/{pid}").exists())


def test_the_probe_asks_it_by_the_name_the_operator_gave(served: Farm, tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    external = {**served.config.external, "gone": (str(absent),)}
    found, is_sure = probe_runtimes(replace(served.config, external=MappingProxyType(external)))
    runtimes = {info.name: info for info in found}
    npu, gone = runtimes["npu"], runtimes["gone"]
    assert (npu.available, npu.version, list(npu.formats)) == (True, "1.0", ["factor"])
    assert npu.interpreter == str(tmp_path / "worker")
    assert not gone.available
    assert "it is no executable file" in gone.reason
    assert not is_sure


def test_one_of_another_machine_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 2, 8, 1, *[0] * 10))
    path.chmod(0o755)
    config = config_of(tmp_path / "state", external=MappingProxyType({"npu": (str(path),)}))
    launch.prepare(config)
    with pytest.raises(errors.WorkerUnstartable, match="is for mips64, but this machine is") as caught:
        Worker.start(config, runtime="npu", model="net", timeout_s=30)
    assert str(path) in caught.value.message


def test_a_farmd_finds_it_in_its_toml(tmp_path: Path) -> None:
    external = {"npu": [str(example_worker(tmp_path))]}
    with serve_farmd(tmp_path, external=external) as (address, _), device_service(address) as service:
        (npu,) = [info for info in service.GetInfo(pb.GetInfoRequest()).runtimes if info.name == "npu"]
    assert npu.available
