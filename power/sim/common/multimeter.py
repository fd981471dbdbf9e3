"""What simulated multimeters share: one function, one range, readings that wait in a memory, and what they are connected to."""

from __future__ import annotations

import re
from typing import ClassVar, Unpack

import numpy as np

from power.drivers.common.multimeter import Ranges, Wiring
from power.drivers.common.scpi_instrument import INFINITY
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.pacing import Paced, at_limit
from power.sim.common.scpi import ScpiError, ScpiSettings, ScpiSimulator, command, number
from power.sim.common.sensor import Sensor
from power.specification import EXACT, Specified
from power.timebase import Timebase
from power.trace import Floats

OVERLOAD = INFINITY


class MultimeterSettings(ScpiSettings, total=False):
    """What multimeters can be made with."""

    wiring: Wiring | None


class SimulatedMultimeter(ScpiSimulator):
    """A multimeter in the supply line, or over a shunt: `wiring` says which; None takes a range for 20 W.

    A subclass makes `_paced` when it is started, of what `_input` sees.

    currents, voltages   ranges
    supply_tolerance     of the supply that it is usually put into
    most_readings        so many it sends at a time
    """

    supply_v = 12.0
    currents: ClassVar[Ranges]
    voltages: ClassVar[Ranges]
    supply_tolerance: ClassVar[float]
    most_readings: ClassVar[int]

    def __init__(self, load: Load, *, wiring: Wiring | None = None, **settings: Unpack[ScpiSettings]) -> None:
        super().__init__(load, **settings)
        usual = Wiring("current", _fitting(self.currents, load), load.supply_v, self.supply_tolerance)
        self.wiring = wiring or usual
        self._input = MultimeterInput(
            load, self.timebase, self.wiring, self.limits(), faults=self.faults, seed=self.seed
        )
        self._range = 0.0
        self._paced: Paced | None = None

    def limits(self) -> Specified | None:
        """Return the limits of error of the range, in general those that the driver states."""
        return self.ranges[self.wiring.range_]

    @property
    def ranges(self) -> Ranges:
        """The ranges of what it measures."""
        return self.currents if self.wiring.function == "current" else self.voltages

    @property
    def options(self) -> dict[str, object]:
        """Address and wiring."""
        wiring = self.wiring
        found: dict[str, object] = {
            **super().options,
            "function": wiring.function,
            "range": wiring.range_,
            "supply_v": wiring.supply_v,
            "supply_tolerance": wiring.supply_tolerance,
            "supply_at": "board" if wiring.is_supply_at_board else "source",
        }
        if wiring.shunt_ohm is not None:
            found |= {"shunt_ohm": wiring.shunt_ohm, "shunt_tolerance": wiring.shunt_tolerance}
        return found

    @command("CONFigure:CURRent[:DC]")
    def configure_current(self, argument: str) -> None:
        """Choose current and range."""
        self._configure("current", argument)

    @command("CONFigure:VOLTage[:DC]")
    def configure_voltage(self, argument: str) -> None:
        """Choose voltage and range."""
        self._configure("voltage", argument)

    @command("ABORt")
    def abort(self, argument: str) -> None:
        """Stop; the readings stay."""
        if self._paced is not None:
            self._paced.stop()

    @command("R?")
    def read_and_remove(self, argument: str) -> bytes:
        """Return and forget the oldest readings, as text in a block."""
        wanted = int(number(argument, 1, self.most_readings)) if argument else self.most_readings
        return self.block(as_text(self._taken(wanted)).encode())

    def _has_lost(self) -> bool:
        """Tell, once, whether the memory ran over."""
        paced = self._paced
        has_lost = paced is not None and paced.has_lost
        if paced is not None:
            paced.has_lost = False
        return has_lost

    def _configure(self, function: str, argument: str) -> None:
        found = re.match(r"[-+0-9.eE]+", argument)
        if function != self.wiring.function or found is None:
            raise ScpiError(-221, "Settings conflict; nothing is connected to that input")
        if float(found[0]) not in self.ranges:
            raise ScpiError(-222, "Data out of range")
        self._range, self._paced = float(found[0]), None

    def _taken(self, count: int) -> Floats:
        if self._paced is None:
            raise ScpiError(-230, "Data corrupt or stale")
        _, current_a = self._paced.take(count)
        return self._input.readings(current_a)


class MultimeterInput:
    """What is read of a load through its wiring: the supply and the shunt err within the tolerances stated for them.

    `limits` are those of the multimeter's range.
    """

    def __init__(
        self,
        load: Load,
        timebase: Timebase,
        wiring: Wiring,
        limits: Specified | None,
        *,
        faults: Faults,
        seed: int | None,
    ) -> None:
        self._wiring = wiring
        per_ampere = wiring.shunt_ohm or 1.0
        of_reading, offset = (0.0, 0.0) if limits is None else (limits.of_reading, limits.offset)
        supply, shunt = 0.0, 0.0
        if seed is not None:
            rng = np.random.default_rng((seed, 2))
            supply, shunt = (
                float(rng.uniform(-limit, limit)) if limit else 0.0
                for limit in (wiring.supply_tolerance, wiring.shunt_tolerance)
            )
        real = Load(load.waveform, load.supply_v * (1.0 + supply))
        self._shunt_ohm = None if wiring.shunt_ohm is None else wiring.shunt_ohm * (1.0 + shunt)
        current = Specified(of_reading, offset / per_ampere)
        self.sensor = Sensor(real, timebase, voltage=EXACT, current=current, faults=faults, seed=seed)

    def readings(self, current_a: Floats) -> Floats:
        """Return what the display shows for currents seen by the sensor; 9.9E37 over the range."""
        values = current_a if self._shunt_ohm is None else current_a * self._shunt_ohm
        over = np.abs(values) > 1.2 * self._wiring.range_
        over |= at_limit(self.sensor, current_a)
        return np.where(over, OVERLOAD, values)


def as_text(values: Floats) -> str:
    """Return readings as they are sent."""
    return ",".join(f"{value:+.8E}" for value in values)


def _fitting(ranges: Ranges, load: Load) -> float:
    """Return the current range that takes 20 W from the load's supply."""
    return next((range_ for range_ in ranges if range_ * load.supply_v >= 20.0), max(ranges))
