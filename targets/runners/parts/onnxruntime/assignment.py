"""Which execution provider runs which nodes of a session: ONNX Runtime puts what a provider cannot run on the CPU, silently.

Source: onnxruntime_session_options_config_keys.h, "session.record_ep_graph_assignment_info"; the profiler's "provider" of each
"_kernel_time" event for versions without it (https://onnxruntime.ai/docs/performance/tune-performance/profiling-tools.html).
"""

import ctypes
import glob
import json
import os
import shutil
import tempfile
from typing import Any, Callable, Dict, Optional

from targets.runner import one_line
from targets.runners.parts.onnxruntime.providers import PROVIDERS


class Profile:
    """One profiled inference, for versions that do not tell the assignment otherwise (before 1.24).

    The profiler belongs to the session that is measured, and stops before the window: a second session would build every
    engine twice, and a VitisAI process cannot have two (amd/RyzenAI-SW#223). The price is that the first inference of the
    load is this one.
    """

    def __init__(self, settings: Any) -> None:
        self._folder = tempfile.mkdtemp()
        settings.enable_profiling = True
        settings.profile_file_prefix = os.path.join(self._folder, "profile")

    def close(self) -> None:
        """Remove what the profiler wrote."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def counts(self, session: Any, run: Callable[[], Any]) -> Dict[str, int]:
        """Run once and return how many nodes each provider ran."""
        run()
        with open(session.end_profiling()) as file:
            events = json.load(file)
        found: Dict[str, int] = {}
        for event in events:
            provider = event.get("args", {}).get("provider")
            if provider and str(event.get("name", "")).endswith("_kernel_time"):
                found[provider] = found.get(provider, 0) + 1
        return found


def recorded(session: Any) -> Optional[Dict[str, int]]:
    """Return how many nodes each provider was given; None where this version does not tell."""
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    if tell is None:
        return None
    found: Dict[str, int] = {}
    for part in tell():
        found[part.ep_name] = found.get(part.ep_name, 0) + len(part.get_nodes())
    return found


def why_not_started(ort: Any, provider: str) -> str:
    """Return why a provider's library cannot be loaded, as "(...)" to put in a sentence; "" if it can or nobody knows.

    ONNX Runtime only writes the reason to its log. Mostly it is a library of the vendor that is missing.
    """
    entry = PROVIDERS.get(provider)
    folder = os.path.join(os.path.dirname(os.path.abspath(ort.__file__)), "capi")
    if entry is None or not entry.library:
        return ""
    for path in glob.glob(os.path.join(folder, "libonnxruntime_providers_{}.so*".format(entry.library))):
        try:
            ctypes.CDLL(path)
        except OSError as error:
            # Loaded alone, a provider whose libraries are all there lacks only what ONNX Runtime gives it.
            return "" if "undefined symbol" in str(error) else " ({})".format(one_line(error).rstrip("."))
    return ""
