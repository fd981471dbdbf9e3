"""The case of HailoRT on a fake, and what its tests do again and again."""

from pathlib import Path
from typing import Any

from targets import errors
from tests.targets.helpers import Array, WorkerClient
from tests.targets.runners.cases import CASES, inputs_for

CASE = next(case for case in CASES if case.runtime == "hailort")


def load(worker: WorkerClient, path: Path, **fields: Any) -> dict[str, Any]:
    """Load a HEF."""
    return worker.call("load", **CASE.request(path, "hef", **fields))


def refusal(worker: WorkerClient, path: Path, **fields: Any) -> errors.TargetsError:
    """Return why a HEF is refused: in one sentence."""
    error = worker.error("load", **CASE.request(path, "hef", **fields))
    assert "\n" not in error.message
    assert error.message.endswith(".")
    return error


def run_once(worker: WorkerClient, path: Path, **fields: Any) -> dict[str, Array]:
    """Load a HEF and infer once."""
    return worker.infer(inputs_for(load(worker, path, **fields)["spec"]))
