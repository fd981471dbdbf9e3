"""`hostctl meter latency`: how late a meter's times are, by a load that is switched."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import click

from hostctl.cli.meter.common import WATTS, config_of, held
from hostctl.cli.options import DURATION, ListOf, json_option, pass_settings
from hostctl.cli.output import number, print_json
from hostctl.errors import UsageError
from hostctl.main import Settings

if TYPE_CHECKING:
    from power.align.latency import Latency
    from power.meter import Meter

LEAST_INTERVALS = 5.0
"""The load rests on each level for so many of the meter's intervals: half of that has to be settled."""
_AROUND_S = 3.0
"""More than the steps take, for the record of instruments that have to plan it: programs that set loads are slow to start."""


@click.command("latency")
@click.argument("name")
@click.option(
    "--set-load",
    "command",
    required=True,
    metavar="COMMAND",
    help="Program that switches the load; the watts become its last argument.",
)
@click.option(
    "--loads", "loads_w", type=ListOf(WATTS), required=True, help="The two loads in W, such as 0,5."
)
@click.option(
    "--steps", type=click.IntRange(4, 1000), default=10, show_default=True, help="How often to switch."
)
@click.option(
    "--every", "every_s", type=DURATION, default="3s", show_default=True, help="Time between two switches."
)
@json_option
@pass_settings
def latency_command(
    settings: Settings,
    name: str,
    command: str,
    loads_w: tuple[float, ...],
    steps: int,
    every_s: float,
    as_json: bool,
) -> None:
    """Find out how late a meter's times are, by switching a load: latency_s and latency_u_s for farm.toml.

    The time of a switch is when COMMAND ran: one that returns as soon as it has switched tells most. Without such a load, a run
    with --align pattern tells the latency too (shift_s).
    """
    from hostctl.inventory import load_inventory
    from hostctl.session.meters import own_meter

    if len(loads_w) != 2:
        raise UsageError("A step is from one load to another; give two different ones, such as --loads 0,5.")
    config = config_of(name, load_inventory(settings.config))
    meter = own_meter(config, is_calibrated=False)
    with held(name), meter:
        found, within_s = _found(meter, command, loads_w, steps, every_s)
    if as_json:
        print_json(_told(name, found, within_s, config.latency_s))
        return
    click.echo(
        f"'{name}' is {number(found.latency_s, 4)} s late, ± {number(2.0 * found.u_s, 2)} s (k = 2); its {found.steps} steps "
        f"scatter by {number(found.scatter_s, 2)} s, and the command took {number(2.0 * within_s, 2)} s at most."
    )
    click.echo(
        f"Write under [meters.{name}]:\nlatency_s = {found.latency_s:.6g}\nlatency_u_s = {found.u_s:.3g}"
    )


def _found(
    meter: Meter, command: str, loads_w: tuple[float, ...], steps: int, every_s: float
) -> tuple[Latency, float]:
    """Return the latency, and half of what the command took at most."""
    from hostctl.cli.meter.session import set_load
    from power.align.latency import fit_latency

    rate_hz = meter.capabilities.rate_hz
    if rate_hz is not None and every_s * rate_hz < LEAST_INTERVALS:
        raise UsageError(
            f"'{meter.name}' reads each {1.0 / rate_hz:g} s, too seldom to see steps {every_s:g} s apart; give --every "
            f"{LEAST_INTERVALS / rate_hz:g}s or more."
        )
    set_load(command, loads_w[0])
    meter.plan((steps + 1) * every_s + _AROUND_S + meter.tail_s)
    meter.start()
    at_s, took_s = [], []
    for step in range(steps):
        time.sleep(every_s)
        begin_s = time.monotonic()
        set_load(command, loads_w[(step + 1) % 2])
        end_s = time.monotonic()
        at_s.append(0.5 * (begin_s + end_s))
        took_s.append(end_s - begin_s)
    time.sleep(every_s + meter.tail_s)
    trace = meter.stop()
    within_s = 0.5 * max(took_s)
    # When a program that sets a load does so while it runs nobody knows, but it is the same each time: a rectangular limit.
    return fit_latency(trace, at_s, within_s / math.sqrt(3.0)), within_s


def _told(name: str, found: Latency, within_s: float, before_s: float) -> dict[str, Any]:
    return {
        "meter": name,
        "latency_s": found.latency_s,
        "latency_u_s": found.u_s,
        "scatter_s": found.scatter_s,
        "steps": found.steps,
        "command_s": 2.0 * within_s,
        "in_farm_toml_s": before_s,
    }
