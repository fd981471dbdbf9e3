"""The supervisor: back-off, health, capacity, orderly and disorderly ends."""

from __future__ import annotations

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
from farm.v1.device_service_pb2_grpc import DeviceServiceStub

from farmd import deaths
from tests.farmd.modelfarm import (
    DOUBLE,
    EIGHT,
    FAKES,
    RUNNERS,
    Farm,
    Gate,
    benchmark_of,
    failed,
    farm,
    header_of,
    until,
    x_of,
)
from tests.serving import serve_farmd

DIES_IN_LOAD = {"fault": "exit", "at": "load"}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Farm]:
    with farm(tmp_path) as found:
        yield found


class HandClock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_after_repeated_deaths_the_next_load_waits_and_the_board_is_unhealthy(tmp_path: Path) -> None:
    clock, told = HandClock(), list[bool]()
    with farm(tmp_path, clock=clock) as served:
        served.supervisor.on_health_change = told.append
        for _ in range(2):
            assert failed(served.load, options=DIES_IN_LOAD).reason == "WORKER_CRASHED"
        waiting = failed(served.load)
        assert (waiting.code, waiting.reason) == (grpc.StatusCode.UNAVAILABLE, "WORKER_BACK_OFF")
        assert waiting.retry_delay_s == deaths.FIRST_DELAY_S
        assert "exit code 17" in waiting.message
        assert served.supervisor.health() == (True, [])
        clock.now_s += deaths.FIRST_DELAY_S
        assert failed(served.load, options=DIES_IN_LOAD).reason == "WORKER_CRASHED"
        healthy, reasons = served.supervisor.health()
        assert not healthy
        assert "last 3 workers of fake died" in reasons[0]
        assert failed(served.load).retry_delay_s == 2 * deaths.FIRST_DELAY_S
        clock.now_s += 2 * deaths.FIRST_DELAY_S
        served.model()
        assert served.supervisor.health() == (True, [])
        assert told == [False, True]


def test_a_load_does_not_forgive_deaths_in_inferences(tmp_path: Path) -> None:
    clock = HandClock()
    with farm(tmp_path, clock=clock) as served:
        for _ in range(3):
            model = served.model(options={"fault": "exit"})
            assert failed(served.infer, model.model_id, x_of(*EIGHT)).reason == "WORKER_CRASHED"
            clock.now_s += deaths.LONGEST_DELAY_S
        good = served.model()
        assert not served.supervisor.health()[0]
        served.infer(good.model_id, x_of(*EIGHT))
        assert served.supervisor.health() == (True, [])


def test_a_runtime_that_dies_does_not_hold_up_another(served: Farm) -> None:
    for _ in range(2):
        failed(served.load, options=DIES_IN_LOAD)
    assert served.model(runtime="rogue").model_id


def test_a_cache_that_cannot_be_written_makes_the_board_unhealthy(served: Farm) -> None:
    served.cache.fault = "The model cache cannot be written: Input/output error."
    assert served.supervisor.health() == (False, [served.cache.fault])


def test_a_stop_refuses_new_work_and_ends_the_workers(served: Farm) -> None:
    served.model()
    (view,) = served.supervisor.workers()
    served.supervisor.stop()
    served.supervisor.stop()
    assert not Path(f"/proc/{view.pid}").exists()
    failure = failed(served.load)
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    assert list((served.config.state_dir / "work").iterdir()) == []


def test_a_stop_lets_running_work_end(served: Farm, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    model = served.model(options=gate.options)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(served.infer, model.model_id, x_of(*EIGHT))
        assert until(gate.is_reached)
        stopping = pool.submit(served.supervisor.stop, drain_s=30)
        time.sleep(0.1)
        assert not stopping.done()
        gate.open()
        assert running.result(30).outputs
        stopping.result(30)


def test_a_stop_does_not_wait_longer_than_told(served: Farm) -> None:
    model = served.model(options={"fault": "hang"})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(failed, served.infer, model.model_id, x_of(*EIGHT))
        assert until(lambda: served.supervisor.activity._inferences == 1)
        begin = time.monotonic()
        served.supervisor.stop(drain_s=0.1)
        assert time.monotonic() - begin < 20
        assert running.result(10).reason == "WORKER_CRASHED"
    assert served.supervisor.health() == (True, [])


def test_a_stop_ends_a_load_that_builds(served: Farm) -> None:
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(failed, served.load, options={"fault": "hang", "at": "load"})
        assert until(lambda: bool(served.supervisor._building))
        served.supervisor.stop(drain_s=0)
        assert loading.result(10).reason == "WORKER_CRASHED"


def test_model_files_survive_a_restart_and_models_do_not(tmp_path: Path) -> None:
    with farm(tmp_path) as served:
        served.model()
    with farm(tmp_path) as served:
        assert served.model_ids() == []
        assert served.load()[0].upload.offset_bytes == len(DOUBLE)


def test_a_loaded_model_keeps_its_file_and_an_unloaded_one_gives_it_up(tmp_path: Path) -> None:
    with farm(tmp_path, cache_bytes=1000, max_model_bytes=1000) as served:
        first = served.model(b"1.0" + b" " * 700)
        failure = failed(served.load, b"2.0" + b" " * 700)
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CACHE_FULL")
        served.stub.UnloadModel(pb.UnloadModelRequest(model_id=first.model_id))
        served.model(b"2.0" + b" " * 700)


def test_a_model_that_dies_gives_up_its_file(tmp_path: Path) -> None:
    with farm(tmp_path, cache_bytes=1000, max_model_bytes=1000) as served:
        fragile = served.model(b"1.0" + b" " * 700, options={"fault": "exit"})
        failed(served.infer, fragile.model_id, x_of(*EIGHT))
        failed(served.load, b"x" + b" " * 700)
        served.model(b"2.0" + b" " * 700)


def test_nothing_is_left_of_many_models(served: Farm) -> None:
    served.model_ids()  # gRPC opens its connection
    before = len(os.listdir("/proc/self/fd"))
    for fault in ("", "exit", "raise", "abort"):
        model = served.model(options={"fault": fault} if fault else {})
        if fault:
            failed(served.infer, model.model_id, x_of(*EIGHT))
        else:
            served.infer(model.model_id, x_of(*EIGHT))
        if model.model_id in served.model_ids():
            served.stub.UnloadModel(pb.UnloadModelRequest(model_id=model.model_id))
    assert until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert until(lambda: list((served.config.state_dir / "work").iterdir()) == [])
    assert list(Path("/dev/shm").glob(f"wattfarm-{os.getpid()}-*")) == []


def load_with(stub: Any, **fields: Any) -> str:
    header = pb.LoadModelRequest(header=header_of(DOUBLE, **fields))
    answers = list(stub.LoadModel(iter([header, pb.LoadModelRequest(chunk=DOUBLE)])))
    return str(answers[-1].model.model_id)


@pytest.mark.parametrize("fault", ["", "hang", "stuck"])
@pytest.mark.slow
def test_a_daemon_that_is_killed_takes_its_workers_along(tmp_path: Path, fault: str) -> None:
    settings: dict[str, Any] = {"extra_worker_paths": FAKES, "worker_env": {"WATTFARM_RUNNERS": RUNNERS}}
    with (
        serve_farmd(tmp_path, **settings) as (address, process),
        grpc.insecure_channel(address) as channel,
    ):
        stub = DeviceServiceStub(channel)
        options = {"fault": fault} if fault else {"delay_ms": "5"}
        model_id = load_with(stub, runtime="rogue", options=options)
        running: Any
        if fault:
            running = stub.Infer.future(pb.InferRequest(model_id=model_id, inputs=[x_of(*EIGHT)]))
        else:
            running = stub.Benchmark(benchmark_of(model_id, duration_s=30))
            next(running)
        time.sleep(0.3)
        (worker,) = stub.Stats(pb.StatsRequest()).stats.workers
        process.kill()
        assert until(lambda: not Path(f"/proc/{worker.pid}").exists()), fault
        assert until(lambda: running.code() is grpc.StatusCode.UNAVAILABLE)
    assert process.returncode == -signal.SIGKILL
