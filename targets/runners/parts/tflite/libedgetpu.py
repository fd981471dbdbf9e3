"""The vendor's library for the Edge TPU: its version, and the devices it sees, without opening one.

Source: google-coral/libedgetpu, tflite/public/edgetpu_c.h and tflite/edgetpu_manager_direct.cc.
"""

import ctypes
import re
from typing import Any, List, NamedTuple, Optional

from targets.errors import RuntimeUnavailable
from targets.runner import one_line

LIBRARY = "libedgetpu.so.1"
_KINDS = {0: "pci", 1: "usb"}  # enum edgetpu_device_type
_THROTTLED = (
    b"PERFORMANCE=THROTTLED"  # port/default/builddata.cc: what the package libedgetpu1-std is built as
)
_DIRECT = b"PERFORMANCE=DIRECT"  # libedgetpu1-max


class Device(NamedTuple):
    """One Edge TPU: its name for the option device ("usb:0") and its path."""

    name: str
    path: str

    @property
    def kind(self) -> str:
        """Return "pci" or "usb"."""
        return self.name.partition(":")[0]


class _Record(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("path", ctypes.c_char_p)]


def library(runtime: str) -> Any:
    """Open the library. RuntimeUnavailable if it is missing or another one."""
    try:
        found = ctypes.CDLL(LIBRARY)
        found.edgetpu_version.restype = ctypes.c_char_p
        found.edgetpu_list_devices.restype = ctypes.POINTER(_Record)
        found.edgetpu_list_devices.argtypes = [ctypes.POINTER(ctypes.c_size_t)]
        found.edgetpu_free_devices.argtypes = [ctypes.POINTER(_Record)]
    except (OSError, AttributeError) as error:
        raise RuntimeUnavailable(
            "The library of the Edge TPU, {}, cannot be used ({}) Install it with 'apt install libedgetpu1-std', or take "
            "a build that fits this TensorFlow Lite.".format(LIBRARY, one_line(error)),
            runtime=runtime,
            package="libedgetpu1-std",
        )
    return found


def version(opened: Any) -> str:
    """Return the number of the vendor's "BuildLabel(...), RuntimeVersion(14)", or the whole text if it has none."""
    text = opened.edgetpu_version().decode("utf-8", "replace")
    found = re.search(r"RuntimeVersion\((\w+)\)", text)
    return found.group(1) if found else text


def devices(opened: Any) -> List[Device]:
    """Return the devices in the vendor's order, those in use too."""
    count = ctypes.c_size_t(0)
    records = opened.edgetpu_list_devices(ctypes.byref(count))
    if not records:
        return []
    try:
        found: List[Device] = []
        for index in range(count.value):
            kind = _KINDS.get(records[index].type)
            if kind is not None:  # others are simulators
                number = sum(1 for device in found if device.kind == kind)
                path = records[index].path.decode("utf-8", "replace")
                found.append(Device("{}:{}".format(kind, number), path))
        return found
    finally:
        opened.edgetpu_free_devices(records)


def is_throttled() -> Optional[bool]:
    """Return whether the opened library is the build that runs USB devices at half their clock; None if it does not say.

    That build turns Performance "Max" into "High" without a word (tflite/edgetpu_context_direct.cc).
    """
    content = b""
    try:
        with open("/proc/self/maps") as maps:
            paths = {line.split(None, 5)[-1].strip() for line in maps if "libedgetpu" in line}
        for path in sorted(paths):
            with open(path, "rb") as file:
                content += file.read()
    except OSError:
        return None
    return True if _THROTTLED in content else False if _DIRECT in content else None
