"""What the drivers of this machine's own sensors have in common: rails in sysfs, found, added up and read.

Source: Linux kernel, Documentation/ABI/testing/sysfs-class-hwmon, sysfs-bus-iio, sysfs-class-powercap (power/rails reads them).

Options of all: `rails` names the rails whose sum is wanted (default: the total of the machine, where that is known),
`interval_s` the time between readings, `root` where the file system starts, for machines whose /sys is mounted elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from power.drivers.common.base import SIMULATED_SERIAL, PolledInstrument
from power.errors import MeterUnavailable, NoReading
from power.meter import Identity, Scope, shared_reading, widest
from power.options import Options
from power.rails import Rail, RailMap, RailReader, discover, total_rails, total_scope
from power.sample import Sample
from power.timebase import Timebase
from power.trace import Reading
from power.uncertainty import Accuracy

LEAST_INTERVAL_S = 0.01
"""Polling a sensor faster than this would itself be load on the machine that is measured."""
UNTOLD_INTERVAL_S = 0.1
"""For sensors that do not tell how often they are renewed."""
COUNTER_TAIL_S = 0.05
SEEN_LATE_S = 0.02
"""A reading goes over I²C, and where the sensor does not tell its conversion time that is some milliseconds."""
COUNTED_LATE_S = 0.002
MARKS = ("sys/wattfarm_simulated",)
"""Files below `root` by which a simulated tree says what it is."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings of all these drivers say."""

    rails: tuple[str, ...] = ()
    interval_s: float | None = None
    root: Path = Path("/")
    rail_map: RailMap | None = None

    @classmethod
    def from_options(cls, options: Options, rail_map: RailMap | None = None) -> Self:
        """Take rails, interval_s and root."""
        return cls(
            options.names("rails"),
            options.maybe("interval_s", low=LEAST_INTERVAL_S),
            Path(options.text("root", "/")),
            rail_map,
        )


class OnBoard(PolledInstrument):
    """The sum of rails of this machine. Subclasses say whose rails, and how accurate they are."""

    rail_drivers: ClassVar[tuple[str, ...]] = ()
    no_rails: ClassVar[str] = ""
    """What to do where there is none."""

    def __init__(self, timebase: Timebase, wanted: Wanted) -> None:
        self._timebase, self._wanted = timebase, wanted
        self._rails: list[Rail] = []
        self._all_names: tuple[str, ...] = ()
        self._readers: list[RailReader] = []
        self._last: dict[str, Sample] = {}

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take rails, interval_s and root."""
        return cls(timebase, Wanted.from_options(options))

    def connect(self) -> Identity:
        """Find the rails; raises MeterUnavailable for none, for a total that nobody knows, and for what may not be read."""
        found = [rail for rail in discover(self._wanted.root, self._wanted.rail_map) if self._is_mine(rail)]
        if not found:
            raise MeterUnavailable(f"This machine has no {self.driver} rails; {self.no_rails}")
        known = {rail.name: rail for rail in found}
        names = self._wanted.rails or total_rails(found)
        if not names:
            raise MeterUnavailable(
                f"It is not known which of this machine's rails ({', '.join(known)}) make up the whole; "
                "name them with rails = […]."
            )
        missing = [name for name in names if name not in known]
        if missing:
            raise MeterUnavailable(f"There is no rail '{missing[0]}'; this machine has {', '.join(known)}.")
        self._rails, self._all_names = [known[name] for name in names], tuple(known)
        for rail in self._rails:
            if rail.unreadable_reason:
                raise MeterUnavailable(rail.unreadable_reason)
        shared_reading(rail.reading for rail in self._rails)
        return self._identity()

    def begin(self) -> None:
        """Count from here."""
        self._readers = [RailReader(rail, self._timebase.now_ns) for rail in self._rails]

    def read(self) -> Sample:
        """Read all rails and add them up. Raises RailUnreadable if one of them cannot be read."""
        if not self._readers:
            raise NoReading(f"The {self.driver} rails were not opened.")
        samples = [reader.read() for reader in self._readers]
        self._last = {reader.rail.name: sample for reader, sample in zip(self._readers, samples, strict=True)}
        middle_ns = (samples[0].time_ns + samples[-1].time_ns) // 2
        one = samples[0] if len(samples) == 1 else None
        return Sample(
            middle_ns - round(self._age_s * 1e9),
            power_w=_sum([sample.power_w for sample in samples]) if self.reading != "counter" else None,
            voltage_v=one.voltage_v if one else None,
            current_a=one.current_a if one else None,
            energy_j=_sum([sample.energy_j for sample in samples]) if self.reading == "counter" else None,
        )

    def make_safe(self) -> None:
        """Nothing was set."""

    def disconnect(self) -> None:
        """Forget the rails' counts."""
        self._readers = []

    @property
    def reading(self) -> Reading:
        """What the rails say of themselves; power as long as they are not known."""
        return shared_reading(rail.reading for rail in self._rails)

    @property
    def scope(self) -> Scope:  # type: ignore[override]
        """What the rails cover together."""
        names = [rail.name for rail in self._rails]
        known = total_scope(names, self._all_names)
        return widest([known] if known else (rail.scope for rail in self._rails))

    @property
    def resolution_w(self) -> float | None:
        """The rails' steps, each of which is rounded for itself, added in squares; None if one of them does not tell."""
        steps_w = [step_w for rail in self._rails if (step_w := self._step_w(rail)) is not None]
        return math.hypot(*steps_w) if steps_w and len(steps_w) == len(self._rails) else None

    @property
    def setup_text(self) -> str | None:
        """Which rails are added up, and the factors of those that stand for more than themselves."""
        factors = {} if self._wanted.rail_map is None else self._wanted.rail_map.factors
        names = [rail.name for rail in self._rails]
        return (
            " + ".join(f"{factors[name]:g} × {name}" if name in factors else name for name in names) or None
        )

    @property
    def interval_s(self) -> float:
        """As wanted, else as often as the slowest rail is renewed."""
        renewed_s = self._renewed_s
        if self.reading == "counter" or renewed_s is None:
            renewed_s = UNTOLD_INTERVAL_S
        return max(self._wanted.interval_s or renewed_s, LEAST_INTERVAL_S)

    @property
    def tail_s(self) -> float:
        """A counter is read when it is stopped; others are to be read some times more."""
        return COUNTER_TAIL_S if self.reading == "counter" else super().tail_s

    @property
    def averaging_s(self) -> float | None:  # type: ignore[override]
        """Over what an averaging sensor averages."""
        return self._renewed_s if self.reading == "average" else None

    @property
    def update_s(self) -> float | None:  # type: ignore[override]
        """How often a counter is renewed."""
        return self._renewed_s if self.reading == "counter" else None

    @property
    def time_bound_s(self) -> float:  # type: ignore[override]
        """When a value was taken: some time within a renewal of the sensor."""
        return COUNTED_LATE_S if self.reading == "counter" else SEEN_LATE_S + self._age_s

    def accuracy(self, voltage_v: float | None) -> Accuracy | None:
        """Nobody states one: it depends on the board's shunts."""
        return None

    def _step_w(self, rail: Rail) -> float | None:
        """Return the smallest step of a rail's power; None if it is not known."""
        return rail.resolution_w

    def _is_mine(self, rail: Rail) -> bool:
        return rail.driver in self.rail_drivers

    def _identity(self) -> Identity:
        serial = next((text for mark in MARKS if (text := _text(self._wanted.root / mark))), None)
        model = ", ".join(rail.name for rail in self._rails)
        return Identity(
            model=model, serial=serial, is_simulated=bool(serial and serial.startswith(SIMULATED_SERIAL))
        )

    @property
    def _renewed_s(self) -> float | None:
        rates_hz = [rail.rate_hz for rail in self._rails if rail.rate_hz]
        return 1.0 / min(rates_hz) if rates_hz and len(rates_hz) == len(self._rails) else None

    @property
    def _age_s(self) -> float:
        """How old an averaging sensor's value is in the mean when it is read."""
        return 0.5 * (self._renewed_s or 0.0) if self.reading == "average" else 0.0


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
