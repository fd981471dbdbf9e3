"""HailoRT's package and devices: is it there, which devices are there, who are they, and opening them as one VDevice.

Source: hailo-ai/hailort 4.17.1, 4.23.0 and 5.2.0, bindings/python (pyhailort.py, src/pyhailort.cpp, src/vdevice_api.hpp).
"""

import contextlib
import importlib
from typing import Any, Dict, List, Optional, Tuple

from targets.errors import OptionInvalid, RuntimeUnavailable
from targets.options import nearest
from targets.runner import one_line
from targets.runners.parts.hailort.errors import translate

PACKAGE = "hailort-<version>-<python>-<machine>.whl"


def import_vendor() -> Any:
    """Import hailo_platform. RuntimeUnavailable that says what to install, or which versions do not fit."""
    try:
        return importlib.import_module("hailo_platform")
    except ModuleNotFoundError as error:
        if error.name != "hailo_platform":
            raise _unusable(error)
        raise RuntimeUnavailable(
            "HailoRT's Python package is missing; install the wheel of your HailoRT version from hailo.ai's developer zone "
            "for this interpreter ('pip install {}').".format(PACKAGE),
            runtime="hailort",
            package=PACKAGE,
        )
    except Exception as error:  # MissingPyHRTLib is a plain Exception
        raise _unusable(error)


def _unusable(error: BaseException) -> RuntimeUnavailable:
    text = one_line(error)
    if type(error).__name__ == "MissingPyHRTLib":
        advice = "the wheel is for another Python or machine: install the one for this interpreter"
    elif "libhailort" in text:
        advice = "the library is missing or has another version: install the package hailort of the wheel's version"
    elif "does not match" in text:
        advice = "two versions are mixed: uninstall hailort and install one wheel"
    else:
        advice = "install the wheel for this interpreter and the library of the same version"
    return RuntimeUnavailable(
        "HailoRT's Python package cannot be used ({}); {}.".format(text.rstrip("."), advice),
        runtime="hailort",
        package=PACKAGE,
    )


def version_of(vendor: Any) -> str:
    """Return HailoRT's version: 4.17 and before say 'unknown' where the wheel's metadata is not found."""
    return str(vendor.__version__)


def scan(vendor: Any) -> List[str]:
    """Return the ids of this machine's devices, taking none. RuntimeUnavailable if there is no device or no driver."""
    try:
        found = [str(one) for one in vendor.Device.scan()]
    except Exception as error:
        raise translate(error, "look for devices", unavailable)
    if not found:
        raise unavailable(
            "HailoRT {} finds no device; check 'lspci -d 1e60:', the driver ('lsmod | grep hailo') and "
            "'hailortcli scan'.".format(version_of(vendor))
        )
    return found


def unavailable(message: str, **details: Any) -> RuntimeUnavailable:
    """Return the error of a runtime whose package is there, and whose device or driver is not."""
    return RuntimeUnavailable(message, runtime="hailort", package=None, **details)


def choose(vendor: Any, asked: Optional[str]) -> List[str]:
    """Return the ids that the option ``device`` names, with commas between several; none where HailoRT shall pick a free one."""
    there = scan(vendor)
    wanted = [part.strip() for part in (asked or "").split(",") if part.strip()]
    for one in wanted:
        if one not in there:
            raise OptionInvalid(
                "There is no Hailo device '{}'{} There are {}.".format(
                    one, nearest(one, there) or ".", ", ".join(there)
                ),
                option="device",
                value=asked,
            )
    if len(set(wanted)) != len(wanted):
        raise OptionInvalid(
            "The option device='{}' names a device twice.".format(asked), option="device", value=asked
        )
    return wanted


def open_vdevice(vendor: Any, ids: List[str], is_scheduled: bool) -> Any:
    """Open devices as one VDevice, with HailoRT's scheduler or without."""
    try:
        params = vendor.VDevice.create_params()
        algorithms = vendor.HailoSchedulingAlgorithm
        params.scheduling_algorithm = algorithms.ROUND_ROBIN if is_scheduled else algorithms.NONE
        if not ids:
            return vendor.VDevice(params)
        if hasattr(params, "device_ids"):
            # As the argument device_ids they would make HailoRT drop params, and with it the scheduler.
            params.device_ids = ids
            return vendor.VDevice(params)
        params.device_count = len(ids)  # 4.17: the argument is all there is, and it leaves the count at 1
        return vendor.VDevice(params, device_ids=ids)
    except Exception as error:
        raise translate(error, "open {}".format(", ".join(ids) or "a device"), unavailable)


def identify(vdevice: Any) -> Tuple[List[str], Dict[str, str]]:
    """Return the ids of the devices that were opened, and what the first tells of itself: only what it tells."""
    ids = [str(one) for one in vdevice.get_physical_devices_ids()]
    facts: Dict[str, str] = {}
    # HailoRT 5.2 raises ValueError for a Hailo-12L; who it is must not decide whether it runs.
    with contextlib.suppress(Exception), contextlib.ExitStack() as stack:
        devices = [stack.enter_context(device) for device in vdevice.get_physical_devices()]
        _add_identity(facts, devices[0].control.identify())
        # Some firmware of Hailo-10H and 15 has no extended information, so it comes last.
        extended = devices[0].control.get_extended_device_information()
        facts["core_clock_mhz"] = "{:g}".format(extended.neural_network_core_clock_rate / 1e6)
    return ids, facts


def _add_identity(facts: Dict[str, str], board: Any) -> None:
    architecture = board.device_architecture
    facts["architecture"] = str(getattr(architecture, "name", architecture))
    facts["firmware"] = str(board.firmware_version).split(" ")[0]
    for key, member in (("serial", "serial_number"), ("product", "product_name"), ("part", "part_number")):
        text = str(getattr(board, member, "")).replace("\0", "").strip()  # the firmware pads with NULs
        if text:
            facts[key] = text
