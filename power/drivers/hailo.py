"""Hailo accelerators: the power that the module measures itself, through HailoRT.

Source: Hailo, "HailoRT User Guide", Python API, Device.control: set_power_measurement, start_power_measurement,
get_power_measurement, stop_power_measurement; hailort/libhailort/include/hailo/hailort.h, hailo_dvm_options_t. Needs a module
with a current monitor (INA231): M.2 and mPCIe modules and the evaluation boards.

Caution: on M.2 and mPCIe modules the monitor is the one of the overcurrent protection, and while it measures that protection is
switched off. It measures from `begin` to `end` only, and `make_safe` stops it whatever happened. Hailo advises to measure from
another process than that of the inference, which a farm does anyhow.

A value is the mean over 2 × sampling period × averaging factor (1.1 ms × 256: 563 ms by default); each reading is the mean of
the values since the one before, so nothing is left out. Hailo states no accuracy.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any, Self

from power.drivers.common.base import SIMULATED_SERIAL, PolledInstrument
from power.errors import InstrumentError, LinkLost, MeterUnavailable, NoReading, PowerError
from power.meter import Identity, Scope
from power.options import Options
from power.sample import Sample
from power.timebase import Timebase
from power.trace import Reading
from power.uncertainty import Accuracy

SAMPLING_S = 1.1e-3
FACTORS = (1, 4, 16, 64, 128, 256, 512, 1024)
DEFAULT_FACTOR = 256
VALUES_A_READING = 2
"""Readings are this many values apart, so that each holds some."""
GONE = ("HAILO_DRIVER_OPERATION_FAILED", "HAILO_COMMUNICATION_CLOSED", "HAILO_PCIE_DRIVER", "HAILO_NOT_FOUND")
STATUS_OF_CLASS = {
    "HailoRTFirmwareControlFailedException": "18",
    "HailoRTDriverOperationFailedException": "36",
    "HailoRTUnsupportedOpcodeException": "48",
    "HailoRTNotFoundException": "61",
    "HailoCommunicationClosedException": "62",
}
"""Exceptions of HailoRT whose words do not hold the number (pyhailort.py, ExceptionWrapper)."""
GONE_STATUS = ("36", "61", "62")
UNSUPPORTED = ("UNSUPPORTED", "NOT_SUPPORTED", "HAILO_FW_CONTROL_FAILURE", "18", "48")


class Hailo(PolledInstrument):
    """One device."""

    driver = "hailo"
    scope: Scope = "module"
    reading: Reading = "average"
    """Means of all that was since the reading before."""

    def __init__(
        self,
        timebase: Timebase,
        *,
        device: str | None = None,
        averaging: int = DEFAULT_FACTOR,
        module: str = "hailo_platform",
    ) -> None:
        self._timebase, self._device_id, self._averaging, self._module = timebase, device, averaging, module
        self._value_s = 2.0 * SAMPLING_S * averaging
        self._vendor: Any = None
        self._device: Any = None
        self._is_measuring = False

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take device, averaging and module (the name of the Python module, if it is another)."""
        averaging = options.integer("averaging", DEFAULT_FACTOR, low=1, high=1024)
        if averaging not in FACTORS:
            options.fail(f"averaging is {averaging}, but HailoRT has {', '.join(map(str, FACTORS))}")
        device = options.text("device") if "device" in options else None
        return cls(
            timebase, device=device, averaging=averaging, module=options.text("module", "hailo_platform")
        )

    @property
    def interval_s(self) -> float:
        """Some values."""
        return max(VALUES_A_READING * self._value_s, 0.02)

    @property
    def averaging_s(self) -> float:  # type: ignore[override]
        """From reading to reading."""
        return self.interval_s

    @property
    def time_bound_s(self) -> float:  # type: ignore[override]
        """When the last value ended before a reading: within a value's time."""
        return 0.5 * self._value_s + 0.002

    def accuracy(self, voltage_v: float | None) -> Accuracy | None:
        """Hailo states none."""
        return None

    def connect(self) -> Identity:
        """Open the device and see who it is; nothing is measured yet."""
        try:
            self._vendor = importlib.import_module(self._module)
        except ImportError:
            raise MeterUnavailable(
                "Hailo devices are read with HailoRT's Python package; install the wheel of your HailoRT version from "
                "Hailo's developer zone."
            ) from None
        try:
            identifier = self._chosen(list(self._vendor.Device.scan()))
            self._device = self._vendor.Device(identifier)
            board = self._device.control.identify()
            return self._identity(board, identifier)
        except self._vendor.HailoRTException as error:
            self.disconnect()
            raise MeterUnavailable(
                f"The Hailo device cannot be opened ({_said(error)}): check it with 'hailortcli scan', and that no other "
                "process holds it."
            ) from None
        except PowerError:
            self.disconnect()
            raise

    def begin(self) -> None:
        """Let the module measure. From here on its overcurrent protection may be off."""
        control = self._control
        try:
            control.stop_power_measurement()
            control.set_power_measurement()
            self._is_measuring = True
            control.start_power_measurement(**self._periods())
        except self._vendor.HailoRTException as error:
            with contextlib.suppress(PowerError):
                self.end()
            raise self._failed(error) from None
        self._timebase.sleep(1.05 * self._value_s)  # before that there is nothing to read

    def read(self) -> Sample:
        """Return the mean since the last reading; no value where the module has finished none since."""
        control = self._control
        begin_ns = self._timebase.now_ns()
        try:
            found = control.get_power_measurement(should_clear=True)
        except self._vendor.HailoRTException as error:
            raise self._failed(error) from None
        time_ns = (begin_ns + self._timebase.now_ns()) // 2 - round(0.5 * self._value_s * 1e9)
        if not found.total_number_of_samples:
            return Sample(time_ns)
        return Sample(time_ns, power_w=float(found.average_value))

    def end(self) -> None:
        """Let the module stop measuring, which restores its overcurrent protection."""
        if not self._is_measuring:
            return
        try:
            self._control.stop_power_measurement()
        except self._vendor.HailoRTException as error:
            raise self._failed(error) from None
        self._is_measuring = False

    def make_safe(self) -> None:
        """Restore the protection: stop, and once more where that failed."""
        with contextlib.suppress(PowerError):
            self.end()
        self.end()

    def disconnect(self) -> None:
        """Let go of the device."""
        device, self._device, self._is_measuring = self._device, None, False
        if device is not None:
            with contextlib.suppress(self._vendor.HailoRTException):
                device.release()

    @property
    def _control(self) -> Any:
        if self._device is None:
            raise NoReading("The Hailo device was not opened.")
        return self._device.control

    def _chosen(self, found: list[Any]) -> Any:
        names = [str(one) for one in found]
        if not found:
            raise MeterUnavailable(
                "HailoRT finds no device on this machine; check its driver with 'lsmod | grep hailo' and 'hailortcli scan'."
            )
        if self._device_id is None and len(found) > 1:
            raise MeterUnavailable(
                f"This machine has several Hailo devices; give device in farm.toml: {', '.join(names)}."
            )
        wanted = self._device_id or names[0]
        if wanted not in names:
            raise MeterUnavailable(f"There is no Hailo device '{wanted}'; there are {', '.join(names)}.")
        return found[names.index(wanted)]

    def _identity(self, board: Any, identifier: object) -> Identity:
        model = _plain(getattr(board, "product_name", "")) or _plain(getattr(board, "board_name", "")) or None
        serial = _plain(getattr(board, "serial_number", "")) or str(identifier)
        firmware = getattr(board, "firmware_version", None)
        version = None if firmware is None else _plain(str(firmware))
        return Identity("Hailo", model, serial, version, serial.startswith(SIMULATED_SERIAL))

    def _periods(self) -> dict[str, Any]:
        """Return the settings that differ from HailoRT's own."""
        if self._averaging == DEFAULT_FACTOR:
            return {}
        factors = getattr(self._vendor, "AveragingFactor", None)
        factor = getattr(factors, f"AVERAGE_{self._averaging}", None)
        if factor is None:
            raise MeterUnavailable(
                f"This version of HailoRT has no averaging of {self._averaging}; leave averaging out of farm.toml."
            )
        return {"averaging_factor": factor}

    def _failed(self, error: Any) -> PowerError:
        said = _said(error)
        if any(word in said for word in GONE) or _status(error) in GONE_STATUS:
            return LinkLost(
                f"The Hailo device is gone ({said}); check it with 'hailortcli scan' and restart the machine if it stays away."
            )
        if any(word in said for word in UNSUPPORTED) or _status(error) in UNSUPPORTED:
            return InstrumentError(
                f"This Hailo module does not measure its power ({said}): it needs a current monitor, which M.2 and mPCIe "
                "modules have; use another meter."
            )
        return InstrumentError(f"The Hailo device does not tell its power ({said}); see hailort.log.")


def _plain(text: object) -> str:
    """Return a text of the firmware, which pads with NULs."""
    return str(text).replace("\0", "").strip()


def _said(error: object) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _status(error: object) -> str:
    """Return the number of a class, or that in "libhailort failed with error: N (NAME)", which other statuses say."""
    of_class = STATUS_OF_CLASS.get(type(error).__name__)
    if of_class is not None:
        return of_class
    _, _, rest = str(error).partition("error: ")
    return rest.split(" ", 1)[0]
