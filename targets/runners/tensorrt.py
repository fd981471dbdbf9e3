"""TensorRT 8.0 to 11 on NVIDIA GPUs and DLAs. Source: https://docs.nvidia.com/deeplearning/tensorrt/, Python API.

This file says what is loaded where and what came of it; building, caching, execution and CUDA are in parts/tensorrt and
parts/cuda.
"""

import importlib
from typing import Any, Callable, Dict, List, Optional

import numpy as np

from targets.errors import InferenceFailed, OptionInvalid, RuntimeUnavailable
from targets.options import LoadOptions
from targets.runner import Runner
from targets.runners.parts.cuda import Cuda, CudaError, CudaMissingError, Device, open_cuda
from targets.runners.parts.tensorrt import engine as trt_engine
from targets.runners.parts.tensorrt import precision as trt_precision
from targets.runners.parts.tensorrt import shapes as trt_shapes
from targets.runners.parts.tensorrt.build import contexts_of
from targets.runners.parts.tensorrt.log import LINES, logger
from targets.runners.parts.tensorrt.place import Place, place_of
from targets.runners.parts.tensorrt.readback import ReadBack
from targets.runners.parts.tensorrt.slot import Slot, need_context
from targets.runners.parts.tensorrt.source import Source, usable_profiles
from targets.runners.parts.vendor import import_vendor
from targets.tensors import ModelSpec, Tensors, TensorSpec


class TensorRtRunner(Runner):
    """One engine; each slot has an execution context, a stream and buffers of its own."""

    name = "tensorrt"
    package = "tensorrt"
    formats = ("onnx", "tensorrt")
    precisions = ("float32", "float16", "bfloat16", "int8")
    compiler = (
        "give it the ONNX file, which is built on the board, or make a plan there with "
        "'trtexec --onnx=model.onnx --saveEngine=model.plan'"
    )
    options = {
        "dla_core": "the DLA core that executes, as device=dla:N does",
        "gpu_fallback": "0 fails the load where the DLA cannot run a layer; else the GPU runs it, and it is counted",
        "max_batch": "the largest batch where the file leaves it open and nothing else says it; 16 unless told",
        "workspace_mib": "memory that kernels may use beside the tensors while they run",
        "optimization_level": "0 to 5: how long the builder looks for faster kernels",
        "tf32": "1 lets float32 be rounded to TF32 in products and convolutions; 0 unless told",
        "strongly_typed": "1: the types of the graph decide, as always from TensorRT 11 on",
        "float16_beside_int8": "1 lets layers that are not quantised run in float16 instead of float32",
        "calibration": "a .npz or .npy of samples on the board, for int8 from a float32 file",
        "version_compatible": "1: a plan that other versions load, too; it carries code, so load only your own",
        "profile": "the optimisation profile of a ready plan; 0 unless told",
        "cuda_graph": "1 launches the inference as a CUDA graph",
        "blocking_wait": "1: the processor sleeps while the GPU computes, and wakes up some µs later; else it spins",
        "timing_cache": "0 times every kernel anew in the build",
        "engine_cache": "folder for built engines, or off",
        "engine_cache_mib": "what the folder may hold; 4096 unless told",
    }

    def __init__(self) -> None:
        super().__init__()
        self._trt: Any = None
        self._cuda: Any = None
        self._device: Any = None
        self._source: Any = None  # holds the runtime, which must outlive the engine
        self._engine: Any = None
        self._tensors: List[trt_engine.EngineTensor] = []
        self._ranges: Dict[str, trt_shapes.Range] = {}
        self._profiles: List[int] = []
        self._is_shared = True
        self._running: List[Slot] = []
        self._wants_graph = self._waits_asleep = False
        self._free_before = 0

    @classmethod
    def version(cls) -> str:
        """Return TensorRT's version. The driver is asked first: without one, TensorRT hands out objects that crash on use."""
        found = import_vendor(
            cls.name,
            "TensorRT",
            cls.package,
            ("tensorrt",),
            "; on a Jetson 'apt install python3-libnvinfer' and use the system's interpreter",
        )
        if not hasattr(found, "Runtime"):  # a folder of that name on the path is importable, too
            raise cls._unavailable(
                "The module tensorrt at {} is not TensorRT; install it for this interpreter with 'pip install {}'.".format(
                    list(getattr(found, "__path__", [])), cls.package
                ),
                cls.package,
            )
        version = str(found.__version__)
        try:
            count = open_cuda().device_count()
        except CudaMissingError as error:
            raise cls._unavailable(
                "TensorRT {} is there, but no Python binding of CUDA is ({}). Install one for this interpreter with "
                "'pip install cuda-bindings', or 'pip install pycuda' on JetPack 4.".format(version, error),
                "cuda-bindings",
            )
        except CudaError as error:
            raise cls._unavailable(
                "TensorRT {} is there, but the NVIDIA driver does not answer: {}".format(version, error), None
            )
        if count == 0:
            raise cls._unavailable("TensorRT {} is there, but no GPU is.".format(version), None)
        return version

    @classmethod
    def _unavailable(cls, message: str, package: Optional[str]) -> RuntimeUnavailable:
        return RuntimeUnavailable(message, runtime=cls.name, package=package)

    def known_options(self, options: LoadOptions) -> List[str]:
        """The fixed ones, and the two ends of the range of each input."""
        return sorted(self.options) + trt_shapes.range_options(options)

    def device_bytes(self) -> Optional[int]:
        """Return by how much the GPU's free memory fell since before the load, but no less than what is known to be taken."""
        if self._cuda is None:
            return None
        if hasattr(self._engine, "device_memory_size_v2"):  # the older name is gone in 11
            scratch = int(self._engine.device_memory_size_v2)
        else:
            scratch = int(self._engine.device_memory_size)
        known = sum(scratch + slot.device_bytes for slot in self._running)
        with self._cuda.current():
            free: int = self._cuda.memory()[0]
        return max(known, self._free_before - free)

    def device_time_ns(self, slot: int) -> Optional[int]:
        """Return what the GPU takes for the slot's inputs without the copies: one more run, between two events."""
        return self._running[slot].device_time_ns()

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        if options.text("threads") is not None:
            raise OptionInvalid("TensorRT computes on the GPU: it has no threads to set.", option="threads")
        self._trt = importlib.import_module("tensorrt")
        cuda = self._cuda = open_cuda()
        try:
            place = place_of(options, cuda.device_count())
            cuda.use(place.gpu)
            self._device = cuda.device(place.gpu)
            with cuda.current():
                self._free_before = cuda.memory()[0]
                return self._load_here(path, options, cuda, place)
        except BaseException:
            self._close()
            raise

    def _load_here(self, path: str, options: LoadOptions, cuda: Cuda, place: Place) -> ModelSpec:
        trt = self._trt
        if hasattr(trt, "init_libnvinfer_plugins"):
            trt.init_libnvinfer_plugins(logger(trt), "")
        source = self._source = Source(trt, cuda, self._device, place.dla_core, options)
        self._engine = source.engine(path)
        self._read_engine(options, source)
        self._wants_graph = bool(options.flag("cuda_graph"))
        self._waits_asleep = bool(options.flag("blocking_wait"))
        self._open_slots(1)
        spec = self._spec()
        self._read_back(options, source, place, cuda)
        self.optimal_in_flight = contexts_of(options)
        if self._wants_graph:
            self._try_graph()
        return spec

    def _read_engine(self, options: LoadOptions, source: Source) -> None:
        """Read the tensors of the engine, the shapes it takes, and the profiles that contexts may use."""
        trt, engine = self._trt, self._engine
        profile = options.integer("profile", minimum=0) or 0
        count = max(int(engine.num_optimization_profiles), 1)
        if profile >= count:
            raise OptionInvalid(
                "The plan has {} optimisation profiles; there is no profile {}.".format(count, profile),
                option="profile",
            )
        self._tensors = trt_engine.tensors_of(trt, engine, profile)
        ranges = [tensor.range for tensor in self._tensors if tensor.range is not None]
        if options.format == "tensorrt":
            ranges = trt_shapes.plan_ranges(ranges, options)
        self._ranges = trt_shapes.by_name(ranges)
        has_free_shapes = any(-1 in tensor.shape for tensor in self._tensors if tensor.is_input)
        # Contexts share a profile from 10 on, and in 8.6 where the build asked for it.
        self._is_shared = (
            not has_free_shapes
            or not hasattr(trt.ICudaEngine, "num_bindings")
            or bool(source.facts.get("shares_profile"))
        )
        wanted = trt_engine.profile_ranges(trt, engine, profile)
        alike = [trt_engine.profile_ranges(trt, engine, at) == wanted for at in range(count)]
        self._profiles = usable_profiles(alike, profile, self._is_shared)

    def _open_slots(self, count: int) -> None:
        assert self._cuda is not None
        with self._cuda.current():
            while len(self._running) < count:
                self._running.append(self._new_slot(self._cuda, len(self._running)))

    def _new_slot(self, cuda: Cuda, number: int) -> Slot:
        if number >= len(self._profiles) and not self._is_shared:
            raise InferenceFailed(
                "This TensorRT needs an optimisation profile for each request in flight, and the engine has {}; load the "
                "model with in_flight={} or more.".format(len(self._profiles), number + 1)
            )
        profile = self._profiles[0 if self._is_shared else number]
        mark = LINES.mark()
        native = need_context(self._engine.create_execution_context(), mark, self._device.name)
        context = trt_engine.context_of(self._engine, native, profile)
        slot = Slot(self._trt, cuda, context, self._tensors, self._wants_graph, self._waits_asleep)
        # The first context has profile 0 by itself; where profiles are not shared, any other has none.
        if (profile or (number and not self._is_shared)) and not slot.select_profile():
            slot.close()
            raise InferenceFailed(
                "TensorRT cannot use the profile {}: {}.".format(profile, LINES.errors(mark))
            )
        return slot

    def _spec(self) -> ModelSpec:
        """Return the spec; free dimensions of outputs are those that differ between the ends of the inputs' ranges."""
        low, high = [
            self._running[0].output_shapes({name: getattr(each, end) for name, each in self._ranges.items()})
            for end in ("smallest", "largest")
        ]
        inputs, outputs = [], []
        for tensor in self._tensors:
            if tensor.is_input:
                shape = self._ranges[tensor.name].shape if tensor.name in self._ranges else tensor.shape
                inputs.append(TensorSpec(tensor.name, tensor.dtype, shape))
            else:
                shape = trt_shapes.common_shape(low[tensor.name], high[tensor.name])
                outputs.append(TensorSpec(tensor.name, tensor.dtype, shape))
        return ModelSpec(inputs, outputs)

    def _read_back(self, options: LoadOptions, source: Source, place: Place, cuda: Cuda) -> None:
        found = ReadBack(source.facts, place.name)
        device: Device = self._device
        found.effective.update(
            engine=source.origin,
            device_name=device.name,
            compute_capability=device.capability_text,
            cuda_binding=cuda.name,
            blocking_wait="1" if self._waits_asleep else "0",
        )
        if source.facts:  # TF32 is of Ampere and later
            found.effective["tf32"] = "1" if source.facts["tf32"] and device.capability >= (8, 0) else "0"
        found.judge_dla("gpu:{}".format(place.gpu))
        counts = trt_precision.layer_precisions(self._trt, self._engine, self._running[0].native_context)
        found.judge_precision(counts, options.precision)
        self.effective.update(found.effective)
        self.fallbacks.extend(found.fallbacks)

    def _try_graph(self) -> None:
        """Fail the load, not the first inference, where a graph cannot be: with zeros in the optimal shapes."""
        self._running[0].bind(
            {
                tensor.name: np.zeros(
                    self._ranges[tensor.name].optimal if tensor.name in self._ranges else tensor.shape,
                    tensor.dtype,
                )
                for tensor in self._tensors
                if tensor.is_input
            }
        )
        self.effective["cuda_graph"] = "1"

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        for name, array in inputs.items():
            if name in self._ranges:
                self._ranges[name].check(array.shape)
        self._open_slots(slot + 1)
        assert self._cuda is not None
        with self._cuda.current():
            self._running[slot].bind(inputs)
        return self._running[slot].run

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        return self._running[slot].outputs()

    def _close(self) -> None:
        """Contexts, then the engine, then the runtime, then CUDA: TensorRT crashes when an owner goes before its parts."""
        cuda, self._cuda = self._cuda, None
        if cuda is None:
            return
        try:
            with cuda.current():
                for slot in self._running:
                    slot.close()
        except CudaError:
            pass  # after an error that sticks nothing can be given back any more; the end of the process does it
        self._running, self._engine, self._source = [], None, None
        cuda.close()
