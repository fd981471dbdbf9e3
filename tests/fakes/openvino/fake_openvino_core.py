"""Core, compiled models and requests of the fake OpenVINO, for both of its versions.

Settings in WATTFARM_FAKE (tests/fakes/faking.py) beside the general ones: ``devices`` (those that are there), ``most_streams``
(more are cut to it without a word), ``latency_ms``. Faults: "busy" and "no_memory" (at load), "device_lost" and "no_memory" (at
infer), "missing_library" (at import), and the general ones. A cache of compiled models is a file a model in CACHE_DIR.
"""

import hashlib
import os
from typing import Any, Dict, List, Tuple

import faking
import numpy as np
import onnx_net
from fake_openvino_devices import CHOOSER, Device
from fake_openvino_types import Model, Op, Port, Tensor, Type

_DEFAULTS = {
    "INFERENCE_NUM_THREADS": "2",
    "PERFORMANCE_HINT": "LATENCY",
    "PERFORMANCE_HINT_NUM_REQUESTS": "0",
}


class AnyText:
    """A note of an executed layer: an OVAny."""

    def __init__(self, text: str) -> None:
        self._text = text

    def astype(self, kind: Any) -> str:
        """Return the text."""
        return str(kind(self._text))


class BaseCore:
    """A core; each version says which devices it knows, which of them are there, and how it writes notes."""

    kinds: Dict[str, Device] = {}
    present: List[str] = []
    note: Any = str
    shares_outputs = True

    @property
    def available_devices(self) -> List[str]:
        """Return the devices that are there."""
        return list(faking.settings().get("devices", self.present))

    def get_property(self, device_name: str, name: str) -> Any:
        """Return a device's property."""
        return self.device(device_name).property(name)

    def device(self, name: str) -> Device:
        """Return a device. RuntimeError in the vendor's words if there is none of that name."""
        base = name.split(":")[0].split(".")[0]
        if base in ("AUTO", "MULTI"):
            return CHOOSER
        if base not in self.kinds:
            raise RuntimeError('Device with "{}" name is not registered in the OpenVINO Runtime'.format(name))
        if not any(here in (name, name + ".0") for here in self.available_devices):
            raise RuntimeError(
                "Cannot load library 'libopenvino_intel_{}_plugin.so': libOpenCL.so.1".format(base.lower())
            )
        return self.kinds[base]

    def read_model(self, model: Any, weights: Any = None) -> Model:
        """Read an ONNX file, known by its suffix. RuntimeError for anything else."""
        try:
            if weights is not None or not str(model).endswith(".onnx"):
                raise ValueError("no reader")
            with open(model, "rb") as file:
                return Model(onnx_net.read(file.read()))
        except (ValueError, OSError):
            raise RuntimeError(
                "Exception from src/inference/src/cpp/core.cpp:84:\nUnable to read the model: {} Please check that model "
                "format is supported and the model is correct.\n".format(
                    model if weights is None else "(memory)"
                )
            )

    def compile_model(self, model: Model, device_name: str, config: Dict[str, str]) -> "CompiledModel":
        """Compile for a device."""
        device = self.device(device_name)
        device.check(config)
        fault = faking.trip("load")
        if fault == "busy":
            raise RuntimeError("Can not init Myriad device: NC_ERROR")
        if fault == "no_memory":
            raise RuntimeError(
                "[GPU] Exceeded max size of memory object allocation: CL_MEM_OBJECT_ALLOCATION_FAILURE"
            )
        if not device.explains and model.is_dynamic():
            raise RuntimeError(
                "Exception from src/core/src/partial_shape.cpp:266:\nto_shape was called on a dynamic shape."
            )
        return CompiledModel(self, device, device_name, model, config)


class CompiledModel:
    """A model on a device."""

    def __init__(
        self, core: BaseCore, device: Device, name: str, model: Model, config: Dict[str, str]
    ) -> None:
        self._core = core
        self._device, self._name = (device, name) if device is not CHOOSER else _chosen(core, name, config)
        self._told = device.told
        self._model = model
        self._config = config
        self.precision = self._device.executes(model.net.precision, config)
        self._from_cache = self._use_cache()

    def _use_cache(self) -> bool:
        folder = self._config.get("CACHE_DIR")
        if folder is None or "EXPORT_IMPORT" not in self._device.can:
            return False
        os.makedirs(folder, exist_ok=True)
        weights = b"".join(array.tobytes() for array in self._model.net.constants.values())
        path = os.path.join(folder, hashlib.sha256(weights + self._name.encode()).hexdigest() + ".blob")
        found = os.path.exists(path)
        open(path, "wb").close()
        return found

    @property
    def inputs(self) -> List[Port]:
        """Return the inputs."""
        return self._model.inputs

    @property
    def outputs(self) -> List[Port]:
        """Return the outputs."""
        return self._model.outputs

    def get_property(self, name: str) -> Any:
        """Return a setting in effect. RuntimeError in the plugin's words if it does not tell."""
        if name not in self._told:
            raise RuntimeError(
                "Exception from src/compiled_model.cpp:420:\nUnsupported property: {}".format(name)
            )
        if name == "INFERENCE_PRECISION_HINT":
            # The NPU's is what it was told; a CPU's what it executes.
            return Type(self.precision if self._device.explains else self._hinted())
        if name == "NUM_STREAMS":
            return self._streams()
        exact = {
            "EXECUTION_DEVICES": [
                self._name.replace("GPU", "GPU.0") if self._name.endswith("GPU") else self._name
            ],
            "LOADED_FROM_CACHE": self._from_cache,
            "OPTIMAL_NUMBER_OF_INFER_REQUESTS": max(2, self._streams()),
        }
        return exact.get(name, self._config.get(name, _DEFAULTS.get(name, "")))

    def _hinted(self) -> str:
        return {"f32": "float32", "f16": "float16"}[self._config.get("INFERENCE_PRECISION_HINT", "f16")]

    def _streams(self) -> int:
        told = self._config.get("NUM_STREAMS", "1")
        most: int = faking.settings().get("most_streams", 64)
        return min(2 if told == "AUTO" else int(told), most)

    def get_runtime_model(self) -> "RuntimeModel":
        """Return the executed graph."""
        return RuntimeModel(
            self._model.net, self.layer_precision() if self._device.explains else "", self._core.note
        )

    def layer_precision(self) -> str:
        """Return the type of the layers that compute, as the executed graph names it."""
        if self._model.net.is_quantised and "INT8" in self._device.can:
            return "i8"
        return {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[self.precision]

    def create_infer_request(self) -> "InferRequest":
        """Return a new request."""
        return SharingRequest(self) if self._core.shares_outputs else InferRequest(self)

    def compute(self, feeds: Dict[str, Any]) -> Dict[str, Any]:
        """Compute, or fail as is told."""
        faking.delay()
        fault = faking.trip("infer")
        if fault == "device_lost":
            raise RuntimeError(
                "Exception from zero_infer_request.cpp:88:\nL0 zeFenceHostSynchronize: DEVICE_LOST"
            )
        if fault == "no_memory":
            raise RuntimeError(
                "[GPU] clEnqueueNDRangeKernel, error code: -5 CL_OUT_OF_RESOURCES: out of memory"
            )
        return self._model.net.run(feeds, self.precision)


def _chosen(core: BaseCore, name: str, config: Dict[str, str]) -> Tuple[Device, str]:
    """Return what AUTO takes: the first device named, but the CPU, in brackets, while that one still compiles."""
    first = name.partition(":")[2].split(",")[0] or "CPU"
    if config.get("ENABLE_STARTUP_FALLBACK") == "NO":
        return core.device(first), first
    return core.kinds["CPU"], "(CPU)"


class RuntimeModel:
    """An executed graph."""

    def __init__(self, net: onnx_net.Net, precision: str, note: Any) -> None:
        self._net = net
        self._precision = precision
        self._note = note

    def get_ordered_ops(self) -> List[Op]:
        """Return the layers; without notes where the plugin does not write them."""
        if not self._precision:
            return [Op("ExecutionNode", notes={}) for _ in self._net.nodes]
        names = {"MatMul": "FullyConnected"}
        return [
            Op("ExecutionNode", notes={
                "layerType": self._note(names.get(node.op, node.op)), "runtimePrecision": self._note(self._precision),
            })
            for node in self._net.nodes
        ]  # fmt: skip


class InferRequest:
    """A request, as in 2022.3: its call copies all outputs."""

    def __init__(self, compiled: CompiledModel) -> None:
        self._compiled = compiled
        self._tensors: Dict[int, Tensor] = {}
        self._outputs: Dict[str, Any] = {}

    def set_input_tensor(self, index: int, tensor: Tensor) -> None:
        """Set an input. RuntimeError for a wrong type or shape."""
        port = self._compiled.inputs[index]
        fits = all(
            dim.is_dynamic or dim.get_length() == have
            for dim, have in zip(port.partial_shape, tensor.data.shape)
        )
        if (
            not fits
            or Type(str(tensor.data.dtype)).get_type_name() != port.get_element_type().get_type_name()
        ):
            raise RuntimeError(
                "Exception from infer_request.cpp:224:\nThe input tensor is not compatible with the model."
            )
        self._tensors[index] = tensor

    def get_output_tensor(self, index: int) -> Tensor:
        """Return an output of the last run."""
        return Tensor(self._outputs[self._compiled.outputs[index].any_name], shared_memory=True)

    def _run(self) -> Dict[str, Any]:
        names = [port.any_name for port in self._compiled.inputs]
        self._outputs = self._compiled.compute(
            {name: self._tensors[at].data for at, name in enumerate(names)}
        )
        return self._outputs

    def infer(self, inputs: Any = None) -> Any:
        """Run, and return copies of the outputs."""
        return {name: np.array(array) for name, array in self._run().items()}


class SharingRequest(InferRequest):
    """A request, as since 2023.2: its outputs may be shared."""

    def infer(
        self,
        inputs: Any = None,
        share_inputs: bool = False,
        share_outputs: bool = False,
        decode_strings: bool = True,
    ) -> Any:
        """Run, and return the outputs."""
        outputs = self._run()
        return outputs if share_outputs else {name: np.array(array) for name, array in outputs.items()}


class FrontEndManager:
    """Which formats can be read."""

    def get_available_front_ends(self) -> List[str]:
        """Return the readers; this fake computes ONNX only."""
        return ["onnx", "ir", "paddle"]


def check_import() -> None:
    """Fail the import if that is told."""
    if faking.trip("import") == "missing_library":
        raise ImportError("libopenvino.so.2641: cannot open shared object file: No such file or directory")
