"""Streaming the board's rails: counters unwrapped, gaps marked, losses told, nothing invented."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from farm.v1 import device_service_pb2 as pb
from farm.v1.device_service_pb2_grpc import DeviceServiceStub
from google.protobuf import duration_pb2

from farmd import sampling
from farmd.errors import FarmdError, RailLost, ResourceExhausted
from power.errors import RailUnreadable
from power.rails import Rail, RailReader, discover
from power.sample import Sample
from tests.farmd.boards import ina, rapl, write
from tests.serving import device_service, reason_of, serve_inside

TEN_MS = duration_pb2.Duration(nanos=10_000_000)


@contextmanager
def served(tmp_path: Path, root: Path) -> Iterator[DeviceServiceStub]:
    root.mkdir(exist_ok=True)
    with (
        serve_inside(tmp_path, system_root=root) as daemon,
        device_service(daemon.address) as service,
    ):
        yield service
        assert daemon.table.wait(lambda call: True, 5.0), "a stream outlived its client"


def refusal(service: DeviceServiceStub, request: pb.PowerRequest) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        next(service.Power(request))
    return caught.value


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "board"


def test_rails_are_listed_as_they_are(tmp_path: Path, root: Path) -> None:
    rapl(root)
    ina(root)
    with served(tmp_path, root) as service:
        rails = {rail.name: rail for rail in service.ListRails(pb.ListRailsRequest()).rails}
    assert (rails["package-0"].driver, rails["package-0"].reading) == ("rapl", "counter")
    assert not rails["package-0"].HasField("resolution_w")
    assert rails["VIN"].has_voltage
    assert rails["VIN"].has_current
    assert rails["VIN"].rate_hz == 500.0


def test_samples_arrive_in_order_and_soon(tmp_path: Path, root: Path) -> None:
    ina(root)
    with served(tmp_path, root) as service:
        began_ns = time.monotonic_ns()
        power = service.Power(pb.PowerRequest(interval=TEN_MS))
        batches = [next(power) for _ in range(5)]
        power.cancel()
        lasted_ns = time.monotonic_ns() - began_ns
    samples = [batch.rails[0] for batch in batches]
    times_ns = [time_ns for each in samples for time_ns in each.time_ns]
    assert times_ns == sorted(set(times_ns))
    assert began_ns < times_ns[0]
    assert len(batches) <= len(times_ns) <= lasted_ns / 10e6 + 1
    assert min(len(each.time_ns) for each in samples) < 20  # sent as they come and not at the end
    for each in samples:
        assert set(each.power_w) == {5.0}
        assert set(each.voltage_v) == {5.0}
        assert set(each.current_a) == {1.0}
        assert len(each.power_w) == len(each.voltage_v) == len(each.current_a) == len(each.time_ns)
        assert not each.energy_j


def test_a_counter_is_told_from_zero_and_unwrapped(tmp_path: Path, root: Path) -> None:
    counter = rapl(root, package_uj=9_000_000, range_uj=9_999_999)
    with served(tmp_path, root) as service:
        power = service.Power(pb.PowerRequest(rails=["package-0"], interval=TEN_MS))
        first = next(power).rails[0]
        counter.write_text("500000\n")
        last = first
        for batch in power:
            last = batch.rails[0]
            if last.energy_j[-1] > 0:
                break
        power.cancel()
    assert first.energy_j[0] == 0.0
    assert last.energy_j[-1] == pytest.approx(1.5)
    assert not last.power_w


def test_without_rails_nothing_is_invented(tmp_path: Path, root: Path) -> None:
    with served(tmp_path, root) as service:
        assert not service.ListRails(pb.ListRailsRequest()).rails
        error = refusal(service, pb.PowerRequest())
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(error) == "NO_RAILS"


def test_a_rail_that_does_not_exist(tmp_path: Path, root: Path) -> None:
    ina(root)
    with served(tmp_path, root) as service:
        error = refusal(service, pb.PowerRequest(rails=["VINE"]))
        assert error.code() == grpc.StatusCode.NOT_FOUND
        assert reason_of(error) == "RAIL_NOT_FOUND"
        assert "'VIN'" in (error.details() or "")
        error = refusal(service, pb.PowerRequest(rails=["VIN", "VIN"]))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_rail_that_cannot_be_read_is_left_out_unless_asked_for(tmp_path: Path, root: Path) -> None:
    counter = rapl(root)
    ina(root)
    counter.unlink()
    counter.mkdir()  # unreadable for root too
    with served(tmp_path, root) as service:
        listed = {
            rail.name: rail.unreadable_reason for rail in service.ListRails(pb.ListRailsRequest()).rails
        }
        assert str(counter) in listed["package-0"]
        error = refusal(service, pb.PowerRequest(rails=["VIN", "package-0"]))
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(error) == "RAIL_UNREADABLE"
        assert str(counter) in (error.details() or "")
        power = service.Power(pb.PowerRequest(interval=TEN_MS))
        assert "package-0" not in {samples.rail for samples in next(power).rails}
        power.cancel()


def test_a_rail_that_vanishes_ends_the_stream_after_its_samples(tmp_path: Path, root: Path) -> None:
    file = ina(root)
    with served(tmp_path, root) as service:
        power = service.Power(pb.PowerRequest(interval=TEN_MS))
        next(power)
        file.unlink()
        with pytest.raises(grpc.RpcError) as caught:
            for _ in power:
                pass
    assert caught.value.code() == grpc.StatusCode.DATA_LOSS
    assert reason_of(caught.value) == "RAIL_LOST"
    assert str(file) in (caught.value.details() or "")


def test_a_counter_that_is_reset_ends_the_stream(tmp_path: Path, root: Path) -> None:
    counter = rapl(root, package_uj=200_000_000_000)
    with served(tmp_path, root) as service:
        power = service.Power(pb.PowerRequest(rails=["package-0"], interval=TEN_MS))
        next(power)
        counter.write_text("0\n")
        with pytest.raises(grpc.RpcError) as caught:
            for _ in power:
                pass
    assert reason_of(caught.value) == "RAIL_LOST"


class Failing:
    """Replaces RailReader: fails as a busy bus does, `failures` times after the first sample."""

    failures = 0

    def __init__(self, rail: Rail) -> None:
        self._reader = RailReader(rail)
        self._rail = rail
        self._reads = 0

    def read(self) -> Sample:
        self._reads += 1
        if 1 < self._reads <= 1 + self.failures:
            cause = TimeoutError(110, os.strerror(110))
            raise RailUnreadable("The bus is busy.", rail=self._rail.name, path=self._rail.source) from cause
        return self._reader.read()


def collect(rails: list[Rail], until_count: int) -> tuple[pb.RailSamples, FarmdError | None]:
    """Sample at 1 kHz until that many samples have come, or a failure."""
    together = pb.RailSamples()
    try:
        with sampling.RailSampler(rails, 1_000_000) as sampler:
            for batch in sampler.batches():
                together.MergeFrom(batch.rails[0])
                if len(together.time_ns) >= until_count:
                    return together, None
    except FarmdError as error:
        return together, error
    raise AssertionError("the stream ended by itself")


def test_a_passing_failure_is_a_marked_gap(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ina(root)
    monkeypatch.setattr(sampling, "RailReader", Failing)
    monkeypatch.setattr(Failing, "failures", 3)
    samples, error = collect(discover(root), 10)
    assert error is None
    assert [math.isnan(power_w) for power_w in samples.power_w[:6]] == [False, True, True, True, False, False]
    assert math.isnan(samples.voltage_v[1])
    assert math.isnan(samples.current_a[1])
    assert list(samples.time_ns) == sorted(samples.time_ns)


def test_a_counter_skips_what_it_could_not_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rapl(root)
    monkeypatch.setattr(sampling, "RailReader", Failing)
    monkeypatch.setattr(Failing, "failures", 3)
    samples, error = collect(discover(root)[:1], 10)
    assert error is None
    assert len(samples.energy_j) == len(samples.time_ns)
    assert not any(math.isnan(energy_j) for energy_j in samples.energy_j)


def test_a_failure_that_does_not_pass_is_a_loss(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ina(root)
    monkeypatch.setattr(sampling, "RailReader", Failing)
    monkeypatch.setattr(Failing, "failures", 10**9)
    samples, error = collect(discover(root), 10**9)
    assert isinstance(error, RailLost)
    assert len(samples.time_ns) == sampling.MAX_FAILURES  # the first reading and the failures but the last


def test_a_client_that_does_not_read_is_cut(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ina(root)
    monkeypatch.setattr(sampling, "MAX_BUFFERED", 20)
    with sampling.RailSampler(discover(root), 1_000_000) as sampler:
        batches = sampler.batches()
        next(batches)
        time.sleep(0.5)
        with pytest.raises(ResourceExhausted, match="too slowly"):
            for _ in batches:
                pass


def test_the_own_rate_of_a_rail_is_bounded(root: Path) -> None:
    write(root, {"sys/class/hwmon/hwmon0/name": "acpi", "sys/class/hwmon/hwmon0/power1_input": 1})
    rapl(root)
    intervals_ms = {rail.driver: sampling.own_interval_ns(rail) / 1e6 for rail in discover(root)}
    assert intervals_ms == {"hwmon": 100.0, "rapl": 10.0}


def test_sampling_keeps_its_grid_and_sleeps_in_between(root: Path) -> None:
    ina(root)
    cpu_s, wall_s = time.process_time(), time.monotonic()
    with sampling.RailSampler(discover(root), 10_000_000) as sampler:
        batches = sampler.batches()
        times_ns = [time_ns for _ in range(8) for time_ns in next(batches).rails[0].time_ns]
    busy = (time.process_time() - cpu_s) / (time.monotonic() - wall_s)
    assert busy < 0.5
    spacing_ns = (times_ns[-1] - times_ns[0]) / (len(times_ns) - 1)
    assert spacing_ns >= 9.9e6
