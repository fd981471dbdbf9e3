"""OpenVINO. Source: https://docs.openvino.ai, properties of the plugins (openvino/runtime/properties.hpp)."""

import os
import re
import shutil
import tempfile
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

from targets.errors import ModelInvalid, OptionInvalid, PrecisionUnsupported, RuntimeUnavailable
from targets.formats import ir_file, onnx_file, tflite_file
from targets.options import LoadOptions, resolve_shapes
from targets.runner import Runner, one_line
from targets.tensors import ModelSpec, Tensors, TensorSpec, unique_names

_HINTS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
_DTYPES = {
    "f64": "float64", "f32": "float32", "f16": "float16", "bf16": "bfloat16", "boolean": "bool",
    "i8": "int8", "u8": "uint8", "i16": "int16", "u16": "uint16", "i32": "int32", "u32": "uint32",
    "i64": "int64", "u64": "uint64",
}  # fmt: skip
_KEYS = {
    "threads": "INFERENCE_NUM_THREADS",
    "streams": "NUM_STREAMS",
    "hint": "PERFORMANCE_HINT",
    "num_requests": "PERFORMANCE_HINT_NUM_REQUESTS",
    "execution_mode": "EXECUTION_MODE_HINT",
    "cpu_pinning": "ENABLE_CPU_PINNING",
    "cache_dir": "CACHE_DIR",
}
_CHOOSERS = ("AUTO", "MULTI", "HETERO", "BATCH")
# Layers whose arithmetic is what "the precision of the inference" means; names as the plugins' graphs have them.
_COMPUTE = (
    "convolution",
    "deconvolution",
    "fullyconnected",
    "fully_connected",
    "matmul",
    "gemm",
    "rnn",
    "lstm",
    "gru",
)


class OpenVinoRunner(Runner):
    """One compiled model, one infer request a slot; the tensors of a request are set once and then reused."""

    name = "openvino"
    package = "openvino"
    formats = ("onnx", "tflite", "openvino")
    precisions = ("float32", "float16", "bfloat16", "int8")
    options = {
        "streams": "inferences the device runs side by side: a number or AUTO",
        "hint": "latency, throughput or cumulative_throughput; scenario sets it if it is absent",
        "num_requests": "requests the application will keep in flight",
        "execution_mode": "performance or accuracy",
        "cpu_pinning": "1 or 0",
        "cache_dir": "folder for compiled models",
        "allow_auto": "1 lets AUTO, MULTI, HETERO and BATCH choose the device",
    }

    def __init__(self) -> None:
        super().__init__()
        self._compiled: Any = None
        self._requests: List[Any] = []
        self._held: Dict[int, List[Any]] = {}

    @classmethod
    def version(cls) -> str:
        try:
            import openvino

            return str(openvino.__version__)
        except Exception as error:  # a broken native library raises more than ImportError
            raise RuntimeUnavailable(
                "OpenVINO cannot be imported ({}) Install it for this interpreter with "
                "'pip install {}'.".format(one_line(error), cls.package),
                runtime=cls.name,
                package=cls.package,
            )

    def known_options(self, options: LoadOptions) -> List[str]:
        """The short names, and the writable properties of the chosen device by the vendor's own names."""
        return sorted(self.options) + self._properties(_core(), self._device(options))

    def device_bytes(self) -> Optional[int]:
        """Return what the GPU plugin has allocated; other devices do not tell."""
        device = self.effective.get("device", "")
        if not device.startswith("GPU"):
            return None
        return sum(int(size) for size in _core().get_property(device, "GPU_MEMORY_STATISTICS").values())

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        core, device = _core(), self._device(options)
        self._check_device(core, device, options)
        model = self._read(core, path, options.format)
        of_file = _file_precision(model)
        names = unique_names([_port_name(port) for port in model.inputs])
        # Before compiling: there an output also takes the names of the operators that were merged into it.
        outputs = unique_names([_port_name(port) for port in model.outputs])
        self._reshape(model, names, options)
        self._compiled = self._compile(core, model, device, options)
        self._requests = [self._compiled.create_infer_request()]
        self.optimal_in_flight = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._read_back(core, options)
        self._judge_precision(of_file, options.precision)
        quantisation = tflite_file.read(path).quantisation if options.format == "tflite" else {}
        return ModelSpec(
            [_tensor_spec(name, port, quantisation) for name, port in zip(names, self._compiled.inputs)],
            [_tensor_spec(name, port, quantisation) for name, port in zip(outputs, self._compiled.outputs)],
        )

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        import openvino

        self._open_slots(slot + 1)
        request = self._requests[slot]
        specs = self.loaded().inputs
        tensors = [openvino.Tensor(inputs[spec.name], shared_memory=True) for spec in specs]
        for at, tensor in enumerate(tensors):
            request.set_input_tensor(at, tensor)
        self._held[slot] = tensors  # shared memory: the arrays must outlive the request
        # Synchronous calls, also for requests in flight side by side: each runs in its slot's thread on a stream of its
        # own. Measured against callbacks and AsyncInferQueue this is as fast for large models, faster for small ones.
        return partial(request.infer, share_outputs=True)

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        request = self._requests[slot]
        specs = self.loaded().outputs
        return {spec.name: request.get_output_tensor(at).data.copy() for at, spec in enumerate(specs)}

    def _open_slots(self, count: int) -> None:
        while len(self._requests) < count:
            self._requests.append(self._compiled.create_infer_request())

    def _close(self) -> None:
        self._requests, self._held, self._compiled = [], {}, None

    def _device(self, options: LoadOptions) -> str:
        return str(options.text("device", "CPU")).upper()

    def _check_device(self, core: Any, device: str, options: LoadOptions) -> None:
        base = device.split(":")[0].split("(")[0]
        if base in _CHOOSERS:
            if not options.flag("allow_auto"):
                raise OptionInvalid(
                    "The device {} lets OpenVINO choose what executes, so a result would not say what it measured; "
                    "name a device, or give allow_auto=1.".format(device),
                    option="device",
                    value=device,
                )
            return
        if base == "CPU":
            return
        available = list(core.available_devices)
        if device not in available and not any(name.split(".")[0] == device for name in available):
            raise OptionInvalid(
                "OpenVINO has no device '{}' here; it has {}.".format(device, ", ".join(available)),
                option="device",
                value=device,
            )

    def _properties(self, core: Any, device: str) -> List[str]:
        try:
            supported = core.get_property(device.split(":")[0], "SUPPORTED_PROPERTIES")
        except Exception:
            return []  # an unknown device; _check_device says so
        return sorted(key for key, access in supported.items() if access == "RW")

    def _read(self, core: Any, path: str, format: str) -> Any:  # noqa: A002 - the word of the protocol
        try:
            if format == "openvino":
                xml, weights = ir_file.read(path)
                return core.read_model(model=xml, weights=weights)
            if format == "onnx":
                onnx_file.read(path)
            else:
                tflite_file.refuse_compiled(tflite_file.read(path))
            return self._read_by_name(core, path, "." + format)
        except RuntimeError as error:
            raise ModelInvalid(
                "OpenVINO cannot read the model {}: {}".format(path, _reason(error)), path=path
            )

    def _read_by_name(self, core: Any, path: str, suffix: str) -> Any:
        """OpenVINO chooses the reader by the file's name; a cached file has none, so it gets one for the moment."""
        if path.endswith(suffix):
            return core.read_model(path)
        folder = tempfile.mkdtemp()
        try:
            link = os.path.join(folder, "model" + suffix)
            os.symlink(os.path.abspath(path), link)
            return core.read_model(link)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _reshape(self, model: Any, names: List[str], options: LoadOptions) -> None:
        ports = model.inputs
        declared = [(name, _dims(name, port)) for name, port in zip(names, ports)]
        shapes = resolve_shapes(declared, options)
        if any(shape != old for shape, (_, old) in zip(shapes, declared)):
            try:
                model.reshape({at: list(shape) for at, shape in enumerate(shapes)})
            except RuntimeError as error:
                raise OptionInvalid(
                    "OpenVINO cannot give this model the shapes {}: {}".format(shapes, _reason(error)),
                    option="batch",
                )

    def _config(self, options: LoadOptions) -> Dict[str, str]:
        config = {key: value for key, value in options.values.items() if key.isupper()}
        given = {key: options.text(key) for key in _KEYS if options.text(key) is not None}
        options.integer("threads")
        options.integer("num_requests")
        if options.text("streams") != "AUTO":
            options.integer("streams")
        hint = options.choice("hint", ("latency", "throughput", "cumulative_throughput")) or options.scenario
        if hint is not None:
            given["hint"] = hint.upper()
        mode = options.choice("execution_mode", ("performance", "accuracy"))
        # As the file is: only in this mode does the device keep the model's own precision.
        if mode is not None:
            given["execution_mode"] = mode.upper()
        elif options.precision in (None, "int8"):
            config.setdefault(_KEYS["execution_mode"], "ACCURACY")
        pinning = options.flag("cpu_pinning")
        if pinning is not None:
            given["cpu_pinning"] = "YES" if pinning else "NO"
        for key, value in given.items():
            if _KEYS[key] in options.values:
                raise OptionInvalid("{} and {} say the same; give one.".format(key, _KEYS[key]), option=key)
            config[_KEYS[key]] = str(value)
        if options.precision in _HINTS:
            config["INFERENCE_PRECISION_HINT"] = _HINTS[str(options.precision)]
        return config

    def _compile(self, core: Any, model: Any, device: str, options: LoadOptions) -> Any:
        config = self._config(options)
        try:
            return core.compile_model(model, device, config)
        except RuntimeError as error:
            text = _reason(error)
            words = re.split(r"[\s;:,']+", text)
            for key, value in config.items():
                if key in words or (key in options.values and value in words):
                    raise OptionInvalid(
                        "OpenVINO refuses {}={} on {}: {}".format(key, value, device, text),
                        option=key,
                        value=value,
                    )
            raise ModelInvalid("OpenVINO cannot compile this model for {}: {}".format(device, text))

    def _read_back(self, core: Any, options: LoadOptions) -> None:
        """Record the settings in effect; say where they differ from those asked for."""
        read = {}
        names = dict(_KEYS, devices="EXECUTION_DEVICES", inference_precision="INFERENCE_PRECISION_HINT")
        for key, vendor in names.items():
            try:
                read[key] = _text(self._compiled.get_property(vendor))
            except RuntimeError:
                continue  # this device has no such property
        device = read.pop("devices", self._device(options))
        read.pop("cache_dir", None)
        read["hint"] = read.get("hint", "").lower()
        self.effective.update(read, device=device)
        try:
            self.effective["device_name"] = str(
                core.get_property(device.split(",")[0], "FULL_DEVICE_NAME")
            ).strip()
        except RuntimeError:
            pass
        for key in ("threads", "streams"):
            asked, got = options.text(key), read.get(key)
            if asked not in (None, "AUTO") and got is not None and asked != got:
                self.fallbacks.append("{}={} requested, but OpenVINO uses {}.".format(key, asked, got))

    def _judge_precision(self, of_file: str, asked: Optional[str]) -> None:
        counts = _compute_precisions(self._compiled)
        hinted = self.effective.get("inference_precision", "")
        default = hinted if hinted in ("float32", "float16", "bfloat16") else of_file
        got = max(counts, key=lambda name: counts[name]) if counts else default
        self.effective["precision"] = got
        self.effective["compute_layers"] = ",".join("{}:{}".format(p, n) for p, n in sorted(counts.items()))
        if "int8" in (asked, got) and asked not in (None, got):
            raise PrecisionUnsupported(
                "{} was asked for, but {} OpenVINO executes a file in 8 bits exactly if it is quantised.".format(
                    asked, "this file is quantised." if got == "int8" else "this file is not quantised."
                ),
                precision=asked,
                supported=["int8"] if got == "int8" else sorted(_HINTS),
            )
        if asked is not None and asked != got:
            self.fallbacks.append("{} requested, but OpenVINO executes {} on this device.".format(asked, got))
        if asked is None and of_file != got:
            self.fallbacks.append("The file is {}, but OpenVINO executes {}.".format(of_file, got))


def _core() -> Any:
    import openvino

    return openvino.Core()


def _reason(error: BaseException) -> str:
    """Return the sentence of an OpenVINO message without its trail of source files."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith("Exception from ")]
    return one_line(RuntimeError(" ".join(kept) or str(error)))


def _port_name(port: Any) -> str:
    names = port.get_names()
    return str(port.any_name) if names else str(port.get_node().get_friendly_name())


def _dims(name: str, port: Any) -> Tuple[int, ...]:
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        raise OptionInvalid(
            "The input '{}' has not even a known rank; export the model with one.".format(name)
        )
    return tuple(-1 if dim.is_dynamic else int(dim.get_length()) for dim in shape)


def _tensor_spec(name: str, port: Any, quantisation: Dict[str, Tuple[float, int]]) -> TensorSpec:
    """OpenVINO keeps a TFLite file's integer inputs and outputs but drops their scales; the file has them."""
    kind = str(port.get_element_type().get_type_name())
    shape = port.partial_shape
    dims = [] if shape.rank.is_dynamic else [-1 if d.is_dynamic else int(d.get_length()) for d in shape]
    scale, zero_point = quantisation.get(name, (None, None))
    return TensorSpec(name, _DTYPES.get(kind, kind), dims, scale, zero_point)


def _text(value: Any) -> str:
    """Return a property as our words: types by numpy's names, enumerations and lists as plain text."""
    if hasattr(value, "get_type_name"):
        kind = str(value.get_type_name())
        return _DTYPES.get(kind, kind)
    if isinstance(value, (list, tuple, set)):
        return ",".join(_text(item) for item in value)
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(getattr(value, "name", value)).lower() if not isinstance(value, str) else value.strip()


def _file_precision(model: Any) -> str:
    """Return int8 if the model quantises, else the floating type of most of its weights."""
    counts: Dict[str, int] = {}
    for op in model.get_ops():
        kind = op.get_type_name()
        if kind == "FakeQuantize":
            return "int8"
        if kind == "Constant":
            name = _DTYPES.get(str(op.get_element_type().get_type_name()), "")
            if name in _HINTS:
                counts[name] = counts.get(name, 0) + int(op.get_byte_size())
    return max(counts, key=lambda name: counts[name]) if counts else "float32"


def _compute_precisions(compiled: Any) -> Dict[str, int]:
    """Return how many layers that compute run in which precision, from the executed graph."""
    counts: Dict[str, int] = {}
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        if "layerType" not in info or "runtimePrecision" not in info:
            continue
        layer = info["layerType"].astype(str).lower()
        if not any(word in layer for word in _COMPUTE):
            continue
        kind = info["runtimePrecision"].astype(str).lower()
        name = "int8" if kind in ("i8", "u8") else _DTYPES.get(kind, kind)
        counts[name] = counts.get(name, 0) + 1
    return counts
