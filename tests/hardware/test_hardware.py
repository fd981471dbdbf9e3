"""The conformance suite on real accelerators: those that are there take part, the others are skipped with the reason.

`make hardware-report` runs the same and writes what came of it into a page.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.hardware.present import HARDWARE, why_absent
from tests.targets.helpers import WorkerClient
from tests.targets.runners import suite
from tests.targets.runners.cases import Case

each_case = pytest.mark.parametrize("case", HARDWARE, ids=str)
why = cache(lambda at: why_absent(HARDWARE[at]))


@pytest.fixture
def worker(case: Case) -> Iterator[WorkerClient]:
    reason = why(HARDWARE.index(case))
    if reason is not None:
        pytest.skip(reason)
    with case.worker() as client:
        yield client


@each_case
@pytest.mark.parametrize(
    "check", [check for _, check in suite.CHECKS], ids=[name for name, _ in suite.CHECKS]
)
@pytest.mark.slow
def test_an_accelerator(worker: WorkerClient, tmp_path: Path, case: Case, check: suite.Check) -> None:
    check(worker, tmp_path, case)


def test_an_nvidia_gpu_tells_its_power() -> None:
    from power.catalogue import make_meter
    from power.errors import PowerError

    try:
        meter = make_meter("gpu", "nvml", {}).open()
    except PowerError as error:
        pytest.skip(str(error))
    with meter:
        meter.start()
        trace = meter.stop()
    assert len(trace) >= 2
    assert meter.identity.model
