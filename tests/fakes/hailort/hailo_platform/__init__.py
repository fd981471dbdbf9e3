"""A fake of HailoRT's Python package: names, checks, conventions and failures of hailo_platform 4.17.1, 4.23.0 or 5.2.0.

WATTFARM_FAKE (see faking.py) may hold, beside what all fakes take:
  version     "4.17" (no InferModel), "4.23" (default) or "5.2"
  devices     list of {"id", "architecture", "serial", "product"}; [] is a machine without a device
  held        ids of devices that another process holds
  queue       frames that the asynchronous queue holds (16)
  fault       "abort", "segv", "exit", "hang"; "status" with ``status``, any of HailoRT's numbers; "timeout" (an inference never
              ends); at "import" also "version", "library" and "missing_lib", which wheel and library of two versions do
  at          "import", "scan", "open", "load", "infer", "callback", "close", "temperature", "power" or "stop"
  monitor     false: the module has no current monitor
  protection  a file that holds "off" while the module measures its power and "on" afterwards
Source: hailo-ai/hailort, bindings/python/platform/hailo_platform and src.
"""

import faking

_FAULT = faking.trip("import")
__version__ = {"4.17": "4.17.1", "5.2": "5.2.0"}.get(faking.settings().get("version", "4.23"), "4.23.0")


class MissingPyHRTLib(Exception):  # noqa: N818 - the vendor's name
    """The wheel has no native library for this interpreter."""


if _FAULT == "library":
    raise ImportError(
        "libhailort.so.{}: cannot open shared object file: No such file or directory".format(__version__)
    )
if _FAULT == "missing_lib":
    raise MissingPyHRTLib(
        "/usr/lib/python3/hailo_platform/pyhailort/ should include a _pyhailort library (_pyhailort*311*.so). Includes: []"
    )
if _FAULT == "version":
    raise ImportError("_pyhailort version (4.20.0) does not match pyhailort version ({})".format(__version__))

from hailo_platform.pyhailort.pyhailort import (  # noqa: E402
    HEF,
    ConfigureParams,
    Device,
    FormatOrder,
    FormatType,
    HailoPowerMode,
    HailoRTException,
    HailoSchedulingAlgorithm,
    HailoStreamInterface,
    InferVStreams,
    InputVStreamParams,
    OutputVStreamParams,
    VDevice,
)

__all__ = [
    "HEF", "ConfigureParams", "Device", "FormatOrder", "FormatType", "HailoPowerMode", "HailoRTException",
    "HailoSchedulingAlgorithm", "HailoStreamInterface", "InferVStreams", "InputVStreamParams", "OutputVStreamParams",
    "VDevice",
]  # fmt: skip
