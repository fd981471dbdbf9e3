"""What the runners over a TensorFlow Lite Interpreter share: LiteRT's own, its delegates, the Edge TPU.

Source: https://ai.google.dev/edge/litert and tensorflow/lite/python/interpreter.py.
"""

import gc
import importlib
import traceback
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from targets.errors import ModelInvalid
from targets.options import LoadOptions, resolve_shapes
from targets.runner import Runner, one_line
from targets.runners.parts.vendor import import_vendor
from targets.tensors import ModelSpec, Tensors, TensorSpec, unique_names

_DELEGATE = "DELEGATE"  # schema.fbs, BuiltinOperator: what stands for the operators that a delegate took


class InterpreterRunner(Runner):
    """One Interpreter a slot, because an Interpreter is not thread-safe; the weights are mapped once by the kernel.

    The slots share the delegates in turn: slot n is given delegate n modulo their number.
    """

    formats = ("tflite",)
    title = ""  # as a sentence calls it
    otherwise = ""  # what to install where the package is not to be had
    modules: Tuple[str, ...] = ("ai_edge_litert", "tflite_runtime")  # the first that can be imported is taken

    def __init__(self) -> None:
        super().__init__()
        self._path = ""
        self._arguments: Dict[str, Any] = {}
        self._delegates: List[Any] = []
        self._interpreters: List[Any] = []
        self._shapes: List[Tuple[int, ...]] = []

    @classmethod
    def vendor(cls) -> Any:
        """Import and return the vendor's package. RuntimeUnavailable if there is none that works."""
        hint = " ({})".format(cls.otherwise)
        return import_vendor(cls.name, cls.title, cls.package, cls.modules, hint)

    @classmethod
    def vendor_interpreter(cls) -> Any:
        """Return the vendor's module that holds Interpreter and load_delegate."""
        return importlib.import_module(cls.vendor().__name__ + ".interpreter")

    def _start(self, path: str, options: LoadOptions) -> ModelSpec:
        """Open the first interpreter with the arguments and delegates that are set, and return what it takes."""
        self._path = path
        try:
            return self._open_first(options)
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # they hold the interpreter
            self._close()
            raise

    def _open_first(self, options: LoadOptions) -> ModelSpec:
        interpreter = self._create(0)
        self._delegated(partition(interpreter) if self._delegates else None)
        inputs, self._shapes = _inputs(interpreter, options)
        self._allocate(interpreter, self._shapes)
        self._interpreters = [interpreter]
        return ModelSpec(inputs, self._output_specs(interpreter))

    def _delegated(self, parts: Optional["Partition"]) -> None:
        """Take note of what the delegate took; None if there is no delegate, or the package cannot tell."""

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        self._open_slots(slot + 1)
        interpreter = self._interpreters[slot]
        details = interpreter.get_input_details()
        arrays = [inputs[spec.name] for spec in self.loaded().inputs]
        wanted = [array.shape for array in arrays]
        if [tuple(detail["shape"]) for detail in details] != wanted:
            self._allocate(interpreter, wanted)
        interpreter.reset_all_variables()  # a stateful model starts afresh with its inputs
        for detail, array in zip(details, arrays):
            interpreter.set_tensor(detail["index"], array)
        invoke: Callable[[], Any] = interpreter.invoke
        return invoke

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        interpreter = self._interpreters[slot]
        details = interpreter.get_output_details()
        specs = self.loaded().outputs
        return {spec.name: interpreter.get_tensor(d["index"]) for spec, d in zip(specs, details)}

    def _open_slots(self, count: int) -> None:
        while len(self._interpreters) < count:
            interpreter = self._create(len(self._interpreters))
            self._allocate(interpreter, self._shapes)
            self._interpreters.append(interpreter)

    def _close(self) -> None:
        """Let go of the interpreters, then of the delegates: an interpreter runs its delegate's code while it goes.

        The vendor's objects leave that order to chance where both are found by the garbage collector, which a reference
        cycle is enough for; the process then dies.
        """
        self._interpreters = []
        if self._delegates:
            gc.collect()
        self._arguments = {}
        self._delegates = []

    def _create(self, slot: int) -> Any:
        arguments = dict(self._arguments)
        if self._delegates:
            arguments["experimental_delegates"] = [self._delegates[slot % len(self._delegates)]]
        try:
            return self.vendor_interpreter().Interpreter(model_path=self._path, **arguments)
        except ValueError as error:
            raise ModelInvalid(
                "{} cannot read the model {}: {}".format(self.title, self._path, one_line(error)),
                path=self._path,
            )

    def _allocate(self, interpreter: Any, shapes: Sequence[Sequence[int]]) -> None:
        for detail, shape in zip(interpreter.get_input_details(), shapes):
            concrete = [1 if size == -1 else size for size in shape]
            if list(detail["shape"]) != concrete:
                interpreter.resize_tensor_input(detail["index"], concrete)
        interpreter.allocate_tensors()

    def _output_specs(self, interpreter: Any) -> List[TensorSpec]:
        """Outputs: a dimension that is dynamic in the file is known once all inputs are."""
        details = interpreter.get_output_details()
        known = all(-1 not in shape for shape in self._shapes)
        names = unique_names([detail["name"] for detail in details])
        return [
            _tensor_spec(n, d, tuple(d["shape"]) if known else _signature(d)) for n, d in zip(names, details)
        ]


class Partition(NamedTuple):
    """How a delegate cut the main graph: operators in all, those it took, and in how many parts it runs them."""

    total: int
    taken: int
    parts: int

    def __str__(self) -> str:
        return "{}/{}".format(self.taken, self.total)


def partition(interpreter: Any) -> Optional[Partition]:
    """Return what the given delegates took; None where the package cannot tell.

    To be asked before allocate_tensors, which adds the runtime's own delegate, XNNPACK. The nodes a delegate took stay
    in the list, followed by its own; which of them run shows on the way back from the outputs.
    """
    try:
        nodes = interpreter._get_ops_details()  # private, but the only one that tells; since TensorFlow 2.4
    except (AttributeError, RuntimeError, ValueError):
        return None
    outputs = [int(detail["index"]) for detail in interpreter.get_output_details()]
    own = [node for node in nodes if node["op_name"] != _DELEGATE]
    total = len(_executed(own, outputs))
    run = _executed(nodes, outputs)
    parts = sum(1 for node in run if node["op_name"] == _DELEGATE)
    return Partition(total, total - (len(run) - parts), parts)


def _executed(nodes: Sequence[Dict[str, Any]], outputs: Sequence[int]) -> List[Dict[str, Any]]:
    """Return the nodes that the outputs need; of several that give a tensor the last one does."""
    producers = {int(tensor): node for node in nodes for tensor in node["outputs"]}
    found: Dict[int, Dict[str, Any]] = {}
    waiting = list(outputs)
    while waiting:
        node = producers.pop(waiting.pop(), None)
        if node is not None and node["index"] not in found:
            found[node["index"]] = node
            waiting.extend(int(tensor) for tensor in node["inputs"])
    return list(found.values())


def _inputs(interpreter: Any, options: LoadOptions) -> Tuple[List[TensorSpec], List[Tuple[int, ...]]]:
    details = interpreter.get_input_details()
    names = unique_names([detail["name"] for detail in details])
    shapes = resolve_shapes([(n, _signature(d)) for n, d in zip(names, details)], options)
    return [_tensor_spec(n, d, shape) for n, d, shape in zip(names, details, shapes)], shapes


def _signature(detail: Dict[str, Any]) -> Tuple[int, ...]:
    """Return the shape as the file gives it; older packages have no shape_signature."""
    shape = detail.get("shape_signature")
    return tuple(int(size) for size in (detail["shape"] if shape is None else shape))


def _tensor_spec(name: str, detail: Dict[str, Any], shape: Sequence[int]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    quantised = scale != 0.0
    return TensorSpec(
        name,
        _dtype_name(detail["dtype"]),
        shape,
        float(scale) if quantised else None,
        int(zero_point) if quantised else None,
    )


def _dtype_name(dtype: Any) -> str:
    return "bool" if dtype.__name__ in ("bool", "bool_") else str(dtype.__name__)
