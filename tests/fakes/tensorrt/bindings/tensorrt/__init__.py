"""A fake of TensorRT 8.2 (JetPack 4.6.1): tensors by the index of their binding, and nothing by name. Settings: fake_trt."""

from typing import Any

import faking
from fake_trt import base, building, by_index, loading
from fake_trt.base import (  # noqa: F401 - the vendor's names at the vendor's place
    DataType,
    DeviceType,
    IHostMemory,
    ILogger,
    LayerInformationFormat,
    LayerType,
    Logger,
    ProfilingVerbosity,
    TensorFormat,
    TensorLocation,
)
from fake_trt.building import ITimingCache  # noqa: F401
from fake_trt.network import INetworkDefinition, IOptimizationProfile, OnnxParser, ParserError  # noqa: F401

faking.trip("import")
__version__ = base.version("8.2.1.8")
NetworkDefinitionCreationFlag = base.make_enum(
    "NetworkDefinitionCreationFlag", ["EXPLICIT_BATCH", "EXPLICIT_PRECISION"]
)
BuilderFlag = base.make_enum(
    "BuilderFlag",
    [
        "FP16",
        "INT8",
        "DEBUG",
        "GPU_FALLBACK",
        "STRICT_TYPES",
        "REFIT",
        "DISABLE_TIMING_CACHE",
        "TF32",
        "SPARSE_WEIGHTS",
        "SAFETY_SCOPE",
        "OBEY_PRECISION_CONSTRAINTS",
        "PREFER_PRECISION_CONSTRAINTS",
        "DIRECT_IO",
        "REJECT_EMPTY_ALGORITHMS",
    ],
)


class IInt8EntropyCalibrator2:
    """The base of calibrators; a subclass has to call this __init__."""

    def __init__(self) -> None:
        self._is_made = True


class IBuilderConfig(building.ConfigCore):
    """Settings of a build."""

    _names = ("max_workspace_size", "int8_calibrator")

    def __init__(self) -> None:
        super().__init__()
        self.max_workspace_size = 0
        self.int8_calibrator: Any = None

    def set_calibration_profile(self, profile: IOptimizationProfile) -> bool:
        self.features["calibration_profile"] = profile  # type: ignore[assignment]
        return True


class Builder(building.BuilderCore):
    """Makes plans."""

    config_class = IBuilderConfig
    version = __version__

    @property
    def platform_has_fast_fp16(self) -> bool:
        return "float16" in faking.settings().get("fast", ["float16", "int8"])

    @property
    def platform_has_fast_int8(self) -> bool:
        return "int8" in faking.settings().get("fast", ["float16", "int8"])

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(flags, bool(flags & 1), False)


class IExecutionContext(by_index.BindingsContext):
    """Runs an engine."""


class ICudaEngine(by_index.BindingsEngine):
    """An engine."""

    context_class = IExecutionContext


class Runtime(loading.RuntimeCore):
    """Loads plans."""

    engine_class = ICudaEngine
    version = __version__


def init_libnvinfer_plugins(logger: ILogger, namespace: str) -> bool:
    return True
