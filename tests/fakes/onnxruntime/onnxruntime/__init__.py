"""A fake onnxruntime with many execution providers, each as silent about what it does not do as the real ones.

Settings in WATTFARM_FAKE (tests/fakes/faking.py) beside the general ones:

providers    the providers of this build, CPU's left out; all of them unless told
version      "1.10.0" and other versions before 1.24 do not tell which provider was given which node; before 1.11 the
             constructor goes on on the CPU whatever ``enable_fallback`` says, and the package does not know its name
unstartable  providers whose library or device is not there: a line in the log, and the session runs on the CPU
cpu_ops      operators that no provider but the CPU's takes
took         options that a provider takes otherwise than it is told: {"trt_fp16_enable": "0"}
latency_ms   time of an inference
plugin_devices  what registered providers find (GPU and NPU unless told); plugin/onnxruntime_qnn is such a package

Faults, at "profile" (an inference under the profiler) as at infer: "engine_build" (EPFail, at load too), "out_of_memory" and
"device_gone"; "missing_library" (at import); "missing_plugin"; "second_session" (at load: VitisAI aborts when a process opens
another session, amd/RyzenAI-SW#223); and the general ones.
"""

import faking

from ._options import ExecutionMode, GraphOptimizationLevel, SessionOptions
from ._providers import get_all_providers, get_available_providers
from ._session import HAS_PLUGINS, VERSION, InferenceSession, OrtValue

if HAS_PLUGINS:
    from ._plugins import OrtHardwareDeviceType as OrtHardwareDeviceType
    from ._plugins import get_ep_devices as get_ep_devices
    from ._plugins import register_execution_provider_library as register_execution_provider_library

if faking.trip("import") == "missing_library":
    raise ImportError("libonnxruntime.so.1: cannot open shared object file: No such file or directory")

__version__ = VERSION
__all__ = [
    "ExecutionMode",
    "GraphOptimizationLevel",
    "InferenceSession",
    "OrtValue",
    "SessionOptions",
    "get_all_providers",
    "get_available_providers",
]
