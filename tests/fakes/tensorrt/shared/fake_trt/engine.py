"""Engines and contexts: what they do; the packages give it the names of their version."""

import threading
import weakref
from typing import Any, Callable, Dict, Optional, Tuple

import fake_gpu
import faking
import numpy as np
import onnx_net

from fake_trt.base import (
    DTYPES,
    DataType,
    ILogger,
    Severity,
    load_fault,
)
from fake_trt.loading import Inspector
from fake_trt.network import shape_inputs

Shape = Tuple[int, ...]


class Tensor:
    """An input or output of an engine."""

    def __init__(
        self, port: onnx_net.Port, is_input: bool, shape: Shape, has_int64: bool, is_host: bool = False
    ) -> None:
        self.name = port.name
        self.is_host = is_host
        self.is_input = is_input
        self.shape = shape
        # Before 10 TensorRT has no INT64: the parser makes INT32 of it.
        self.dtype = DataType.INT32 if port.dtype == "int64" and not has_int64 else DTYPES[port.dtype]
        self.numpy = "int32" if self.dtype == DataType.INT32 else port.dtype


class EngineCore:
    """What an engine is; ``tensors`` in the order of its bindings."""

    has_int64 = False
    shares_profiles = False
    context_class: Any = None

    def __init__(self, logger: ILogger, head: Dict[str, Any], data: bytes) -> None:
        self._logger = logger
        self._head = head
        self._net = onnx_net.read(data)
        shapes = {name: tuple(shape) for name, shape in head["shapes"].items()}
        on_host = shape_inputs(self._net)
        self._tensors = [
            Tensor(port, True, shapes[port.name], self.has_int64, port.name in on_host)
            for port in self._net.inputs
        ]
        self._is_open = any(-1 in tensor.shape for tensor in self._tensors)
        smallest = {t.name: t.shape for t in self._tensors}
        if self._is_open:
            smallest.update(self._profile(0, 0))
        values = {name: ends[1] for name, ends in head["values"].items()}
        found, has_data_shapes = self._infer(smallest, values)
        for port in self._net.outputs:
            shape = tuple(
                -1 if on_host or (self._is_open and at == 0) else size
                for at, size in enumerate(found[port.name])
            )
            self._tensors.append(
                Tensor(port, False, (shape[0], -1) if has_data_shapes else shape, self.has_int64)
            )
        self._has_data_shapes = has_data_shapes
        self._users: Dict[int, Any] = {}  # profile -> weak reference to its context

    def __del__(self) -> None:
        faking.trip("close")

    def _profile(self, index: int, end: int) -> Dict[str, Shape]:
        return {name: tuple(ends[end]) for name, ends in self._head["profiles"][index].items()}

    def _infer(self, shapes: Dict[str, Shape], values: Dict[str, Any]) -> Tuple[Dict[str, Shape], bool]:
        """Return the shapes of the outputs, and whether they depend on the data."""
        feeds = {port.name: np.ones(shapes[port.name], port.dtype) for port in self._net.inputs}
        feeds.update({name: np.asarray(value) for name, value in values.items()})
        outputs = self._net.run(feeds)
        return {name: array.shape for name, array in outputs.items()}, any(
            n.op == "NonZero" for n in self._net.nodes
        )

    def _compute(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        scale = self._head["scale"]
        if scale is not None:
            feeds = {
                name: (np.clip(np.rint(x / scale), -127, 127) * scale).astype(x.dtype)
                for name, x in feeds.items()
            }
        precision = self._head["precision"]
        return self._net.run(feeds, precision if precision in ("float16", "bfloat16") else "float32")

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self._head["profiles"]))

    @property
    def device_memory_size(self) -> int:
        return 4096

    @property
    def num_layers(self) -> int:
        return len(self._net.nodes)

    def create_engine_inspector(self) -> Inspector:
        return Inspector(self._head, self._net, self._is_open)

    def create_execution_context(self) -> Any:
        if load_fault() == "context":
            self._logger.log(
                Severity.ERROR,
                "2: [executionContext.cpp::ExecutionContext::414] Error Code 2: OutOfMemory (no further information)",
            )
            return None
        return type(self).context_class(self)


class ContextCore:
    """What a context does. One enqueue reads its inputs' memory and writes its outputs' when the stream runs."""

    def __init__(self, engine: EngineCore) -> None:
        self.engine = engine
        self._engine = engine
        self._shapes: Dict[str, Shape] = {}
        self._addresses: Dict[str, int] = {}
        self._allocators: Dict[str, Any] = {}
        self._profile = -1
        self._is_busy = threading.Lock()
        if self._may_use(0):
            self._use(0)

    def _log(self, text: str) -> bool:
        self._engine._logger.log(Severity.ERROR, text)
        return False

    def _may_use(self, profile: int) -> bool:
        """Before 8.6 a profile serves one context at a time, if shapes are open."""
        engine = self._engine
        if not engine._is_open or engine.shares_profiles or engine._head["shares_profile"]:
            return True
        user = engine._users.get(profile)
        return user is None or user() in (None, self)

    def _use(self, profile: int) -> None:
        if self._profile >= 0:
            self._engine._users.pop(self._profile, None)
        self._engine._users[profile] = weakref.ref(self)
        self._profile = profile
        self._shapes = {}

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        problem = None
        if not 0 <= profile_index < self._engine.num_optimization_profiles:
            problem = "3: Parameter check failed: profile index {}".format(profile_index)
        elif not self._may_use(profile_index):
            problem = "3: Profile {} has been chosen by another IExecutionContext.".format(profile_index)
        if problem is not None:
            self._log(problem)
            raise RuntimeError("Error in set optimization profile async.")  # pyCore.cpp, of every version
        self._use(profile_index)
        return True

    def _input(self, name: str) -> Tensor:
        return next(tensor for tensor in self._engine._tensors if tensor.name == name)

    def _set_shape(self, name: str, shape: Shape) -> bool:
        engine = self._engine
        if fake_gpu.fault_at("infer") == "shape":
            return self._log("3: [executionContext.cpp::setInputShape::2264] Error Code 3: API Usage Error")
        if self._profile < 0:
            return self._log("9: [executionContext.cpp] no optimization profile has been chosen.")
        if engine._is_open:
            low, high = engine._profile(self._profile, 0)[name], engine._profile(self._profile, 2)[name]
        else:
            low = high = self._input(name).shape
        if len(shape) != len(low) or not all(a <= b <= c for a, b, c in zip(low, shape, high)):
            return self._log(
                "3: [executionContext.cpp::setInputShape::2264] Error Code 3: Internal Error (Parameter check failed, condition: "
                "engineDims.d[i] == dims.d[i]. Static dimension mismatch while setting input shape.)"
            )
        self._shapes[name] = tuple(shape)
        return True

    def _input_shapes(self) -> Optional[Dict[str, Shape]]:
        """Return the shapes of the inputs; None while one of them is still open, or one on the host has no values."""
        inputs = [tensor for tensor in self._engine._tensors if tensor.is_input]
        found = {t.name: self._shapes.get(t.name, t.shape) for t in inputs}
        is_open = any(-1 in shape for shape in found.values())
        return None if is_open or any(t.is_host and self._host_values(t) is None for t in inputs) else found

    def _host_values(self, tensor: Tensor) -> Any:
        """Return the values of an input on the host, None while they are not said."""
        raise NotImplementedError

    def _values(self) -> Dict[str, Any]:
        return {t.name: self._host_values(t) for t in self._engine._tensors if t.is_host}

    def _shape(self, name: str) -> Shape:
        tensor, shapes = self._input(name), self._input_shapes()
        if shapes is None:
            return self._shapes.get(name, tensor.shape)
        if tensor.is_input:
            return shapes[name]
        found, has_data_shapes = self._engine._infer(shapes, self._values())
        return (found[name][0], -1) if has_data_shapes else found[name]

    def _enqueue(self, stream: int) -> bool:
        fault = faking.trip("infer")
        if self._input_shapes() is None:
            return self._log(
                "3: [executionContext.cpp::enqueueInternal::795] Error Code 3: API Usage Error (shapes are not all set)"
            )
        if fault == "enqueue":
            try:
                fake_gpu.stick(700)
            except fake_gpu.GpuError as error:
                return self._log(
                    "1: [genericReformat.cuh::copyRunKernel::1435] Error Code 1: Cuda Runtime ({})".format(
                        error
                    )
                )
        if fake_gpu.fault_at("infer") == "capture" and fake_gpu.is_capturing(stream):
            return self._log(
                "1: [defaultAllocator.cpp] Error Code 1: Cuda Runtime (not permitted when stream is capturing)"
            )
        work = self._work(
            dict(self._input_shapes() or {}), dict(self._addresses), self._values(), fault == "illegal"
        )
        try:
            fake_gpu.queue(stream, work)
        except fake_gpu.GpuError as error:
            return self._log("1: [executionContext.cpp] Error Code 1: Cuda Runtime ({})".format(error))
        return True

    def _work(
        self, shapes: Dict[str, Shape], addresses: Dict[str, int], values: Dict[str, Any], is_illegal: bool
    ) -> Callable[[], None]:
        def work() -> None:
            if is_illegal:
                fake_gpu.stick(700)
            if not self._is_busy.acquire(False):
                fake_gpu.stick(700)  # two threads in one context
            try:
                faking.delay()
                self._run(shapes, addresses, values)
            finally:
                self._is_busy.release()

        return work

    def _run(self, shapes: Dict[str, Shape], addresses: Dict[str, int], values: Dict[str, Any]) -> None:
        feeds = {name: np.asarray(value) for name, value in values.items()}
        for tensor in (t for t in self._engine._tensors if t.is_input and not t.is_host):
            size = int(np.prod(shapes[tensor.name])) * np.dtype(tensor.numpy).itemsize
            data = fake_gpu.read(addresses.get(tensor.name, 0), size)
            feeds[tensor.name] = np.frombuffer(data, dtype=tensor.numpy).reshape(shapes[tensor.name])
        found = self._engine._compute(feeds)
        for tensor in (t for t in self._engine._tensors if not t.is_input):
            array = np.ascontiguousarray(found[tensor.name].astype(tensor.numpy))
            address = addresses.get(tensor.name, 0)
            if tensor.name in self._allocators:
                address = self._allocate(tensor.name, array)
            if array.nbytes:
                fake_gpu.write(address, array.tobytes())

    def _allocate(self, name: str, array: Any) -> int:
        raise NotImplementedError
