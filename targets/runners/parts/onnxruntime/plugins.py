"""Execution providers that come as a package of their own beside ONNX Runtime, not inside one of its flavours (since 1.23).

Such a package tells where its library is (``get_library_path``); the library is registered, and its devices are added to the
session's settings. Sources: https://onnxruntime.ai/docs/execution-providers/plugin-ep-libraries/, onnxruntime_qnn 2.7.

Not here: onnxruntime_ep_openvino 1.8, which ignores device_type, precision and num_of_threads with a line in its log.
"""

import importlib
import importlib.util
from typing import Any, Dict, List, Set

from targets.errors import RuntimeUnavailable
from targets.runner import one_line

# provider -> module; the package is named like it
_MODULES = {
    "QNNExecutionProvider": "onnxruntime_qnn",
    "NvTensorRTRTXExecutionProvider": "onnxruntime_ep_nv_tensorrt_rtx",
    "WebGpuExecutionProvider": "onnxruntime_ep_webgpu",
}
_registered: Set[str] = set()  # a second registration in a process is an error


def found(ort: Any) -> List[str]:
    """Return the providers whose package is installed, if this ONNX Runtime can take them."""
    if not hasattr(ort, "register_execution_provider_library"):
        return []
    inside = ort.get_available_providers()
    return [
        provider
        for provider, module in _MODULES.items()
        if provider not in inside and importlib.util.find_spec(module) is not None
    ]


def add(ort: Any, settings: Any, provider: str, told: Dict[str, str]) -> None:
    """Let the settings use a provider of a package: all its devices of the best kind, an NPU before a GPU before a CPU.

    RuntimeUnavailable if its library cannot be loaded, or finds no device.
    """
    module = _MODULES[provider]
    try:
        if provider not in _registered:
            ort.register_execution_provider_library(
                provider, importlib.import_module(module).get_library_path()
            )
            _registered.add(provider)
    except Exception as error:  # the vendor's exceptions have no common base
        raise _unavailable(provider, "cannot be loaded: " + one_line(error))
    devices = _devices(ort, provider)
    if not devices:
        raise _unavailable(provider, "finds no device here; is its driver installed?")
    kinds = {device.device.type.name: device.device.type for device in devices}
    best = next((kinds[name] for name in ("NPU", "GPU") if name in kinds), devices[0].device.type)
    settings.add_provider_for_devices([device for device in devices if device.device.type == best], told)


def _devices(ort: Any, provider: str) -> List[Any]:
    return [device for device in ort.get_ep_devices() if device.ep_name == provider]


def _unavailable(provider: str, why: str) -> RuntimeUnavailable:
    package = _MODULES[provider].replace("_", "-")
    return RuntimeUnavailable(
        "{} of the package {} {}".format(provider, package, why), runtime=provider, package=package
    )
