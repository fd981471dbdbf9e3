"""One request in flight: an execution context with its stream, its buffers on both sides, its events and its CUDA graph.

A context may be used by one thread at a time, and two contexts of one engine at the same time by two threads (TensorRT
documentation, "Threading"). Inputs and outputs pass through page-locked memory, so that copies need no help of the host.
"""

from typing import Any, Dict, List, Optional, Tuple, Type

import numpy as np

from targets.errors import InferenceFailed, ModelInvalid, OptionInvalid, OutOfMemory, TargetsError
from targets.runners.parts.cuda import Cuda, CudaError, HostBuffer
from targets.runners.parts.tensorrt.engine import Context, EngineTensor
from targets.runners.parts.tensorrt.log import LINES
from targets.runners.parts.tensorrt.memory import Buffer, make_allocator
from targets.runners.parts.tensorrt.shapes import Shape
from targets.tensors import Tensors


class Slot:
    """Runs one inference at a time. ``bind`` places inputs; ``run`` computes them, as often as is liked."""

    def __init__(
        self,
        trt: Any,
        cuda: Cuda,
        context: Context,
        tensors: List[EngineTensor],
        wants_graph: bool,
        waits_asleep: bool,
    ) -> None:
        self._trt = trt
        self._cuda = cuda
        self._context = context
        self._tensors = tensors
        self._wants_graph = wants_graph
        self._stream = cuda.stream()
        self._handle = cuda.stream_handle(self._stream)
        self._events = (cuda.event(), cuda.event(waits_asleep))
        self._waits_asleep = waits_asleep
        self._buffers = {tensor.name: Buffer(cuda, tensor.is_host) for tensor in tensors}
        self._allocators: Dict[str, Any] = {}
        self._shapes: Dict[str, Shape] = {}
        self._output_shapes: Dict[str, Shape] = {}
        self._uploads: List[Tuple[int, HostBuffer, int]] = []
        self._downloads: List[Tuple[HostBuffer, int, int]] = []
        self._graph: Any = None

    def select_profile(self) -> bool:
        """Choose the context's profile; False where another context has it."""
        if not self._context.select_profile(self._handle):
            return False
        self._cuda.synchronize(self._stream)
        return True

    def bind(self, inputs: Tensors) -> None:
        """Place inputs whose shapes the engine takes; prepare for those shapes where they are new."""
        shapes = {name: array.shape for name, array in inputs.items()}
        if any(tensor.is_input and tensor.is_host for tensor in self._tensors):
            self._shapes = {}  # values decide about shapes here, so every binding is a new one
        if shapes != self._shapes:
            self._prepare(inputs, shapes)
        for tensor in self._tensors:
            if tensor.is_input:
                array = inputs[tensor.name]
                self._buffers[tensor.name].host.typed(tensor.dtype, array.shape)[...] = array
        if self._wants_graph and self._graph is None:
            self._capture()

    def run(self) -> None:
        """Compute the bound inputs once: copy in, run, copy out, wait."""
        cuda, stream = self._cuda, self._stream
        cuda.enter()
        try:
            for device, host, size in self._uploads:
                cuda.copy_to_device(device, host, size, stream)
            if self._graph is None:
                self._enqueue()
            else:
                cuda.launch(self._graph, stream)
            for host, device, size in self._downloads:
                cuda.copy_to_host(host, device, size, stream)
            if self._waits_asleep:
                cuda.record(self._events[1], stream)
                cuda.wait(self._events[1])
            else:
                cuda.synchronize(stream)
            if self._allocators:
                self._fetch_allocated()
        finally:
            cuda.leave()

    def device_time_ns(self) -> int:
        """Compute the bound inputs once more between two events: what the GPU takes without the copies."""
        start, end = self._events
        with self._cuda.current():
            self._cuda.record(start, self._stream)
            if self._graph is None:
                self._enqueue()
            else:
                self._cuda.launch(self._graph, self._stream)
            self._cuda.record(end, self._stream)
            return self._cuda.elapsed_ns(start, end)

    def outputs(self) -> Tensors:
        """Return copies of the outputs of the last run."""
        found = {}
        for tensor in self._tensors:
            if not tensor.is_input:
                shape = self._output_shapes[tensor.name]
                buffer = self._buffers[tensor.name]
                found[tensor.name] = (
                    buffer.host.typed(tensor.dtype, shape).copy()
                    if buffer.host is not None
                    else np.empty(shape, tensor.dtype)
                )
        return found

    def output_shapes(self, shapes: Dict[str, Shape]) -> Dict[str, Shape]:
        """Return the shapes of the outputs for shapes of the inputs, without any memory; -1 where only a run can tell."""
        self._shapes = {}
        self._set_shapes(shapes, ModelInvalid)
        return {tensor.name: self._context.shape(tensor) for tensor in self._tensors if not tensor.is_input}

    @property
    def native_context(self) -> Any:
        """TensorRT's own context, for the inspector."""
        return self._context.native

    @property
    def device_bytes(self) -> int:
        """What the buffers take on the device."""
        return sum(buffer.device_bytes for buffer in self._buffers.values())

    def close(self) -> None:
        """Give everything back: the graph before the context it belongs to, the memory after."""
        self._drop_graph()
        for event in self._events:
            self._cuda.free_event(event)
        self._context.native = None
        for buffer in self._buffers.values():
            buffer.free()
        for allocator in self._allocators.values():
            allocator.free()
        self._cuda.free_stream(self._stream)

    def _prepare(self, inputs: Tensors, shapes: Dict[str, Shape]) -> None:
        self._drop_graph()
        self._shapes = {}
        self._set_shapes(shapes, InferenceFailed)
        self._uploads, self._downloads = [], []
        for tensor in self._tensors:
            if tensor.is_input:
                self._place_input(tensor, inputs[tensor.name])
        missing = self._context.unset()
        if missing:
            raise InferenceFailed("TensorRT still misses the shape of {}.".format(", ".join(missing)))
        for tensor in self._tensors:
            if not tensor.is_input:
                self._place_output(tensor)
        self._shapes = shapes

    def _set_shapes(self, shapes: Dict[str, Shape], kind: Type[TargetsError]) -> None:
        for tensor in self._tensors:
            if not tensor.is_input or tensor.is_host or -1 not in tensor.shape:
                continue
            mark = LINES.mark()
            if not self._context.set_shape(tensor, shapes[tensor.name]):
                raise kind(
                    "TensorRT does not take the shape {} for the input '{}': {}.".format(
                        list(shapes[tensor.name]), tensor.name, LINES.errors(mark)
                    )
                )

    def _place_input(self, tensor: EngineTensor, array: Any) -> None:
        buffer = self._buffers[tensor.name]
        buffer.reserve(array.nbytes)
        if tensor.is_host:
            buffer.host.typed(tensor.dtype, array.shape)[...] = array  # read as soon as shapes are inferred
            self._context.set_values(tensor, [int(value) for value in array.ravel()])
        else:
            self._uploads.append((buffer.device, buffer.host, array.nbytes))
        self._set_address(tensor, buffer.address)

    def _place_output(self, tensor: EngineTensor) -> None:
        shape = self._context.shape(tensor)
        self._output_shapes[tensor.name] = shape
        if -1 in shape:
            self._place_allocated(tensor)
            return
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize
        buffer = self._buffers[tensor.name]
        buffer.reserve(max(size, 1))  # an empty output still needs an address
        if size and not tensor.is_host:
            self._downloads.append((buffer.host, buffer.device, size))
        self._set_address(tensor, buffer.address)

    def _place_allocated(self, tensor: EngineTensor) -> None:
        """The size of this output depends on the data, so TensorRT asks for its memory while it runs."""
        if tensor.name not in self._allocators:
            has_allocators = hasattr(self._trt, "IOutputAllocator")
            allocator = make_allocator(self._trt, self._cuda) if has_allocators else None
            if allocator is None or not self._context.set_allocator(tensor, allocator):
                raise InferenceFailed(
                    "The shape of the output '{}' depends on the data, and TensorRT {} cannot run that.".format(
                        tensor.name, self._trt.__version__
                    )
                )
            self._allocators[tensor.name] = allocator
            self._buffers[tensor.name].free()
            self._buffers[tensor.name] = Buffer(self._cuda, is_host_only=True)

    def _fetch_allocated(self) -> None:
        for tensor in self._tensors:
            allocator = self._allocators.get(tensor.name)
            if allocator is None:
                continue
            shape = tuple(allocator.shape)
            size = int(np.prod(shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize
            self._output_shapes[tensor.name] = shape
            if size:
                buffer = self._buffers[tensor.name]
                buffer.reserve(size)
                self._cuda.copy_to_host(buffer.host, allocator.pointer, size, self._stream)
        self._cuda.synchronize(self._stream)

    def _set_address(self, tensor: EngineTensor, pointer: int) -> None:
        mark = LINES.mark()
        if not self._context.set_address(tensor, pointer):
            raise InferenceFailed(
                "TensorRT does not take the address of '{}': {}.".format(tensor.name, LINES.errors(mark))
            )

    def _enqueue(self) -> None:
        mark = LINES.mark()
        if not self._context.enqueue(self._handle):
            text = LINES.errors(mark)
            try:
                self._cuda.synchronize(self._stream)
            except CudaError as error:  # says whether the process can go on
                text = "{}; {}".format(text, str(error).rstrip("."))
            raise InferenceFailed("TensorRT could not run the engine: {}.".format(text))

    def _capture(self) -> None:
        """Record one inference as a graph. The run before it lets TensorRT do what it does only once for new shapes."""
        if not self._cuda.has_graphs:
            raise self._no_graph("the binding {} has none".format(self._cuda.name))
        if self._allocators:
            raise self._no_graph("the shape of an output depends on the data")
        self.run()
        mark = LINES.mark()
        try:
            self._graph = self._cuda.capture(self._stream, self._enqueue)
        except (InferenceFailed, CudaError) as error:
            text = str(error).rstrip(".") if isinstance(error, CudaError) else LINES.errors(mark)
            raise self._no_graph(text)

    def _no_graph(self, why: str) -> OptionInvalid:
        return OptionInvalid(
            "This model cannot run as a CUDA graph: {}; load it without cuda_graph.".format(why),
            option="cuda_graph",
        )

    def _drop_graph(self) -> None:
        if self._graph is not None:
            self._cuda.free_graph(self._graph)
            self._graph = None


def need_context(context: Optional[Any], mark: int, device: str) -> Any:
    """Return a native context, or say why there is none; it is memory that lacks, mostly."""
    if context is None:
        raise OutOfMemory("{} has no room for an execution context: {}.".format(device, LINES.errors(mark)))
    return context
