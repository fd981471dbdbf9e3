"""The calls about the board itself: what it is, how it does, what it draws, what time it has."""

from __future__ import annotations

import difflib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import grpc
from farm.v1 import board_pb2, stats_pb2
from farm.v1 import device_service_pb2 as pb
from google.protobuf import duration_pb2

from farmd import machine, stats
from farmd.calls import CallContext
from farmd.config import Config
from farmd.errors import NoRails, RailNotFound, RailUnreadable, RequestInvalid
from farmd.rails import board_rails, module_rails
from farmd.sampling import NS_PER_S, RailSampler
from power.rails import Rail

DEFAULT_WATCH_NS = NS_PER_S
SHORTEST_WATCH_NS = NS_PER_S // 10
SHORTEST_POWER_NS = NS_PER_S // 1000
LONGEST_NS = 3600 * NS_PER_S


class BoardCalls:
    """Part of the DeviceService servicer: GetInfo, Stats, WatchStats, ListRails, Power, SyncClock.

    Everything is read when it is asked for; nothing is polled.
    """

    def __init__(
        self,
        config: Config,
        *,
        instance_id: str,
        fence: Callable[[], int | None],
        health: Callable[[], tuple[bool, Sequence[str]]],
        runtimes: Callable[[], Iterable[board_pb2.RuntimeInfo]],
        workers: Callable[[], Iterable[stats.WorkerView]],
        sensors: Callable[[], Sequence[Path]],
    ) -> None:
        self._config = config
        self._root = config.system_root
        self._instance_id = instance_id
        self._fence = fence
        self._health = health
        self._runtimes = runtimes
        self._workers = workers
        self._sensors = sensors

    def GetInfo(self, request: pb.GetInfoRequest, context: grpc.ServicerContext) -> pb.GetInfoResponse:  # noqa: N802
        """Describe the board. The first call starts each runtime's interpreter once, to see what is there."""
        healthy, reasons = self._health()
        return pb.GetInfoResponse(
            device=self._config.device,
            board=self._config.board,
            farmd_version=machine.version(),
            protocol_version=machine.PROTOCOL_VERSION,
            instance_id=self._instance_id,
            operating_system=machine.operating_system(self._root),
            architecture=machine.architecture(),
            cpu_model=machine.cpu_model(self._root),
            cpu_features=machine.cpu_features(self._root),
            runtimes=self._runtimes(),
            rails=[to_message(rail) for rail in self._rails()],
            limits=_limits(self._config),
            health=board_pb2.Health(healthy=healthy, reasons=reasons),
            fence=self._fence(),
            cpu_count=os.cpu_count(),
            memory_total_bytes=stats.memory_bytes(self._root)[0],
        )

    def Stats(self, request: pb.StatsRequest, context: grpc.ServicerContext) -> pb.StatsResponse:  # noqa: N802
        """Tell the board's state."""
        return pb.StatsResponse(stats=self._snapshot())

    def WatchStats(  # noqa: N802
        self, request: pb.WatchStatsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchStatsResponse]:
        """Tell the board's state now and then at every interval, until the client goes."""
        interval_ns = DEFAULT_WATCH_NS
        if request.HasField("interval"):
            interval_ns = _interval_ns(request.interval, SHORTEST_WATCH_NS)
        ended = threading.Event()
        if not context.add_callback(ended.set):
            return
        due_ns = time.monotonic_ns()
        while not ended.wait(max(0, due_ns - time.monotonic_ns()) / NS_PER_S):
            yield pb.WatchStatsResponse(stats=self._snapshot())
            late_ns = max(0, time.monotonic_ns() - due_ns)
            due_ns += interval_ns * (1 + late_ns // interval_ns)

    def ListRails(self, request: pb.ListRailsRequest, context: grpc.ServicerContext) -> pb.ListRailsResponse:  # noqa: N802
        """List the rails, those that cannot be read included."""
        return pb.ListRailsResponse(rails=[to_message(rail) for rail in self._rails()])

    def Power(self, request: pb.PowerRequest, context: grpc.ServicerContext) -> Iterator[pb.PowerResponse]:  # noqa: N802
        """Stream samples until the client goes."""
        interval_ns = None
        if request.HasField("interval"):
            interval_ns = _interval_ns(request.interval, SHORTEST_POWER_NS)
        with RailSampler(chosen_rails(self._rails(), request.rails), interval_ns) as sampler:
            if context.add_callback(sampler.stop):
                yield from sampler.batches()

    def _snapshot(self) -> stats_pb2.BoardStats:
        return stats.snapshot(self._root, self._workers(), self._sensors())

    def _rails(self) -> list[Rail]:
        own = board_rails(self._root, self._config.board)
        return own + [rail for root in self._sensors() for rail in module_rails(root)]

    def SyncClock(self, request: pb.SyncClockRequest, context: grpc.ServicerContext) -> pb.SyncClockResponse:  # noqa: N802
        """Tell when the call's headers came; `stamped` adds when the answer leaves."""
        arrival_ns = context.arrival_ns if isinstance(context, CallContext) else time.monotonic_ns()
        return pb.SyncClockResponse(receive_ns=arrival_ns, instance_id=self._instance_id)


def stamped(response: pb.SyncClockResponse) -> bytes:
    """Serialise the answer of SyncClock: the last thing done in Python before it is sent."""
    response.send_ns = time.monotonic_ns()
    return response.SerializeToString()


def to_message(rail: Rail) -> board_pb2.Rail:
    """Return a rail in the words of the protocol."""
    return board_pb2.Rail(
        name=rail.name,
        driver=rail.driver,
        reading=rail.reading,
        scope=rail.scope,
        rate_hz=rail.rate_hz,
        resolution_w=rail.resolution_w,
        has_voltage=rail.has_voltage,
        has_current=rail.has_current,
        unreadable_reason=rail.unreadable_reason,
        is_total=rail.is_total,
    )


def chosen_rails(found: Sequence[Rail], names: Sequence[str]) -> list[Rail]:
    """Return the rails of these names, or all readable ones. Raises NoRails, RailNotFound or RailUnreadable."""
    rails = {rail.name: rail for rail in found}
    if not rails:
        raise NoRails(
            "This board has no power rail that Linux can read (no powercap, hwmon or IIO power sensor); "
            "use an external meter."
        )
    if len(set(names)) != len(names):
        raise RequestInvalid.of_field("rails", "A rail is named twice; name each once.")
    for name in names:
        if name not in rails:
            close = difflib.get_close_matches(name, rails, n=1) or sorted(rails)
            raise RailNotFound(
                f"The board has no rail '{name}'; ask for '{close[0]}' or see ListRails.",
                metadata={"rail": name},
            )
    wanted = [rails[name] for name in names] or list(rails.values())
    readable = [rail for rail in wanted if not rail.unreadable_reason]
    if len(readable) < len(names) or not readable:
        broken = next(rail for rail in wanted if rail.unreadable_reason)
        raise RailUnreadable(
            broken.unreadable_reason, metadata={"rail": broken.name, "source": broken.source}
        )
    return readable


def _interval_ns(interval: duration_pb2.Duration, shortest_ns: int) -> int:
    value_ns = interval.ToNanoseconds()
    if not shortest_ns <= value_ns <= LONGEST_NS:
        raise RequestInvalid.of_field(
            "interval",
            f"An interval of {value_ns / NS_PER_S:g} s is refused; choose {shortest_ns / NS_PER_S:g} s to "
            f"{LONGEST_NS / NS_PER_S:g} s.",
        )
    return value_ns


def _limits(config: Config) -> board_pb2.Limits:
    return board_pb2.Limits(
        max_message_bytes=config.max_message_bytes,
        max_model_bytes=config.max_model_bytes,
        cache_bytes=config.cache_bytes,
        max_loaded_models=config.max_loaded_models,
    )
