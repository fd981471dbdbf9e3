"""The builder and its settings. What it makes is the ONNX file with a head: the engine computes from it."""

import json
import struct
import time
import zlib
from typing import Any, Dict, List, Optional

import fake_gpu
import faking
import numpy as np

from fake_trt.base import (
    DeviceType,
    IHostMemory,
    ILogger,
    LayerType,
    ProfilingVerbosity,
    Severity,
    check_logger,
    load_fault,
)
from fake_trt.network import INetworkDefinition, IOptimizationProfile

MAGIC = b"ftrt"
_HEAD = struct.Struct("<II")


def pack(head: Dict[str, Any], data: bytes) -> bytes:
    """Return a plan."""
    text = json.dumps(head, sort_keys=True).encode()
    body = _HEAD.pack(len(text), zlib.crc32(text + data) & 0xFFFFFFFF) + text + data
    return MAGIC + body


def unpack(plan: bytes) -> Any:
    """Return head and data of a plan; None if it is none, or damaged."""
    if plan[:4] != MAGIC or len(plan) < 4 + _HEAD.size:
        return None
    size, checksum = _HEAD.unpack(plan[4 : 4 + _HEAD.size])
    rest = plan[4 + _HEAD.size :]
    if zlib.crc32(rest) & 0xFFFFFFFF != checksum:
        return None
    return json.loads(rest[:size].decode()), rest[size:]


class ITimingCache:
    """Timings of kernels, for one kind of GPU."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> IHostMemory:
        return IHostMemory(self.data)


class ConfigCore:
    """What every version has. Like all objects of the bindings it takes no new attributes."""

    default_device_type: DeviceType
    DLA_core: int
    profiling_verbosity: ProfilingVerbosity
    _names = ("default_device_type", "DLA_core", "profiling_verbosity")

    def __init__(self) -> None:
        self._set("flags_", {"TF32"})
        self._set("profiles", [])
        self._set("timing", None)
        self._set("features", {})
        self.default_device_type = DeviceType.GPU
        self.DLA_core = -1
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if not any(name in getattr(cls, "_names", ()) for cls in type(self).__mro__):
            raise AttributeError("'{}' object has no attribute '{}'".format(type(self).__name__, name))
        self._set(name, value)

    def set_flag(self, flag: Any) -> None:
        self.flags_.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self.flags_.discard(flag.name)

    def get_flag(self, flag: Any) -> bool:
        return flag.name in self.flags_

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        if not profile:
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def can_run_on_DLA(self, layer: Any) -> bool:  # noqa: N802 - the vendor's name
        return layer.op in faking.settings().get("dla_ops", ["Add", "Relu"])

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Optional[ITimingCache]:
        data = bytes(serialized_timing_cache)
        return ITimingCache(data) if not data or data.startswith(b"timings ") else None

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        gpu = str(fake_gpu.properties(0)["name"]).encode()
        if cache.data and gpu not in cache.data and not ignore_mismatch:
            return False
        self._set("timing", cache)
        return True

    def get_timing_cache(self) -> Optional[ITimingCache]:
        return self.timing  # type: ignore[attr-defined, no-any-return]

    flags_: Any
    profiles: List[IOptimizationProfile]
    features: Dict[str, bool]


class BuilderCore:
    """Makes plans; None, and a line in the log, where it cannot."""

    is_null_without_driver = False
    has_strong_only = False
    config_class = ConfigCore
    version = ""

    def __init__(self, logger: ILogger) -> None:
        self._logger = check_logger(logger)
        if fake_gpu.driver_error():
            logger.log(
                Severity.ERROR, "CUDA initialization failure with error: {}".format(fake_gpu.driver_error())
            )
            raise TypeError("pybind11::init(): factory function returned nullptr")

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802 - the vendor's name
        return int(faking.settings().get("dla_cores", 0))

    def create_builder_config(self) -> Any:
        return type(self).config_class()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: Any) -> Optional[IHostMemory]:
        problem = self._problem(network, config)
        if problem is not None:
            self._logger.log(Severity.ERROR, problem)
            return None
        self._logger.log(
            Severity.WARNING, "onnx2trt_utils.cpp:374: Your ONNX model has been generated with INT64 weights"
        )
        scale = self._calibrate(network, config)
        if config.timing is not None and not config.timing.data:
            time.sleep(faking.settings().get("build_ms", 0) / 1e3)
            config.timing.data = b"timings " + str(fake_gpu.properties(0)["name"]).encode()
        return IHostMemory(pack(self._head(network, config, scale), network.data))

    def _problem(self, network: INetworkDefinition, config: Any) -> Optional[str]:
        """Return what keeps the network from being built, as the log says it."""
        fault, flags = load_fault(), config.flags_
        if fault == "build":
            return (
                "10: [optimizer.cpp::computeCosts::3869] Error Code 10: Internal Error (Could not find any implementation for "
                "node {ForeignNode[m...y]}.)"
            )
        if fault == "build_memory":
            return "2: [virtualMemoryBuffer.cpp::resizePhysical::140] Error Code 2: OutOfMemory (no further information)"
        if any(-1 in network.get_input(at).shape for at in range(network.num_inputs)) and not config.profiles:
            return (
                "4: [network.cpp::validate::3062] Error Code 4: Internal Error (Network has dynamic or shape inputs, but no "
                "optimization profile has been defined.)"
            )
        strong = network.is_strong or self.has_strong_only
        if strong and flags & {"FP16", "INT8", "BF16"}:
            return "Error Code 9: API Usage Error (Target GPU precision flags are not allowed in a strongly typed network.)"
        if not strong and network.net.is_quantised and "INT8" not in flags:
            return (
                "4: [network.cpp::validate::2768] Error Code 4: Internal Error (Int8 precision has been set for a layer or "
                "layer output, but int8 is not configured in the builder)"
            )
        if (
            "INT8" in flags
            and not network.net.is_quantised
            and getattr(config, "int8_calibrator", None) is None
        ):
            return (
                "4: [standardEngineBuilder.cpp::initCalibrationParams::1402] Error Code 4: Internal Error (Calibration failure "
                "occurred with no scaling factors detected.)"
            )
        return self._dla_problem(network, config)

    def _dla_problem(self, network: INetworkDefinition, config: Any) -> Optional[str]:
        if config.default_device_type != DeviceType.DLA or "GPU_FALLBACK" in config.flags_:
            return None
        layers = [network.get_layer(at) for at in range(network.num_layers)]
        for layer in layers:
            if layer.type != LayerType.CONSTANT and not config.can_run_on_DLA(layer):
                return "4: Layer {} (type {}) is not supported on DLA and GPU fallback is not enabled".format(
                    layer.name, layer.op
                )
        return None

    def _calibrate(self, network: INetworkDefinition, config: Any) -> Optional[float]:
        """Return the scale of the first input, from the calibrator's table or from its data on the device."""
        calibrator = getattr(config, "int8_calibrator", None)
        if calibrator is None:
            return None
        table = calibrator.read_calibration_cache()
        if table is None:
            shape = network.get_input(0).shape
            if -1 in shape:
                shape = config.features["calibration_profile"].shapes[network.get_input(0).name][1]
            count = calibrator.get_batch_size() * int(np.prod(shape[1:]))
            most = 0.0
            while True:
                batch = calibrator.get_batch([network.get_input(0).name])
                if not batch:
                    break
                values = np.frombuffer(fake_gpu.read(batch[0], count * 4), dtype="float32")
                most = max(most, float(np.abs(values).max()))
            if not most:
                self._logger.log(
                    Severity.ERROR, "Calibration failure occurred with no scaling factors detected."
                )
            table = "TRT-{}-EntropyCalibration2\n{}".format(self.version, most / 127 or 1.0).encode()
            calibrator.write_calibration_cache(table)
        return float(bytes(table).split(b"\n")[1])

    def _head(self, network: INetworkDefinition, config: Any, scale: Optional[float]) -> Dict[str, Any]:
        gpu = fake_gpu.properties(0)
        told = faking.settings()
        head = {
            "version": self.version,
            "capability": [gpu["major"], gpu["minor"]],
            "precision": self._precision(network, config, scale, told.get("runs_in", {})),
            "scale": scale,
            "is_compatible": "VERSION_COMPATIBLE" in config.flags_,
            "is_detailed": config.profiling_verbosity == ProfilingVerbosity.DETAILED,
            "profiles": [profile.shapes for profile in config.profiles],
            "values": config.profiles[0].values if config.profiles else {},
            "shares_profile": config.features.get("PROFILE_SHARING_0806", False),
            "shapes": {
                network.get_input(at).name: network.get_input(at).shape for at in range(network.num_inputs)
            },
        }
        head.update(told.get("built_for", {}))
        return head

    def _precision(
        self, network: INetworkDefinition, config: Any, scale: Optional[float], runs_in: Dict[str, str]
    ) -> str:
        allowed = str(network.net.precision)
        for flag, name in (("BF16", "bfloat16"), ("FP16", "float16")):
            allowed = name if flag in config.flags_ else allowed
        if network.net.is_quantised or scale is not None:
            allowed = "int8"
        return runs_in.get(allowed, allowed)
