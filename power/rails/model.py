"""A rail and how it is read. Standard library only: the board's daemon imports this."""

import errno
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from power.errors import RailUnreadable
from power.sample import Sample

MAX_PLAUSIBLE_W = 100_000.0
"""A counter that went back and would then stand for more power than this was reset, not wrapped."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One sysfs file holding a number: value in SI units = (number + offset) × scale."""

    path: str
    scale: float
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Rail:
    """A power rail or energy counter of this board.

    name            unique on the board; a part of another rail is named "<whole>/<part>"
    driver          "rapl", "hwmon", "iio" or "sensors" (an accelerator module that measures itself)
    source          directory the rail was found in
    reading         "instantaneous", "average" (over the last 1/rate_hz) or "counter"
    scope           "rail", "card", "module", "board" or "wall"
    rate_hz         highest useful sampling rate, None if the driver does not tell
    resolution_w    smallest step of a power reading, None if the driver does not tell
    wrap_j          energy after which a counter starts again at zero, None for other rails or if unknown
    is_total        whether it is the whole, or one of those whose sum is
    unreadable_reason  "" if it can be read, else one sentence with the command that mends it
    chip            what the kernel calls the sensor, "" if it has no name
    """

    name: str
    driver: str
    source: str
    reading: str
    scope: str
    rate_hz: float | None = None
    resolution_w: float | None = None
    power: Channel | None = None
    voltage: Channel | None = None
    current: Channel | None = None
    energy: Channel | None = None
    wrap_j: float | None = None
    is_total: bool = False
    unreadable_reason: str = ""
    chip: str = ""

    @property
    def has_voltage(self) -> bool:
        """Whether samples carry a voltage."""
        return self.voltage is not None

    @property
    def has_current(self) -> bool:
        """Whether samples carry a current."""
        return self.current is not None


def read(rail: Rail, now_ns: Callable[[], int] = time.monotonic_ns) -> Sample:
    """Read a rail once; `energy_j` is the bare counter, which wraps (see RailReader). `now_ns` is the clock.

    Raises RailUnreadable if any of its files cannot be read or holds no number.
    """
    begin_ns = now_ns()
    power_w = _read(rail, rail.power)
    voltage_v = _read(rail, rail.voltage)
    current_a = _read(rail, rail.current)
    energy_j = _read(rail, rail.energy)
    end_ns = now_ns()
    if power_w is None and voltage_v is not None and current_a is not None:
        power_w = voltage_v * current_a
    return Sample((begin_ns + end_ns) // 2, power_w, voltage_v, current_a, energy_j)


class RailReader:
    """Reads one rail again and again, and turns its counter into energy since the first read.

    A counter must be read at least once a wrap: the usual 262 kJ of RAPL last 44 minutes at 100 W.
    """

    def __init__(self, rail: Rail, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.rail = rail
        self._now_ns = now_ns
        self._last: Sample | None = None
        self._energy_j = 0.0

    def read(self) -> Sample:
        """Return the next sample, `energy_j` counted from the first one (which has 0.0).

        Raises RailUnreadable if the rail cannot be read or its counter was reset.
        """
        sample = read(self.rail, self._now_ns)
        if sample.energy_j is None:
            return sample
        if self._last is not None:
            self._energy_j += self._step_j(self._last, sample)
        self._last = sample
        return Sample(
            sample.time_ns, sample.power_w, sample.voltage_v, sample.current_a, energy_j=self._energy_j
        )

    def _step_j(self, before: Sample, after: Sample) -> float:
        step_j = (after.energy_j or 0.0) - (before.energy_j or 0.0)
        if step_j >= 0.0:
            return step_j
        step_j += self.rail.wrap_j or 0.0
        elapsed_s = (after.time_ns - before.time_ns) * 1e-9
        if step_j < 0.0 or step_j > MAX_PLAUSIBLE_W * max(elapsed_s, 1e-3):
            path = self.rail.energy.path if self.rail.energy else self.rail.source
            raise RailUnreadable(
                f"The counter of rail '{self.rail.name}' ({path}) was reset while in use; measure again.",
                rail=self.rail.name,
                path=path,
            )
        return step_j


def readable(rail: Rail) -> str:
    """Return "" if the rail can be read now, else the sentence that says why not."""
    try:
        read(rail)
    except RailUnreadable as error:
        return str(error)
    return ""


def read_text(path: str) -> str | None:
    """Return the stripped text of a small file, or None if it cannot be read."""
    try:
        return _slurp(path).strip()
    except (OSError, UnicodeDecodeError):
        return None


def read_number(path: str) -> float | None:
    """Return the number in a small file, or None if there is none."""
    text = read_text(path)
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _read(rail: Rail, channel: Channel | None) -> float | None:
    if channel is None:
        return None
    try:
        text = _slurp(channel.path)
    except PermissionError as error:
        raise RailUnreadable(
            f"Rail '{rail.name}' needs permission to read its file: run 'sudo chmod a+r {channel.path}' "
            "(which lasts until the next boot) or start the program as root.",
            rail=rail.name,
            path=channel.path,
        ) from error
    except OSError as error:
        raise RailUnreadable(_gone(rail, channel, error), rail=rail.name, path=channel.path) from error
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RailUnreadable(
            f"Rail '{rail.name}' holds no number in {channel.path} but {text.strip()[:40]!r}; "
            "check the sensor's driver with 'dmesg'.",
            rail=rail.name,
            path=channel.path,
        )
    return (number + channel.offset) * channel.scale


def _gone(rail: Rail, channel: Channel, error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENODEV):
        return f"Rail '{rail.name}' has vanished ({channel.path}); check that its driver is still loaded."
    what = os.strerror(error.errno) if error.errno else str(error)
    return f"Rail '{rail.name}' cannot be read from {channel.path} ({what}); look for its driver in 'dmesg'."


def _slurp(path: str) -> str:
    # Opened anew each time: a descriptor kept open would go on answering for a sensor that is gone.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, 4096).decode()
    finally:
        os.close(handle)
