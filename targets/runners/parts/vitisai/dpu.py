"""Vitis AI's packages and the DPU: are they there, which version, which DPU.

VART is not asked, for it ends the process over errors. Source: Vitis AI 3.5 UG1414 (VART, xdputil); Xilinx/Vitis-AI 3.5,
src/vai_runtime.
"""

import glob
import importlib
import json
import os
import re
import shutil
import subprocess
from typing import Any, Dict, List, Optional

from targets.errors import RuntimeUnavailable
from targets.runner import one_line

PACKAGE = "vitis-ai-runtime"
_CONFIG = "/etc/vart.conf"
_VARIABLE = "XLNX_VART_FIRMWARE"
_QUERY_S = 30.0
_query: List[Dict[str, Any]] = []  # what xdputil said: a DPU does not change while a worker lives


def import_vendor(name: str) -> Any:
    """Import xir, vart or vitis_ai_library. RuntimeUnavailable that says what to install."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # a broken native library raises more than ImportError
        raise RuntimeUnavailable(
            "Vitis AI's module '{}' cannot be imported ({}); install the board's packages ('sudo dnf install "
            "packagegroup-petalinux-vitisai' or AMD's board image) and let farmd use the system's Python.".format(
                name, one_line(error).rstrip(".")
            ),
            runtime="vitisai",
            package=PACKAGE,
        )


def find_dpu() -> str:
    """Return what tells of a DPU: the firmware file that VART will load, or a device node. RuntimeUnavailable if nothing does.

    Without either VART's first call aborts the process ("open(...dpu.xclbin) failed", "no device is available").
    """
    firmware = os.environ.get(_VARIABLE) or _configured_firmware()
    if firmware is not None:
        if os.path.exists(firmware):
            return firmware
        raise RuntimeUnavailable(
            "The DPU's firmware {} is not there; load the overlay ('xmutil loadapp ...') and name its .xclbin in {} or "
            "{}.".format(firmware, _VARIABLE, _CONFIG),
            runtime="vitisai",
            package=None,
        )
    nodes = sorted(glob.glob("/dev/dpu*"))
    if nodes:
        return nodes[0]
    raise RuntimeUnavailable(
        "There is no DPU: {} and {} name no firmware and there is no /dev/dpu; load the overlay ('xmutil loadapp ...').".format(
            _VARIABLE, _CONFIG
        ),
        runtime="vitisai",
        package=None,
    )


def _configured_firmware() -> Optional[str]:
    try:
        with open(_CONFIG) as file:
            found = re.search(r"^\s*firmware\s*:\s*(\S+)", file.read(), re.MULTILINE)
    except OSError:
        return None
    return found.group(1) if found else None


def version() -> str:
    """Return VART's version, from the name of the library that is mapped: its Python modules tell none."""
    try:
        with open("/proc/self/maps") as file:
            found = re.search(r"libvart-runner\.so\.(\d+\.\d+\.\d+)", file.read())
    except OSError:
        found = None
    return found.group(1) if found else "unknown"


def query() -> Dict[str, Any]:
    """Return what 'xdputil query' says of this board's DPU; an empty dict where it cannot be had (it may need root)."""
    if not _query:
        _query.append(_ask())
    return _query[0]


def _ask() -> Dict[str, Any]:
    tool = shutil.which("xdputil")
    if tool is None:
        return {}
    try:
        done = subprocess.run(
            [tool, "query"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_QUERY_S, check=False
        )
        text = done.stdout.decode("utf-8", "replace")
        found = json.loads(text[text.index("{") :])  # glog may write a warning before it
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    return found if isinstance(found, dict) else {}


def describe() -> Dict[str, str]:
    """Return name, fingerprint, clock and number of the DPU's cores: only what xdputil tells."""
    listed = query().get("kernels")
    kernels = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    found: Dict[str, str] = {}
    if kernels:
        first = kernels[0]
        for key, member in (
            ("dpu", "DPU Arch"),
            ("fingerprint", "fingerprint"),
            ("dpu_mhz", "DPU Frequency (MHz)"),
        ):
            if first.get(member) is not None:
                found[key] = str(first[member])
        found["dpu_cores"] = str(len(kernels))
    return found
