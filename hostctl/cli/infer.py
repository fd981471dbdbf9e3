"""`hostctl infer`: one inference, with the user's inputs or seeded ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hostctl.cli.options import KEY_VALUE, SHAPE, complete_device, examples, json_option, pass_settings
from hostctl.cli.output import DASH, number, print_facts, print_json, print_table
from hostctl.errors import UsageError
from hostctl.main import Settings

if TYPE_CHECKING:
    from farm.v1 import model_pb2

    from hostctl.calls import InferResult
    from hostctl.tensors import Array


@click.command(
    "infer",
    epilog=examples(
        "hostctl infer --model digits-dscnn.onnx",
        "hostctl infer --device orin-1 --model m.onnx --json",
    ),
)
@click.option(
    "--device",
    default="local",
    show_default=True,
    shell_complete=complete_device,
    help="Device name, or terms such as tag=gpu,runtime=openvino.",
)
@click.option(
    "--model", type=click.Path(path_type=Path), required=True, help="Model file, as for hostctl run."
)
@click.option("--format", "form", metavar="NAME", help="The file's format where hostctl cannot tell.")
@click.option("--runtime", help="Runtime; by the file's format if not given.")
@click.option("--precision", default="", help="Precision; the file's own if not given.")
@click.option("--batch", type=click.IntRange(1), help="Batch; the file's own, or 1, if not given.")
@click.option(
    "--input", "inputs", type=KEY_VALUE, multiple=True, metavar="NAME=FILE.npy", help="An input's value."
)
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE.npz", help="Keep the outputs.")
@click.option("--option", "options", type=KEY_VALUE, multiple=True, help="Further option of the runtime.")
@click.option(
    "--shape", "shapes", type=SHAPE, multiple=True, metavar="INPUT=SIZES", help="Bind an open shape."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the inputs that are not given.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the device, or exit 3.")
@json_option
@pass_settings
def infer_command(
    settings: Settings,
    device: str,
    model: Path,
    runtime: str | None,
    form: str | None,
    precision: str,
    batch: int | None,
    inputs: tuple[tuple[str, str], ...],
    output: Path | None,
    options: tuple[tuple[str, str], ...],
    shapes: tuple[tuple[str, str], ...],
    seed: int,
    wait: bool,
    as_json: bool,
) -> None:
    """Run one inference."""
    from hostctl.inventory import load_inventory
    from hostctl.session.connect import candidates, connected
    from hostctl.session.modelchoice import default_runtime, model_choice, named_runtime
    from hostctl.session.modelfile import sendable_file
    from hostctl.session.outputs import inputs_for
    from hostctl.session.progress import progress_on
    from hostctl.session.reservation import Wanted, reserved

    chosen = model_choice(model, form=form)
    given = {name: _read_array(name, Path(path)) for name, path in inputs}
    progress = progress_on()
    devices = candidates(load_inventory(settings.config), device)
    with (
        sendable_file(chosen) as file,
        reserved(Wanted(devices, {}, wait), progress) as reservation,
        connected(reservation.device, reservation.lease) as board,
    ):
        runtimes = board.info().runtimes
        name = named_runtime(runtime, chosen, runtimes) if runtime else default_runtime(chosen, runtimes)
        loaded = board.load(
            file,
            name=chosen.name,
            format=chosen.format,
            runtime=name,
            precision=precision,
            batch=batch,
            options={**{f"shape.{key}": sizes for key, sizes in shapes}, **dict(options)},
            progress=progress.upload,
        )
        progress.clear()
        result = board.infer(loaded.model_id, {**_missing(inputs_for, loaded, given, seed, batch), **given})
        board.unload(loaded.model_id)
    if output is not None:
        _write_outputs(output, result.outputs)
    if as_json:
        print_json(_as_object(loaded, result))
    else:
        _print(loaded, result)


def _missing(
    make: Any, loaded: model_pb2.LoadedModel, given: Mapping[str, Array], seed: int, batch: int | None
) -> dict[str, Array]:
    """Return seeded values for the inputs that were not given."""
    if set(given) >= {spec.name for spec in loaded.spec.inputs}:
        return {}
    return {name: array for name, array in make(loaded, seed, batch).items() if name not in given}


def _read_array(name: str, path: Path) -> Array:
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(
            f"The input '{name}' cannot be read from {path} ({error}); save it with numpy.save."
        ) from None
    if not isinstance(array, np.ndarray):
        raise UsageError(f"{path} holds several arrays; save the input '{name}' alone with numpy.save.")
    return array


def _write_outputs(path: Path, outputs: Mapping[str, Array]) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **dict(outputs))


def _as_object(loaded: model_pb2.LoadedModel, result: InferResult) -> dict[str, Any]:
    return {
        "model": {"name": loaded.name, "sha256": loaded.sha256, "format": loaded.format},
        "runtime": {
            "name": loaded.execution.runtime,
            "version": loaded.execution.version,
            "effective": dict(loaded.execution.effective),
        },
        "queue_ms": _milliseconds(result.queue_ns),
        "compute_ms": _milliseconds(result.compute_ns),
        "round_trip_ms": _milliseconds(result.round_trip_ns),
        "outputs": {name: _summary(array) for name, array in result.outputs.items()},
    }


def _summary(array: Array) -> dict[str, Any]:
    """Describe an output; NaN and infinity count as missing."""
    import numpy as np

    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array.ravel()
    known = finite.size > 0
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "min": finite.min().item() if known else None,
        "max": finite.max().item() if known else None,
        "mean": float(finite.mean()) if known else None,
        "finite": bool(finite.size == array.size),
        "argmax": int(array.argmax()) if array.size and finite.size == array.size else None,
    }


def _milliseconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e6


def _print(loaded: model_pb2.LoadedModel, result: InferResult) -> None:
    print_facts(
        [
            ("model", f"{loaded.name} ({loaded.format})"),
            ("runtime", f"{loaded.execution.runtime} {loaded.execution.version}"),
            ("effective", ", ".join(f"{k}={v}" for k, v in sorted(loaded.execution.effective.items()))),
            ("waited", _time(result.queue_ns)),
            ("computed", _time(result.compute_ns)),
            ("round trip", _time(result.round_trip_ns)),
        ]
    )
    rows = [_output_row(name, array) for name, array in result.outputs.items()]
    print_table("Outputs", ("name", "dtype", "shape", "min", "max", "mean", "largest at"), rows)


def _output_row(name: str, array: Array) -> tuple[str, ...]:
    summary = _summary(array)
    index = summary["argmax"]
    return (
        name,
        summary["dtype"],
        str(summary["shape"]),
        *(number(summary[key]) for key in ("min", "max", "mean")),
        "not finite" if not summary["finite"] else DASH if index is None else str(index),
    )


def _time(ns: int | None) -> str | None:
    return None if ns is None else f"{number(ns / 1e6)} ms"
