"""Power sensors on the board that Linux shows through hwmon: INA219, INA226, INA3221 and their kin.

Source: Linux Documentation/hwmon/sysfs-interface.rst, ina2xx.rst and ina3221.rst. The accuracy depends on
the board's shunts, which no interface tells, so none is claimed here.
"""

from power.meters.sysfs import SysfsMeter


class HwmonMeter(SysfsMeter):
    """The board's total by its own sensors, or the sum of the rails that are named."""

    driver = "hwmon"
    rail_drivers = ("hwmon", "iio")
