"""What the fakes of xir, vart and vitis_ai_library share: deaths in glog's manner, and the DPU that computes.

WATTFARM_FAKE (see faking.py) may hold, beside what all fakes take:
  engines      the batch that the DPU fixes (1)
  fingerprint  of the DPU, as a number; an xmodel of another one ends the process in its first execution
  fault        "abort", "segv", "exit", "hang"; at "load" also "no_device" (create_runner ends the process); at "infer" also
               "timeout" (XLNX_DPU_TIMEOUT passed: ends the process) and "status" (wait returns ``status``)
  at           "import", "load" or "infer"
The xmodel's JSON: ``name``, ``tensors`` (name -> ``dims``, ``dtype``, ``fix_point``), ``inputs`` and ``outputs`` of the graph,
and ``children``: objects with ``device``, ``ops``, ``inputs``, ``outputs`` and, on the DPU, ``dpu_fingerprint``.
"""

import os
import sys
import zlib
from typing import Any, Dict, List

import faking
import numpy as np

_weights: Dict[Any, Any] = {}


def fatal(place: str, text: str) -> None:
    """End the process as glog's CHECK does."""
    sys.stderr.write(
        "F1121 12:00:00.000000  1130 {}] {}\n*** Check failure stack trace: ***\n".format(place, text)
    )
    sys.stderr.flush()
    os.abort()


def engines() -> int:
    """Return the batch of the DPU."""
    return int(faking.settings().get("engines", 1))


def fingerprint() -> int:
    """Return the DPU's fingerprint."""
    return int(faking.settings().get("fingerprint", 0x101000056010407))


def real(array: Any, fix_point: Any) -> Any:
    """Return what levels mean."""
    return array.astype("float64") * (1.0 if fix_point is None else 2.0**-fix_point)


def levels(values: Any, fix_point: Any, dtype: Any) -> Any:
    """Return values as levels of a type; floats stay."""
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    scaled = np.round(values * 2.0 ** (fix_point or 0))
    return np.clip(scaled, limits.min, limits.max).astype(dtype)


def compute(inputs: List[Any], name: str, shape: Any) -> Any:
    """Return an output for a batch: a fixed linear map of all inputs of each sample."""
    count = shape[0]
    x = np.concatenate([one.reshape(count, -1) for one in inputs], axis=1)
    rows = int(np.prod(shape[1:]))
    key = (name, rows, x.shape[1])
    if key not in _weights:
        drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal((rows, x.shape[1]))
        _weights[key] = drawn / np.sqrt(x.shape[1])
    return x.dot(_weights[key].T).reshape(shape)
