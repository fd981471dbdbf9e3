"""What Hailo modules measure of themselves: the chip's temperature and, where it is asked for, the module's power.

Source: Hailo, "HailoRT User Guide", Python API, Device.control: get_chip_temperature, set_power_measurement,
start_power_measurement, get_power_measurement, stop_power_measurement; libhailort/include/hailo/hailort.h,
hailo_chip_temperature_info_t and hailo_power_measurement_data_t.

Caution: on M.2 and mPCIe modules the monitor is the one of the overcurrent protection, and while it measures that protection is
switched off: `end` stops it whatever happened. Hailo advises to measure from another process than that of the inference.
"""

import contextlib
import math
from typing import Any, Callable, Dict, List

from targets.errors import RuntimeUnavailable
from targets.runner import one_line
from targets.runners.parts.hailort.device import import_vendor, scan, unavailable
from targets.runners.parts.hailort.errors import status_of, translate

VALUE_S = 2 * 1.1e-3 * 256
"""HailoRT's own sampling period and averaging factor; two periods are one sample of voltage and current."""
POWER_INTERVAL_S = 2 * VALUE_S
"""Each reading is the mean of all values since the one before, and holds at least one."""
TEMPERATURE_INTERVAL_S = 1.0
_UNSUPPORTED = (18, 48)
_GONE = (36, 61, 62)


def open_modules(measures_power: bool, say: Callable[[str], None]) -> List["Module"]:
    """Open every module for control, which takes none from an inference. RuntimeUnavailable if there is none."""
    vendor = import_vendor()
    ids = scan(vendor)
    try:
        devices = [vendor.Device(one) for one in ids]
    except Exception as error:
        raise translate(error, "open {}".format(", ".join(ids)), unavailable)
    names = ["hailo"] if len(ids) == 1 else ["hailo-{}".format(one) for one in ids]
    return [Module(device, name, measures_power, say) for device, name in zip(devices, names)]


class Module:
    """One module. What it does not tell is absent from what `read` returns."""

    def __init__(self, device: Any, name: str, measures_power: bool, say: Callable[[str], None]) -> None:
        self.name = name
        self.interval_s = POWER_INTERVAL_S if measures_power else TEMPERATURE_INTERVAL_S
        self._device, self._control, self._say = (
            device,
            device.control,
            say,
        )  # without its device a control dangles
        self._wants_power = measures_power
        self._is_measuring = False

    def begin(self) -> None:
        """Let the module measure its power if that is asked for; its overcurrent protection may be off from here on."""
        if not self._wants_power:
            return
        try:
            self._control.stop_power_measurement()  # one that a killed process left running
            self._is_measuring = True
            self._control.set_power_measurement()
            self._control.start_power_measurement()
        except Exception as error:
            if not _is_unsupported(error):
                raise self._failed(error)
            self._do_without_power(error)

    def _do_without_power(self, error: BaseException) -> None:
        self._say(
            "The Hailo module '{}' does not measure its power ({}): it needs a current monitor, which M.2 and mPCIe modules "
            "have; only its temperature is shown.".format(self.name, _said(error))
        )
        self._wants_power, self.interval_s = False, TEMPERATURE_INTERVAL_S
        with contextlib.suppress(RuntimeUnavailable):  # there is nothing to stop, as far as the module says
            self.end()

    def read(self) -> Dict[str, str]:
        """Return the hwmon files of what it measures now. RuntimeUnavailable if it does not answer."""
        try:
            files = self._temperatures()
            if self._is_measuring:
                files.update(self._power())
        except Exception as error:
            raise self._failed(error)
        return files

    def _temperatures(self) -> Dict[str, str]:
        told = self._control.get_chip_temperature()
        files: Dict[str, str] = {}
        for number, sensor in ((1, "ts0"), (2, "ts1")):
            celsius = float(getattr(told, sensor + "_temperature"))
            if math.isfinite(celsius):
                files["temp{}_label".format(number)] = sensor
                files["temp{}_input".format(number)] = "{:.0f}".format(celsius * 1e3)
        return files

    def _power(self) -> Dict[str, str]:
        told = self._control.get_power_measurement(should_clear=True)
        power_w = float(told.average_value)
        if not told.total_number_of_samples or not math.isfinite(power_w):
            return {}
        return {"power1_label": "module", "power1_average": "{:.0f}".format(power_w * 1e6)}

    def end(self) -> None:
        """Stop measuring, which restores the protection, and once more where that failed. RuntimeUnavailable if both did."""
        if not self._is_measuring:
            return
        try:
            try:
                self._control.stop_power_measurement()
            except Exception:
                self._control.stop_power_measurement()
        except Exception as error:
            raise unavailable(
                "The power measurement of the Hailo module '{}' cannot be stopped ({}), and its overcurrent protection may be "
                "off: run 'hailortcli measure-power --duration 1' or restart the module.".format(
                    self.name, _said(error)
                )
            )
        self._is_measuring = False

    def _failed(self, error: BaseException) -> RuntimeUnavailable:
        if status_of(error) in _GONE:
            return unavailable(
                "The Hailo module '{}' is gone ({}); check it with 'hailortcli scan' and restart the machine if it stays "
                "away.".format(self.name, _said(error))
            )
        return unavailable(
            "The Hailo module '{}' does not tell its sensors ({}); see hailort.log.".format(
                self.name, _said(error)
            )
        )


def _is_unsupported(error: BaseException) -> bool:
    """Return whether a module without a current monitor says it, or a firmware or package without the call."""
    return (
        isinstance(error, AttributeError) or status_of(error) in _UNSUPPORTED or "NOT_SUPPORTED" in str(error)
    )


def _said(error: BaseException) -> str:
    return one_line(error).rstrip(".")
