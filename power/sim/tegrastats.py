"""A simulated tegrastats: a program that is started, asked for an interval and ended as the real one is.

The program is a shell script that only waits: this simulator, told of its start through a FIFO, prints in its name, straight
into the pipe that the script was given as its output. So nothing stands between a line and whoever reads it, and in virtual
time the simulator sees in the pipe when a line was read.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import functools
import os
import shutil
import signal
import tempfile
import termios
import threading
import time
from pathlib import Path
from typing import Literal, Unpack

import numpy as np

from power.errors import OptionInvalid
from power.sim.common.base import Settings, Simulator
from power.sim.common.load import Load
from power.specification import Specified
from power.timebase import MonotonicTime

Style = Literal["jp4", "jp5", "jp7"]
GAIN_LIMIT, OFFSET_LIMIT_A = 0.01, 0.008
"""Limits of error of the specimens' current; NVIDIA states none."""
SCRIPT = """#!/bin/sh
# A simulated tegrastats (WATTFARM-SIM): prints nothing itself.
[ "$1" = "--interval" ] || {{ echo "tegrastats: unknown option $1" >&2; exit 2; }}
[ -z "{error}" ] || {{ echo "{error}" >&2; exit 1; }}
exec 3>&1
echo "$$ $2" > "{fifo}"
exec sleep 1000000
"""
SETTLE_S = 2.0
RAILS = {"jp4": ("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"), "jp5": ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")}
LINES = {
    "jp4": "RAM 2015/3964MB (lfb 98x4MB) SWAP 29/1982MB (cached 3MB) CPU [6%@102,5%@102,off,off] EMC_FREQ 0% GR3D_FREQ 0% "
    "PLL@28C CPU@31.5C PMIC@100C GPU@30.5C {rails}",
    "jp5": "11-20-2026 10:15:02 RAM 2015/7620MB (lfb 3x2MB) SWAP 0/3810MB (cached 0MB) CPU [1%@729,0%@729,off,off] "
    "GR3D_FREQ 0% cpu@45.5C gpu@44C tj@46.5C {rails}",
    "jp7": "11-20-2026 10:15:02 RAM 4021/125772MB (lfb 3x4MB) CPU [1%@972,0%@972] cpu@38.1C gpu@36.4C tj@38.1C {rails}",
}
MARK = " WATTFARM-SIM"


class SimulatedTegrastats(Simulator):
    """A Nano (jp4), an Orin Nano (jp5) or an AGX Thor (jp7); `with_rails` false is an Orin without root."""

    driver = "tegrastats"

    def __init__(
        self,
        load: Load,
        *,
        style: Style = "jp5",
        interval_s: float = 0.1,
        with_rails: bool = True,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(load, **settings)
        if style not in LINES:
            raise OptionInvalid(f"tegrastats prints as {', '.join(LINES)} do, not as {style}.")
        self._style, self._interval_s, self._with_rails = style, interval_s, with_rails
        self._sensor = self.sensor_of(current=Specified(GAIN_LIMIT, OFFSET_LIMIT_A))
        self._folder = Path(tempfile.mkdtemp(prefix="wattfarm-sim-"))
        self._fifo = -1
        self._out, self._pid, self._printed = -1, 0, 0
        self._sum_w, self._last = 0.0, ""
        self._run, self._is_heard = 0, True
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._watch, name="sim-tegrastats", daemon=True)

    @property
    def options(self) -> dict[str, object]:
        """How it is started."""
        return {"command": str(self._folder / "tegrastats"), "interval_s": self._interval_s}

    def start(self) -> None:
        """Lay the program out and wait for its starts."""
        fifo = self._folder / "started"
        os.mkfifo(fifo)
        self._fifo = os.open(fifo, os.O_RDWR)
        script = self._folder / "tegrastats"
        script.write_text(SCRIPT.format(fifo=fifo, error=self.faults.error.replace('"', "'")))
        script.chmod(0o755)
        self._thread.start()

    def stop(self) -> None:
        """Switch the board off: the program ends."""
        if self._fifo >= 0:
            self._end_program()
            os.write(self._fifo, b"stop\n")
            self._thread.join()
            os.close(self._fifo)
            self._fifo = -1
        shutil.rmtree(self._folder, ignore_errors=True)

    def settled(self) -> None:
        """Wait until what was printed has been read."""
        waiting = array.array("i", [1])
        deadline_s = time.monotonic() + SETTLE_S
        while self._out >= 0 and self._is_heard:
            try:
                fcntl.ioctl(self._out, termios.FIONREAD, waiting)
            except OSError:  # the program has ended meanwhile, and another thread has closed its output
                return
            if not waiting[0]:
                return
            self._is_heard = time.monotonic() < deadline_s  # once is enough: nobody reads any more
            os.sched_yield()

    def _watch(self) -> None:
        while (told := os.read(self._fifo, 64).decode().split()) and told[0] != "stop":
            with self._lock:
                self._close_output()
                self._pid = int(told[0])
                with contextlib.suppress(OSError):  # it may be over already
                    self._out = os.open(f"/proc/{self._pid}/fd/3", os.O_WRONLY)
                self._printed, self._sum_w, self._is_heard = 0, 0.0, True
                self._run += 1
                run = self._run
                self.timebase.every(int(told[1]) / 1e3, functools.partial(self._print, run))
            self._print(run)

    def _print(self, run: int) -> bool:
        """Print a line of one run of the program; false if that is over."""
        with self._lock:
            if self._out < 0 or run != self._run:
                return False
            self._printed += 1
            number, faults = self._printed, self.faults
            if faults.is_cut(number):
                self._end_program()
                return False
            if faults.is_silent(number):
                return True
            line = self._line()
            if faults.is_stale:
                line, self._last = self._last or line, line
            if faults.is_garbage(number):
                line = "\x1b[0m\x7f???"
            try:
                os.write(self._out, f"{faults.cut_short(line)}\n".encode())
            except OSError:
                self._close_output()
                return False
        if not isinstance(self.timebase, MonotonicTime):
            self.settled()
        return True

    def _line(self) -> str:
        now_s = self._sensor.now_s() - self.faults.delay_s
        volts, amperes = self._sensor.at(np.array([now_s]))
        now_w = float(volts[0] * amperes[0])
        self._sum_w += now_w
        average_w = self._sum_w / self._printed
        rails = " ".join(
            self._rail(name, now_w * share, average_w * share) for name, share in self._shares().items()
        )
        return LINES[self._style].format(rails=rails if self._with_rails else "").rstrip() + MARK

    def _shares(self) -> dict[str, float]:
        if self._style == "jp7":
            return {"VDD_GPU": 0.3, "VDD_CPU_SOC_MSS": 0.2, "VIN_SYS_5V0": 0.2, "VIN": 1.0}
        return dict(zip(RAILS[self._style], (1.0, 0.3, 0.2), strict=True))

    def _rail(self, name: str, now_w: float, average_w: float) -> str:
        now_mw, average_mw = round(now_w * 1e3), round(average_w * 1e3)
        if self._style == "jp4":
            return f"{name} {now_mw}/{average_mw}"
        most = f"/{max(now_mw, average_mw)}mW" if self._style == "jp7" else ""
        return f"{name} {now_mw}mW/{average_mw}mW{most}"

    def _end_program(self) -> None:
        with self._lock:
            if self._pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGKILL)
                self._pid = 0
            self._close_output()

    def _close_output(self) -> None:
        if self._out >= 0:
            os.close(self._out)
            self._out = -1
