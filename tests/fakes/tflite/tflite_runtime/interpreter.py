"""Interpreter and load_delegate with the vendor's names, checks and failures, over real .tflite files.

Source: tensorflow/lite/python/interpreter.py and interpreter_wrapper.cc (whose words the errors have). The outputs are a linear
map of the inputs, squashed to 0..1 and quantised with the scale and zero point of the file.

Faults (WATTFARM_FAKE; tests/fakes/faking.py has those that every fake shares): ``segv`` at ``load`` is what libedgetpu and an
Interpreter of another TensorFlow Lite do; ``raise`` at ``load`` or ``infer`` is what a device does that went away; any fault at
``open`` lets the delegate refuse. ``no_details`` leaves _get_ops_details out, as old packages do.
"""

import ctypes
import enum
import platform
from typing import Any, Dict, List, Optional

import fake_loader
import fake_tflite_model as model_file
import faking
import numpy as np

_TYPES = {
    "float32": "FLOAT32",
    "uint8": "UINT8",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FLOAT16",
}


@enum.unique
class OpResolverType(enum.Enum):
    """As the vendor's."""

    AUTO = 0
    BUILTIN = 1
    BUILTIN_REF = 2
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3


class Delegate:
    """As the vendor's, with its __del__ that complains when __init__ broke off."""

    def __init__(self, library: str, options: Optional[Dict[str, Any]] = None) -> None:
        if platform.python_implementation() != "CPython":
            raise RuntimeError("Delegates are currently only supported into CPython")
        self._library = fake_loader.load(library)
        create = self._library.tflite_plugin_create_delegate
        pairs = list((options or {}).items())
        keys, values = (ctypes.c_char_p * len(pairs))(), (ctypes.c_char_p * len(pairs))()
        for at, (key, value) in enumerate(pairs):
            keys[at], values[at] = str(key).encode("utf-8"), str(value).encode("utf-8")
        self._delegate_ptr = create(keys, values, len(pairs), None)
        if self._delegate_ptr is None:
            raise ValueError("")

    def __del__(self) -> None:
        if self._library is not None:
            self._library.tflite_plugin_destroy_delegate(self._delegate_ptr)
            self._library = None

    def _get_native_delegate_pointer(self) -> Any:
        return self._delegate_ptr


def load_delegate(library: str, options: Optional[Dict[str, Any]] = None) -> Delegate:
    """Load a delegate, or fail as the vendor's does."""
    try:
        return Delegate(library, options)
    except ValueError as error:
        raise ValueError("Failed to load delegate from {}\n{}".format(library, str(error))) from error


class Interpreter:
    """As the vendor's; everything it lacks raises AttributeError."""

    def __init__(
        self,
        model_path: Optional[str] = None,
        model_content: Optional[bytes] = None,
        experimental_delegates: Optional[List[Delegate]] = None,
        num_threads: Optional[int] = None,
        experimental_op_resolver_type: OpResolverType = OpResolverType.AUTO,
    ) -> None:
        if num_threads is not None and (not isinstance(num_threads, int) or num_threads < 1):
            raise ValueError("num_threads should >= 1")
        if not model_path or model_content:
            raise ValueError("`model_path` or `model_content` must be specified.")
        self._model = model_file.read(model_path)
        self._shapes = {at: self._model.tensors[at].shape for at in self._model.inputs}
        self._values: Dict[int, Any] = {}
        self._allocated = False
        self._nodes = list(self._model.nodes)
        self._delegates = list(experimental_delegates or [])
        self._natives: List[fake_loader.NativeDelegate] = []
        for delegate in self._delegates:
            self._modify_graph(fake_loader.native(delegate._get_native_delegate_pointer()))

    def __del__(self) -> None:
        for native in getattr(self, "_natives", []):
            native.interpreters -= 1
        self._delegates = []

    def _modify_graph(self, native: "fake_loader.NativeDelegate") -> None:
        if faking.trip("load") is not None:
            raise RuntimeError("Failed to prepare for TPU. Internal: Unsupported model")
        native.interpreters += 1
        self._natives.append(native)
        part: List[model_file.Node] = []
        for node in [*self._model.nodes, None]:
            if node is not None and node.name in native.takes:
                part.append(node)
            elif part:
                made = [tensor for taken in part for tensor in taken.outputs]
                used = [tensor for taken in part for tensor in taken.inputs if tensor not in made]
                self._nodes.append(model_file.Node("DELEGATE", False, used, made))
                part = []

    def allocate_tensors(self) -> None:
        """Plan the memory; an operator that nobody runs fails here."""
        taken = {name for native in self._natives for name in native.takes}
        for number, node in enumerate(self._model.nodes):
            if node.is_custom and node.name not in taken:
                raise RuntimeError(
                    "Encountered unresolved custom op: {0}.Node number {1} ({0}) failed to prepare.\n".format(
                        node.name, number
                    )
                )
        for at in self._model.inputs:
            self._values[at] = np.zeros(self._shapes[at], self._model.tensors[at].dtype)
        for at in self._model.outputs:
            self._values[at] = np.zeros(self._output_shape(at), self._model.tensors[at].dtype)
        self._allocated = True

    def get_input_details(self) -> List[Dict[str, Any]]:
        """Describe the inputs."""
        return [self._describe(at, self._shapes[at]) for at in self._model.inputs]

    def get_output_details(self) -> List[Dict[str, Any]]:
        """Describe the outputs; their shapes are known when the tensors are allocated."""
        return [
            self._describe(at, self._output_shape(at) if self._allocated else self._model.tensors[at].shape)
            for at in self._model.outputs
        ]

    def resize_tensor_input(self, input_index: int, tensor_size: List[int], strict: bool = False) -> None:
        """Give an input another shape."""
        self._shapes[input_index] = tuple(int(size) for size in tensor_size)
        self._allocated = False

    def set_tensor(self, tensor_index: int, value: Any) -> None:
        """Copy a value in."""
        tensor, shape = self._model.tensors[tensor_index], self._shapes[tensor_index]
        value = np.asarray(value)
        if value.dtype != tensor.dtype:
            raise ValueError(
                "Cannot set tensor: Got value of type {} but expected type {} for input {}, name: {} ".format(
                    *(_TYPES.get(np.dtype(t).name, "NOTYPE") for t in (value.dtype, tensor.dtype)),
                    tensor_index,
                    tensor.name,
                )
            )
        if value.shape != shape:
            raise ValueError("Cannot set tensor: Dimension mismatch. Got {} but expected {} for input {}.".format(
                list(value.shape), list(shape), tensor_index
            ))  # fmt: skip
        if not self._allocated:
            raise ValueError("Cannot set tensor: Tensor is unallocated. Try calling allocate_tensors() first")
        self._values[tensor_index][...] = value

    def get_tensor(self, tensor_index: int) -> Any:
        """Return a copy of a value."""
        if not self._allocated or tensor_index not in self._values:
            raise ValueError("Tensor data is null. Run allocate_tensors() first")
        return self._values[tensor_index].copy()

    def reset_all_variables(self) -> None:
        """There are none."""

    def invoke(self) -> None:
        """Run once."""
        if not self._allocated:
            raise RuntimeError("Invoke called on model that is not ready.")
        if faking.trip("infer") is not None:
            raise RuntimeError(
                "Failed to execute request. Deadline exceeded: USB transfer error 2 [LibUsbDataOut]"
                "Node number 1 (EdgeTpuDelegateForCustomOp) failed to invoke.\n"
            )
        faking.delay()
        real = np.concatenate([self._real(at).ravel() for at in self._model.inputs])
        for number, at in enumerate(self._model.outputs):
            self._values[at][...] = self._compute(real, number, at)

    def _real(self, at: int) -> Any:
        tensor, value = self._model.tensors[at], self._values[at].astype(np.float64)
        return (value - tensor.zero_point) * tensor.scale if tensor.scale else value

    def _compute(self, real: Any, number: int, at: int) -> Any:
        tensor, shape = self._model.tensors[at], self._output_shape(at)
        count = int(np.prod(shape))
        places = (np.arange(count)[:, None] * 31 + np.arange(16)[None, :] * 7919 + number) % len(real)
        weights = np.cos(np.arange(count * 16.0)).reshape(count, 16)
        value = 1 / (1 + np.exp(-np.clip((real[places] * weights).sum(axis=1), -30, 30)))
        if tensor.scale:
            bounds = np.iinfo(tensor.dtype)
            value = np.clip(np.round(value / tensor.scale) + tensor.zero_point, bounds.min, bounds.max)
        return value.astype(tensor.dtype).reshape(shape)

    def _output_shape(self, at: int) -> Any:
        tensor = self._model.tensors[at]
        first = self._shapes[self._model.inputs[0]]
        return tuple(
            first[0] if size == -1 and place == 0 else max(size, 1)
            for place, size in enumerate(tensor.signature)
        )

    def _describe(self, at: int, shape: Any) -> Dict[str, Any]:
        tensor = self._model.tensors[at]
        return {
            "name": tensor.name,
            "index": at,
            "shape": np.array(shape, dtype=np.int32),
            "shape_signature": np.array(tensor.signature, dtype=np.int32),
            "dtype": tensor.dtype,
            "quantization": (tensor.scale, tensor.zero_point),
        }

    def _get_ops_details(self) -> List[Dict[str, Any]]:
        if faking.settings().get("no_details"):
            raise AttributeError("'Interpreter' object has no attribute '_get_ops_details'")
        return [
            {
                "index": at,
                "op_name": node.name,
                "inputs": np.array(node.inputs),
                "outputs": np.array(node.outputs),
            }
            for at, node in enumerate(self._nodes)
        ]
