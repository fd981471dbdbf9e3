"""`hostctl results list, show, export, report`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hostctl.cli.options import complete_device, examples, json_option
from hostctl.cli.output import print_json, print_json_lines, print_rich, print_table

if TYPE_CHECKING:
    from hostctl.results.store import ResultStore


@click.group("results")
def results_command() -> None:
    """What was measured: list, show, export, report."""


@contextlib.contextmanager
def open_results() -> Iterator[ResultStore]:
    """Open this user's results for the length of the block."""
    from hostctl.paths import data_dir
    from hostctl.results.store import ResultStore

    with contextlib.closing(ResultStore(data_dir())) as store:
        yield store


@results_command.command(
    "list",
    epilog=examples(
        "hostctl results list",
        "hostctl results list --json",
    ),
)
@click.option("--device", shell_complete=complete_device, help="Of this device.")
@click.option("--model", metavar="NAME", help="Of this model.")
@click.option("--valid/--invalid", default=None, help="Valid or invalid ones only.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Most to list.")
@json_option
def list_command(
    device: str | None, model: str | None, valid: bool | None, limit: int, as_json: bool
) -> None:
    """List results, the newest first."""
    with open_results() as store:
        found = store.list(device=device, model=model, valid=valid, limit=limit)
    if as_json:
        print_json_lines(found)
        return
    rows = [_row(result) for result in found]
    columns = (
        "result",
        "created",
        "device",
        "model",
        "runtime",
        "batch",
        "scenario",
        "inf/s",
        "power W",
        "valid",
    )
    print_table("", columns, rows, numbers=("batch", "inf/s", "power W"))


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    from hostctl.results.columns import COLUMNS

    texts = {column.title: column.text(result) for column in COLUMNS}
    return (
        result["id"],
        result["created"][:19].replace("T", " "),
        result["device"],
        *(texts[title] for title in ("model", "runtime", "batch", "scenario", "inf/s", "power W")),
        "yes" if result["valid"] else ", ".join(_reasons(result)) or "no",
    )


def _reasons(result: dict[str, Any]) -> list[str]:
    from hostctl.validity import INVALIDATING

    return [flag["code"] for flag in result["flags"] if flag["code"] in INVALIDATING]


@results_command.command(
    "show",
    epilog=examples(
        "hostctl results show 3fa9",
        "hostctl results show 3fa9 --budget",
    ),
)
@click.argument("result")
@click.option(
    "--budget", "as_budget", is_flag=True, help="Show what its uncertainty is made of, after the GUM."
)
@json_option
def show_command(result: str, as_budget: bool, as_json: bool) -> None:
    """Show one result: its table, its flags, and where its files are.

    RESULT is an id or the beginning of one.
    """
    from hostctl.results.budget import budget_of, budget_tables
    from hostctl.results.tables import result_table

    with open_results() as store:
        found = store.get(result)
        folder, raw = store.folder(found["id"]), store.raw(found["id"])
    if as_json:
        print_json(budget_of(found) if as_budget else found)
        return
    if as_budget:
        for table in budget_tables(found):
            print_rich(table)
        return
    print_rich(result_table([found]))
    click.echo(f"id {found['id']}, created {found['created']}, on {found['device']}")
    for path in (folder / "result.json", *raw.values()):
        click.echo(str(path))


@results_command.command(
    "export",
    epilog=examples(
        "hostctl results export --output results.csv",
    ),
)
@click.argument("ids", nargs=-1, metavar="[RESULT]…")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "json"]),
    default="csv",
    show_default=True,
    help="One flat row, or one object, a result.",
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Standard output if not given."
)
@json_option
def export_command(ids: tuple[str, ...], kind: str, output: Path | None, as_json: bool) -> None:
    """Write results as CSV or JSON, nothing rounded; all of them if none is named.

    --json is short for --format json.
    """
    from hostctl.results.export import to_csv, to_json_lines

    text = (to_json_lines if as_json or kind == "json" else to_csv)(_chosen(ids))
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


@results_command.command("report")
@click.argument("ids", nargs=-1, metavar="[RESULT]…")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="Where to write it.",
)
@json_option
def report_command(ids: tuple[str, ...], output: Path, as_json: bool) -> None:
    """Write results as one HTML page that needs nothing else; all of them if none is named."""
    from hostctl.results.report import html_report

    chosen = _chosen(ids)
    output.write_text(html_report(chosen), encoding="utf-8")
    if as_json:
        print_json({"path": str(output), "results": [result["id"] for result in chosen]})
    else:
        click.echo(str(output))


def _chosen(ids: tuple[str, ...]) -> list[dict[str, Any]]:
    with open_results() as store:
        return [store.get(each) for each in ids] if ids else store.list(limit=100_000)
