"""`hostctl demo`: everything once, on this machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from hostctl.cli.options import DURATION, json_option
from hostctl.cli.output import print_json
from hostctl.errors import UsageError

MODELS = ("mobilenetv3-small", "digits-dscnn")
RUNTIMES = {"onnxruntime": "onnxruntime", "openvino": "openvino"}
"""Runtimes that take ONNX, and the distribution each is installed by."""
BATCHES = (1, 8)
WARMUP_S = 0.5
BROKEN = ("FAILED", "INTERRUPTED", "LEASE_LOST")


@click.command("demo")
@click.option(
    "--duration", type=DURATION, default="2s", show_default=True, help="Measured window of each result."
)
@click.option(
    "--idle", type=DURATION, default="1s", show_default=True, help="Idle window before and after each."
)
@json_option
def demo_command(duration: float, idle: float, as_json: bool) -> int:
    """Measure two models on this machine: everything once, end to end.

    Builds MobileNetV3-Small (random weights) and digits (trained), starts a farmd for this machine, and measures both with
    every runtime found, at batch 1 and 8. Where this machine has no meter, watts are estimated and marked so.
    """
    from hostctl.inventory import LOCAL, Inventory, load_inventory
    from hostctl.models.zoo import build
    from hostctl.paths import cache_dir
    from hostctl.session.modelchoice import model_choice
    from hostctl.session.plan import Plan
    from hostctl.session.progress import progress_on
    from hostctl.session.run import Request, run_plan

    progress = progress_on()
    runtimes = _installed()
    models = []
    for name in MODELS:
        progress.step(f"building {name}")
        models.append(model_choice(build(name, cache_dir())))
    plan = Plan(
        models=tuple(models),
        runtimes=runtimes,
        batches=BATCHES,
        duration_s=duration,
        warmup_s=WARMUP_S,
        idle_s=idle,
    )
    known = load_inventory(None)
    own = Inventory(known.source, {LOCAL: known.devices[LOCAL]}, known.meters)
    results: list[dict[str, Any]] = []
    folders: list[Path] = []

    def keep(result: dict[str, Any], folder: Path | None) -> None:
        results.append(result)
        if folder is not None:
            folders.append(folder)
        if as_json:
            print_json(result)
            sys.stdout.flush()

    run_plan(Request(plan=plan, inventory=own, selector=LOCAL), progress, keep)
    if not as_json:
        _tell(results, folders, runtimes)
    # A busy machine earns flags, and the table says so; the demo itself failed only where a run broke.
    return 1 if any(flag["code"] in BROKEN for result in results for flag in result["flags"]) else 0


def _installed() -> tuple[str, ...]:
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name, distribution in RUNTIMES.items():
        try:
            version(distribution)
        except PackageNotFoundError:
            continue
        found.append(name)
    if not found:
        raise UsageError(
            "No runtime that takes ONNX is installed here; run pip install 'wattfarm[onnxruntime]'."
        )
    return tuple(found)


def _tell(results: Sequence[dict[str, Any]], folders: Sequence[Path], runtimes: Sequence[str]) -> None:
    """Print the table, where everything is, and what to try next."""
    from hostctl.cli.run import show_results
    from hostctl.paths import data_dir
    from hostctl.results.report import html_report

    show_results(list(results))
    click.echo("")
    if any(result["meter"] and result["meter"]["kind"] != "measured" for result in results):
        click.echo(
            "This machine has no power meter that can be read, so its watts are ESTIMATED from processor time."
        )
    if len(runtimes) == 1:
        missing = next(name for name in RUNTIMES if name not in runtimes)
        click.echo(
            f"Only {runtimes[0]} is installed; for a second runtime run pip install 'wattfarm[{missing}]'."
        )
    for folder in folders:
        click.echo(f"result  {folder / 'result.json'}")
    report = data_dir() / "reports" / f"demo-{datetime.now():%Y%m%d-%H%M%S}.html"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(html_report(list(results)), encoding="utf-8")
    click.echo(f"report  {report}")
    click.echo("next    hostctl run --model FILE.onnx --batch 1,8 --scenario latency,throughput")
