"""What HailoRT's status numbers mean for a person, and which of our errors each one is.

Source: hailo-ai/hailort 4.23 and 5.2, libhailort/include/hailo/hailort.h (HAILO_STATUS_VARIABLES) and
bindings/python/platform/hailo_platform/pyhailort/pyhailort.py (ExceptionWrapper).
"""

import re
from typing import Any, Callable, Dict, Optional, Tuple

from targets.errors import InferenceFailed, ModelInvalid, OutOfMemory, RuntimeUnavailable, TargetsError
from targets.runner import one_line

# The classes whose message carries no number.
_STATUS_OF_CLASS = {
    "HailoRTInvalidArgumentException": 2,
    "HailoRTTimeout": 4,
    "HailoRTInvalidOperationException": 6,
    "InvalidProtocolVersionException": 15,
    "HailoRTFirmwareControlFailedException": 18,
    "HailoRTEthException": 19,
    "HailoRTInvalidFrameException": 25,
    "HailoRTInvalidHEFException": 26,
    "HailoRTDriverOperationFailedException": 36,
    "HailoRTUnsupportedOpcodeException": 48,
    "HailoRTNotFoundException": 61,
    "HailoCommunicationClosedException": 62,
    "HailoRTStreamAborted": 63,
    "HailoRTNetworkGroupNotActivatedException": 69,
    "HailoRTHEFNotCompatibleWithDevice": 93,
}
_MEMORY = (3, 47, 71, 81)
_FILE = (26, 91, 92, 93)
_BUSY = (73, 74, 97)
_RESET = (36, 87)
_VERSIONS = (15, 16, 76, 78, 85, 86)
_SAME_VERSION = (
    "make wheel, libhailort, driver and firmware the same version ('hailortcli --version', 'modinfo hailo_pci', "
    "'hailortcli fw-control identify')"
)
_RESET_ADVICE = (
    "reset the device ('sudo modprobe -r hailo_pci && sudo modprobe hailo_pci', else power off), see 'dmesg'"
)
_BUSY_ADVICE = "another process holds it: end that one, or try again later"
_ADVICE: Dict[int, Tuple[str, str]] = {
    4: ("it did not answer in time", "raise the option timeout_ms, or lower batch and in_flight"),
    6: ("it is not valid now, or a buffer has another size", "see hailort.log"),
    15: ("the firmware speaks another protocol", _SAME_VERSION),
    16: ("the firmware has another version than the library", _SAME_VERSION),
    18: ("the firmware refused a control", "see hailort.log"),
    26: ("the HEF is invalid", "compile the model again with Hailo's Dataflow Compiler"),
    36: ("the driver failed", _RESET_ADVICE),
    62: ("the connection to the device is closed", "load the model again"),
    63: ("the pipeline was shut down by an earlier error", "load the model again"),
    64: (
        "the driver is not loaded",
        "install the package hailort-pcie-driver of this version and 'sudo modprobe hailo_pci'",
    ),
    69: ("the network is not activated", "load the model again"),
    73: ("the device is in use", _BUSY_ADVICE),
    74: ("there is no free device", _BUSY_ADVICE),
    75: (
        "this HailoRT does not drive this chip",
        "install HailoRT 4.x for Hailo-8, 8R and 8L, 5.x for Hailo-10H, 12L and 15",
    ),
    76: ("the driver has another version than the library", _SAME_VERSION),
    77: ("HailoRT's service does not answer", "restart it with 'sudo systemctl restart hailort'"),
    78: ("HailoRT's service has another version than the library", _SAME_VERSION),
    82: ("more frames were sent than its queue holds", "lower in_flight or batch"),
    85: ("the driver's answer is not that of this library's version", _SAME_VERSION),
    86: ("the driver does not know a call of this library's version", _SAME_VERSION),
    87: ("the driver got no answer from the device", _RESET_ADVICE),
    91: ("the HEF is corrupt or cut short", "copy or compile it again"),
    92: (
        "the HEF needs another version of HailoRT",
        "compile it with the Dataflow Compiler that belongs to this HailoRT",
    ),
    97: ("the device is not available just now", _BUSY_ADVICE),
}


def is_vendors(error: BaseException) -> bool:
    """Return whether HailoRT raised it. HailoRTStatusException, which escapes in places, derives from none of the others."""
    return type(error).__module__.split(".")[0] == "hailo_platform" or "HailoRT" in type(error).__name__


def status_of(error: BaseException) -> Optional[int]:
    """Return the status behind an exception; None if it tells none."""
    name, text = type(error).__name__, str(error).strip()
    if name in _STATUS_OF_CLASS:
        return _STATUS_OF_CLASS[name]
    if name == "HailoRTStatusException" and text.isdigit():
        return int(text)
    found = re.search(r"error: (\d+)", text)
    return int(found.group(1)) if found else None


def translate(error: BaseException, doing: str, otherwise: Callable[..., TargetsError]) -> TargetsError:
    """Return our error for one of HailoRT's: ``doing`` ends the sentence "HailoRT cannot ...".

    ``otherwise`` is the kind where the status does not decide. Details: status, retry (whether trying again may help).
    """
    status = status_of(error)
    if status in _ADVICE:
        said = "{} (status {}); {}".format(_ADVICE[status][0], status, _ADVICE[status][1])
    else:
        said = one_line(error).rstrip(".")
        said += "" if "hailort.log" in said else "; see hailort.log"
    message = "HailoRT cannot {}: {}.".format(doing, said)
    details: Dict[str, Any] = {"status": status, "retry": status in _BUSY}
    if status in _MEMORY:
        return OutOfMemory(
            "HailoRT cannot {}: the memory is not enough: {}".format(doing, one_line(error)), **details
        )
    if otherwise is InferenceFailed:
        return InferenceFailed(message, **details)
    if status in _FILE:
        return ModelInvalid(message, **details)
    if status in _BUSY + _RESET + _VERSIONS + (64, 75, 77):
        return RuntimeUnavailable(message, runtime="hailort", package=None, **details)
    return otherwise(message, **details)
