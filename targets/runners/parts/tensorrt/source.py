"""Where an engine comes from: a ready plan, the cache of an earlier build, or a build now."""

from typing import Any, Dict, List, Optional

from targets.errors import ModelInvalid, OptionInvalid, RuntimeUnavailable
from targets.options import LoadOptions
from targets.runner import one_line
from targets.runners.parts.cuda import Cuda, Device
from targets.runners.parts.tensorrt import cache as trt_cache
from targets.runners.parts.tensorrt import shapes as trt_shapes
from targets.runners.parts.tensorrt.build import Builder, contexts_of
from targets.runners.parts.tensorrt.log import LINES, logger

_MIB = 1 << 20
_CACHE_MIB = 4096
# These change nothing in a plan, so they are no part of its key in the cache.
_NOT_IN_KEY = (
    "device", "dla_core", "engine_cache", "engine_cache_mib", "timing_cache", "cuda_graph", "blocking_wait", "scenario",
    "in_flight",
)  # fmt: skip
_BUILD_ONLY = (
    "max_batch", "workspace_mib", "optimization_level", "tf32", "strongly_typed", "float16_beside_int8", "calibration",
    "gpu_fallback", "timing_cache", "engine_cache", "engine_cache_mib",
)  # fmt: skip


class Source:
    """Gives one engine. ``facts`` is what is known of its build, nothing of a ready plan; ``origin`` says where it came from."""

    def __init__(
        self, trt: Any, cuda: Cuda, device: Device, dla_core: Optional[int], options: LoadOptions
    ) -> None:
        self._trt = trt
        self._cuda = cuda
        self._device = device
        self._dla_core = dla_core
        self._options = options
        self.runtime = self._new_runtime()
        self.facts: Dict[str, Any] = {}
        self.origin = ""

    def engine(self, path: str) -> Any:
        """Return the engine of a file, in the options' format."""
        return self._from_onnx(path) if self._options.format == "onnx" else self._from_plan(path)

    def _new_runtime(self) -> Any:
        mark = LINES.mark()
        try:
            runtime = self._trt.Runtime(logger(self._trt))
        except TypeError as error:  # "factory function returned nullptr"
            raise RuntimeUnavailable(
                "TensorRT cannot start: {}; {}".format(LINES.errors(mark), one_line(error)),
                runtime="tensorrt",
                package=None,
            )
        if self._dla_core is not None:
            runtime.DLA_core = self._dla_core
        if self._options.flag("version_compatible"):
            if not hasattr(runtime, "engine_host_code_allowed"):
                raise OptionInvalid(
                    "TensorRT {} has no version_compatible plans.".format(self._trt.__version__),
                    option="version_compatible",
                )
            runtime.engine_host_code_allowed = True
        return runtime

    def _from_onnx(self, path: str) -> Any:
        if self._options.text("profile") is not None:
            raise OptionInvalid(
                "The option profile is for ready plans; an ONNX file has none.", option="profile"
            )
        cache = self._cache()
        model = trt_cache.file_hash(path)
        key = trt_cache.key_of(self._key_facts(model))
        engine = self._from_cache(cache, key)
        return self._build(path, model, cache, key) if engine is None else engine

    def _from_cache(self, cache: trt_cache.Cache, key: str) -> Any:
        found = cache.engine(key)
        if found is None:
            return None
        engine = self.runtime.deserialize_cuda_engine(found[0])
        if engine is None:
            cache.forget_engine(key, "TensorRT did not take the cached plan")
            return None
        self.facts, self.origin = found[1], "cached"
        return engine

    def _build(self, path: str, model: str, cache: trt_cache.Cache, key: str) -> Any:
        builder = Builder(self._trt, self._cuda, self._device, self._options, cache)
        builder.facts["model"] = model
        plan = builder.build(path, self._dla_core)
        mark = LINES.mark()
        engine = self.runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise ModelInvalid(
                "TensorRT {} built the model {} but does not load the plan: {}.".format(
                    self._trt.__version__, path, LINES.errors(mark)
                ),
                path=path,
            )
        cache.keep_engine(key, plan, builder.facts)
        self.facts, self.origin = builder.facts, "; ".join(["built"] + cache.notes)
        return engine

    def _from_plan(self, path: str) -> Any:
        ranges = trt_shapes.range_options(self._options)
        for key in self._options.values:
            if key in _BUILD_ONLY or key in ranges:
                raise OptionInvalid(
                    "The option {} is for building; this plan is built.".format(key), option=key
                )
        with open(path, "rb") as file:
            data = file.read()
        mark = LINES.mark()
        engine = self.runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise ModelInvalid(
                "TensorRT {} cannot load the plan {} on {} (compute capability {}): {}. A plan works with the TensorRT "
                "and the GPU it was built for; load the ONNX file to build it here.".format(
                    self._trt.__version__,
                    path,
                    self._device.name,
                    self._device.capability_text,
                    LINES.errors(mark),
                ),
                path=path,
            )
        self.origin = "ready plan"
        return engine

    def _cache(self) -> trt_cache.Cache:
        folder = self._options.text("engine_cache") or trt_cache.default_folder()
        limit = (self._options.integer("engine_cache_mib") or _CACHE_MIB) * _MIB
        return trt_cache.NoCache() if folder == "off" else trt_cache.Cache(folder, limit)

    def _key_facts(self, model: str) -> Dict[str, Any]:
        """Return everything that decides about a plan."""
        values = {key: value for key, value in self._options.values.items() if key not in _NOT_IN_KEY}
        data = self._options.text("calibration")
        if data is not None:
            values["calibration"] = _hash_of_data(data)
        if hasattr(self._trt.ICudaEngine, "num_bindings"):  # there, an engine has a profile for each context
            values["contexts"] = str(contexts_of(self._options))
        return {
            "model": model,
            "options": values,
            "precision": self._options.precision,
            "batch": self._options.batch,
            "dla_core": self._dla_core,
            "tensorrt": str(self._trt.__version__),
            "gpu": self._device.name,
            "capability": self._device.capability_text,
            "memory": self._device.memory_bytes,
        }


def _hash_of_data(path: str) -> str:
    try:
        return trt_cache.file_hash(path)
    except OSError as error:
        raise OptionInvalid(
            "The calibration file {} cannot be read: {}.".format(path, error.strerror),
            option="calibration",
            value=path,
        )


def usable_profiles(alike: List[bool], profile: int, is_shared: bool) -> List[int]:
    """Return the profiles that contexts take in turn: one where they share it, else those that are ``alike`` the wanted one."""
    if is_shared:
        return [profile]
    return [profile] + [at for at, is_alike in enumerate(alike) if is_alike and at != profile]
