"""`hostctl run`: the measurement."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hostctl.cli.options import (
    BATCHES,
    DURATION,
    IDLE_STATE,
    KEY_VALUE,
    NUMBER,
    SHAPE,
    WORDS,
    complete_device,
    examples,
    json_option,
    pass_settings,
)
from hostctl.cli.output import print_json
from hostctl.main import Settings

if TYPE_CHECKING:
    from hostctl.session.plan import Plan

_F = Callable[..., Any]
USUAL_DURATION_S = 10.0

_WHAT = (
    click.option(
        "--device", default="local", show_default=True, shell_complete=complete_device,
        help="Device name, or terms such as tag=gpu,runtime=openvino.",
    ),
    click.option(
        "--model", "models", type=click.Path(path_type=Path), multiple=True, required=True,
        help="ONNX, TFLite, OpenVINO, TensorRT, HEF, xmodel, TVM or Akida file (repeatable).",
    ),
    click.option(
        "--source", type=click.Path(path_type=Path), metavar="FILE",
        help="ONNX or TFLite file a compiled model was made of, for its operations and its outputs.",
    ),
    click.option("--format", "form", metavar="NAME", help="The files' format where hostctl cannot tell, as a runtime names it."),
    click.option("--runtime", "runtimes", type=WORDS, default=(), help="Runtimes; by the file's format if not given."),
    click.option("--precision", "precisions", type=WORDS, default=("",), help="Precisions; the file's own if not given."),
    click.option("--batch", "batches", type=BATCHES, default=(None,), help="Batches, such as 1,8; the file's own if not given."),
    click.option(
        "--scenario", "scenarios", type=WORDS, default="latency", show_default=True, help="latency, throughput or both."
    ),
)  # fmt: skip
_HOW = (
    click.option(
        "--duration", type=DURATION, show_default="10s; 10m with --rules mlperf", help="Measured window, at least."
    ),
    click.option("--warmup", type=DURATION, default="1s", show_default=True, help="Before it, at least."),
    click.option("--idle", type=DURATION, default="5s", show_default=True, help="Idle window before and after; 0s for none."),
    click.option("--min-requests", type=click.IntRange(1), default=10, show_default=True, help="However long it takes."),
    click.option(
        "--meter", metavar="NAME",
        help="Of farm.toml; or board, estimate, none, or here: rapl, hwmon, nvml, hailo, tegrastats, jetson-ina3221.",
    ),
    click.option(
        "--align", type=click.Choice(["auto", "clock", "edge", "pattern"]), default="auto", show_default=True,
        help="How the window is placed in the trace; auto is edge where the meter has a marker channel, else clock.",
    ),
    click.option(
        "--idle-model", type=click.Choice(["before", "after", "linear", "fixed"]), default="linear", show_default=True,
        help="What idle power during the run is taken to be.",
    ),
    click.option("--idle-w", type=NUMBER, metavar="WATTS", help="Idle power for --idle-model fixed."),
    click.option("--idle-u", type=NUMBER, metavar="WATTS", help="Its expanded uncertainty (k = 2), as results state it."),
    click.option(
        "--idle-state", "idle_states", type=IDLE_STATE, multiple=True,
        help="Hold the run against this idle state too: measured before the model is loaded, or given (repeatable).",
    ),
    click.option("--settle", type=DURATION, help="Rest before each idle window; a fifth of it, at most 1s, if not given."),
    click.option(
        "--rules", type=click.Choice(["default", "mlperf"]), default="default", show_default=True,
        help="mlperf: ranging run, ten minutes, 1 % uncertainty, 10 s of settling.",
    ),
    click.option(
        "--accept-fallback", is_flag=True,
        help="Take results where the runtime did something else than was asked for, or than the file says.",
    ),
    click.option("--ops", type=NUMBER, help="Operations per inference; counted if not given."),
    click.option("--threads", type=click.IntRange(1), help="Processor threads of the runtime."),
    click.option("--streams", type=click.IntRange(1), help="Streams of the runtime, where it has them."),
    click.option(
        "--in-flight", type=click.IntRange(1), help="Requests in flight for throughput; the runtime's best if not given."
    ),
    click.option("--option", "options", type=KEY_VALUE, multiple=True, help="Further option of the runtime (repeatable)."),
    click.option("--shape", "shapes", type=SHAPE, multiple=True, metavar="INPUT=SIZES", help="Bind an open shape (repeatable)."),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the random inputs."),
)  # fmt: skip
_WHO = (
    click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the device, or exit 3."),
    click.option("--lease", "lease_id", metavar="ID", help="Use this lease; one of your own is found by itself."),
    click.option(
        "--lease-ttl", type=DURATION, default="30s", show_default=True, help="How long the device stays reserved if hostctl dies."
    ),
)  # fmt: skip


def _options(command: _F) -> _F:
    for option in reversed((*_WHAT, *_HOW, *_WHO)):
        command = option(command)
    return command


@click.command(
    "run",
    epilog=examples(
        "hostctl run --model resnet50.onnx --runtime openvino --batch 1,8",
        "hostctl run --device tag=gpu --model m.onnx --scenario latency,throughput",
        "hostctl run --device orin-1 --model m.onnx --meter scope1 --duration 1m",
        "hostctl run --device orin-1 --model m.onnx --meter wt1 --rules mlperf --json",
    ),
)
@_options
@json_option
@pass_settings
def run_command(
    settings: Settings,
    /,
    device: str,
    wait: bool,
    lease_id: str | None,
    lease_ttl: float,
    as_json: bool,
    **given: Any,
) -> int:
    """Measure a model: time, power, energy, each with its uncertainty.

    Every combination of models, runtimes, precisions, batches and scenarios is one result. Exits 1 if one is invalid.
    """
    from hostctl.inventory import load_inventory
    from hostctl.session.progress import progress_on
    from hostctl.session.run import Request, run_plan

    request = Request(
        plan=_plan(given),
        inventory=load_inventory(settings.config),
        selector=device,
        wait=wait,
        lease_id=lease_id,
        lease_ttl_s=lease_ttl,
    )
    results: list[dict[str, Any]] = []

    def keep(result: dict[str, Any], _folder: Path | None) -> None:
        results.append(result)
        if as_json:
            print_json(result)
            sys.stdout.flush()

    try:
        run_plan(request, progress_on(), keep)
    finally:
        if results and not as_json:
            show_results(results)
    return tell_invalid(results, as_json)


def _plan(given: Mapping[str, Any]) -> Plan:
    from hostctl.errors import UsageError
    from hostctl.rules import MLPERF
    from hostctl.session.modelchoice import model_choice
    from hostctl.session.plan import Plan, StateChoice

    if given["source"] is not None and len(given["models"]) > 1:
        raise UsageError("--source is for one --model; measure the models one after another.")
    usual_s = MLPERF.least_duration_s if given["rules"] == "mlperf" else USUAL_DURATION_S
    return Plan(
        models=tuple(model_choice(path, given["source"], given["form"]) for path in given["models"]),
        runtimes=given["runtimes"],
        precisions=given["precisions"],
        batches=given["batches"],
        scenarios=given["scenarios"],
        duration_s=usual_s if given["duration"] is None else given["duration"],
        warmup_s=given["warmup"],
        idle_s=given["idle"],
        min_requests=given["min_requests"],
        meter=given["meter"],
        ops_per_inference=given["ops"],
        threads=given["threads"],
        streams=given["streams"],
        in_flight=given["in_flight"],
        options=dict(given["options"]),
        shapes=dict(given["shapes"]),
        seed=given["seed"],
        align=given["align"],
        idle_model=given["idle_model"],
        idle_w=given["idle_w"],
        idle_u_w=given["idle_u"],
        idle_states=tuple(StateChoice(*state) for state in given["idle_states"]),
        settle_s=given["settle"],
        rules=given["rules"],
        accepts_fallback=given["accept_fallback"],
    )


def show_results(results: list[dict[str, Any]]) -> None:
    """Print the table of results, and what a reader of it has to know."""
    from hostctl.cli.output import print_rich
    from hostctl.results.tables import result_table

    print_rich(result_table(results))


def tell_invalid(results: list[dict[str, Any]], as_json: bool) -> int:
    """Say on stderr that results are invalid, and why where no table does; return the exit code."""
    from hostctl.validity import INVALIDATING

    invalid = [result for result in results if not result["valid"]]
    for result in invalid if as_json else ():
        for flag in result["flags"]:
            if flag["code"] in INVALIDATING:
                click.echo(f"hostctl: invalid ({result['id']}): {flag['code']}: {flag['message']}", err=True)
    if invalid and not as_json:
        click.echo(
            f"hostctl: {len(invalid)} of {len(results)} results are invalid; the lines above say why.",
            err=True,
        )
    return 1 if invalid else 0
