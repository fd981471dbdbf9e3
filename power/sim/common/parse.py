"""Loads as people write them on a command line: "constant=5", "square=2,6,50,0.6", "cpu=2,10"."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path

from power.errors import OptionInvalid
from power.sim.common.load import ProcessLoad
from power.sim.common.waveforms import Constant, During, Noise, Ramp, Square, Waveform
from power.timebase import HOST_TIME

FORMS = {
    "constant": "constant=W",
    "square": "square=LOW_W,HIGH_W,HZ[,DUTY]",
    "ramp": "ramp=FROM_W,TO_W,SECONDS",
    "noise": "noise=MEAN_W,SD_W,STEP_S[,SEED]",
    "step": "step=BEFORE_W,AFTER_W,SECONDS",
    "cpu": "cpu=IDLE_W,MAX_W[,PID]",
}
"""What can be written; "cpu" follows the processor time of this machine, or of one process and all that it starts."""
_LIMITS = {
    "HZ": (1e-6, 1e6, "from 0.000001 to 1000000"),
    "DUTY": (0.0, 1.0, "from 0 to 1"),
    "SECONDS": (1e-6, 1e7, "above 0 and at most 10000000"),
    "_S": (1e-6, 1e7, "above 0 and at most 10000000"),
    "W": (0.0, 1e5, "from 0 to 100000"),
    "": (0.0, 2.0**53, "a whole number from 0 on"),
}
"""Ending of a name in FORMS → the least and the most it may be, and that in words."""


def parse_load(text: str) -> Waveform:
    """Return the power that a text describes, times counted from now. Raises OptionInvalid with the form that is meant.

    A load that follows processor time has to be started (ProcessLoad.start).
    """
    kind, _, rest = text.partition("=")
    if kind not in FORMS:
        near = difflib.get_close_matches(kind, FORMS, n=1)
        hint = f"did you mean {FORMS[near[0]]}?" if near else f"there are {', '.join(FORMS.values())}."
        raise OptionInvalid(f"There is no load '{kind}'; {hint}")
    names = re.findall(r"[A-Z_]+", FORMS[kind])
    try:
        values = [float(part) for part in rest.split(",")]
        for name, value in zip(names, values, strict=False):
            _check(text, name, value)
        return _MADE[kind](*values)
    except (TypeError, ValueError):
        raise OptionInvalid(f"The load '{text}' is not of the form {FORMS[kind]}.") from None


def _check(text: str, name: str, value: float) -> None:
    """Refuse what is no power, time or part; `name` is that in FORMS."""
    least, most, words = next(limits for ending, limits in _LIMITS.items() if name.endswith(ending))
    if not least <= value <= most:
        raise OptionInvalid(f"In the load '{text}', {name} must be {words}, not {value:g}.")


def _square(low_w: float, high_w: float, hertz: float, duty: float = 0.5) -> Waveform:
    return Square(low_w, high_w, hertz, duty)


def _ramp(from_w: float, to_w: float, duration_s: float) -> Waveform:
    now_s = HOST_TIME.now_ns() / 1e9
    return Ramp(now_s, now_s + duration_s, from_w, to_w)


def _noise(mean_w: float, sd_w: float, step_s: float, seed: float = 0.0) -> Waveform:
    return Noise(mean_w, sd_w, step_s, int(seed))


def _step(before_w: float, after_w: float, after_s: float) -> Waveform:
    now_s = HOST_TIME.now_ns() / 1e9
    return During(now_s, now_s + after_s, Constant(before_w), Constant(after_w))


def _cpu(idle_w: float, max_w: float, pid: float | None = None) -> Waveform:
    if pid is None:
        return ProcessLoad(machine_busy_s, idle_w=idle_w, max_w=max_w)
    if not Path(f"/proc/{int(pid)}").exists():
        raise OptionInvalid(f"There is no process {int(pid)} whose processor time could be followed.")
    return ProcessLoad(ProcessTime(int(pid)), idle_w=idle_w, max_w=max_w)


_MADE: dict[str, Callable[..., Waveform]] = {
    "constant": Constant,
    "square": _square,
    "ramp": _ramp,
    "noise": _noise,
    "step": _step,
    "cpu": _cpu,
}


def machine_busy_s() -> float:
    """Return the mean busy time of this machine's processors since boot (proc(5): user, nice, system, idle, iowait, ...)."""
    numbers = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    busy = sum(numbers) - numbers[3] - numbers[4]
    return busy / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)


class ProcessTime:
    """Processor time of a process and of all that it started, as a part of the whole machine's, from /proc/PID/stat (proc(5)).

    It never goes back: what a process used stays when it ends. farmd runs its models in processes of their own.
    """

    def __init__(self, pid: int) -> None:
        self._is_ours, self._used_s, self._sum_s = {pid: True}, {pid: 0.0}, 0.0
        self()

    def __call__(self) -> float:
        """Return the time so far, s."""
        alive = {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}
        self._is_ours = {pid: ours for pid, ours in self._is_ours.items() if pid in alive}
        for pid in sorted(
            alive - self._is_ours.keys()
        ):  # whoever started a process has, as a rule, the lower number
            self._is_ours[pid] = self._is_ours.get(_parent(pid), False)
        for pid, ours in self._is_ours.items():
            if ours:
                used_s = _used_s(pid)
                # One that was not there before was started meanwhile: all of its time is new.
                self._sum_s += max(0.0, used_s - self._used_s.get(pid, 0.0))
                self._used_s[pid] = used_s
        return self._sum_s / (os.cpu_count() or 1)


def _parent(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _used_s(pid: int) -> float:
    """Return the processor time of a process, s; 0 where it has just ended."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0  # utime, stime


def _stat(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []
