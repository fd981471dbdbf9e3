"""`hostctl run` on boards whose accelerator is a fake of the vendor's package, in the oldest Python there is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hostctl.session.modelchoice import COMPILED
from hostctl.session.outcome import KEYS
from tests.hostctl.farm import BOARD_MOODS, QUICK, Hostctl, codes, serve_board
from tests.targets.interpreters import oldest
from tests.targets.runners.cases import CASES, FAKES, Case

SUFFIXES = {fmt: suffix for suffix, fmt in COMPILED.items()} | {"onnx": ".onnx", "tflite": ".tflite"}
TOLERATED = BOARD_MOODS | {
    "ENERGY_ESTIMATED", "UNCERTAINTY_WIDE", "THROTTLING_UNOBSERVED", "RANDOM_WEIGHTS", "NET_NOT_POSITIVE",
    "EDGES_BLURRED", "OPERATIONS_UNKNOWN", "REFERENCE_UNAVAILABLE",
}  # fmt: skip


PARAMETERS = [
    pytest.param(case, id=str(case), marks=() if str(case) == "tensorrt-8.2" else pytest.mark.slow)
    for case in CASES
    if case.is_fake
]


def board_of(case: Case) -> dict[str, object]:
    """Return the settings of a farmd whose workers find the fakes."""
    return {
        "interpreters": {case.runtime: oldest()},
        "extra_worker_paths": [str(FAKES), *(str(FAKES / fake) for fake in case.fakes)],
        "worker_env": {**case.env, "WATTFARM_FAKE": json.dumps({"latency_ms": 2, **case.settings})},
        "infer_timeout_s": 20.0,
    }


@pytest.mark.parametrize("case", PARAMETERS)
def test_a_complete_result(case: Case, hostctl: Hostctl, tmp_path: Path) -> None:
    made, fmt = case.make(tmp_path)
    model = tmp_path / f"model{SUFFIXES[fmt]}"
    if model != made:
        shutil.copyfile(made, model)
    options = [f"--option={key}={value}" for key, value in case.options.items()]
    with serve_board(tmp_path / "board", **board_of(case)) as (address, _):
        hostctl.add_device("bench", address)
        (result,) = hostctl.results(
            *("run", "--device", "bench", "--model", str(model), "--runtime", case.runtime), *options, *QUICK
        )
        shown = json.loads(hostctl.run("show", "bench", "--json").stdout)
    assert tuple(result) == KEYS
    # The fakes that take TFLite files compute something of their own, and are found out.
    told = {"FIDELITY_BEYOND_TOLERANCE"} if fmt == "tflite" else set()
    assert codes(result) <= TOLERATED | told, result["flags"]
    assert result["inferences"] > 0
    assert result["runtime"]["name"] == case.runtime
    assert result["runtime"]["effective"]["precision"] == case.precision
    assert result["runtime"]["effective"]["device"].lower() == case.device
    assert result["model"]["format"] == fmt
    runtimes = {entry["name"]: entry for entry in shown["info"]["runtimes"]}
    assert runtimes[case.runtime]["available"]
    assert runtimes[case.runtime]["version"] == result["runtime"]["version"]
    assert all(entry.get("reason") for entry in runtimes.values() if not entry.get("available"))
