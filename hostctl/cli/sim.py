"""`hostctl sim`: a simulated instrument on this machine, to try a farm without hardware or to test against."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hostctl.cli.options import DURATION, NUMBER, examples, json_option
from hostctl.cli.output import print_json, print_json_lines, print_table
from hostctl.errors import UsageError
from hostctl.main import Interrupted

if TYPE_CHECKING:
    from power.sim.common.base import Simulator
    from power.sim.common.line import MarkerLine
    from power.sim.common.waveforms import Waveform

_LOOK_S = 0.2


@click.command(
    "sim",
    epilog=examples(
        "hostctl sim",
        "hostctl sim tektronix-mdo4000 --load square=2,6,50 --seed 1",
        "hostctl sim rdtech-um25c --link ./um25c --fault disconnect_after=20",
    ),
)
@click.argument("driver", required=False)
@click.option(
    "--load", default="cpu=2,10", show_default=True, help="What it measures, such as square=2,6,50,0.6."
)
@click.option(
    "--fault", "faults", multiple=True, metavar="NAME[=VALUE]", help="How it misbehaves; repeat for more."
)
@click.option(
    "--seed", type=int, help="Draw a specimen whose errors keep its data sheet; else it is perfect."
)
@click.option(
    "--supply",
    type=NUMBER,
    metavar="VOLTS",
    help="Voltage of the supply. [default: the instrument's usual one]",
)
@click.option(
    "--marker",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File that the board's marker line is (WATTFARM_MARKER), for instruments with a spare channel.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="TCP port to serve on; any free one if not given."
)
@click.option(
    "--link", type=click.Path(path_type=Path), help="Symbolic link to make to a simulated serial port."
)
@click.option("--for", "duration_s", type=DURATION, help="End by itself after this long.")
@json_option
def sim_command(
    driver: str | None,
    load: str,
    faults: tuple[str, ...],
    seed: int | None,
    supply: float | None,
    marker: Path | None,
    port: int | None,
    link: Path | None,
    duration_s: float | None,
    as_json: bool,
) -> None:
    """Simulate an instrument: it speaks the real protocol and measures a load whose energy is known.

    Prints what to put into farm.toml, and serves until Ctrl-C. What is measured with it carries the kind "simulated". Without
    DRIVER, lists the instruments, loads and faults there are.
    """
    if driver is None:
        _list(as_json)
        return
    from power.sim.common.faults import parse_faults
    from power.sim.common.parse import parse_load

    waveform = parse_load(load)
    line = None if marker is None else _line(driver, marker)
    simulator = _made(driver, waveform, supply, line, faults=parse_faults(faults), seed=seed, port=port)
    with _running(waveform), _running(line), simulator, _linked(simulator, link):
        begin_ns = time.monotonic_ns()
        _tell(simulator, link, as_json)
        with contextlib.suppress(KeyboardInterrupt, Interrupted):
            _wait(duration_s)
        end_ns = time.monotonic_ns()
    truth_j = simulator.truth_j(begin_ns / 1e9, end_ns / 1e9)
    lasted_s = (end_ns - begin_ns) / 1e9
    click.echo(
        f"The load drew {truth_j:.6g} J in {lasted_s:.6g} s, {truth_j / lasted_s:.6g} W in the mean.",
        err=True,
    )


def _list(as_json: bool) -> None:
    from power.catalogue import DRIVERS
    from power.sim.common.faults import Faults
    from power.sim.common.parse import FORMS

    found = {name: entry for name, entry in sorted(DRIVERS.items()) if entry.simulator}
    if as_json:
        print_json_lines(
            {"driver": name, "reads": entry.summary, "link": entry.link} for name, entry in found.items()
        )
        return
    print_table("", ("driver", "link", "instrument"), [(n, e.link, e.summary) for n, e in found.items()])
    click.echo(f"Loads: {', '.join(FORMS.values())}.")
    click.echo(f"Faults: {', '.join(field.name for field in fields(Faults))}.")


def _line(driver_name: str, file: Path) -> MarkerLine:
    from power.catalogue import driver
    from power.sim.common.line import MarkerLine

    if not driver(driver_name).simulated().sees_marker:
        raise UsageError(
            f"The simulated {driver_name} has no spare channel for a marker line; leave --marker out, or take an oscilloscope or "
            "nordic-ppk2."
        )
    return MarkerLine(file)


def _made(
    driver_name: str,
    waveform: Waveform,
    supply_v: float | None,
    line: MarkerLine | None,
    *,
    port: int | None,
    **how: Any,
) -> Simulator:
    from power.catalogue import driver
    from power.sim.common.load import Load

    simulated = driver(driver_name).simulated()
    if simulated.is_in_process:
        raise UsageError(
            f"The simulated {driver_name} stands behind a Python module and is seen by its own process only; use it from "
            f"a script: {simulated.__module__}.{simulated.__name__}."
        )
    if port is not None:
        if not simulated.takes_port:
            raise UsageError(f"The simulated {driver_name} is not reached over TCP, so it takes no --port.")
        how["port"] = port
    return simulated(Load(waveform, supply_v or simulated.supply_v, line), **how)


@contextlib.contextmanager
def _running(watched: Waveform | MarkerLine | None) -> Iterator[None]:
    """Follow processor time, or a marker line, for as long as the block lasts."""
    from power.sim.common.line import MarkerLine
    from power.sim.common.load import ProcessLoad

    if not isinstance(watched, ProcessLoad | MarkerLine):
        yield
        return
    watched.start()
    try:
        yield
    finally:
        watched.stop()


@contextlib.contextmanager
def _linked(simulator: Simulator, link: Path | None) -> Iterator[None]:
    if link is None:
        yield
        return
    port = simulator.options.get("port")
    if not isinstance(port, str):
        raise UsageError(f"The simulated {simulator.driver} has no serial port that --link could point to.")
    _link(link, port)
    try:
        yield
    finally:
        link.unlink(missing_ok=True)


def _link(link: Path, port: str) -> None:
    """Make the link, in the place of an older one but of nothing else."""
    try:
        if link.is_symlink():
            link.unlink()
        link.symlink_to(port)
    except OSError as error:
        raise UsageError(
            f"The link '{link}' cannot be made ({error.strerror}); give --link a new name in a folder that can be written."
        ) from None


def _tell(simulator: Simulator, link: Path | None, as_json: bool) -> None:
    settings: dict[str, Any] = {"driver": simulator.driver, **simulator.options, "simulated": True}
    if link is not None:
        settings["port"] = str(link)
    if as_json:
        print_json(settings)
    else:
        click.echo("[meters.sim]")
        for key, value in settings.items():
            click.echo(f"{key} = {_toml(value)}")
    sys.stdout.flush()


def _toml(value: object) -> str:
    """Write a value of farm.toml; texts, numbers and truth values look as in JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _wait(duration_s: float | None) -> None:
    end_s = None if duration_s is None else time.monotonic() + duration_s
    while end_s is None or time.monotonic() < end_s:
        time.sleep(_LOOK_S if end_s is None else max(0.0, min(_LOOK_S, end_s - time.monotonic())))
