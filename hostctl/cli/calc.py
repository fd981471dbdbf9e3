"""`hostctl calc`: the formulas on numbers typed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from hostctl.cli.options import examples, json_option
from hostctl.cli.output import DASH, number, print_facts, print_json


@click.command(
    "calc",
    epilog=examples(
        "hostctl calc --ops 7.78e9 --time-ms 20.46 --power-w 56.96 --idle-w 14.03",
        "hostctl calc --ops 7.78e9 --throughput-ips 390 --power-w 56.96 --json",
    ),
)
@click.option("--ops", type=float, help="Operations of one inference, such as 7.78e9 (1 MAC = 2 operations).")
@click.option("--time-ms", type=float, help="Time of one request, that is of the whole batch.")
@click.option("--batch", type=int, default=1, show_default=True, help="Samples in one request.")
@click.option("--throughput-ips", type=float, help="Inferences a second, where they are not batch ÷ time.")
@click.option("--power-w", type=float, help="Mean power while it runs.")
@click.option("--idle-w", type=float, help="Mean power while it does not.")
@click.option("--peak-gops", type=float, help="The board's peak in that precision.")
@json_option
def calc_command(as_json: bool, **given: Any) -> None:
    """Apply the formulas to numbers typed in.

    What the numbers given do not determine is a dash, and null in JSON.
    """
    from hostctl.calc import calculate

    found = calculate(**given)
    if as_json:
        print_json(found)
    else:
        print_facts(_facts(found))


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    energy, per_watt = found["energy_per_inference_mj"], found["gops_per_w"]
    ratio = found["performance_ratio"]
    return [
        ("inference time", _with(found["inference_time_ms"]["mean"], "ms")),
        ("throughput", _with(found["throughput_ips"], "inferences/s")),
        ("achieved", _with(found["achieved_gops"], "GOPS")),
        ("of peak", DASH if ratio is None else f"{number(100 * ratio)} %"),
        ("power", _with(_value(found["power_w"]), "W")),
        ("idle power", _with(_value(found["idle_power_w"]), "W")),
        ("energy per inference, gross", _with(_value(energy["gross"]), "mJ")),
        ("energy per inference, net", _with(_value(energy["net"]), "mJ")),
        ("efficiency, gross", _with(_value(per_watt["gross"]), "GOPS/W")),
        ("efficiency, net", _with(_value(per_watt["net"]), "GOPS/W")),
    ]


def _value(pair: Mapping[str, float | None] | None) -> float | None:
    return None if pair is None else pair["value"]


def _with(value: float | None, unit: str) -> str:
    return DASH if value is None else f"{number(value)} {unit}"
