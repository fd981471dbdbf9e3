"""A fake of TensorRT 8.6 (JetPack 6.0), or 8.5 (JetPack 5.1) with "tensorrt": "8.5.2.2": tensors by index and by name.

Settings: fake_trt.
"""

from typing import Any

import faking
from fake_trt import base, building, by_index, by_name, loading
from fake_trt.base import (  # noqa: F401 - the vendor's names at the vendor's place
    DataType,
    DeviceType,
    IHostMemory,
    ILogger,
    LayerInformationFormat,
    LayerType,
    Logger,
    MemoryPoolType,
    ProfilingVerbosity,
    TensorFormat,
    TensorIOMode,
    TensorLocation,
)
from fake_trt.building import ITimingCache  # noqa: F401
from fake_trt.by_name import IOutputAllocator  # noqa: F401
from fake_trt.network import INetworkDefinition, IOptimizationProfile, OnnxParser, ParserError  # noqa: F401

faking.trip("import")
__version__ = base.version("8.6.1.6")
_IS_86 = not __version__.startswith("8.5")
NetworkDefinitionCreationFlag = base.make_enum(
    "NetworkDefinitionCreationFlag", ["EXPLICIT_BATCH", "EXPLICIT_PRECISION"]
)
BuilderFlag = base.make_enum(
    "BuilderFlag",
    ["FP16", "INT8", "DEBUG", "GPU_FALLBACK", "REFIT", "DISABLE_TIMING_CACHE", "TF32", "SPARSE_WEIGHTS", "SAFETY_SCOPE",
     "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS", "DIRECT_IO", "REJECT_EMPTY_ALGORITHMS"]
    + (["VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME", "FP8"] if _IS_86 else []),
)  # fmt: skip
PreviewFeature = base.make_enum(
    "PreviewFeature", ["FASTER_DYNAMIC_SHAPES_0805"] + (["PROFILE_SHARING_0806"] if _IS_86 else [])
)


class IInt8EntropyCalibrator2:
    """The base of calibrators; a subclass has to call this __init__."""

    def __init__(self) -> None:
        self._is_made = True


class _Config(building.ConfigCore):
    """Settings of a build."""

    _names = ("max_workspace_size", "int8_calibrator")

    def __init__(self) -> None:
        super().__init__()
        self.max_workspace_size = 8 << 30
        self.int8_calibrator: Any = None

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        if pool == MemoryPoolType.WORKSPACE:
            self.max_workspace_size = pool_size

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        self.features[feature.name] = enable

    def set_calibration_profile(self, profile: IOptimizationProfile) -> bool:
        self.features["calibration_profile"] = profile  # type: ignore[assignment]
        return True


class _Config86(_Config):
    _names = ("builder_optimization_level",)

    def __init__(self) -> None:
        super().__init__()
        self.builder_optimization_level = 3


IBuilderConfig = _Config86 if _IS_86 else _Config


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


class IExecutionContext(by_name.NamedContext, by_index.BindingsContext):
    """Runs an engine."""


class ICudaEngine(by_name.NamedEngine, by_index.BindingsEngine):
    """An engine."""

    context_class = IExecutionContext


class _Runtime(loading.RuntimeCore):
    """Loads plans."""

    engine_class = ICudaEngine
    version = __version__


class _Runtime86(_Runtime):
    def __init__(self, logger: ILogger) -> None:
        super().__init__(logger)
        self.engine_host_code_allowed = False


Runtime = _Runtime86 if _IS_86 else _Runtime


def init_libnvinfer_plugins(logger: ILogger, namespace: str) -> bool:
    return True
