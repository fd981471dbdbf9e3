"""The Python half of the fake: errors, HEF, Device and VDevice; InferModel and the vstreams are in files of their own."""

import ctypes
import enum
import os
from typing import Any, Dict, List, Optional

from hailo_platform.pyhailort import _pyhailort, _sensors
from hailo_platform.pyhailort._errors import (
    ExceptionWrapper,
    HailoCommunicationClosedException,
    HailoRTDriverOperationFailedException,
    HailoRTHEFNotCompatibleWithDevice,
    HailoRTInvalidArgumentException,
    HailoRTInvalidHEFException,
    HailoRTInvalidOperationException,
    HailoRTNetworkGroupNotActivatedException,
    HailoRTNotFoundException,
    HailoRTStreamAborted,
    HailoRTTimeout,
)
from hailo_platform.pyhailort._infer_model import InferModel
from hailo_platform.pyhailort._pyhailort import FormatOrder, FormatType, HailoRTException
from hailo_platform.pyhailort._pyhailort import PowerMode as HailoPowerMode
from hailo_platform.pyhailort._pyhailort import SchedulingAlgorithm as HailoSchedulingAlgorithm
from hailo_platform.pyhailort._pyhailort import StreamInterface as HailoStreamInterface
from hailo_platform.pyhailort._vstreams import (
    HEF,
    ConfiguredNetwork,
    ConfigureParams,
    InferVStreams,
    InputVStreamParams,
    OutputVStreamParams,
)

__all__ = [
    "HEF",
    "ConfigureParams",
    "ConfiguredNetwork",
    "Device",
    "ExceptionWrapper",
    "FormatOrder",
    "FormatType",
    "HailoCommunicationClosedException",
    "HailoPowerMode",
    "HailoRTDriverOperationFailedException",
    "HailoRTException",
    "HailoRTHEFNotCompatibleWithDevice",
    "HailoRTInvalidArgumentException",
    "HailoRTInvalidHEFException",
    "HailoRTInvalidOperationException",
    "HailoRTNetworkGroupNotActivatedException",
    "HailoRTNotFoundException",
    "HailoRTStreamAborted",
    "HailoRTTimeout",
    "HailoSchedulingAlgorithm",
    "HailoStreamInterface",
    "InferModel",
    "InferVStreams",
    "InputVStreamParams",
    "OutputVStreamParams",
    "VDevice",
]


class DeviceArchitectureTypes(enum.IntEnum):
    HAILO8_A0 = 0
    HAILO8 = 1
    HAILO8L = 2
    HAILO15H = 3
    HAILO15L = 4
    HAILO15M = 5
    HAILO10H = 6


class BoardInformation:
    """What identify() returns."""

    def __init__(self, device: Dict[str, Any]) -> None:
        known = DeviceArchitectureTypes.__members__
        # 5.2 does not know the number of a Hailo-12L.
        self.device_architecture = DeviceArchitectureTypes(known.get(device["architecture"], 7))
        self.firmware_version = {"4.17": "4.17.1", "5.2": "5.2.0"}.get(
            _flavour(), "4.23.0"
        ) + " (release,app)"
        self.serial_number = device["serial"] + "\0\0"
        self.product_name = device["product"] + "\0"
        self.part_number = "HM218B1C2FAE\0"
        self.board_name = "Hailo-8\0"


class ExtendedDeviceInformation:
    """What get_extended_device_information() returns."""

    neural_network_core_clock_rate = 400000000


class Control:
    """Device.control; it identifies the device when it is made."""

    def __init__(self, device: Dict[str, Any]) -> None:
        self._described = device
        self._monitor = _sensors.Monitor()
        self.identify()

    def identify(self) -> BoardInformation:
        return BoardInformation(self._described)

    def get_extended_device_information(self) -> ExtendedDeviceInformation:
        return ExtendedDeviceInformation()

    def get_chip_temperature(self) -> _sensors.TemperatureInfo:
        with ExceptionWrapper():
            return _sensors.temperature()

    def set_power_measurement(
        self, buffer_index: Any = None, dvm: Any = None, measurement_type: Any = None
    ) -> None:
        with ExceptionWrapper():
            self._monitor.choose()

    def start_power_measurement(self, averaging_factor: Any = None, sampling_period: Any = None) -> None:
        with ExceptionWrapper():
            self._monitor.start()

    def get_power_measurement(
        self, buffer_index: Any = None, should_clear: bool = True
    ) -> _sensors.PowerMeasurementData:
        with ExceptionWrapper():
            return self._monitor.read()

    def stop_power_measurement(self) -> None:
        with ExceptionWrapper():
            self._monitor.stop()


class Device:
    """A device for control, which does not take it."""

    @classmethod
    def scan(cls) -> List[str]:
        _pyhailort.trip("scan")  # the vendor wraps nothing here: a bare HailoRTStatusException comes out
        return [one["id"] for one in _pyhailort.devices()]

    def __init__(self, device_id: Optional[str] = None) -> None:
        found = {one["id"]: one for one in _pyhailort.devices()}
        if device_id is None and not found:
            raise HailoRTException("HailoRT device not found in the system")
        self._device_id = device_id or next(iter(found))
        self.control = Control(found[self._device_id])

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *args: Any) -> None:
        self.release()

    def release(self) -> None:
        pass

    @property
    def device_id(self) -> str:
        return self._device_id


class VDeviceParams:
    """device_ids came after 4.17. Asking 4.17 for its scheduler sends everything through its service."""

    __slots__ = ("_algorithm", "_ids", "device_count", "group_id", "multi_process_service")

    def __init__(self) -> None:
        self._algorithm = 1 if _pyhailort.is_version("5.") else 0  # Python's default was NONE up to 4.23
        self._ids: List[str] = []
        self.device_count = 1
        self.group_id = "UNIQUE"
        self.multi_process_service = False

    @property
    def scheduling_algorithm(self) -> int:
        return self._algorithm

    @scheduling_algorithm.setter
    def scheduling_algorithm(self, algorithm: Any) -> None:
        if not isinstance(algorithm, HailoSchedulingAlgorithm):
            raise TypeError("incompatible function arguments")
        self._algorithm = int(algorithm)
        if _flavour() == "4.17":
            self.multi_process_service = bool(algorithm)


class _VDeviceParamsWithIds(VDeviceParams):
    __slots__ = ()

    @property
    def device_ids(self) -> List[str]:
        return list(self._ids)

    @device_ids.setter
    def device_ids(self, ids: Any) -> None:
        if not isinstance(ids, list):
            raise TypeError("incompatible function arguments")
        self._ids = list(ids)
        self.device_count = len(ids)


class VDevice:
    """Devices taken as one. Released while something of it is in use: SIGSEGV."""

    def __init__(self, params: Any = None, *, device_ids: Any = None) -> None:
        self._vdevice: Optional[List[str]] = None
        self._creation_pid = os.getpid()
        self._users: List[Any] = []
        with ExceptionWrapper():
            self._params = self._effective(params or VDevice.create_params(), device_ids or [])
            ids = device_ids or getattr(self._params, "device_ids", [])
            self._vdevice = _pyhailort.take(list(ids)[: self._params.device_count], self._params.device_count)

    @staticmethod
    def _effective(params: Any, device_ids: List[str]) -> Any:
        """Return the parameters that count: device_ids as an argument make 4.18 and later forget the others."""
        if not device_ids or _flavour() == "4.17":
            return params
        if params.device_ids:
            _pyhailort.fail(6)
        fresh = _VDeviceParamsWithIds()
        fresh.device_count = len(device_ids)
        return fresh

    @staticmethod
    def create_params() -> Any:
        return VDeviceParams() if _flavour() == "4.17" else _VDeviceParamsWithIds()

    def __enter__(self) -> "VDevice":
        return self

    def __exit__(self, *args: Any) -> None:
        self.release()

    def release(self) -> None:
        if self._vdevice is None:
            return
        _pyhailort.trip("close")
        if any(user.is_in_use for user in self._users):
            ctypes.string_at(0)
        _pyhailort.give_back(self._vdevice)
        self._vdevice = None

    def get_physical_devices_ids(self) -> List[str]:
        assert self._vdevice is not None
        return list(self._vdevice)

    def get_physical_devices(self) -> List[Device]:
        return [Device(one) for one in self.get_physical_devices_ids()]

    def configure(self, hef: HEF, configure_params_by_name: Any = None) -> List[Any]:
        if self._creation_pid != os.getpid():
            raise HailoRTException("VDevice can only be configured from the process it was created in.")
        with ExceptionWrapper():
            _pyhailort.trip("load")
            _pyhailort.check_runs_on(hef.model, self.get_physical_devices_ids())
        groups = [
            ConfiguredNetwork(hef.model, bool(self._params.scheduling_algorithm))
            for _ in range(hef.model.get("groups", 1))
        ]
        self._users += groups
        return groups


def _create_infer_model(self: VDevice, hef_source: Any, name: str = "") -> InferModel:
    if os.getpid() != self._creation_pid:
        raise HailoRTException("InferModel can be created only from the process VDevice was created in.")
    with ExceptionWrapper():
        model = _pyhailort.read_hef(hef_source)
    return InferModel(model, hef_source, self)


def _flavour() -> str:
    return next((one for one in ("4.17", "5.2") if _pyhailort.is_version(one)), "4.23")


if _flavour() != "4.17":
    VDevice.create_infer_model = _create_infer_model  # type: ignore[attr-defined]
