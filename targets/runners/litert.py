"""LiteRT (TensorFlow Lite) through its Interpreter; the older tflite_runtime package is taken where that is what there is.

Source: https://ai.google.dev/edge/litert and tensorflow/lite/python/interpreter.py.
"""

import importlib
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from targets.errors import ModelInvalid, OptionInvalid, PrecisionUnsupported, RuntimeUnavailable
from targets.formats import tflite_file
from targets.options import LoadOptions, resolve_shapes
from targets.process import usable_cores
from targets.runner import Runner, one_line
from targets.tensors import ModelSpec, Tensors, TensorSpec, unique_names

_MODULES = ("ai_edge_litert", "tflite_runtime")


class LiteRtRunner(Runner):
    """One Interpreter a slot, because an Interpreter is not thread-safe; the weights are mapped once by the kernel."""

    name = "litert"
    package = "ai-edge-litert"
    formats = ("tflite",)
    precisions = ("float32", "float16", "int8")
    options = {
        "xnnpack": "1 or 0: the XNNPACK kernels, on by default",
        "delegate": "shared library of an external delegate, for example libvx_delegate.so",
        "delegate_options": "its options, key:value with commas between",
    }

    def __init__(self) -> None:
        super().__init__()
        self._path = ""
        self._arguments: Dict[str, Any] = {}
        self._interpreters: List[Any] = []
        self._shapes: List[Tuple[int, ...]] = []

    @classmethod
    def version(cls) -> str:
        return str(_vendor().__version__)

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        facts = tflite_file.read(path)
        if options.text("delegate") is None:
            tflite_file.refuse_compiled(facts)
        self._check_precision(facts.precision, options.precision)
        self._check_device(options)
        self._path = path
        threads = options.integer("threads") or 1  # 1 is the vendor's default; said aloud so that it is known
        self._arguments = {"num_threads": threads}
        self._choose_kernels(options)
        interpreter = self._create()
        spec, self._shapes = self._spec(interpreter, options)
        self._allocate(interpreter, self._shapes)
        self._interpreters = [interpreter]
        self.effective.update(threads=str(threads), precision=facts.precision)
        weights = sorted(facts.weight_dtypes.items())  # int8 beside float32: quantised in its weights only
        self.effective["weights"] = ",".join("{}:{}".format(dtype, count) for dtype, count in weights)
        if facts.precision == "float16":
            self.effective["precision"] = "float32"
            self.fallbacks.append("The file holds float16 weights, but the CPU kernels compute in float32.")
        self.optimal_in_flight = max(1, usable_cores() // threads)
        return ModelSpec(spec.inputs, self._output_specs(interpreter, options))

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
            interpreter = self._create()
            self._allocate(interpreter, self._shapes)
            self._interpreters.append(interpreter)

    def _close(self) -> None:
        self._interpreters = []
        self._arguments = {}

    def _check_precision(self, of_file: str, asked: Optional[str]) -> None:
        if asked is not None and asked != of_file:
            raise PrecisionUnsupported(
                "LiteRT runs a file in the precision it has: this one is {}, not {}. Convert or quantise the model "
                "first.".format(of_file, asked),
                precision=asked,
                supported=[of_file],
            )

    def _check_device(self, options: LoadOptions) -> None:
        device = options.text("device", "cpu")
        if str(device).lower() != "cpu":
            raise OptionInvalid(
                "LiteRT runs on the device 'cpu'; another one is driven by its delegate, for example "
                "delegate=libvx_delegate.so.",
                option="device",
                value=device,
            )

    def _choose_kernels(self, options: LoadOptions) -> None:
        delegate, xnnpack = options.text("delegate"), options.flag("xnnpack")
        self.effective["device"] = "cpu" if delegate is None else delegate
        self.effective["xnnpack"] = "0" if xnnpack is False else "1"
        if xnnpack is False:
            resolver = _vendor_interpreter().OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            self._arguments["experimental_op_resolver_type"] = resolver
        if delegate is None:
            if options.text("delegate_options") is not None:
                raise OptionInvalid("delegate_options needs the option delegate.", option="delegate_options")
            return
        pairs = _pairs(options.text("delegate_options") or "")
        try:
            loaded = _vendor_interpreter().load_delegate(delegate, pairs)
        except Exception as error:
            # The vendor says nothing at all for an absent or busy device.
            raise RuntimeUnavailable(
                "The delegate {} cannot be used: {} Is its library installed, and its device present and free?".format(
                    delegate, one_line(error)
                ),
                runtime=self.name,
                package=delegate,
            )
        self._arguments["experimental_delegates"] = [loaded]

    def _create(self) -> Any:
        try:
            return _vendor_interpreter().Interpreter(model_path=self._path, **self._arguments)
        except ValueError as error:
            raise ModelInvalid(
                "LiteRT cannot read the model {}: {}".format(self._path, one_line(error)), path=self._path
            )

    def _allocate(self, interpreter: Any, shapes: Sequence[Sequence[int]]) -> None:
        for detail, shape in zip(interpreter.get_input_details(), shapes):
            concrete = [1 if size == -1 else size for size in shape]
            if list(detail["shape"]) != concrete:
                interpreter.resize_tensor_input(detail["index"], concrete)
        interpreter.allocate_tensors()

    def _spec(self, interpreter: Any, options: LoadOptions) -> Tuple[ModelSpec, List[Tuple[int, ...]]]:
        details = interpreter.get_input_details()
        names = unique_names([detail["name"] for detail in details])
        shapes = resolve_shapes([(n, _signature(d)) for n, d in zip(names, details)], options)
        inputs = [_tensor_spec(n, d, shape) for n, d, shape in zip(names, details, shapes)]
        return ModelSpec(inputs, []), shapes

    def _output_specs(self, interpreter: Any, options: LoadOptions) -> List[TensorSpec]:
        """Outputs: a dimension that is dynamic in the file is known once all inputs are."""
        details = interpreter.get_output_details()
        known = all(-1 not in shape for shape in self._shapes)
        names = unique_names([detail["name"] for detail in details])
        return [
            _tensor_spec(n, d, tuple(d["shape"]) if known else _signature(d)) for n, d in zip(names, details)
        ]


def _vendor() -> Any:
    error: Optional[Exception] = None
    for name in _MODULES:
        try:
            return importlib.import_module(name)
        except Exception as caught:  # a broken native library raises more than ImportError
            error = error or caught
    raise RuntimeUnavailable(
        "LiteRT cannot be imported ({}) Install it for this interpreter with 'pip install ai-edge-litert' "
        "(boards with an old Python: tflite-runtime).".format(one_line(error or ImportError("no module"))),
        runtime=LiteRtRunner.name,
        package=LiteRtRunner.package,
    )


def _vendor_interpreter() -> Any:
    return importlib.import_module(_vendor().__name__ + ".interpreter")


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


def _pairs(text: str) -> Dict[str, str]:
    found = {}
    for item in (part.strip() for part in text.split(",")):
        if item:
            key, colon, value = item.partition(":")
            if not (key and colon):
                raise OptionInvalid(
                    "delegate_options holds '{}'; write key:value with commas between.".format(item),
                    option="delegate_options",
                )
            found[key] = value
    return found
