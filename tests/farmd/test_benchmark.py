"""Benchmark over a real socket: what it answers, who may not disturb it, and how it ends early."""

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
from farm.v1 import stats_pb2
from farm.v1.device_service_pb2_grpc import DeviceServiceStub
from google.protobuf import duration_pb2

from farmd import benchmark, errors
from tests.farmd.modelfarm import EIGHT, Farm, Gate, benchmark_of, failed, farm, until, x_of

PHASES = [
    pb.BenchmarkProgress.PHASE_WARMUP,
    pb.BenchmarkProgress.PHASE_RUNNING,
    pb.BenchmarkProgress.PHASE_DONE,
]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Farm]:
    with farm(tmp_path, infer_timeout_s=20.0) as found:
        yield found


def times(answers: list[pb.BenchmarkResponse]) -> tuple[list[int], list[int]]:
    samples = [a.samples for a in answers if a.WhichOneof("event") == "samples"]
    return [t for s in samples for t in s.start_ns], [t for s in samples for t in s.end_ns]


class Running:
    """A benchmark that runs in the background, past its warm-up."""

    def __init__(self, served: Farm, model_id: str, **fields: Any) -> None:
        self.answers = served.stub.Benchmark(benchmark_of(model_id, **fields))
        phases = (a.progress.phase for a in self.answers)
        assert pb.BenchmarkProgress.PHASE_RUNNING in phases


def test_it_answers_phases_then_samples_then_the_result(served: Farm) -> None:
    model = served.model(options={"delay_ms": 5})
    answers = served.benchmark(model.model_id, duration_s=0.3, warmup_s=0.05, min_warmup_count=2)
    kinds = [answer.WhichOneof("event") for answer in answers]
    assert kinds == ["progress"] * 3 + ["samples", "result"]
    assert [a.progress.phase for a in answers[:3]] == PHASES
    result = answers[-1].result
    starts, ends = times(answers)
    assert result.request_count == len(starts) == len(ends) >= 2
    assert all(start < end for start, end in zip(starts, ends, strict=True))
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))
    assert starts[0] >= result.window_start_ns
    assert ends[-1] == result.window_end_ns
    assert ends[-1] - result.window_start_ns >= 300_000_000
    assert (result.batch, result.in_flight) == (1, 1)
    assert result.first_inference_ns >= 5_000_000
    assert result.outputs_finite is True
    assert result.memory.rss_bytes > 0
    assert 0 < result.worker_cpu_ns < result.window_end_ns - result.window_start_ns
    assert list((served.config.state_dir / "work").glob("*/times")) == []


def test_throughput_keeps_as_many_in_flight_as_the_runtime_likes_best(served: Farm) -> None:
    model = served.model(options={"delay_ms": 10})
    fields = {"scenario": pb.BenchmarkRequest.SCENARIO_THROUGHPUT, "duration_s": 0.3}
    assert served.benchmark(model.model_id, **fields)[-1].result.in_flight == 2
    answers = served.benchmark(model.model_id, in_flight=4, **fields)
    assert answers[-1].result.in_flight == 4
    starts, ends = times(answers)
    assert max(sum(s <= at < e for s, e in zip(starts, ends, strict=True)) for at in starts) == 4


def test_a_count_may_outlast_the_duration_and_the_limit_ends_it(served: Farm) -> None:
    model = served.model(options={"delay_ms": 20})
    result = served.benchmark(model.model_id, duration_s=0.02, min_request_count=10)[-1].result
    assert result.request_count == 10
    limited = served.benchmark(model.model_id, duration_s=0.02, min_request_count=100, max_duration_s=0.2)
    assert 1 <= limited[-1].result.request_count <= 12


def test_its_inputs_may_be_given(served: Farm) -> None:
    model = served.model(batch=3)
    nan = float("nan")
    answers = served.benchmark(model.model_id, inputs=[x_of(*([nan] * 24))], duration_s=0.05)
    assert answers[-1].result.outputs_finite is False
    assert answers[-1].result.batch == 3
    wrong = failed(served.benchmark, model.model_id, inputs=[x_of(*EIGHT)])
    assert (wrong.reason, wrong.fields) == ("INPUT_INVALID", ["inputs[0].shape"])


def test_samples_come_in_messages_below_a_mebibyte(served: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SAMPLES_PER_MESSAGE", 7)
    model = served.model()
    answers = served.benchmark(model.model_id, duration_s=0.001, min_request_count=20)
    sizes = [len(a.samples.start_ns) for a in answers if a.WhichOneof("event") == "samples"]
    assert sizes[:-1] == [7] * (len(sizes) - 1)
    assert sum(sizes) == answers[-1].result.request_count
    starts, _ = times(answers)
    assert starts == sorted(starts)


def test_a_full_message_of_samples_is_below_a_mebibyte() -> None:
    count = benchmark.SAMPLES_PER_MESSAGE
    message = pb.BenchmarkResponse(
        samples=pb.BenchmarkSamples(start_ns=[2**62] * count, end_ns=[2**62] * count)
    )
    assert message.ByteSize() <= 1 << 20


def test_the_boards_state_before_and_after_tells_throttling(served: Farm) -> None:
    states = [stats_pb2.BoardStats(monotonic_ns=n) for n in (1, 2)]
    for state, counts in zip(states, ((5, 7, 3), (9, 7, 4)), strict=True):
        for name, count in zip(("cpu0", "cpu1", "gpu"), counts, strict=True):
            state.throttling.add(name=name, event_count=count)
    states[0].throttling[2].ClearField("event_count")
    left = iter(states)
    served.read_stats = lambda: next(left)  # type: ignore[method-assign]
    served.calls._read_stats = served.read_stats
    result = served.benchmark(served.model().model_id)[-1].result
    assert (result.stats_before, result.stats_after) == tuple(states)
    assert [(e.name, e.event_count) for e in result.throttle_events] == [("cpu0", 4)]
    assert result.throttling_observed


def test_a_board_without_counters_observes_no_throttling(served: Farm) -> None:
    result = served.benchmark(served.model().model_id)[-1].result
    assert not result.throttling_observed
    assert not result.throttle_events


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"scenario": 0}, "scenario"),
        ({"scenario": 77}, "scenario"),
        ({"in_flight": 0}, "in_flight"),
        ({"in_flight": 2}, "in_flight"),
        ({"min_request_count": -1}, "min_request_count"),
        ({"min_warmup_count": -1}, "min_warmup_count"),
        ({"seed": -1}, "seed"),
        ({"duration_s": 61}, "duration"),
        ({"duration_s": 3, "max_duration_s": 2}, "duration"),
        ({"max_duration_s": 61}, "max_duration"),
        ({"max_duration_s": 0}, "max_duration"),
        ({"warmup_s": 61}, "warmup"),
        ({"duration": duration_pb2.Duration(seconds=-1), "duration_s": None}, "duration"),
        ({"warmup": duration_pb2.Duration(nanos=10**9)}, "warmup"),
    ],
)
def test_a_wrong_request_names_the_field(served: Farm, fields: dict[str, Any], wrong: str) -> None:
    failure = failed(served.benchmark, "any", **fields)
    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [wrong])


def test_a_duration_that_overflows_is_refused() -> None:
    with pytest.raises(errors.RequestInvalid):
        benchmark.duration_ns(duration_pb2.Duration(seconds=315_576_000_000), "duration")


def test_a_model_that_is_not_loaded_is_not_found(served: Farm) -> None:
    assert failed(served.benchmark, "nothing").code is grpc.StatusCode.NOT_FOUND


def test_nothing_disturbs_a_benchmark(served: Farm) -> None:
    model, other = served.model(options={"delay_ms": 5}), served.model()
    running = Running(served, model.model_id, duration_s=30)
    begin = time.monotonic()
    for call in (
        lambda: served.infer(model.model_id, x_of(*EIGHT)),
        lambda: served.infer(other.model_id, x_of(*EIGHT)),
        lambda: served.benchmark(other.model_id),
        lambda: served.benchmark(model.model_id),
        served.load,
        lambda: served.stub.UnloadModel(pb.UnloadModelRequest(model_id=other.model_id)),
    ):
        failure = failed(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "BOARD_BUSY")
        assert failure.metadata["benchmark"] == "double"
    assert len(served.model_ids()) == 2
    assert time.monotonic() - begin < 25
    running.answers.cancel()


def test_a_cancelled_benchmark_stops_at_once_and_the_model_stays(served: Farm) -> None:
    model = served.model(options={"delay_ms": 5})
    (view,) = served.supervisor.workers()
    running = Running(served, model.model_id, duration_s=30)
    running.answers.cancel()
    assert until(lambda: served.supervisor.activity.benchmark is None)
    assert served.infer(model.model_id, x_of(*EIGHT)).outputs
    assert [v.pid for v in served.supervisor.workers()] == [view.pid]
    assert served.benchmark(model.model_id, duration_s=0.05)[-1].result.request_count
    assert served.supervisor.health() == (True, [])
    assert list((served.config.state_dir / "work").glob("*/times")) == []


def test_a_client_that_vanishes_ends_its_benchmark(served: Farm) -> None:
    model = served.model(options={"delay_ms": 5})
    channel = grpc.insecure_channel(served.address)
    answers = DeviceServiceStub(channel).Benchmark(benchmark_of(model.model_id, duration_s=30))
    assert next(answers).progress.phase == pb.BenchmarkProgress.PHASE_WARMUP
    channel.close()
    assert until(lambda: served.supervisor.activity.benchmark is None)
    assert served.infer(model.model_id, x_of(*EIGHT)).outputs


def test_a_clients_deadline_ends_its_benchmark(served: Farm) -> None:
    model = served.model(options={"delay_ms": 5})
    with pytest.raises(grpc.RpcError) as caught:
        list(served.stub.Benchmark(benchmark_of(model.model_id, duration_s=30), timeout=0.3))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert until(lambda: served.supervisor.activity.benchmark is None)
    assert served.infer(model.model_id, x_of(*EIGHT)).outputs


def test_a_benchmark_waits_for_the_inferences_that_run(served: Farm, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    model, other = served.model(), served.model(options=gate.options)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(served.infer, other.model_id, x_of(*EIGHT))
        assert until(gate.is_reached)
        benchmark = pool.submit(served.benchmark, model.model_id)
        time.sleep(0.1)
        assert not benchmark.done()
        gate.open()
        answer, result = running.result(30), benchmark.result(30)[-1].result
    assert answer.start_ns + answer.compute_ns <= result.window_start_ns


def test_a_worker_killed_in_the_window_ends_the_benchmark(served: Farm) -> None:
    model = served.model(options={"delay_ms": 5})
    (view,) = served.supervisor.workers()
    assert view.pid
    running = Running(served, model.model_id, duration_s=30)
    os.kill(view.pid, signal.SIGKILL)
    failure = failed(list, running.answers)
    assert (failure.code, failure.reason) == (grpc.StatusCode.ABORTED, "WORKER_CRASHED")
    assert failure.metadata["signal"] == "SIGKILL"
    assert "benchmark" in failure.message
    assert served.model_ids() == []
    assert served.benchmark(served.model().model_id)[-1].result.request_count


@pytest.mark.parametrize("fault", ["hang", "stuck"])
@pytest.mark.slow
def test_a_loop_that_hangs_is_killed(tmp_path: Path, fault: str) -> None:
    with farm(tmp_path, infer_timeout_s=0.4) as served:
        model = served.model(runtime="rogue", options={"fault": fault, "after": 3})
        begin = time.monotonic()
        failure = failed(served.benchmark, model.model_id, duration_s=0.1)
        assert (failure.code, failure.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "WORKER_HUNG")
        assert time.monotonic() - begin < 20
        assert served.model_ids() == []


def test_a_worker_that_does_not_stop_when_asked_is_killed(tmp_path: Path) -> None:
    gate = Gate(tmp_path, after=2)  # the first inference and the warm-up
    with farm(tmp_path, infer_timeout_s=0.5) as served:
        model = served.model(options=gate.options)
        running = Running(served, model.model_id, duration_s=60)
        assert until(gate.is_reached)
        running.answers.cancel()
        assert until(lambda: served.model_ids() == [])
        assert until(lambda: served.supervisor.activity.benchmark is None)


def test_a_client_that_leaves_between_two_answers_leaves_the_model(served: Farm) -> None:
    model = served.model(options={"delay_ms": 5})
    for _ in range(5):
        answers = served.stub.Benchmark(benchmark_of(model.model_id, duration_s=30))
        next(answers)
        answers.cancel()
        assert until(lambda: served.supervisor.activity.benchmark is None)
    assert served.infer(model.model_id, x_of(*EIGHT)).outputs
    assert served.supervisor.health() == (True, [])


def test_a_runtime_that_fails_in_the_loop_is_told_and_stays(served: Farm) -> None:
    model = served.model(options={"fault": "raise", "after": 3})
    failure = failed(served.benchmark, model.model_id, min_request_count=50)
    assert failure.reason == "INFERENCE_FAILED"
    assert served.model_ids() == [model.model_id]
    assert served.supervisor.activity.benchmark is None


def test_leaking_shows_in_the_memory(served: Farm) -> None:
    model = served.model(options={"fault": "leak", "delay_ms": 1})
    before = model.memory.rss_bytes
    fields = {"duration_s": 0.05, "min_warmup_count": 100}
    assert served.benchmark(model.model_id, **fields)[-1].result.memory.rss_bytes > before + 90_000_000


def test_the_accelerators_own_time_is_told_where_it_is_known(served: Farm) -> None:
    told = served.benchmark(served.model(options={"device_us": 250}).model_id, duration_s=0.05)[-1].result
    assert told.device_time_ns == 250_000
    untold = served.benchmark(served.model().model_id, duration_s=0.05)[-1].result
    assert not untold.HasField("device_time_ns")


def test_not_a_number_is_noticed(served: Farm) -> None:
    model = served.model(options={"fault": "nan"})
    assert served.benchmark(model.model_id)[-1].result.outputs_finite is False


def test_short_calls_are_answered_while_a_benchmark_runs(served: Farm) -> None:
    model = served.model(options={"delay_ms": 5})
    running = Running(served, model.model_id, duration_s=30)
    for _ in range(20):
        assert served.model_ids() == [model.model_id]
    assert served.supervisor.activity.benchmark is not None
    running.answers.cancel()


def test_a_slow_reader_of_samples_does_not_hold_the_board(served: Farm) -> None:
    model = served.model()
    answers = served.stub.Benchmark(benchmark_of(model.model_id, duration_s=0.3))
    for answer in answers:
        if answer.progress.phase == pb.BenchmarkProgress.PHASE_DONE:
            break
    assert served.infer(model.model_id, x_of(*EIGHT)).outputs
    assert list(answers)[-1].result.request_count
