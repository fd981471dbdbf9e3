"""ncnn on the processor. Source: https://github.com/Tencent/ncnn, python/src/main.cpp and src/option.h.

ncnn has no batch: a request is one sample, and the batch dimension of the specs is always 1.
"""

import os
import shutil
import tempfile
from typing import Any, Callable, Dict, List

import numpy as np

from targets.errors import (
    InferenceFailed,
    ModelInvalid,
    OptionInvalid,
    PrecisionUnsupported,
)
from targets.formats import ncnn_file
from targets.options import LoadOptions, resolve_shapes
from targets.process import usable_cores
from targets.runner import Runner
from targets.runners.parts.vendor import import_vendor
from targets.tensors import ModelSpec, Tensors, TensorSpec

# Left alone, ncnn keeps and computes in 16 bits where the processor can, whatever the file holds.
_REDUCED = (
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
)


class NcnnRunner(Runner):
    """One Net; an Extractor, which belongs to one run, is made for each request, so slots share the Net."""

    name = "ncnn"
    package = "ncnn"
    formats = ("ncnn",)
    compiler = "convert the model with 'pnnx model.onnx'"
    precisions = ("float32", "float16", "int8")
    options = {"packing": "1 or 0: layouts that fit the vector unit, on by default"}

    def __init__(self) -> None:
        super().__init__()
        self._net: Any = None

    @classmethod
    def version(cls) -> str:
        return str(import_vendor(cls.name, "ncnn", cls.package, [cls.name]).__version__)

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        import ncnn

        facts, text, weights = ncnn_file.read(path)
        self._check_device(options)
        threads = options.integer("threads") or 1
        net = ncnn.Net()
        net.opt.use_vulkan_compute = False
        net.opt.num_threads = threads
        net.opt.use_packing_layout = options.flag("packing") is not False
        self._choose_precision(ncnn, net, facts.precision, options.precision)
        self._read(net, path, text, weights)
        self._net = net
        shapes = resolve_shapes([(name, (1,) + sizes) for name, sizes in facts.inputs], options)
        inputs = [TensorSpec(name, "float32", shape) for (name, _), shape in zip(facts.inputs, shapes)]
        self.effective.update(
            device="cpu", threads=str(threads), packing=str(int(net.opt.use_packing_layout))
        )
        self.optimal_in_flight = max(1, usable_cores() // threads)
        return ModelSpec(inputs, self._output_specs(facts.outputs, inputs))

    def _check_device(self, options: LoadOptions) -> None:
        device = options.text("device")
        if device not in (None, "cpu"):
            raise OptionInvalid(
                "This runner drives ncnn on the cpu only, not on '{}'.".format(device),
                option="device",
                value=device,
            )

    def _choose_precision(self, vendor: Any, net: Any, of_file: str, asked: Any) -> None:
        wanted = asked or of_file
        can_half = vendor.cpu_support_arm_asimdhp()
        supported = ["int8"] if of_file == "int8" else ["float32"] + (["float16"] if can_half else [])
        if wanted not in supported:
            raise PrecisionUnsupported(
                "ncnn cannot run this model in {} on this processor; it can in {}. For int8 quantise the model first, with "
                "ncnn2int8.".format(wanted, ", ".join(supported)),
                precision=wanted,
                supported=supported,
            )
        for name in _REDUCED:
            if hasattr(net.opt, name):
                setattr(net.opt, name, wanted == "float16" and "fp16" in name)
        self.effective["precision"] = wanted

    def _read(self, net: Any, path: str, text: str, weights: bytes) -> None:
        """Load both parts from files of their own: the binding takes weights as text only, which they are not."""
        folder = tempfile.mkdtemp()
        try:
            for suffix, content in (("param", text.encode("utf-8")), ("bin", weights)):
                with open(os.path.join(folder, "model." + suffix), "wb") as file:
                    file.write(content)
            if net.load_param(os.path.join(folder, "model.param")):
                raise ModelInvalid(
                    "ncnn cannot build the layers of {}; see the log above.".format(path), path=path
                )
            if net.load_model(os.path.join(folder, "model.bin")):
                raise ModelInvalid("The weights in {} do not fit its layers.".format(path), path=path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _output_specs(self, names: List[str], inputs: List[TensorSpec]) -> List[TensorSpec]:
        """Return the outputs as one run shows them: the file does not tell their shapes."""
        if any(size < 1 for spec in inputs for size in spec.shape):
            return [TensorSpec(name, "float32", (1, -1)) for name in names]
        zeros = {spec.name: np.zeros(spec.shape, np.float32) for spec in inputs}
        arrays = _run(self._net, names, _mats(zeros))
        return [TensorSpec(name, "float32", (1,) + array.shape) for name, array in zip(names, arrays)]

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        names = [spec.name for spec in self.loaded().outputs]
        mats = _mats(inputs)
        return lambda: _run(self._net, names, mats)

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        return {spec.name: array[np.newaxis].copy() for spec, array in zip(self.loaded().outputs, returned)}

    def _close(self) -> None:
        self._net = None


def _mats(inputs: Tensors) -> Dict[str, Any]:
    """Return ncnn's matrices; cloned, for it pads channels to multiples of 16 bytes and numpy does not."""
    import ncnn

    return {name: ncnn.Mat(np.ascontiguousarray(array[0])).clone() for name, array in inputs.items()}


def _run(net: Any, names: List[str], mats: Dict[str, Any]) -> List[Any]:
    extractor = net.create_extractor()
    for name, mat in mats.items():
        if extractor.input(name, mat):
            raise InferenceFailed("ncnn did not take the input '{}'.".format(name))
    arrays = []
    for name in names:
        status, mat = extractor.extract(name)
        if status:
            raise InferenceFailed("ncnn could not compute the output '{}' (status {}).".format(name, status))
        arrays.append(np.array(mat))
    return arrays
