"""From an ONNX file to a plan, on the board: TensorRT tunes for the very GPU it builds on.

Everything that came or went between 8.0 and 11 is asked for by its name, never by the version: a vendor's build for one board
may have more or less than its number says. Source: TensorRT Python API, Builder, IBuilderConfig, OnnxParser.
"""

from typing import Any, Dict, List, Optional, Tuple

from targets.errors import InferenceFailed, ModelInvalid, OptionInvalid, OutOfMemory, PrecisionUnsupported
from targets.formats import onnx_file
from targets.options import LoadOptions
from targets.runners.parts.cuda import Cuda, Device
from targets.runners.parts.tensorrt import calibration as trt_calibration
from targets.runners.parts.tensorrt import shapes as trt_shapes
from targets.runners.parts.tensorrt.cache import Cache
from targets.runners.parts.tensorrt.log import LINES, logger
from targets.runners.parts.tensorrt.precision import Choice, choose

_MIB = 1 << 20
_MEMORY_WORDS = ("outofmemory", "out of memory", "cuda runtime (2)", "insufficient memory")


class Builder:
    """One build. ``facts`` is what is worth knowing about the plan later, also when it comes from the cache."""

    def __init__(self, trt: Any, cuda: Cuda, device: Device, options: LoadOptions, cache: Cache) -> None:
        self._trt = trt
        self._cuda = cuda
        self._device = device
        self._options = options
        self._cache = cache
        self.facts: Dict[str, Any] = {}

    def build(self, path: str, dla_core: Optional[int]) -> bytes:
        """Return the plan. ModelInvalid, OptionInvalid, PrecisionUnsupported, OutOfMemory."""
        trt, options = self._trt, self._options
        of_file = onnx_file.read(path).precision
        builder = trt.Builder(logger(trt))
        choice = choose(trt, builder, of_file, options)
        network = builder.create_network(self._network_flags(choice))
        parser = self._parse(network, path)
        config = builder.create_builder_config()
        self._set_precision(config, choice)
        self._set_limits(config)
        self._set_dla(builder, config, network, choice, dla_core)
        ranges = self._set_shapes(builder, config, network)
        timing = self._set_timing_cache(config)
        feed = self._set_calibrator(builder, config, ranges) if options.text("calibration") else None
        mark = LINES.mark()
        try:
            plan = builder.build_serialized_network(network, config)
            if feed is not None and feed.error is not None:
                raise InferenceFailed("The calibration failed: {}".format(feed.error))
        finally:
            if feed is not None:
                feed.close()
        del parser  # holds the weights the network points to: it must outlive the build
        if plan is None:
            raise self._build_error(path, LINES.errors(mark))
        self._keep_timing_cache(config, timing)
        return bytes(memoryview(plan))

    def _network_flags(self, choice: Choice) -> int:
        names = self._trt.NetworkDefinitionCreationFlag
        flags = 0
        # ONNX needs it; nothing else is left in 10, and 11 dropped the name.
        if hasattr(names, "EXPLICIT_BATCH"):
            flags |= 1 << int(names.EXPLICIT_BATCH)
        if choice.is_strong and hasattr(names, "STRONGLY_TYPED"):
            flags |= 1 << int(names.STRONGLY_TYPED)
        return flags

    def _parse(self, network: Any, path: str) -> Any:
        parser = self._trt.OnnxParser(network, logger(self._trt))
        mark = LINES.mark()
        with open(path, "rb") as file:
            is_read = parser.parse(file.read())
        if not is_read:
            found = [_parser_error(parser.get_error(at)) for at in range(parser.num_errors)]
            raise ModelInvalid(
                "TensorRT {} cannot read the model {}: {}.".format(
                    self._trt.__version__, path, "; ".join(found).rstrip(".") or LINES.errors(mark)
                ),
                path=path,
            )
        return parser

    def _set_precision(self, config: Any, choice: Choice) -> None:
        flags = self._trt.BuilderFlag
        for name in choice.flags:
            config.set_flag(getattr(flags, name))
        # On from Ampere unless told: then float32 convolutions round their inputs to 10 bits of mantissa.
        has_tf32 = bool(self._options.flag("tf32"))
        (config.set_flag if has_tf32 else config.clear_flag)(flags.TF32)
        if self._options.flag("version_compatible"):  # the runtime was asked whether it has that
            config.set_flag(flags.VERSION_COMPATIBLE)
        verbosity: Any = getattr(self._trt, "ProfilingVerbosity", None)
        # Costs nothing at run time; without it nobody can read back the precisions.
        if hasattr(verbosity, "DETAILED"):
            config.profiling_verbosity = verbosity.DETAILED
        self.facts.update(
            precision=choice.precision, flags=choice.flags, is_strong=choice.is_strong, tf32=has_tf32
        )

    def _set_limits(self, config: Any) -> None:
        workspace = self._options.integer("workspace_mib")
        if hasattr(config, "set_memory_pool_limit"):
            if workspace is not None:
                config.set_memory_pool_limit(self._trt.MemoryPoolType.WORKSPACE, workspace * _MIB)
        else:  # before 8.4 the default is none at all, which excludes most fast kernels
            config.max_workspace_size = workspace * _MIB if workspace else self._device.memory_bytes // 4
        level = self._options.choice("optimization_level", ("0", "1", "2", "3", "4", "5"))
        if level is not None:
            if not hasattr(config, "builder_optimization_level"):
                raise OptionInvalid(
                    "TensorRT {} has no optimization_level.".format(self._trt.__version__),
                    option="optimization_level",
                )
            config.builder_optimization_level = int(level)

    def _set_dla(self, builder: Any, config: Any, network: Any, choice: Choice, core: Optional[int]) -> None:
        if core is None:
            return
        cores = int(builder.num_DLA_cores)
        if core >= cores:
            raise OptionInvalid(
                "This GPU has {} DLA cores; there is no core {}.".format(cores, core), option="dla_core"
            )
        if choice.precision not in ("float16", "int8"):
            raise PrecisionUnsupported(
                "The DLA computes float16 and int8, not {}; ask for one of them.".format(choice.precision),
                precision=choice.precision,
                supported=["float16", "int8"],
            )
        config.default_device_type = self._trt.DeviceType.DLA
        config.DLA_core = core
        layers = [network.get_layer(at) for at in range(network.num_layers)]
        layers = [
            layer for layer in layers if layer.type != self._trt.LayerType.CONSTANT
        ]  # folded, on either
        on_gpu = [str(layer.name) for layer in layers if not config.can_run_on_DLA(layer)]
        self.facts.update(layers=len(layers), on_gpu=on_gpu)
        if self._options.flag("gpu_fallback") is not False:
            config.set_flag(self._trt.BuilderFlag.GPU_FALLBACK)
        elif on_gpu:
            raise ModelInvalid(
                "The DLA cannot run {} of {} layers ({}), and gpu_fallback=0 keeps them from the GPU.".format(
                    len(on_gpu), len(layers), ", ".join(on_gpu[:5])
                )
            )

    def _set_shapes(self, builder: Any, config: Any, network: Any) -> List[trt_shapes.Range]:
        inputs = [network.get_input(at) for at in range(network.num_inputs)]
        for tensor in inputs:
            if tensor.is_shape_tensor:
                raise ModelInvalid(
                    "The values of the input '{}' decide about shapes; make a plan with 'trtexec --minShapes ...' and load "
                    "that instead.".format(tensor.name)
                )
        declared = [(str(t.name), tuple(int(size) for size in t.shape)) for t in inputs]
        ranges = trt_shapes.build_ranges(declared, self._options)
        for tensor, each in zip(inputs, ranges):
            if each.is_fixed:
                tensor.shape = (
                    each.optimal
                )  # an engine without free shapes is tuned closer, and its contexts share a profile
        if all(each.is_fixed for each in ranges):
            return ranges
        for _ in range(self._profiles(config)):
            profile = builder.create_optimization_profile()
            for each in ranges:
                profile.set_shape(each.name, each.smallest, each.optimal, each.largest)
            if config.add_optimization_profile(profile) < 0:
                raise OptionInvalid("TensorRT refuses the ranges of shapes: {}.".format(LINES.errors(0)))
        return ranges

    def _profiles(self, config: Any) -> int:
        """Return how many alike profiles the engine needs: contexts can share one only since 8.6."""
        if not hasattr(self._trt.ICudaEngine, "num_bindings"):  # from 10 on always shared
            return 1
        preview: Any = getattr(self._trt, "PreviewFeature", None)
        if hasattr(preview, "PROFILE_SHARING_0806"):
            config.set_preview_feature(preview.PROFILE_SHARING_0806, True)
            self.facts["shares_profile"] = True
            return 1
        return contexts_of(self._options)

    def _set_timing_cache(self, config: Any) -> Optional[str]:
        """Let the build reuse the timings of kernels from earlier builds; return the name of the cache's file."""
        if self._options.flag("timing_cache") is False or not hasattr(config, "create_timing_cache"):
            return None
        name = "{}-{}-{}.timing".format(
            self._trt.__version__,
            self._device.name.replace(" ", "_").replace("/", "_"),
            self._device.capability_text,
        )
        cache = config.create_timing_cache(self._cache.read(name) or b"")
        if cache is None or not config.set_timing_cache(cache, False):
            self._cache.notes.append("the timing cache was damaged or foreign")
            self._cache.remove(name)
            config.set_timing_cache(config.create_timing_cache(b""), False)
        return name

    def _keep_timing_cache(self, config: Any, name: Optional[str]) -> None:
        cache = config.get_timing_cache() if name is not None else None
        if name is not None and cache is not None:
            self._cache.write(name, bytes(memoryview(cache.serialize())))

    def _set_calibrator(
        self, builder: Any, config: Any, ranges: List[trt_shapes.Range]
    ) -> trt_calibration.Feed:
        samples = trt_calibration.read_samples(str(self._options.text("calibration")), ranges)
        batch = ranges[0].optimal[0]
        name = "{}-{}-{}.calibration".format(
            self._trt.__version__, self.facts["model"][:16], trt_calibration.samples_hash(samples)[:16]
        )
        feed = trt_calibration.Feed(self._cuda, samples, batch, self._cache, name)
        config.int8_calibrator = trt_calibration.calibrator(self._trt, feed)
        if not all(each.is_fixed for each in ranges):
            profile = builder.create_optimization_profile()
            for each in ranges:
                profile.set_shape(each.name, each.optimal, each.optimal, each.optimal)
            config.set_calibration_profile(profile)
        return feed

    def _build_error(self, path: str, log: str) -> Exception:
        text = "TensorRT {} cannot build the model {} for {}: {}.".format(
            self._trt.__version__, path, self._device.name, log
        )
        if any(word in log.lower() for word in _MEMORY_WORDS):
            return OutOfMemory(text)
        return ModelInvalid(text, path=path)


def contexts_of(options: LoadOptions) -> int:
    """Return how many execution contexts a load is prepared for: copies of one inference overlap with another's kernels."""
    return options.integer("in_flight") or 2


def _parser_error(error: Any) -> str:
    """Return one error of the parser with the node it is about."""
    text = " ".join(str(error.desc()).split()).rstrip(".")
    if not hasattr(error, "node_name"):  # since 10
        return text
    node: Tuple[str, str] = (str(error.node_operator()), str(error.node_name()))
    return "{} (node {} of type {})".format(text, node[1] or "without a name", node[0]) if any(node) else text
