"""What simulated instruments see of real processes: a marker line in a file, processor time of a process and its children."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from power.errors import OptionInvalid
from power.sim.common.line import MarkerLine
from power.sim.common.load import ProcessLoad
from power.sim.common.parse import ProcessTime
from targets.marker import Marker

WORK = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def test_a_line_that_the_boards_marker_sets(tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text("")
    line = MarkerLine(file)
    line.start()
    try:
        marker = Marker(str(file))
        before_s = time.monotonic()
        marker.high()
        wait_for(lambda: len(line.changes_s) == 1)
        marker.low()
        wait_for(lambda: len(line.changes_s) == 2)
        after_s = time.monotonic()
        marker.close()
    finally:
        line.stop()
    rise_s, fall_s = line.changes_s
    assert before_s - line.blind_s < rise_s < fall_s < after_s
    assert line.levels(np.array([rise_s - 1e-3, 0.5 * (rise_s + fall_s), fall_s + 1e-3])).tolist() == [
        False,
        True,
        False,
    ]


def test_a_line_that_is_high_to_begin_with(tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text("1\n")
    line = MarkerLine(file)
    line.start()
    try:
        file.write_text("0\n")
        wait_for(lambda: len(line.changes_s) == 1)
    finally:
        line.stop()
    (fall_s,) = line.changes_s
    assert line.levels(np.array([fall_s - 1.0, fall_s + 1.0])).tolist() == [True, False]


def test_a_line_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptionInvalid, match="make that file, and name it as WATTFARM_MARKER"):
        MarkerLine(tmp_path / "value")


def test_processor_time_of_a_child_counts_and_stays() -> None:
    parent = (
        f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {WORK!r}]); "
        "print('done', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    try:
        busy = ProcessTime(process.pid)
        seen = [busy()]
        os.set_blocking(process.stdout.fileno(), False)  # type: ignore[union-attr]
        while process.stdout.read() is None:  # type: ignore[union-attr]
            seen.append(busy())
            time.sleep(0.01)
        seen.append(busy())
    finally:
        process.kill()
        process.communicate()
    assert busy() >= seen[-1]
    assert np.all(np.diff(seen) >= 0.0)
    assert (seen[-1] - seen[0]) * (os.cpu_count() or 1) >= 0.25


def test_a_load_is_known_up_to_the_moment_that_it_is_asked_for() -> None:
    """The last look was just before the work; an instrument that asks right after it sees it nevertheless."""
    used_s = [0.0]
    load = ProcessLoad(lambda: used_s[0], idle_w=1.0, max_w=3.0, interval_s=3600.0)
    load.start()
    try:
        begin_s = time.monotonic()
        used_s[0] = 0.5
        end_s = time.monotonic()
        assert load.energy_j(begin_s - 1.0, end_s + 1.0) == pytest.approx(
            2.0 + (end_s - begin_s) + 2.0 * 0.5, abs=1e-9
        )
    finally:
        load.stop()
