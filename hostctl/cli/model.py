"""`hostctl model count FILE` and `hostctl model build NAME`."""

from __future__ import annotations

from pathlib import Path

import click

from hostctl.cli.options import SHAPE, examples, json_option
from hostctl.cli.output import number, print_facts, print_json, print_json_lines, print_table
from hostctl.models.count.result import ModelCount


@click.group("model")
def model_command() -> None:
    """Models: count operations, build the zoo's."""


@model_command.command(
    "count",
    epilog=examples(
        "hostctl model count resnet50.onnx",
        "hostctl model count open.onnx --shape input=1,3,224,224 --json",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--shape",
    "shapes",
    type=SHAPE,
    multiple=True,
    metavar="INPUT=SIZES",
    help="Bind an open shape (repeatable).",
)
@json_option
def count_command(file: Path, shapes: tuple[tuple[str, str], ...], as_json: bool) -> None:
    """Count the operations of one inference of an ONNX or TFLite file (1 MAC = 2 operations)."""
    from hostctl.models.count import count_operations

    bound = {name: tuple(int(size) for size in sizes.split(",")) for name, sizes in shapes}
    count = count_operations(file, bound)
    if as_json:
        print_json(count.to_dict())
        return
    _print_count(count)


def _print_count(count: ModelCount) -> None:
    value = count.ops_per_inference.value
    print_facts(
        [
            ("model", count.name),
            ("format", count.format),
            ("sha256", count.sha256),
            ("parameters", f"{count.params:,}"),
            ("operations per inference", None if value is None else f"{value:,} ({number(value / 1e9)} GOp)"),
            ("convention", f"{count.ops_per_inference.convention} (1 MAC = 2 operations)"),
            *((f"beside them: {kind}", f"{operations:,}") for kind, operations in count.other_ops.items()),
        ]
    )
    if count.uncounted:
        rows = [(entry.node, entry.operator, entry.reason) for entry in count.uncounted]
        print_table("Not counted", ("node", "operator", "reason"), rows)
    if value is None:
        click.echo(
            "An operator that computes could not be counted, so GOPS stay null; give --ops to 'hostctl run'."
        )


@model_command.command(
    "build",
    epilog=examples(
        "hostctl model build resnet50 -o resnet50.onnx",
    ),
)
@click.argument("name", required=False)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Copy the model there too."
)
@json_option
def build_command(name: str | None, output: Path | None, as_json: bool) -> None:
    """Build a model of the zoo into the cache and print its path; without NAME list the zoo."""
    from hostctl.models.zoo import build
    from hostctl.paths import cache_dir

    if name is None:
        _list_zoo(as_json)
        return
    path = build(name, cache_dir())
    if output is not None:
        _copy(path, output)
        path = output
    if as_json:
        print_json({"name": name, "path": str(path), "size_bytes": path.stat().st_size})
    else:
        click.echo(str(path))


def _list_zoo(as_json: bool) -> None:
    from hostctl.models.zoo import ENTRIES

    if as_json:
        keys = ("name", "summary", "params", "macs", "aliases", "trained")
        print_json_lines({key: getattr(entry, key) for key in keys} for entry in ENTRIES)
        return
    rows = [(e.name, e.summary, f"{e.params:,}", f"{e.macs:,}") for e in ENTRIES]
    columns = ("name", "what it is", "parameters", "MACs per inference")
    print_table("The zoo", columns, rows, numbers=columns[2:])


def _copy(source: Path, target: Path) -> None:
    """Copy so that the target is whole or not there at all."""
    import os
    import shutil

    partial = target.with_name(target.name + ".part")
    try:
        shutil.copyfile(source, partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
