"""Providers of packages beside this one (since 1.23): their library is registered, then their devices are there."""

import enum
from typing import Dict, List

import faking

from .capi.onnxruntime_pybind11_state import Fail

_registered: Dict[str, str] = {}


class OrtHardwareDeviceType(enum.Enum):
    """Kinds of devices."""

    CPU = 0
    GPU = 1
    NPU = 2


class OrtHardwareDevice:
    """A piece of hardware."""

    def __init__(self, kind: OrtHardwareDeviceType) -> None:
        self.type = kind


class OrtEpDevice:
    """A provider on a piece of hardware."""

    def __init__(self, ep_name: str, kind: OrtHardwareDeviceType) -> None:
        self.ep_name = ep_name
        self.device = OrtHardwareDevice(kind)


def register_execution_provider_library(registration_name: str, library_path: str) -> None:
    """Load a provider's library. Fail for a second registration, or a library that cannot be loaded."""
    if registration_name in _registered:
        raise Fail(
            "[ONNXRuntimeError] : 1 : FAIL : {} has already been registered.".format(registration_name)
        )
    if faking.settings().get("fault") == "missing_plugin":
        raise Fail("[ONNXRuntimeError] : 1 : FAIL : Failed to load library {}".format(library_path))
    _registered[registration_name] = library_path


def get_ep_devices() -> List[OrtEpDevice]:
    """Return the devices of the CPU's provider and of the registered ones."""
    kinds = [OrtHardwareDeviceType[name] for name in faking.settings().get("plugin_devices", ["GPU", "NPU"])]
    found = [OrtEpDevice(name, kind) for name in _registered for kind in kinds]
    return [OrtEpDevice("CPUExecutionProvider", OrtHardwareDeviceType.CPU)] + found
