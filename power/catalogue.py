"""The meters by driver name. A driver's module is imported when it is first used."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass

from power.errors import OptionInvalid
from power.meter import Meter


@dataclass(frozen=True, slots=True)
class Driver:
    """Where a driver is, which keys of `farm.toml` it takes, and what it reads in one line."""

    module: str
    class_name: str
    options: frozenset[str]
    summary: str

    def load(self) -> type[Meter]:
        """Import the driver's class."""
        found: type[Meter] = getattr(importlib.import_module(self.module), self.class_name)
        return found


RAILS = frozenset({"rails", "accuracy", "interval_s"})
"""Keys of every meter that is made of rails."""
DRIVERS: dict[str, Driver] = {
    "board": Driver(
        "power.meters.board",
        "BoardMeter",
        frozenset({"rails", "accuracy"}),
        "the board's own rails, sampled by its daemon",
    ),
    "estimate": Driver(
        "power.meters.estimate",
        "EstimateMeter",
        frozenset({"idle_w", "max_w", "u_w"}),
        "no meter at all: watts estimated from processor time",
    ),
    "hwmon": Driver("power.meters.hwmon", "HwmonMeter", RAILS, "this machine's INA and other hwmon sensors"),
    "rapl": Driver("power.meters.rapl", "RaplMeter", RAILS, "this machine's processor energy counters"),
}


def driver_names() -> tuple[str, ...]:
    """Return the names of all drivers, sorted."""
    return tuple(sorted(DRIVERS))


def driver(name: str) -> Driver:
    """Return a driver. Raises OptionInvalid with the nearest known name."""
    if name not in DRIVERS:
        close = difflib.get_close_matches(name, DRIVERS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(driver_names())}."
        raise OptionInvalid(f"There is no meter driver '{name}'; {hint}")
    return DRIVERS[name]
