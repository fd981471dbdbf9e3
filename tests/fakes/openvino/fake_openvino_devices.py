"""The devices of the fake OpenVINO: their properties, and the precision in which they execute whatever they are told.

Sources: SUPPORTED_PROPERTIES of the CPU plugins of 2022.3.2 and 2026.4.1; the pages of the GPU, NPU and MYRIAD devices; for the
NPU's hints openvinotoolkit/openvino#24166 and #29793.
"""

from typing import Any, Dict, Tuple

_READABLE = ("SUPPORTED_PROPERTIES", "FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES", "AVAILABLE_DEVICES")
_EVERYWHERE = ("PERFORMANCE_HINT", "PERFORMANCE_HINT_NUM_REQUESTS", "PERF_COUNT")
_PRECISIONS = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


class Device:
    """A kind of device.

    writable, told   properties that can be set; those that its compiled models tell
    can              OPTIMIZATION_CAPABILITIES
    hints            values of INFERENCE_PRECISION_HINT that it takes, with the type it then executes
    fastest          what it executes when nothing is said
    explains         whether its executed graph names the precision of each layer
    """

    def __init__(
        self,
        name: str,
        writable: Tuple[str, ...],
        told: Tuple[str, ...],
        can: Tuple[str, ...],
        hints: Dict[str, str],
        fastest: str,
        explains: bool = True,
        memory: str = "",
    ) -> None:
        self.name = name
        self.writable = _EVERYWHERE + writable
        self.told = _EVERYWHERE + told + ("OPTIMAL_NUMBER_OF_INFER_REQUESTS",)
        self.can = list(can)
        self.hints = hints
        self.fastest = fastest
        self.explains = explains
        self.memory = memory

    def access(self) -> Dict[str, str]:
        """Return SUPPORTED_PROPERTIES."""
        found = dict.fromkeys(_READABLE + ((self.memory,) if self.memory else ()), "RO")
        found.update(dict.fromkeys(self.writable, "RW"))
        return found

    def property(self, key: str) -> Any:
        """Return a property. RuntimeError in the plugin's words if there is none."""
        values = {
            "SUPPORTED_PROPERTIES": self.access(),
            "FULL_DEVICE_NAME": self.name + "  ",
            "OPTIMIZATION_CAPABILITIES": list(self.can),
            "GPU_MEMORY_STATISTICS": {"cl_mem": 4096, "usm_device": 512},
            "NPU_DEVICE_ALLOC_MEM_SIZE": 8192,
        }
        if key not in self.access() or key not in values:
            raise RuntimeError(
                "Exception from src/plugins/plugin.cpp:1:\nCannot get unsupported property: {}".format(key)
            )
        return values[key]

    def check(self, config: Dict[str, str]) -> None:
        """RuntimeError for a property that the plugin does not have, or a value that it does not take."""
        for key, value in config.items():
            if key == "CACHE_DIR":
                continue
            if key not in self.writable:
                raise RuntimeError("[ NOT_FOUND ] Unsupported property {} by this plugin".format(key))
            if key == "INFERENCE_PRECISION_HINT" and value not in self.hints:
                raise RuntimeError(
                    "Wrong value {} for property key INFERENCE_PRECISION_HINT. Supported values: {}.".format(
                        value, ", ".join(sorted(self.hints))
                    )
                )
            if key in ("NUM_STREAMS", "INFERENCE_NUM_THREADS") and value != "AUTO" and not value.isdigit():
                raise RuntimeError("Could not read number of streams from str: {}; stoi".format(value))

    def executes(self, of_file: str, config: Dict[str, str]) -> str:
        """Return the floating-point type of the execution."""
        hint = config.get("INFERENCE_PRECISION_HINT")
        if hint is not None:
            return _PRECISIONS[self.hints[hint]]
        if config.get("EXECUTION_MODE_HINT") == "ACCURACY" and "FP32" in self.can:
            return "float32" if self.name.endswith("CPU") else of_file
        return _PRECISIONS[self.fastest]


_STREAMS = ("NUM_STREAMS", "INFERENCE_PRECISION_HINT")
_CPU = _STREAMS + ("INFERENCE_NUM_THREADS",)
_MODERN = ("EXECUTION_MODE_HINT", "EXECUTION_DEVICES", "LOADED_FROM_CACHE")
NEW = {
    "CPU": Device(
        "Fake CPU", _CPU + ("EXECUTION_MODE_HINT", "ENABLE_CPU_PINNING"), _CPU + _MODERN + ("ENABLE_CPU_PINNING",),
        ("FP32", "INT8", "EXPORT_IMPORT"), {"f32": "f32", "f16": "f32", "bf16": "f32"}, "f32",
    ),
    "GPU": Device(
        "Fake Arc GPU", _STREAMS + ("EXECUTION_MODE_HINT", "GPU_QUEUE_PRIORITY"), _STREAMS + _MODERN,
        ("FP32", "FP16", "INT8", "EXPORT_IMPORT"), {"f32": "f32", "f16": "f16"}, "f16", memory="GPU_MEMORY_STATISTICS",
    ),
    # Takes a hint of f32, as 2024.2 to 2025.1 did, and computes in f16 all the same.
    "NPU": Device(
        "Fake AI Boost", _STREAMS + ("EXECUTION_MODE_HINT", "NPU_TURBO", "NPU_COMPILER_TYPE"),
        _STREAMS + _MODERN + ("NPU_TURBO", "NPU_COMPILER_TYPE"), ("FP16", "INT8", "EXPORT_IMPORT"),
        {"f32": "f16", "f16": "f16"}, "f16", explains=False, memory="NPU_DEVICE_ALLOC_MEM_SIZE",
    ),
}  # fmt: skip
OLD = {
    "CPU": Device("Fake CPU", _CPU, _CPU, ("BF16", "FP32", "INT8"), {"f32": "f32", "bf16": "bf16"}, "bf16"),
    "MYRIAD": Device("Intel Movidius Myriad X VPU", ("MYRIAD_ENABLE_HW_ACCELERATION",), (), ("FP16",), {}, "f16", explains=False),
}  # fmt: skip
_AUTO = ("ENABLE_STARTUP_FALLBACK", "ENABLE_RUNTIME_FALLBACK", "EXECUTION_MODE_HINT")
CHOOSER = Device("Fake AUTO", _AUTO, _MODERN, (), {}, "f32")
