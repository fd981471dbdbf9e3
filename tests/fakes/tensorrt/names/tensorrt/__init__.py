"""A fake of TensorRT 10.3 (JetPack 6.1), or 11 with "tensorrt": "11.4.0": tensors by name only.

In 11 the precision flags, the calibrators and EXPLICIT_BATCH are gone: the graph decides. Settings: fake_trt.
"""

from typing import Any

import faking
from fake_trt import base, building, by_name, loading, network
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
from fake_trt.network import INetworkDefinition, IOptimizationProfile

faking.trip("import")
__version__ = base.version("10.3.0")
_IS_11 = __version__.startswith("11")
OnnxParser = network.NamedOnnxParser
_FLAGS = [
    "DEBUG",
    "GPU_FALLBACK",
    "REFIT",
    "DISABLE_TIMING_CACHE",
    "TF32",
    "SPARSE_WEIGHTS",
    "VERSION_COMPATIBLE",
    "STRIP_PLAN",
]
BuilderFlag = base.make_enum("BuilderFlag", _FLAGS if _IS_11 else ["FP16", "INT8", "BF16", "FP8"] + _FLAGS)
NetworkDefinitionCreationFlag = base.make_enum(
    "NetworkDefinitionCreationFlag", ["STRONGLY_TYPED"] if _IS_11 else ["EXPLICIT_BATCH", "STRONGLY_TYPED"]
)


PreviewFeature = base.make_enum(
    "PreviewFeature",
    ["ALIASED_PLUGIN_IO_10_03"] if _IS_11 else ["PROFILE_SHARING_0806", "ALIASED_PLUGIN_IO_10_03"],
)


class _Config(building.ConfigCore):
    """Settings of a build."""

    _names = ("builder_optimization_level",)

    def __init__(self) -> None:
        super().__init__()
        self.builder_optimization_level = 3

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.features[pool.name] = bool(pool_size)


class _Builder(building.BuilderCore):
    """Makes plans."""

    version = __version__
    has_strong_only = _IS_11

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        strong = _IS_11 or bool(flags & (1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED)))
        return INetworkDefinition(flags, True, strong)


if _IS_11:

    class IBuilderConfig(_Config):
        """Settings of a build."""

    class Builder(_Builder):
        """Makes plans."""

        config_class = IBuilderConfig

else:

    class IInt8EntropyCalibrator2:
        """The base of calibrators; a subclass has to call this __init__."""

        def __init__(self) -> None:
            self._is_made = True

    class IBuilderConfig(_Config):  # type: ignore[no-redef]
        """Settings of a build."""

        _names = ("int8_calibrator",)

        def __init__(self) -> None:
            super().__init__()
            self.int8_calibrator: Any = None

        def set_calibration_profile(self, profile: IOptimizationProfile) -> bool:
            self.features["calibration_profile"] = profile  # type: ignore[assignment]
            return True

    class Builder(_Builder):  # type: ignore[no-redef]
        """Makes plans."""

        config_class = IBuilderConfig

        @property
        def platform_has_fast_fp16(self) -> bool:
            return "float16" in faking.settings().get("fast", ["float16", "int8"])

        @property
        def platform_has_fast_int8(self) -> bool:
            return "int8" in faking.settings().get("fast", ["float16", "int8"])


class IExecutionContext(by_name.NamedContext):
    """Runs an engine."""

    asks_async = True


class ICudaEngine(by_name.NamedEngine):
    """An engine."""

    has_int64 = True
    shares_profiles = True
    context_class = IExecutionContext

    @property
    def device_memory_size_v2(self) -> int:
        return 4096


class Runtime(loading.RuntimeCore):
    """Loads plans. Without a driver it is an object around a null pointer."""

    engine_class = ICudaEngine
    version = __version__
    is_null_without_driver = True

    def __init__(self, logger: ILogger) -> None:
        super().__init__(logger)
        self.engine_host_code_allowed = False


def init_libnvinfer_plugins(logger: ILogger, namespace: str) -> bool:
    return True
