"""A simulated Jetson module with its INA3221s, under NVIDIA's old kernel driver (IIO) or the mainline one (hwmon)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Unpack

import numpy as np

from power.drivers.jetson_ina3221 import BUS_STEP_V, GAIN, SHUNT_OFFSET_V, SHUNT_STEP_V
from power.errors import OptionInvalid
from power.rails.jetson import CARRIER_CHIP, JETSONS, Channels, Jetson
from power.sim.common.load import Load
from power.sim.common.onboard import SimulatedTree, TreeSettings
from power.sim.common.sensor import ChannelError
from power.specification import Specified

Kernel = Literal["ina3221x", "ina3221"]
SHUNT_OHM = 0.005
SHUNT_TOLERANCE = 0.01
"""What the specimens' shunts keep; NVIDIA publishes none."""
PART = 0.2
"""Part of the load that each rail draws which is no input."""


class SimulatedJetsonIna3221(SimulatedTree):
    """Module and kernel as named; the load is what the total draws. `with_carrier`: the carrier's sensors are there too."""

    driver = "jetson-ina3221"
    renewal_s = 0.02

    def __init__(
        self,
        load: Load,
        *,
        module: str = "Orin NX, Orin Nano",
        kernel: Kernel = "ina3221",
        with_carrier: bool = True,
        **settings: Unpack[TreeSettings],
    ) -> None:
        super().__init__(load, **settings)
        self.jetson = _module(module)
        self._kernel, self._with_carrier = kernel, with_carrier
        self._rng = np.random.default_rng(0 if self.seed is None else self.seed)
        self._errors: dict[str, tuple[ChannelError, ChannelError]] = {}
        self._shares = self._shared()
        self._lay_out()

    def values(self, begin_s: float, end_s: float) -> Mapping[str, object]:
        """Convert every rail, in the chip's steps."""
        if self._kernel == "ina3221":
            volts, amperes = self.sensor.mean(np.array([begin_s]), np.array([end_s]))
        else:
            volts, amperes = self.sensor.at(np.array([end_s]))
        voltage_v, current_a = float(volts[0]), float(amperes[0])
        files: dict[str, object] = {}
        for place, channel, label in self._channels():
            files |= self._files(
                place, channel, *self._read(label, voltage_v, current_a * self._shares[label])
            )
        if self.jetson.carrier is not None and self._with_carrier:
            power_w = np.prod(self._read(self.jetson.carrier, voltage_v, current_a))
            files["sys/class/hwmon/hwmon9/power1_input"] = round(float(power_w) * 1e6)
        return files

    def _read(self, label: str, voltage_v: float, current_a: float) -> tuple[float, float]:
        bus, shunt = self._errors.setdefault(label, self._specimen())
        step_a = SHUNT_STEP_V / SHUNT_OHM
        read_v = voltage_v * (1.0 + bus.gain) + bus.offset
        read_a = current_a * (1.0 + shunt.gain) + shunt.offset
        return round(read_v / BUS_STEP_V) * BUS_STEP_V, round(read_a / step_a) * step_a

    def _specimen(self) -> tuple[ChannelError, ChannelError]:
        if self.seed is None:
            return ChannelError(), ChannelError()
        current = Specified(GAIN + SHUNT_TOLERANCE, SHUNT_OFFSET_V / SHUNT_OHM)
        voltage = Specified(GAIN, 0.5 * BUS_STEP_V)
        return ChannelError.within(voltage, self._rng), ChannelError.within(current, self._rng)

    def _shared(self) -> dict[str, float]:
        """Return what part of the load each rail draws: the rails of the total together all of it."""
        parallel = self.jetson.parallel if self._with_carrier else ()
        summed = (*self.jetson.total, *parallel)
        labels = [label for _, _, label in self._channels()]
        return {label: 1.0 / len(summed) if label in summed else PART for label in labels}

    def _chips(self) -> dict[int, Channels]:
        carrier = self.jetson.carrier_chips if self._with_carrier else {}
        return {**self.jetson.chips, **carrier}

    def _channels(self) -> list[tuple[str, int, str]]:
        found = []
        for number, (address, labels) in enumerate(sorted(self._chips().items())):
            place = self._place(number, address)
            found += [(place, index, label) for index, label in enumerate(labels) if label is not None]
        return found

    def _place(self, number: int, address: int) -> str:
        kind = "iio:device" if self._kernel == "ina3221x" else "hwmon/hwmon"
        return f"sys/bus/i2c/drivers/{self._kernel}/1-{address:04x}/{kind}{number}"

    def _lay_out(self) -> None:
        for number, (address, labels) in enumerate(sorted(self._chips().items())):
            place = self._place(number, address)
            self.lay(f"{place}/name", self._kernel)
            if self._kernel == "ina3221":
                self.lay(f"{place}/update_interval", round(self.renewal_s * 1e3))
                self.lay(f"{place}/in7_label", "sum of shunt voltages")
                self.lay(f"{place}/in7_input", 99)
            for index, label in enumerate(labels):
                self._lay_channel(place, index, label or "NC")
        if self.jetson.carrier is not None and self._with_carrier:
            self.lay("sys/class/hwmon/hwmon9/name", CARRIER_CHIP)

    def _lay_channel(self, place: str, index: int, label: str) -> None:
        if self._kernel == "ina3221x":
            self.lay(f"{place}/rail_name_{index}", label)
            for kind in ("power", "voltage", "current"):
                self.lay(f"{place}/in_{kind}{index}_input", 0)
            return
        self.lay(f"{place}/in{index + 1}_label", label)
        self.lay(f"{place}/shunt{index + 1}_resistor", round(SHUNT_OHM * 1e6))
        for file in (f"in{index + 1}_input", f"curr{index + 1}_input", f"in{index + 4}_input"):
            self.lay(f"{place}/{file}", 0)

    def _files(self, place: str, index: int, voltage_v: float, current_a: float) -> dict[str, object]:
        milli_v, milli_a = round(voltage_v * 1e3), round(current_a * 1e3)
        if self._kernel == "ina3221":
            return {f"{place}/in{index + 1}_input": milli_v, f"{place}/curr{index + 1}_input": milli_a}
        return {
            f"{place}/in_voltage{index}_input": milli_v,
            f"{place}/in_current{index}_input": milli_a,
            f"{place}/in_power{index}_input": round(milli_v * milli_a / 1e3),
        }


def _module(name: str) -> Jetson:
    for jetson in JETSONS:
        if jetson.name == name:
            return jetson
    raise OptionInvalid(
        f"There is no Jetson module '{name}'; there are {'; '.join(one.name for one in JETSONS)}."
    )
