"""The providers: which there are, which options they take, and in which precision they really compute."""

import sys
from typing import Any, Dict, List, Tuple

import faking

CPU = "CPUExecutionProvider"
_KEYS: Dict[str, Tuple[str, ...]] = {
    "TensorrtExecutionProvider": (
        "device_id", "trt_fp16_enable", "trt_bf16_enable", "trt_int8_enable", "trt_int8_calibration_table_name",
        "trt_engine_cache_enable", "trt_engine_cache_path", "trt_max_workspace_size",
    ),
    "CUDAExecutionProvider": ("device_id", "gpu_mem_limit", "cudnn_conv_algo_search", "use_tf32"),
    "OpenVINOExecutionProvider": (
        "device_type", "precision", "num_of_threads", "num_streams", "cache_dir", "load_config",
    ),
    "VitisAIExecutionProvider": ("config_file", "cache_dir", "cache_key", "xclbin", "encryptionKey"),
    "QNNExecutionProvider": ("backend_path", "htp_performance_mode", "enable_htp_fp16_precision"),
    "XnnpackExecutionProvider": ("intra_op_num_threads",),
    "ACLExecutionProvider": ("enable_fast_math",),
    "AzureExecutionProvider": (),
}  # fmt: skip
_TELLING = (
    "TensorrtExecutionProvider",
    "CUDAExecutionProvider",
    "XnnpackExecutionProvider",
    "ACLExecutionProvider",
)
_OPENVINO_CAN = {
    "CPU": ("FP32", "ACCURACY"),
    "GPU": ("FP32", "FP16", "ACCURACY"),
    "NPU": ("FP16", "ACCURACY"),
}


def get_all_providers() -> List[str]:
    """Return every provider that ONNX Runtime knows, built in or not."""
    return list(_KEYS) + ["DmlExecutionProvider", CPU]


def get_available_providers() -> List[str]:
    """Return the providers of this build."""
    told = faking.settings().get("providers", list(_KEYS))
    return [name for name in _KEYS if name in told] + [CPU]


class Started:
    """A provider that started, with its options."""

    def __init__(self, name: str, options: Dict[str, str]) -> None:
        self.name = name
        self.options = options

    def told(self) -> Dict[str, str]:
        """What get_provider_options gives: many providers give nothing at all."""
        if self.name not in _TELLING:
            return {}
        took = faking.settings().get("took", {})
        return {key: str(took.get(key, value)) for key, value in self.options.items()}

    def takes(self, op: str) -> bool:
        """Whether it runs an operator; Azure's takes none of the tests'."""
        return self.name != "AzureExecutionProvider" and op not in faking.settings().get("cpu_ops", [])

    def precision(self, of_file: str) -> str:
        """The floating-point precision in which it computes."""
        if of_file != "float32":
            return of_file
        if self.name == "OpenVINOExecutionProvider":
            return self._openvino()
        if self.name == "VitisAIExecutionProvider" or self._get("enable_fast_math") == "true":
            return "bfloat16"
        halved = self._get("trt_fp16_enable") in ("1", "True")
        if self.name == "QNNExecutionProvider":
            halved = self._get("enable_htp_fp16_precision", "1") == "1"
        return "float16" if halved else "float32"

    def _get(self, key: str, default: str = "0") -> str:
        return str(faking.settings().get("took", {}).get(key, self.options.get(key, default)))

    def _openvino(self) -> str:
        device = self._get("device_type", "CPU").split(".")[0]
        if device == "NPU":
            return "float16"
        return "float32" if device == "CPU" or self._get("precision", "FP16") != "FP16" else "float16"


def start(name: str, options: Dict[str, Any]) -> "List[Started]":
    """Start a provider; nothing, and two lines in the log, if it cannot be. RuntimeError for an option it does not know."""
    given = {str(key): str(value) for key, value in options.items()}
    for key in given:
        if key not in _KEYS.get(name, ()):
            raise RuntimeError(
                "CreateExecutionProviderFactoryInstance Invalid {} option: {}\n".format(name, key)
            )
    reason = _refusal(name, given)
    if reason:
        sys.stderr.write("[E:onnxruntime:Default, provider_bridge_ort.cc:2310 Create] {}\n".format(reason))
        sys.stderr.write(
            "[W:onnxruntime:Default, CreateExecutionProviderFactoryInstance] Failed to create {}.\n".format(
                name
            )
        )
        return []
    return [Started(name, given)]


def _refusal(name: str, options: Dict[str, str]) -> str:
    if name in faking.settings().get("unstartable", []):
        return "Failed to load library libonnxruntime_providers: cannot open shared object file"
    if name == "OpenVINOExecutionProvider":
        device = options.get("device_type", "CPU").split(".")[0]
        if options.get("precision", "ACCURACY") not in _OPENVINO_CAN.get(device, ()):
            return "[OpenVINO] Unsupported inference precision is selected."
    return ""
