"""Which meter a run uses, and how meters that need the board get its data.

`--meter NAME` is an instrument of farm.toml or one of the drivers that need no settings: "board" (the board's own rails),
"estimate", and those of this machine's own sensors ("rapl", "hwmon", ...); "none" measures no power. Without it the device's own
meter is taken, else the board's rails if it has readable ones, else the estimate.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from farm.v1 import device_service_pb2 as pb

from hostctl.calls import PowerStream
from hostctl.client import Board
from hostctl.errors import MeasurementInvalid, UsageError
from hostctl.inventory import Device, Inventory, MeterConfig
from hostctl.session.observe import cpu_readings
from hostctl.session.thismachine import check_sees_board, with_rail_map
from power import catalogue
from power.calibrate import calibrated
from power.catalogue import DRIVERS, driver
from power.meter import Meter, Scope
from power.meters.board import RailBlock
from power.meters.estimate import CpuTimeReading
from power.rails.totals import total_rails

NONE = "none"
PLAIN = ("board", "estimate", "hailo", "hwmon", "jetson-ina3221", "nvml", "rapl", "tegrastats")
"""Drivers that work without an entry in farm.toml."""
_COUNTER_INTERVALS_S = (0.02, 0.5)
_READINGS_PER_WINDOW = 100
_UNTOLD_INTERVAL_S = 0.1
"""What farmd takes for a rail whose driver tells no rate."""
_LAST_READINGS = 3
_LAST_BATCH_S = 0.5
"""farmd sends samples some ten times a second; the batch that holds the window's end has to arrive."""


@dataclass
class SessionMeter:
    """A meter and when a session marks it.

    Meters that count by themselves are read at each edge as it passes. The estimate asks the board, which would disturb the
    window: what the board tells of its processors afterwards is fed in instead.
    """

    meter: Meter
    feed: Callable[[CpuTimeReading], None] | None = None
    last_s: float = 0.0

    @property
    def tail_s(self) -> float:
        """How long it has to run on after the last window, for its last readings to cover that."""
        return max(self.last_s, self.meter.tail_s)

    def edge(self) -> None:
        """An idle window begins or ends."""
        self.meter.mark()

    def phase(self, name: str) -> None:
        """The benchmark's warm-up, window or end was announced."""
        if self.feed is None and name in ("running", "done"):
            self.meter.mark()

    def finished(self, result: pb.BenchmarkResult) -> None:
        """The benchmark is over."""
        if self.feed is not None:
            for reading in cpu_readings(result):
                self.feed(reading)
                self.meter.mark()


def meter_name(wanted: str | None, device: Device) -> str | None:
    """Return the name of the meter for a device; None means that the board decides."""
    return wanted or device.meter


def instruments(wanted: str | None, device: Device, inventory: Inventory) -> frozenset[str]:
    """Return the instruments a lease has to take together with a device."""
    name = meter_name(wanted, device)
    return frozenset([name]) if name and name in inventory.meters else frozenset()


def check_meter_name(name: str | None, inventory: Inventory) -> None:
    """Raise UsageError, naming the nearest, for a meter that does not exist."""
    if name is None or name == NONE or name in PLAIN or name in inventory.meters:
        return
    known = sorted({NONE, *PLAIN, *inventory.meters})
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(known)}."
    raise UsageError(f"There is no meter '{name}'; {hint}")


def make_meter(
    name: str | None, device: Device, board: Board, inventory: Inventory, window_s: float
) -> SessionMeter | None:
    """Return the meter for a run on a connected board, not yet open; None for `--meter none`.

    `window_s` is the length of the measured window, which decides how often counters on the board are read. Raises
    UsageError for settings that a driver does not take, and for an estimate of a board nobody knows the watts of.
    """
    name = name or _automatic(board)
    if name == NONE:
        return None
    config = inventory.meters.get(name) or MeterConfig(name, name)
    if config.driver == "estimate":
        return _estimate(config, device, board)
    if config.driver == "board":
        return _board_meter(config, board, window_s)
    check_sees_board(config, device)
    own = own_meter(with_rail_map(config, device))
    if driver(config.driver).is_instrument:
        return SessionMeter(own)
    # Whoever samples must go on sampling for a moment; a counter is read when it is stopped.
    interval_s = config.options.get("interval_s") or _UNTOLD_INTERVAL_S
    return SessionMeter(own, last_s=_LAST_READINGS * float(interval_s))


def _automatic(board: Board) -> str:
    rails = board.rails()
    readable = {rail.name for rail in rails if not rail.unreadable_reason}
    names = total_rails(rails) if rails else ()
    return "board" if names and readable.issuperset(names) else "estimate"


def own_meter(config: MeterConfig, *, is_calibrated: bool = True) -> Meter:
    """Return a meter that needs nothing of the board: an instrument, or this machine's own sensors, not yet open.

    Its certificate is applied unless told otherwise. Raises OptionInvalid for its settings, CertificateInvalid for that.
    """
    meter = catalogue.make_meter(config.name, config.driver, config.options, scope=scope_of(config))
    return calibrated(meter, config.calibration) if is_calibrated else meter


def check_has_marker(config: MeterConfig | None, meter: Meter) -> None:
    """Raise UsageError, before anything is measured, if no channel of the meter is on the board's marker line."""
    if config is not None and "marker" in config.options:
        return
    takes_one = "marker" in driver(meter.driver).options
    what = (
        "set its marker channel in farm.toml"
        if takes_one
        else "its driver knows none; use --align clock or pattern"
    )
    raise UsageError(
        f"--align edge needs a meter with a spare channel on the marker line, which '{meter.name}' has not: {what}."
    )


def scope_of(config: MeterConfig) -> Scope | None:
    """Return the scope that farm.toml gives, None if it leaves that to the driver."""
    return next((scope for scope in get_args(Scope) if scope == config.scope), None)


def _options(config: MeterConfig) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in config.options.items()}


def _check_options(config: MeterConfig, known: frozenset[str]) -> None:
    for key in config.options:
        if key not in known:
            raise UsageError(
                f"The meter '{config.name}' ({config.driver}) takes no '{key}' in farm.toml; "
                f"it takes {', '.join(sorted(known)) or 'nothing'}."
            )


def _estimate(config: MeterConfig, device: Device, board: Board) -> SessionMeter:
    entry = DRIVERS["estimate"]
    _check_options(config, entry.options)
    cpu = _CpuReader(board)
    idle_w, max_w = _watts(config, device, cpu.cpu_count)
    meter = entry.load()(  # type: ignore[call-arg]
        config.name, idle_w=idle_w, max_w=max_w, read_cpu=cpu.read, u_w=_number(config, "u_w")
    )
    return SessionMeter(meter, cpu.feed)


def _watts(config: MeterConfig, device: Device, cpu_count: int) -> tuple[float, float]:
    idle_w, max_w = _number(config, "idle_w"), _number(config, "max_w")
    if idle_w is not None and max_w is not None:
        return idle_w, max_w
    if idle_w is not None or max_w is not None:
        raise UsageError(
            f"The meter '{config.name}' needs idle_w and max_w together; add the other to farm.toml."
        )
    from targets.boards import load_board

    estimate = load_board(device.board).power_estimate
    if estimate is None:
        raise UsageError(
            f"The watts of the board '{device.board}' are not in the catalogue, so nothing can be estimated; give a "
            'meter with driver = "estimate", idle_w and max_w in farm.toml, or measure without power: --meter none.'
        )
    return estimate.watts(cpu_count)


def _number(config: MeterConfig, key: str) -> float | None:
    value = config.options.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(
            f"{key} of the meter '{config.name}' must be a number of watts, not {value!r}; mend farm.toml."
        )
    return float(value)


class _CpuReader:
    """Processor time of the board: readings that were fed in come first, then the board is asked."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._fed: deque[CpuTimeReading] = deque()
        first = board.stats()
        if not first.HasField("cpu_count"):
            raise MeasurementInvalid(
                f"Device '{board.device}' does not tell its processors, so nothing can be estimated; "
                "measure without power: --meter none."
            )
        self.cpu_count = first.cpu_count

    def feed(self, reading: CpuTimeReading) -> None:
        """Let the next reading be this one."""
        self._fed.append(reading)

    def read(self) -> CpuTimeReading | None:
        """Return the next reading; None if the board does not tell its processor time."""
        if self._fed:
            return self._fed.popleft()
        stats = self._board.stats()
        if not stats.HasField("cpu_busy_ns"):
            return None
        return CpuTimeReading(stats.monotonic_ns, stats.cpu_busy_ns, self.cpu_count)


def _board_meter(config: MeterConfig, board: Board, window_s: float) -> SessionMeter:
    entry = DRIVERS["board"]
    _check_options(config, entry.options)
    rails = board.rails()
    counters = {rail.name for rail in rails if rail.reading == "counter"}
    least_s, most_s = _COUNTER_INTERVALS_S
    # A counter loses nothing between two readings, and each costs the measured board time; other rails go their own rate.
    interval_s = min(max(window_s / _READINGS_PER_WINDOW, least_s), most_s) if counters else None

    def open_stream(names: Sequence[str], interval_s: float | None) -> _Rails:
        return _Rails(board.power(names, interval_s), counters)

    meter = entry.load()(  # type: ignore[call-arg]
        config.name,
        list_rails=lambda: rails,
        open_stream=open_stream,
        interval_s=interval_s,
        **_options(config),
    )
    slowest_s = max((1.0 / rail.rate_hz for rail in rails if rail.rate_hz), default=0.0)
    own_s = interval_s or max(slowest_s, _UNTOLD_INTERVAL_S)
    return SessionMeter(calibrated(meter, config.calibration), last_s=_LAST_BATCH_S + _LAST_READINGS * own_s)


class _Rails:
    """The board's stream as the meter takes it: energy of counters, power of the others."""

    def __init__(self, stream: PowerStream, counters: set[str]) -> None:
        self._stream = stream
        self._counters = counters

    def __iter__(self) -> Iterator[RailBlock]:
        """Yield blocks until closed."""
        for answer in self._stream:
            for rail in answer.rails:
                values = rail.energy_j if rail.rail in self._counters else rail.power_w
                yield RailBlock(rail.rail, list(rail.time_ns), list(values))

    def close(self) -> None:
        """End the stream."""
        self._stream.close()
