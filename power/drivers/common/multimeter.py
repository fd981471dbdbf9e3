"""What a multimeter sees of power: one quantity only, the other one is known.

    current   the multimeter is in the supply line, the supply's voltage is given: P = I · U
    voltage   the multimeter is over a shunt in the supply line:               P = (V/R) · U

U is the voltage at the board. Where `supply_v` was measured before the shunt, its drop is taken off: U = supply_v − V. The drop
of a multimeter's own current input (its burden) is not known well enough for that: measure supply_v behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from power.options import LARGEST_SHUNT_OHM, Options
from power.specification import Specified
from power.trace import Floats
from power.uncertainty import GainOffset, limit, relative_product

Ranges = Mapping[float, Specified | None]
"""Range → its limits of error in V or A, None where nobody states them."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """How the multimeter is connected, and what it is connected to.

    range_              of the multimeter, V or A
    supply_v            the supply's voltage, true within supply_tolerance (relative)
    shunt_ohm           None where it measures the current itself; true within shunt_tolerance (relative)
    is_supply_at_board  false where supply_v is that before the shunt
    """

    function: Literal["current", "voltage"]
    range_: float
    supply_v: float
    supply_tolerance: float
    shunt_ohm: float | None = None
    shunt_tolerance: float = 0.0
    is_supply_at_board: bool = True

    @classmethod
    def from_options(cls, options: Options, currents: Ranges, voltages: Ranges) -> Wiring:
        """Take the keys `WIRING` of power/catalogue.py. Raises OptionInvalid."""
        over_shunt = options.choice("function", ("current", "voltage"), "current") == "voltage"
        known = voltages if over_shunt else currents
        range_ = options.number("range", above=0.0)
        if range_ not in known:
            options.fail(f"range is {range_:g}, but there are {', '.join(f'{one:g}' for one in known)}")
        at = options.choice("supply_at", ("board", "source"), "board")
        if not over_shunt:
            for key in ("shunt_ohm", "shunt_tolerance"):
                if key in options:
                    options.fail(f"{key} goes with function = 'voltage' only")
            if at == "source":
                options.fail(
                    "supply_at = 'source' goes with a shunt only; measure supply_v behind the multimeter"
                )
        return cls(
            "voltage" if over_shunt else "current",
            range_,
            options.number("supply_v", above=0.0),
            options.number("supply_tolerance", low=0.0, high=0.5),
            options.number("shunt_ohm", above=0.0, high=LARGEST_SHUNT_OHM) if over_shunt else None,
            options.number("shunt_tolerance", low=0.0, high=0.5) if over_shunt else 0.0,
            at == "board",
        )

    @property
    def quantity(self) -> str:
        """What it measures, as SCPI writes it."""
        return "CURR:DC" if self.function == "current" else "VOLT:DC"

    @property
    def unit(self) -> str:
        """Unit of readings and range."""
        return "A" if self.shunt_ohm is None else "V"

    @property
    def range_text(self) -> str:
        """The range, for certificates."""
        return f"{self.range_:g} {self.unit}"

    @property
    def setup_text(self) -> str:
        """What it is connected to, for certificates."""
        supply = f"supply taken as {self.supply_v:.6g} V"
        if self.shunt_ohm is None:
            return supply
        return (
            f"shunt of {self.shunt_ohm:.6g} Ω, {supply} {'after' if self.is_supply_at_board else 'before'} it"
        )

    def power(self, readings: Floats) -> tuple[Floats, Floats]:
        """Return powers and currents of readings."""
        if self.shunt_ohm is None:
            return readings * self.supply_v, readings
        current_a = readings / self.shunt_ohm
        if self.is_supply_at_board:
            return current_a * self.supply_v, current_a
        return current_a * (self.supply_v - readings), current_a

    def accuracy(self, limits: Specified | None, source: str) -> GainOffset | None:
        """Return the accuracy of power; None if nobody states the range's limits."""
        if limits is None:
            return None
        per_ampere = 1.0 if self.shunt_ohm is None else self.shunt_ohm
        u_gain = relative_product(
            limit(self.supply_tolerance), limit(self.shunt_tolerance), limit(limits.of_reading)
        )
        return GainOffset(u_gain, limit(self.supply_v * limits.offset / per_ampere), 0.0, 0.0, source)


def of_range(range_: float, of_reading_percent: float, of_range_percent: float) -> Specified:
    """Return "x % of reading + y % of range"."""
    return Specified(of_reading_percent * 1e-2, of_range_percent * 1e-2 * range_)
