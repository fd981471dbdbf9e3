"""OpenVINO on CPU, GPU and NPU, and on Myriad X with 2022.3. Source: https://docs.openvino.ai, and each plugin's properties."""

import os
import re
import shutil
import tempfile
from typing import Any, Callable, Dict, List, Optional, Tuple

from targets.errors import (
    ModelInvalid,
    OptionInvalid,
    OutOfMemory,
    PrecisionUnsupported,
    RuntimeUnavailable,
    TargetsError,
)
from targets.formats import ir_file, onnx_file, tflite_file
from targets.options import LoadOptions, resolve_shapes
from targets.process import monotonic_ns
from targets.runner import Runner
from targets.runners.parts.openvino import api, precision
from targets.runners.parts.openvino.config import (
    HINTS,
    KEYS,
    PRECISION_HINT,
    check_device,
    config_of,
    writable,
)
from targets.tensors import ModelSpec, Tensors, TensorSpec, unique_names

# What a plugin says when its device is gone, taken by another process, or without its driver.
_NO_DEVICE = ("NC_ERROR", "Can not init Myriad", "Cannot load library", "ZE_RESULT_ERROR_DEVICE_LOST")
_NO_MEMORY = (
    "CL_OUT_OF",
    "CL_MEM_OBJECT_ALLOCATION_FAILURE",
    "out of GPU resources",
    "ZE_RESULT_ERROR_OUT_OF",
)


class OpenVinoRunner(Runner):
    """One compiled model, one infer request a slot; the tensors of a request are set once and then reused."""

    name = "openvino"
    package = "openvino"
    formats = ("onnx", "tflite", "openvino")
    compiler = "convert it with 'ovc MODEL'"
    precisions = ("float32", "float16", "bfloat16", "int8")
    options = {
        "streams": "inferences the device runs side by side: a number or AUTO",
        "hint": "latency, throughput or cumulative_throughput; scenario sets it if it is absent",
        "num_requests": "requests the application will keep in flight",
        "execution_mode": "performance or accuracy",
        "cpu_pinning": "1 or 0",
        "cache_dir": "folder for compiled models",
        "turbo": "1 or 0: the NPU's highest clock",
        "compiler": "driver or plugin: which compiler builds for the NPU",
        "allow_auto": "1 lets AUTO, MULTI, HETERO and BATCH choose the device",
    }

    def __init__(self) -> None:
        super().__init__()
        self._core: Any = None
        self._compiled: Any = None
        self._requests: List[Any] = []
        self._held: Dict[int, List[Any]] = {}

    @classmethod
    def version(cls) -> str:
        return api.version()

    def known_options(self, options: LoadOptions) -> List[str]:
        """The short names, and the writable properties of the chosen device by the vendor's own names."""
        return sorted(self.options) + writable(self._get_core(), _device(options))

    def device_bytes(self) -> Optional[int]:
        """Return what GPU or NPU plugin has allocated; other devices do not tell."""
        device = self.effective.get("device", "")
        if device.startswith("GPU"):
            kinds = api.read_property(self._get_core(), device, "GPU_MEMORY_STATISTICS")
            return None if kinds is None else sum(int(size) for size in kinds.values())
        if device.startswith("NPU"):
            size = api.read_property(self._get_core(), device, "NPU_DEVICE_ALLOC_MEM_SIZE")
            return None if size is None else int(size)
        return None

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        core, device = self._get_core(), _device(options)
        check_device(core, device, options)
        api.check_frontend(options.format)
        model = self._read(core, path, options.format)
        of_file = precision.of_model(model)
        names = unique_names([_port_name(port) for port in model.inputs])
        # Before compiling: there an output also takes the names of the operators that were merged into it.
        outputs = unique_names([_port_name(port) for port in model.outputs])
        self._reshape(model, names, options)
        self._compiled = self._compile(
            core, model, device, config_of(core, device, of_file, options), options
        )
        self._requests = [self._compiled.create_infer_request()]
        self.optimal_in_flight = int(
            api.read_property(self._compiled, "OPTIMAL_NUMBER_OF_INFER_REQUESTS") or 1
        )
        self._read_back(device, options)
        self._judge_precision(of_file, options.precision)
        quantisation = tflite_file.read(path).quantisation if options.format == "tflite" else {}
        return ModelSpec(
            [_tensor_spec(name, port, quantisation) for name, port in zip(names, self._compiled.inputs)],
            [_tensor_spec(name, port, quantisation) for name, port in zip(outputs, self._compiled.outputs)],
        )

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        self._open_slots(slot + 1)
        request = self._requests[slot]
        specs = self.loaded().inputs
        tensors = [api.vendor().Tensor(inputs[spec.name], shared_memory=True) for spec in specs]
        for at, tensor in enumerate(tensors):
            request.set_input_tensor(at, tensor)
        self._held[slot] = tensors  # shared memory: the arrays must outlive the request
        # Synchronous calls, also for requests in flight side by side: each runs in its slot's thread on a stream of its
        # own. Measured against callbacks and AsyncInferQueue this is as fast for large models, faster for small ones.
        return api.call_of(request)

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        request = self._requests[slot]
        specs = self.loaded().outputs
        return {spec.name: request.get_output_tensor(at).data.copy() for at, spec in enumerate(specs)}

    def _open_slots(self, count: int) -> None:
        while len(self._requests) < count:
            self._requests.append(self._compiled.create_infer_request())

    def _close(self) -> None:
        self._requests, self._held, self._compiled, self._core = [], {}, None, None

    def _get_core(self) -> Any:
        if self._core is None:
            self._core = api.vendor().Core()
        return self._core

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
                "OpenVINO cannot read the model {}: {}".format(path, api.reason(error)), path=path
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
                    "OpenVINO cannot give this model the shapes {}: {}".format(shapes, api.reason(error)),
                    option="batch",
                )

    def _compile(
        self, core: Any, model: Any, device: str, config: Dict[str, str], options: LoadOptions
    ) -> Any:
        begin_ns = monotonic_ns()
        try:
            compiled = core.compile_model(model, device, config)
        except RuntimeError as error:
            raise self._refused(model, device, config, options, api.reason(error))
        took_ms = "{:.3f}".format((monotonic_ns() - begin_ns) / 1e6)
        cached = api.read_property(compiled, "LOADED_FROM_CACHE")
        if cached is not None:
            self.effective["loaded_from_cache"] = "1" if cached else "0"
        # Names of their own, so that nobody averages a compilation with a read from the cache. With a cache of which the
        # version or device does not tell (2022.3's CPU), the time is of either kind.
        is_cold = cached is False or options.text("cache_dir") is None
        key = "compile_warm_ms" if cached else "compile_cold_ms" if is_cold else "compile_ms"
        self.effective[key] = took_ms
        return compiled

    def _refused(
        self, model: Any, device: str, config: Dict[str, str], options: LoadOptions, text: str
    ) -> TargetsError:
        """Return the error of a compilation that failed: of the option, the precision, the device or the model."""
        if any(word in text for word in _NO_DEVICE):
            return RuntimeUnavailable(
                "OpenVINO cannot open the device {}: {} Is it there, free, and its driver installed?".format(
                    device, text
                ),
                runtime=self.name,
                package=None,
            )
        if any(word in text for word in _NO_MEMORY):
            return OutOfMemory("OpenVINO cannot compile this model for {}: {}".format(device, text))
        words = [word.strip(".") for word in re.split(r"[\s;:,']+", text)]
        for key, value in config.items():
            if key == PRECISION_HINT and key in words and key not in options.values:
                return PrecisionUnsupported(
                    "OpenVINO {} has no {} on {}: {}".format(api.release(), api.DTYPES[value], device, text),
                    precision=options.precision,
                    supported=sorted(HINTS),
                )
            if key in words or (key in options.values and value in words):
                return OptionInvalid(
                    "OpenVINO refuses {}={} on {}: {}".format(key, value, device, text),
                    option=key,
                    value=value,
                )
        advice = (
            " Give a batch, or shape.<input>: the model's shapes are dynamic." if model.is_dynamic() else ""
        )
        return ModelInvalid("OpenVINO cannot compile this model for {}: {}{}".format(device, text, advice))

    def _read_back(self, device: str, options: LoadOptions) -> None:
        """Record the settings in effect; say where they differ from those asked for."""
        names = dict(KEYS, devices="EXECUTION_DEVICES", inference_precision=PRECISION_HINT)
        del names["cache_dir"]
        found = {key: api.read_property(self._compiled, vendor) for key, vendor in names.items()}
        read = {key: api.words(value) for key, value in found.items() if value is not None}
        executes = read.pop("devices", device)
        if "hint" in read:
            read["hint"] = read["hint"].lower()
        self.effective.update(read, execution_devices=executes)
        # GPU is the name of the first of them, which OpenVINO calls GPU.0 itself.
        self.effective["device"] = device if executes == device + ".0" else executes
        name = api.read_property(self._get_core(), executes.split(",")[0], "FULL_DEVICE_NAME")
        if name is not None:
            self.effective["device_name"] = str(name).strip()
        for key in ("threads", "streams"):
            asked, got = options.text(key), read.get(key)
            if asked not in (None, "AUTO") and got is not None and asked != got:
                self.fallbacks.append("{}={} requested, but OpenVINO uses {}.".format(key, asked, got))

    def _judge_precision(self, of_file: str, asked: Optional[str]) -> None:
        counts = precision.of_layers(self._compiled)
        device = self.effective["execution_devices"].split(",")[0].strip("()")
        can = api.read_property(self._get_core(), device, "OPTIMIZATION_CAPABILITIES") or []
        got = precision.executed(counts, self.effective.get("inference_precision"), can, of_file)
        self.effective["precision"] = got
        self.effective["compute_layers"] = ",".join("{}:{}".format(p, n) for p, n in sorted(counts.items()))
        refusal, fallback = precision.verdict(of_file, asked, got)
        if refusal is not None:
            supported = ["int8"] if of_file == got == "int8" else sorted(HINTS)
            raise PrecisionUnsupported(refusal, precision=asked, supported=supported)
        if fallback is not None:
            self.fallbacks.append(fallback)


def _device(options: LoadOptions) -> str:
    return str(options.text("device", "CPU")).upper()


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
    return TensorSpec(name, api.DTYPES.get(kind, kind), dims, scale, zero_point)
