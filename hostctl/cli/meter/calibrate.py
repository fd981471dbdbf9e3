"""`hostctl meter calibrate`: its options, and what they have to agree on before anything is read."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hostctl.cli.meter.common import WATTS
from hostctl.cli.options import DURATION, ListOf, json_option, pass_settings
from hostctl.errors import UsageError
from hostctl.main import Settings

if TYPE_CHECKING:
    from hostctl.cli.meter.session import Order
    from power.calibrate import Partial, Reference

DAY_S = 86400.0
LONGEST_DAYS = 3653
_OF_PLAN = (
    "reference",
    "is_typed",
    "loads_w",
    "rounds",
    "linearity_w",
    "reference_name",
    "reference_gain",
    "reference_offset_w",
)
"""What a calibration that is resumed has decided already."""
_OPTION = {
    "is_typed": "--typed",
    "loads_w": "--loads",
    "linearity_w": "--linearity",
    "reference_offset_w": "--reference-offset",
}


@click.command("calibrate")
@click.argument("name")
@click.option("--reference", metavar="METER", help="Second meter of farm.toml to compare with.")
@click.option("--typed", "is_typed", is_flag=True, help="Type in what the reference shows.")
@click.option("--loads", "loads_w", type=ListOf(WATTS), help="Loads in W: 0 and at least three others.")
@click.option(
    "--rounds", type=click.IntRange(1, 20), help="Go through all loads so often, up and down. [default: 1]"
)
@click.option("--temperature", "temperature_c", type=float, help="Of the room, °C.")
@click.option("--humidity", "humidity_percent", type=click.FloatRange(0, 100), help="Of the room, %.")
@click.option("--operator", help="Who signs for it.")
@click.option("--expires", "valid_s", type=DURATION, help="How long it holds. [default: 365d]")
@click.option("--serial", help="What is written on a meter that does not tell its serial number.")
@click.option("--reference-name", help="With --typed: what the reference is.")
@click.option("--reference-serial", help="Its serial number.")
@click.option("--reference-certificate", help="Number of its certificate.")
@click.option(
    "--reference-gain",
    type=WATTS,
    metavar="FRACTION",
    help="Its relative uncertainty at all loads (k = 2), such as 0.0005.",
)
@click.option(
    "--reference-offset", "reference_offset_w", type=WATTS, help="Its uncertainty near zero (k = 2), W."
)
@click.option(
    "--linearity", "linearity_w", type=WATTS, help="Of the meter, as its maker states it (k = 2), W."
)
@click.option(
    "--for", "duration_s", type=DURATION, default="10s", show_default=True, help="Reading time a point."
)
@click.option(
    "--settle", "settle_s", type=DURATION, default="2s", show_default=True, help="Waiting time before it."
)
@click.option(
    "--set-load", metavar="COMMAND", help="Program that sets the load; the watts become its last argument."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Certificate to write. [default: NAME-DATE.toml]"
)
@click.option("--replace", is_flag=True, help="Overwrite a certificate that is there.")
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="FILE", help="Go on with the points kept there."
)
@click.option("--yes", "is_scripted", is_flag=True, help="Ask nothing; needs --reference and --set-load.")
@json_option
@pass_settings
def calibrate_command(settings: Settings, /, name: str, as_json: bool, **given: Any) -> None:
    """Compare a meter with a reference at zero and three or more loads, and sign a certificate for it.

    The certificate holds gain and offset with their covariance, for one range. Points taken so far survive Ctrl-C: go on
    with --resume.
    """
    from hostctl.cli.meter.session import Calibration
    from hostctl.inventory import load_inventory

    order = _order(name, given, as_json)
    Calibration(order, load_inventory(settings.config)).run()


def _order(name: str, given: Mapping[str, Any], as_json: bool) -> Order:
    """Return what is to be done. Raises UsageError where options contradict one another or something is missing."""
    from hostctl.cli.meter.session import Order
    from power.calibrate import load_partial
    from power.calibrate.files import today

    resume: Path | None = given["resume"]
    partial = _fresh(name, given) if resume is None else _resumed(name, given, load_partial(resume))
    if given["is_scripted"] and (partial.reference_meter is None or given["set_load"] is None):
        raise UsageError(
            "--yes asks nothing, so it needs --reference METER to compare with and --set-load COMMAND to set the loads."
        )
    _check_conditions(partial)
    out: Path = given["out"] or Path(f"{name}-{today()}.toml")
    if out.suffix != ".toml":
        raise UsageError(
            f"A certificate is a TOML file, but {out} is not called so; write for example --out {name}.toml."
        )
    if out.exists() and not given["replace"]:
        raise UsageError(f"{out} exists already; choose another file with --out, or say --replace.")
    points_file = resume or out.with_suffix(".points.toml")
    if resume is None and points_file.exists():
        raise UsageError(
            f"{points_file} holds points of a calibration that was broken off; go on with --resume {points_file}, or delete it."
        )
    return Order(
        name=name,
        partial=partial,
        serial=given["serial"],
        duration_s=given["duration_s"],
        settle_s=given["settle_s"],
        set_load=given["set_load"],
        out=out,
        points_file=points_file,
        replace=given["replace"],
        is_scripted=given["is_scripted"],
        as_json=as_json,
    )


def _fresh(name: str, given: Mapping[str, Any]) -> Partial:
    from power.calibrate import Partial, Plan, PointsInvalid, Subject

    if (given["reference"] is None) != given["is_typed"]:
        raise UsageError("Say what to compare with: either --reference METER or --typed.")
    for key in ("loads_w", "temperature_c", "operator"):
        if given[key] is None:
            option = {
                "loads_w": "--loads 0,1,2.5,5",
                "temperature_c": "--temperature 23",
                "operator": '--operator "…"',
            }[key]
            raise UsageError(f"A certificate needs it: add {option}.")
    for key in (
        "reference_name",
        "reference_serial",
        "reference_certificate",
        "reference_gain",
        "reference_offset_w",
    ):
        if given[key] is not None and not given["is_typed"]:
            option = _OPTION.get(key, f"--{key.replace('_', '-')}")
            raise UsageError(f"{option} goes with --typed; a second meter tells by itself what it is.")
    if given["reference"] == name:
        raise UsageError(f"'{name}' cannot be its own reference; name another meter.")
    try:
        plan = Plan(given["loads_w"], given["rounds"] or 1, (given["linearity_w"] or 0.0) / 2.0)
    except PointsInvalid as error:
        raise UsageError(str(error)) from None
    return Partial(
        subject=Subject(name, ""),
        plan=plan,
        points=(),
        operator=given["operator"],
        temperature_c=given["temperature_c"],
        valid_days=_days(given["valid_s"]),
        humidity_percent=given["humidity_percent"],
        reference=_typed_reference(given) if given["is_typed"] else None,
        reference_meter=given["reference"],
    )


def _resumed(name: str, given: Mapping[str, Any], kept: Partial) -> Partial:
    from dataclasses import replace

    for key in _OF_PLAN:
        if given[key]:
            option = _OPTION.get(key, f"--{key.replace('_', '-')}")
            raise UsageError(f"{option} was decided when the calibration began; leave it out with --resume.")
    if kept.subject.name != name:
        raise UsageError(f"The points in {given['resume']} are of '{kept.subject.name}', not of '{name}'.")
    changes = {
        key: given[key] for key in ("operator", "temperature_c", "humidity_percent") if given[key] is not None
    }
    days = kept.valid_days if given["valid_s"] is None else _days(given["valid_s"])
    return replace(kept, valid_days=days, **changes)


def _typed_reference(given: Mapping[str, Any]) -> Reference:
    from power.calibrate import Reference
    from power.uncertainty import COVERAGE

    for key in ("reference_name", "reference_gain", "reference_offset_w"):
        if given[key] is None:
            raise UsageError(
                "Typed values are worth what the reference is: give --reference-name, --reference-gain and "
                "--reference-offset from its certificate (k = 2)."
            )
    return Reference(
        given["reference_name"],
        given["reference_serial"],
        given["reference_certificate"],
        given["reference_gain"] / COVERAGE,
        given["reference_offset_w"] / COVERAGE,
    )


def _check_conditions(partial: Partial) -> None:
    """Refuse now what the certificate would refuse when everything has been read."""
    from power.calibrate import CalibrationError, Conditions
    from power.calibrate.files import today

    expires = today() + datetime.timedelta(days=partial.valid_days)
    try:
        Conditions(today(), expires, partial.operator, partial.temperature_c, partial.humidity_percent)
    except CalibrationError as error:
        raise UsageError(str(error)) from None


def _days(valid_s: float | None) -> int:
    days = 365 if valid_s is None else math.floor(valid_s / DAY_S)
    if not 1 <= days <= LONGEST_DAYS:
        raise UsageError(
            "A certificate holds for a day at least and ten years at most; write for example --expires 365d."
        )
    return days
