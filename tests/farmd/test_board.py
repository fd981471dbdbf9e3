"""The calls about the board, over a real socket."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from farm.v1 import device_service_pb2 as pb
from farm.v1.device_service_pb2_grpc import DeviceServiceStub
from google.protobuf import descriptor_pb2, duration_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from farmd import calls, server
from farmd.server import DEVICE_SERVICE, Daemon
from tests.farmd.boards import rapl, write
from tests.serving import device_service, lease, open_channel, reason_of, serve_inside

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A small board: one processor, one rail."""
    root = tmp_path / "board"
    write(
        root,
        {
            "proc/cpuinfo": "model name\t: Testium\nflags\t: avx2",
            "proc/meminfo": "MemTotal:       2048 kB\nMemAvailable:   1024 kB",
            "proc/stat": "cpu  1 2 3 4 5 6 7 8",
        },
    )
    rapl(root)
    return root


@pytest.fixture
def daemon(tmp_path: Path, board: Path) -> Iterator[Daemon]:
    with serve_inside(
        tmp_path, device="bench", board="test-board", system_root=board, max_message_bytes=1 << 20
    ) as daemon:
        yield daemon


@pytest.fixture
def service(daemon: Daemon) -> Iterator[DeviceServiceStub]:
    with device_service(daemon.address) as stub:
        yield stub


def test_get_info_describes_the_board(service: DeviceServiceStub, daemon: Daemon) -> None:
    info = service.GetInfo(pb.GetInfoRequest())
    assert (info.device, info.board, info.cpu_model) == ("bench", "test-board", "Testium")
    assert info.instance_id == daemon.instance_id
    assert info.protocol_version == 1
    assert info.limits.max_message_bytes == 1 << 20
    assert info.limits.max_loaded_models == 8
    assert info.health.healthy
    assert not info.HasField("fence")
    assert info.memory_total_bytes == 2048 * 1024
    assert [rail.name for rail in info.rails] == ["package-0", "package-0/core"]
    assert [runtime.name for runtime in info.runtimes] == sorted(runtime.name for runtime in info.runtimes)
    service.Stats(pb.StatsRequest(), metadata=lease(4))
    assert service.GetInfo(pb.GetInfoRequest()).fence == 4


def test_each_start_is_another_instance(tmp_path: Path, daemon: Daemon) -> None:
    with serve_inside(tmp_path / "other") as other:
        assert other.instance_id != daemon.instance_id


def test_stats_come_from_the_board(service: DeviceServiceStub) -> None:
    before_ns = time.monotonic_ns()
    stats = service.Stats(pb.StatsRequest()).stats
    assert before_ns < stats.monotonic_ns < time.monotonic_ns()
    assert stats.memory_available_bytes == 1024 * 1024
    assert not stats.HasField("load_average_1m")


def test_watching_keeps_its_interval(service: DeviceServiceStub) -> None:
    request = pb.WatchStatsRequest(interval=duration_pb2.Duration(nanos=100_000_000))
    watch = service.WatchStats(request)
    times_ns = [next(watch).stats.monotonic_ns for _ in range(4)]
    watch.cancel()
    steps_ms = [(b - a) / 1e6 for a, b in itertools.pairwise(times_ns)]
    assert all(step > 50 for step in steps_ms)
    assert 250 < sum(steps_ms) < 3000


@pytest.mark.parametrize("interval_ns", [0, -1, 99_999_999, 3601 * 10**9])
def test_an_interval_beyond_the_limits_is_refused(service: DeviceServiceStub, interval_ns: int) -> None:
    interval = duration_pb2.Duration()
    interval.FromNanoseconds(interval_ns)
    with pytest.raises(grpc.RpcError) as caught:
        next(service.WatchStats(pb.WatchStatsRequest(interval=interval)))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(caught.value) == "REQUEST_INVALID"
    if interval_ns < 1_000_000:
        with pytest.raises(grpc.RpcError) as caught:
            next(service.Power(pb.PowerRequest(interval=interval)))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_cancelled_watch_frees_its_place(service: DeviceServiceStub, daemon: Daemon) -> None:
    watch = service.WatchStats(pb.WatchStatsRequest())
    next(watch)
    watch.cancel()
    assert daemon.table.wait(lambda call: True, 5.0)


def test_the_clock_lies_between_call_and_answer(service: DeviceServiceStub, daemon: Daemon) -> None:
    service.SyncClock(pb.SyncClockRequest())
    for _ in range(20):
        sent_ns = time.monotonic_ns()
        answer = service.SyncClock(pb.SyncClockRequest())
        received_ns = time.monotonic_ns()
        assert sent_ns < answer.receive_ns < answer.send_ns < received_ns
        assert answer.instance_id == daemon.instance_id


def test_streams_leave_room_for_short_calls(service: DeviceServiceStub, daemon: Daemon) -> None:
    watches = [service.WatchStats(pb.WatchStatsRequest()) for _ in range(calls.MAX_STREAMS)]
    for watch in watches:
        next(watch)
    with pytest.raises(grpc.RpcError) as caught:
        next(service.WatchStats(pb.WatchStatsRequest()))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(caught.value) == "TOO_MANY_CALLS"
    service.Stats(pb.StatsRequest(), timeout=5)
    for watch in watches:
        watch.cancel()
    assert daemon.table.wait(lambda call: True, 5.0)
    watch = service.WatchStats(pb.WatchStatsRequest())
    next(watch)
    watch.cancel()


def test_an_oversized_message_is_refused(service: DeviceServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        service.Infer(pb.InferRequest(model_id="x" * (1 << 20)))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    service.Stats(pb.StatsRequest())


def test_a_past_holder_is_refused_by_every_call(service: DeviceServiceStub) -> None:
    service.Stats(pb.StatsRequest(), metadata=lease(7))
    for call in (
        lambda metadata: service.GetInfo(pb.GetInfoRequest(), metadata=metadata),
        lambda metadata: service.SyncClock(pb.SyncClockRequest(), metadata=metadata),
        lambda metadata: service.Infer(pb.InferRequest(), metadata=metadata),
        lambda metadata: next(service.Power(pb.PowerRequest(), metadata=metadata)),
        lambda metadata: next(service.LoadModel(iter(()), metadata=metadata)),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(lease(6))
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert reason_of(caught.value) == "LEASE_FENCED"
    service.Stats(pb.StatsRequest(), metadata=lease(7))


def test_malformed_lease_metadata(service: DeviceServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        service.Stats(pb.StatsRequest(), metadata=(("wattfarm-lease", "a"), ("wattfarm-fence", "soon")))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(caught.value) == "LEASE_INVALID"


@pytest.mark.slow
def test_a_new_holder_cuts_the_streams_of_the_past_one(service: DeviceServiceStub, daemon: Daemon) -> None:
    power = service.Power(pb.PowerRequest(), metadata=lease(1))
    watch = service.WatchStats(pb.WatchStatsRequest(), metadata=lease(1))
    uploading = threading.Event()

    def endless() -> Iterator[pb.LoadModelRequest]:
        uploading.wait()
        yield from ()

    upload = service.LoadModel(endless(), metadata=lease(1))
    next(power)
    next(watch)
    began_s = time.monotonic()
    service.Stats(pb.StatsRequest(), metadata=lease(2), timeout=10)
    assert time.monotonic() - began_s < calls.END_GRACE_S + 1.0
    with pytest.raises(grpc.RpcError) as caught:
        for _ in power:
            pass
    assert reason_of(caught.value) == "LEASE_FENCED"
    with pytest.raises(grpc.RpcError) as caught:
        next(upload)  # it waits for its client, so only breaking the call off ends it
    assert caught.value.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.PERMISSION_DENIED)
    uploading.set()
    next(watch)  # looking on disturbs nobody
    watch.cancel()


def test_a_lease_may_be_required(tmp_path: Path, board: Path) -> None:
    with (
        serve_inside(tmp_path / "strict", system_root=board, lease={"required": True}) as daemon,
        device_service(daemon.address) as service,
    ):
        service.GetInfo(pb.GetInfoRequest())
        service.Stats(pb.StatsRequest())
        service.ListRails(pb.ListRailsRequest())
        service.ListModels(pb.ListModelsRequest())
        service.SyncClock(pb.SyncClockRequest())
        watch = service.WatchStats(pb.WatchStatsRequest())
        next(watch)
        watch.cancel()
        for call in (
            lambda: service.Infer(pb.InferRequest()),
            lambda: service.UnloadModel(pb.UnloadModelRequest()),
            lambda: next(service.Power(pb.PowerRequest())),
            lambda: next(service.Benchmark(pb.BenchmarkRequest())),
            lambda: next(service.LoadModel(iter(()))),
            lambda: next(service.InferStream(iter(()))),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
            assert reason_of(caught.value) == "LEASE_REQUIRED"
        power = service.Power(pb.PowerRequest(), metadata=lease(1))
        next(power)
        power.cancel()


def test_health_follows_the_supervisor(daemon: Daemon) -> None:
    with open_channel(daemon.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", DEVICE_SERVICE):
            assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == SERVING
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="nobody"))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        watch = health.Watch(health_pb2.HealthCheckRequest(service=DEVICE_SERVICE))
        assert next(watch).status == SERVING
        daemon.supervisor.health_sources.append(lambda: "The board is on fire; call the fire brigade.")
        daemon.supervisor.on_health_change(False)
        assert next(watch).status == NOT_SERVING
        assert health.Check(health_pb2.HealthCheckRequest()).status == NOT_SERVING
        watch.cancel()
    with device_service(daemon.address) as service:
        info = service.GetInfo(pb.GetInfoRequest())
        assert not info.health.healthy
        assert "on fire" in info.health.reasons[0]


def test_reflection_describes_the_service(daemon: Daemon) -> None:
    with open_channel(daemon.address) as channel:
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=DEVICE_SERVICE),
        ]
        listed, described = reflection.ServerReflectionInfo(iter(requests))
    names = {service.name for service in listed.list_services_response.service}
    assert {DEVICE_SERVICE, "grpc.health.v1.Health"} <= names
    file = descriptor_pb2.FileDescriptorProto.FromString(
        described.file_descriptor_response.file_descriptor_proto[0]
    )
    assert file.name == "farm/v1/device_service.proto"


def test_reflection_streams_left_open_are_limited(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_REFLECTIONS", 2)
    done = threading.Event()

    def asking() -> Iterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        done.wait()

    with open_channel(daemon.address) as channel:
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        streams = [reflection.ServerReflectionInfo(asking()) for _ in range(2)]
        for stream in streams:
            next(stream)
        with pytest.raises(grpc.RpcError) as caught:
            next(reflection.ServerReflectionInfo(asking()))
        assert reason_of(caught.value) == "TOO_MANY_CALLS"
        done.set()
        for stream in streams:
            assert list(stream) == []


def test_a_watcher_of_health_hears_only_news(daemon: Daemon) -> None:
    with open_channel(daemon.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        for _ in range(3):
            health.Check(health_pb2.HealthCheckRequest())
        daemon.supervisor.health_sources.append(lambda: "Something broke; mend it.")
        health.Check(health_pb2.HealthCheckRequest())
        assert next(watch).status == NOT_SERVING
        watch.cancel()


def test_an_unknown_call_is_unimplemented(daemon: Daemon) -> None:
    with open_channel(daemon.address) as channel:
        explode: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/farm.v1.DeviceService/Explode"
        )
        with pytest.raises(grpc.RpcError) as caught:
            explode(b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
