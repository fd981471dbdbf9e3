"""`hostctl stats DEVICE` and `hostctl power DEVICE`: live views; --once for one look, --json for programs."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click
from farm.v1 import device_service_pb2 as pb
from farm.v1 import stats_pb2

from hostctl.cli.messages import to_json
from hostctl.cli.options import DURATION, device_argument, json_option, pass_settings
from hostctl.cli.output import DASH, number, print_json, print_json_lines, size, span
from hostctl.errors import DeviceError
from hostctl.main import Settings

if TYPE_CHECKING:
    from rich.table import Table

    from hostctl.client import Board

_LEAST_INTERVAL_S = 0.1


def _live_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--interval", type=DURATION, default="1s", show_default=True, help="Time between two looks."
        ),
        click.option("--once", is_flag=True, help="Look once and end."),
        json_option,
        device_argument,
    ):
        command = option(command)
    return command


@click.command("stats")
@_live_options
@pass_settings
def stats_command(settings: Settings, device: str, interval: float, once: bool, as_json: bool) -> None:
    """Watch a device's processors, memory and temperatures.

    Watching costs the device some processor time: not while something is measured there.
    """
    _check(interval)
    with _board(settings, device) as board:
        samples = iter([board.stats()]) if once and as_json else board.watch_stats(interval)
        if as_json:
            for stats in samples:
                print_json(to_json(stats))
                sys.stdout.flush()
        else:
            # A load needs two looks; --once takes the second.
            _show(_stats_tables(device, samples), once)


@click.command("power")
@_live_options
@click.option("--rail", "rails", multiple=True, metavar="NAME", help="Only this rail (repeatable).")
@pass_settings
def power_command(
    settings: Settings, device: str, interval: float, once: bool, as_json: bool, rails: tuple[str, ...]
) -> None:
    """Watch a device's power rails."""
    _check(interval)
    with _board(settings, device) as board:
        if not rails:
            _require_rail(board, device)
        stream = board.power(rails, interval)
        with contextlib.closing(stream):
            if as_json:
                _print_power(stream, once)
            else:
                _show(_power_tables(device, stream), once)


def _check(interval_s: float) -> None:
    if interval_s < _LEAST_INTERVAL_S:
        raise click.BadParameter(f"at least {_LEAST_INTERVAL_S * 1e3:g}ms.", param_hint="--interval")


@contextlib.contextmanager
def _board(settings: Settings, name: str) -> Iterator[Board]:
    from hostctl.inventory import load_inventory
    from hostctl.session.connect import connected

    with connected(load_inventory(settings.config).device(name)) as board:
        yield board


def _require_rail(board: Board, device: str) -> None:
    """Raise DeviceError, with the reasons, if the device has nothing to read."""
    rails = board.rails()
    if any(not rail.unreadable_reason for rail in rails):
        return
    reasons = " ".join(dict.fromkeys(rail.unreadable_reason for rail in rails))
    raise DeviceError(
        f"Device '{device}' has no power rail that can be read. "
        f"{reasons or 'Attach a meter and name it in farm.toml, or measure with --meter estimate.'}"
    )


def _print_power(stream: Iterable[pb.PowerResponse], once: bool) -> None:
    for answer in stream:
        if answer.rails:
            print_json_lines(to_json(rail) for rail in answer.rails)
            sys.stdout.flush()
            if once:
                return


def _show(tables: Iterator[Table], once: bool) -> None:
    """Draw tables over one another, or one below the other where stdout is no terminal."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False, markup=False, emoji=False)
    if once or not console.is_terminal:
        for table in tables:
            console.print(table)
            if once:
                return
        return
    with Live(console=console, auto_refresh=False) as live:
        for table in tables:
            live.update(table, refresh=True)


def _stats_tables(device: str, samples: Iterator[stats_pb2.BoardStats]) -> Iterator[Table]:
    before = None
    for after in samples:
        if before is not None:
            yield _stats_table(device, before, after)
        before = after


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=bool(columns and columns[0]))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left")
    return table


def _stats_table(device: str, before: stats_pb2.BoardStats, after: stats_pb2.BoardStats) -> Table:
    table = _table(device, "", "")
    table.add_row("processors busy", _load(before, after))
    table.add_row("memory available", size(_optional(after, "memory_available_bytes")))
    table.add_row("load average, 1 min", number(_optional(after, "load_average_1m"), 3))
    for temperature in after.temperatures:
        table.add_row(f"temperature {temperature.name}", f"{number(_optional(temperature, 'celsius'), 3)} °C")
    for clock in after.frequencies[:8]:
        hz = _optional(clock, "hz")
        table.add_row(f"clock {clock.name}", DASH if hz is None else f"{hz / 1e9:.2f} GHz")
    for throttle in after.throttling:
        table.add_row(f"throttled {throttle.name}", number(_optional(throttle, "event_count")))
    for accelerator in after.accelerators:
        busy = _optional(accelerator, "utilization")
        table.add_row(f"{accelerator.name} busy", DASH if busy is None else f"{busy:.0%}")
    for worker in after.workers:
        table.add_row(
            f"worker {worker.model_id}",
            f"{size(_optional(worker, 'rss_bytes'))}, {worker.inference_count} inferences",
        )
    return table


def _load(before: stats_pb2.BoardStats, after: stats_pb2.BoardStats) -> str:
    elapsed_ns = after.monotonic_ns - before.monotonic_ns
    if not (before.HasField("cpu_busy_ns") and after.HasField("cpu_busy_ns")) or elapsed_ns <= 0:
        return DASH
    busy = (after.cpu_busy_ns - before.cpu_busy_ns) / elapsed_ns
    count = _optional(after, "cpu_count")
    return f"{busy:.2f} of {DASH if count is None else count}"


def _optional(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


def _power_tables(device: str, stream: Iterable[pb.PowerResponse]) -> Iterator[Table]:
    view = _PowerView()
    for answer in stream:
        view.take(answer)
        if view.rails:
            yield view.table(device)


class _PowerView:
    """The last reading of every rail; a counter's power is the rise of its energy since the answer before."""

    def __init__(self) -> None:
        self.rails: dict[str, tuple[float | None, float | None, float | None]] = {}
        self._counted: dict[str, tuple[int, float]] = {}
        self._start_ns: int | None = None
        self._now_ns = 0

    def take(self, answer: pb.PowerResponse) -> None:
        """Read one answer."""
        for rail in answer.rails:
            if rail.time_ns:
                self._now_ns = max(self._now_ns, rail.time_ns[-1])
                self._start_ns = self._start_ns or rail.time_ns[0]
                self.rails[rail.rail] = (self._power(rail), _last(rail.voltage_v), _last(rail.current_a))

    def _power(self, rail: pb.RailSamples) -> float | None:
        if rail.power_w:
            return _last(rail.power_w)
        if not rail.energy_j:
            return None
        before = self._counted.get(rail.rail, (rail.time_ns[0], rail.energy_j[0]))
        now = (rail.time_ns[-1], rail.energy_j[-1])
        self._counted[rail.rail] = now
        return None if now[0] <= before[0] else (now[1] - before[1]) / ((now[0] - before[0]) * 1e-9)

    def table(self, device: str) -> Table:
        """Return the view as a table."""
        since_s = (self._now_ns - (self._start_ns or self._now_ns)) * 1e-9
        table = _table(f"{device}, for {span(since_s)}", "rail", "W", "V", "A")
        for name, values in sorted(self.rails.items()):
            table.add_row(name, *(number(value) for value in values))
        return table


def _last(values: Any) -> float | None:
    return float(values[-1]) if values and math.isfinite(values[-1]) else None
