"""`make hardware-report`: what this machine is, what of the conformance suite holds on it, and how fast it is, as a page.

python -m tests.hardware.report [PAGE]      # docs/hardware/<machine>.md if no page is named
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farmd.machine import cpu_model, operating_system, version
from hostctl.models.zoo import build
from hostctl.paths import cache_dir
from tests.hardware.present import HARDWARE, SOFTWARE, why_absent
from tests.targets.helpers import ROOT, WorkerClient
from tests.targets.runners import suite
from tests.targets.runners.cases import Case

HOLDS = "holds"
SECONDS = 5
ROOT_FS = Path("/")
NETS = ("resnet50", "mobilenetv3-small")


def main(arguments: list[str]) -> int:
    """Write the page; return 1 if something did not hold."""
    cases = [*SOFTWARE, *HARDWARE]
    absent = {str(case): reason for case in cases if (reason := why_absent(case))}
    present = [case for case in cases if str(case) not in absent]
    outcomes = {str(case): _checked(case) for case in present}
    lines = [
        f"# {_machine()}", "",
        f"Written by `make hardware-report` on {datetime.date.today()} with Wattfarm {version()}.", "",
        *_facts(), "", "## Conformance", "",
        *_table(("case", *(name for name, _ in suite.CHECKS)), [(name, *told) for name, told in outcomes.items()]), "",
        *(f"- {name}: not on this machine. {reason}" for name, reason in absent.items()), "",
        "## Speed", "",
        f"Batch 1, random weights, {SECONDS} s each in the worker's own loop; times in ms.", "",
        *_table(
            ("net", "runtime", "device", "median", "p99", "accelerator", "inferences/s, in flight"),
            [row for case in present for row in _speeds(case)],
        ),
    ]  # fmt: skip
    page = Path(arguments[0]) if arguments else ROOT / "docs" / "hardware" / f"{_slug(_machine())}.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines).replace(str(ROOT), ".") + "\n")
    print(f"Wrote {page}.")
    return 0 if all(one == HOLDS for told in outcomes.values() for one in told) else 1


def _machine() -> str:
    for path in ("/proc/device-tree/model", "/sys/class/dmi/id/product_name"):
        try:
            found = Path(path).read_text(errors="replace").strip("\0 \n")
        except OSError:
            continue
        if found:
            return found
    return cpu_model(ROOT_FS) or platform.machine()


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _facts() -> list[str]:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        f"- processor: {cpu_model(ROOT_FS)}, {os.cpu_count()} logical, {platform.machine()}",
        f"- memory: {memory_gib:.1f} GiB",
        f"- system: {operating_system(ROOT_FS)}, Python {platform.python_version()}",
    ]


def _checked(case: Case) -> list[str]:
    """Return what came of each check."""
    return [_outcome(case, check) for _, check in suite.CHECKS]


def _outcome(case: Case, check: suite.Check) -> str:
    with tempfile.TemporaryDirectory() as folder, case.worker() as worker:
        try:
            check(worker, Path(folder), case)
        except (Exception, pytest.fail.Exception) as error:
            return f"fails: {' '.join(str(error).split())[:300]}"
    return HOLDS


def _speeds(case: Case) -> Iterator[tuple[str, ...]]:
    """Yield a row a net for the cases that run ONNX files."""
    with tempfile.TemporaryDirectory() as folder:
        if case.make(Path(folder))[1] != "onnx":
            return
    for net in NETS:
        with case.worker() as worker:
            path = build(net, cache_dir())
            described = worker.call("load", **case.request(path, "onnx", batch=1))["describe"]
            yield (net, f"{case.runtime} {described['version']}", described["device"], *_measured(worker))


def _measured(worker: WorkerClient) -> tuple[str, str, str, str]:
    length: dict[str, Any] = {"duration_ns": SECONDS * 10**9, "warmup_ns": 10**9}
    reply, starts, ends = worker.benchmark(**length)
    median, p99 = np.percentile((ends - starts) / 1e6, [50, 99])
    device_ns = reply["device_time_ns"]
    flying, _, _ = worker.benchmark(scenario="throughput", **length)
    rate = flying["requests"] / ((flying["window_end_ns"] - flying["window_start_ns"]) / 1e9)
    accelerator = "untold" if device_ns is None else f"{device_ns / 1e6:.3g}"
    return f"{median:.3g}", f"{p99:.3g}", accelerator, f"{rate:.4g}, {flying['in_flight']}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    cells = [head, tuple("---" for _ in head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
