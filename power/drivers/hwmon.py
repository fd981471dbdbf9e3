"""Power sensors on the board that Linux shows through hwmon and IIO: INA219, INA226, INA260, INA3221 and their kin.

Source: Linux, Documentation/hwmon/sysfs-interface.rst, ina2xx.rst, ina3221.rst and ina238.rst. The accuracy depends on the
tolerance of the board's shunts, which no interface tells, so none is claimed here. What a digit is worth follows from their
resistance, where the kernel tells that (power/drivers/common/ina_steps.py: TI SBOS448, SBOS547, SBOS576).

`rail_map` says what chips measure that only have a name: rail_map = {sensors = {ina226_u79 = "VCCINT"}, total = ["VCCINT"],
factors = {VCCINT = 6.0}}. A factor is for sensors that see one of several phases. Where the board is in the catalogue, its map
is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self, get_args

from power.drivers.common.ina_registers import SENSORS
from power.drivers.common.ina_steps import channel_shunt_ohm, chip_step_w, product_step_w
from power.drivers.common.onboard import OnBoard, Wanted
from power.meter import Scope
from power.options import Options
from power.rails import Rail, RailMap
from power.timebase import Timebase

USUAL_V = 5.0
"""What rails are about, as long as nothing was read."""


class Hwmon(OnBoard):
    """The board's total by its own sensors, or the sum of the rails that are named."""

    driver = "hwmon"
    rail_drivers: ClassVar[tuple[str, ...]] = ("hwmon", "iio")
    no_rails = "'hostctl doctor' tells which meters it has."

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take rails, interval_s, root and rail_map."""
        return cls(timebase, Wanted.from_options(options, _map(options)))

    def _step_w(self, rail: Rail) -> float | None:
        if rail.chip.startswith("ina3221"):
            ohm = channel_shunt_ohm(rail)
            return (
                None
                if ohm is None
                else product_step_w(SENSORS["INA3221"], ohm, self._last.get(rail.name), USUAL_V)
            )
        return rail.resolution_w or chip_step_w(rail)


def _map(options: Options) -> RailMap | None:
    if "rail_map" not in options:
        return None
    table = options.table("rail_map")
    sensors = table.mapping("sensors") or {}
    factors = table.mapping("factors") or {}
    total = table.names("total")
    scope = table.choice("scope", get_args(Scope), "board")
    table.done()
    names = {key: value for key, value in sensors.items() if isinstance(value, str) and value}
    known = {
        key: float(value) for key, value in factors.items() if isinstance(value, int | float) and value > 0
    }
    if len(names) != len(sensors) or not names:
        options.fail('rail_map needs sensors = {chip = "rail"}')
    for key in (*factors, *total):
        if key not in names.values():
            options.fail(f"rail_map speaks of the rail '{key}', which none of its sensors is")
    if len(known) != len(factors):
        options.fail("the factors of rail_map must be numbers above 0")
    return RailMap(_plain(names), total, known, scope)


def _plain(names: Mapping[str, str]) -> dict[str, str]:
    return {chip.replace("-", "_"): rail for chip, rail in names.items()}
