"""What all fakes of vendors' packages share: their settings, their pace, and the ways in which any of them can die.

The environment variable WATTFARM_FAKE holds a JSON object: ``fault`` (what goes wrong), ``at`` (import, load, infer or close;
infer unless told), ``after`` (times that go well first), ``latency_ms`` (what an inference takes), and what a vendor's fake adds.
Runs in the worker, so in Python 3.6 syntax.
"""

import ctypes
import json
import os
import sys
import time
from typing import Any, Dict, Optional

_VARIABLE = "WATTFARM_FAKE"
_counts: Dict[str, int] = {}


def settings() -> Dict[str, Any]:
    """Return the settings; an empty dict if there are none."""
    found: Dict[str, Any] = json.loads(os.environ.get(_VARIABLE) or "{}")
    return found


def delay() -> None:
    """Take as long as an inference is told to."""
    latency_ms = settings().get("latency_ms", 0)
    if latency_ms:
        time.sleep(latency_ms / 1e3)


def trip(at: str) -> Optional[str]:
    """Count one passage of a place; die there if that is due, else return the name of a fault that is left to the fake."""
    told = settings()
    fault = told.get("fault")
    if fault is None or told.get("at", "infer") != at:
        return None
    _counts[at] = _counts.get(at, 0) + 1
    if _counts[at] <= told.get("after", 0):
        return None
    _die(fault)
    return str(fault)


def _die(fault: str) -> None:
    if fault == "segv":
        ctypes.string_at(0)
    elif fault == "abort":
        sys.stderr.write("F1121 12:00:00.000000 check failed: the device is gone\n")
        sys.stderr.flush()
        os.abort()
    elif fault == "exit":
        os._exit(17)
    elif fault == "hang":
        time.sleep(3600)
