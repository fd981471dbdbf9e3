"""`hostctl meter read` and `hostctl meter check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hostctl.cli.meter.common import WATTS, config_of, held, name_of, with_u
from hostctl.cli.options import DURATION, SPAN, examples, json_option, pass_settings
from hostctl.cli.output import DASH, number, print_facts, print_json
from hostctl.main import Settings

if TYPE_CHECKING:
    from power.calibrate import Check, Reading
    from power.meter import Meter


@click.command(
    "read", epilog=examples("hostctl meter read scope1", "hostctl meter read usb1 --for 1m --json")
)
@click.argument("name")
@click.option("--for", "duration_s", type=SPAN, default="5s", show_default=True, help="How long to read.")
@json_option
@pass_settings
def read_command(settings: Settings, name: str, duration_s: float, as_json: bool) -> None:
    """Read a meter for some seconds: mean power with its uncertainty, extremes, rate, and what was amiss."""
    from hostctl.inventory import load_inventory
    from hostctl.session.meters import own_meter
    from power import calibrate

    meter = own_meter(config_of(name, load_inventory(settings.config)))
    with held(name), meter:
        (reading,) = calibrate.measure(meter, duration_s=duration_s)
        told = {**_told(meter, reading), "flags": _flags(meter, reading)}
    if as_json:
        print_json(told)
        return
    _show(told)


@click.command("check", epilog=examples("hostctl meter check wt1 --load-w 5.002 --u 0.004"))
@click.argument("name")
@click.option("--load-w", type=WATTS, required=True, help="Power of the load, known by other means.")
@click.option(
    "--u", "u_w", type=WATTS, required=True, help="Expanded uncertainty (k = 2) of that power, in W."
)
@click.option("--for", "duration_s", type=SPAN, default="10s", show_default=True, help="How long to read.")
@click.option(
    "--settle", "settle_s", type=DURATION, default="2s", show_default=True, help="How long to wait before."
)
@json_option
@pass_settings
def check_command(
    settings: Settings,
    name: str,
    load_w: float,
    u_w: float,
    duration_s: float,
    settle_s: float,
    as_json: bool,
) -> int:
    """Compare a meter with a load of known power: pass (exit code 0) if E_n ≤ 1, else fail (1)."""
    from hostctl.inventory import load_inventory
    from hostctl.session.meters import own_meter
    from power import calibrate
    from power.uncertainty import COVERAGE

    meter = own_meter(config_of(name, load_inventory(settings.config)))
    with held(name), meter:
        found = calibrate.check(meter, load_w, u_w / COVERAGE, duration_s, settle_s=settle_s)
        told = _told(meter, found.reading)
    if as_json:
        print_json({**told, **_verdict(found)})
    else:
        click.echo(found.text)
    return 0 if found.passed else 1


def _verdict(found: Check) -> dict[str, Any]:
    from power.uncertainty import COVERAGE

    return {
        "load_w": {"value": found.known_w, "u": COVERAGE * found.u_known_w},
        "difference_w": found.difference_w,
        "e_n": found.e_n,
        "passed": found.passed,
    }


def _told(meter: Meter, reading: Reading) -> dict[str, Any]:
    """Return a reading as JSON; `u` is expanded, k = 2."""
    from power.calibrate import u_with_accuracy_w
    from power.uncertainty import COVERAGE

    identity, capabilities = meter.identity, meter.capabilities
    u_w = u_with_accuracy_w(meter, reading)
    return {
        "meter": reading.name,
        "driver": meter.driver,
        "is": name_of(meter),
        "identity": {key: getattr(identity, key) for key in ("maker", "model", "serial", "firmware")},
        "range": meter.range_text,
        "scope": capabilities.scope,
        "kind": capabilities.kind,
        "power_w": {"value": reading.mean_w, "u": None if u_w is None else COVERAGE * u_w},
        "min_w": reading.min_w,
        "max_w": reading.max_w,
        "samples": reading.samples,
        "duration_s": reading.duration_s,
        "rate_hz": reading.rate_hz,
        "gaps": reading.gaps,
        "clipped": reading.clipped,
        "lost": reading.lost,
        "calibration": reading.calibration,
    }


def _flags(meter: Meter, reading: Reading) -> list[dict[str, str]]:
    """Return what a reader has to know: what the meter tells, and why an uncertainty is unknown."""
    found = [] if meter.flag is None else [(meter.flag.code, meter.flag.message)]
    accuracy = meter.capabilities.accuracy
    if accuracy is None:
        found.append(
            (
                "ACCURACY_UNKNOWN",
                "Nobody states the meter's accuracy; give accuracy in farm.toml, or calibrate it.",
            )
        )
    elif reading.scatter_w is None and not accuracy.covers_noise:
        found.append(
            (
                "TOO_FEW_SAMPLES",
                f"{reading.samples} reading(s) are too few to tell how they scatter; read for longer (--for).",
            )
        )
    return [{"code": code, "message": message} for code, message in found]


def _extremes(low_w: float | None, high_w: float | None) -> str:
    return DASH if low_w is None or high_w is None else f"{number(low_w, 6)} W to {number(high_w, 6)} W"


def _show(told: dict[str, Any]) -> None:
    simulated = " (simulated)" if told["kind"] == "simulated" else ""
    clipped = DASH if told["clipped"] is None else told["clipped"]
    print_facts(
        [
            ("meter", f"{told['meter']}: {told['is']}{simulated}"),
            ("power", with_u(told["power_w"]["value"], told["power_w"]["u"])),
            ("extremes", _extremes(told["min_w"], told["max_w"])),
            (
                "readings",
                f"{told['samples']} in {number(told['duration_s'])} s ({number(told['rate_hz'])} a second)",
            ),
            ("amiss", f"{told['gaps']} gaps, {clipped} clipped, {told['lost']} lost"),
            ("calibration", told["calibration"]),
        ]
    )
    for flag in told["flags"]:
        click.echo(f"{flag['code']}: {flag['message']}")
