"""A template for the runner of your accelerator: it works, on a runtime that needs numpy only. Replace what is marked.

Python 3.6 syntax: a board's vendor may ship nothing newer. See docs/porting.md.
"""

import json
from typing import Any, Callable, List

import numpy as np

from targets.errors import ModelInvalid, OptionInvalid, PrecisionUnsupported
from targets.options import LoadOptions, resolve_shapes
from targets.runner import Runner, one_line
from targets.runners.parts.vendor import import_vendor
from targets.tensors import ModelSpec, Tensors, TensorSpec


class MineRunner(Runner):
    """One sentence: what of the vendor's is shared by the slots, and what each slot has of its own."""

    name = "mine"
    package = "mine-runtime"  # what a person types after "pip install"
    formats = ("mine",)
    compiler = "compile the model with 'mine-compiler model.onnx'"
    precisions = ("float32",)
    options = {"turbo": "1 or 0: what it does, for a reader of hostctl's errors"}

    def __init__(self) -> None:
        super().__init__()
        self._weights = np.zeros((0, 0), np.float32)

    @classmethod
    def version(cls) -> str:
        # REPLACE ["numpy"] by your vendor's package; import it here and in methods, never at the top of the file.
        return str(import_vendor(cls.name, "Mine", cls.package, ["numpy"]).__version__)

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        if options.precision not in (None, "float32"):  # reject what you cannot give, never ignore it
            raise PrecisionUnsupported(
                f"Mine computes in float32 only, not in {options.precision}; quantise for another runtime.",
                precision=options.precision,
                supported=["float32"],
            )
        if options.text("device") not in (None, "cpu"):
            raise OptionInvalid("Mine has one device, cpu.", option="device", value=options.text("device"))
        turbo = options.flag("turbo")
        self._weights = _weights(path)  # REPLACE: the vendor's load; whatever it raises becomes ModelInvalid
        width, height = self._weights.shape
        (shape,) = resolve_shapes([("x", (-1, width))], options)  # options shape.<input> and the batch
        # Read back what is in effect: silent fallback is the rule of this field, not the exception.
        self.effective.update(device="cpu", precision="float32", turbo=str(int(bool(turbo))))
        self.optimal_in_flight = 2
        return ModelSpec(
            [TensorSpec("x", "float32", shape)], [TensorSpec("y", "float32", (shape[0], height))]
        )

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        x, weights = (
            inputs["x"],
            self._weights,
        )  # place the inputs here; the call below is what the loop times
        return lambda: x @ weights

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        return {"y": returned}  # copies: the next call of the slot may overwrite the vendor's buffers

    def _close(self) -> None:
        self._weights = np.zeros((0, 0), np.float32)


def _weights(path: str) -> Any:
    try:
        with open(path) as file:
            rows: List[List[float]] = json.load(file)
        weights = np.array(rows, np.float32)
        if weights.ndim != 2 or not weights.size:
            raise ValueError("no matrix")
        return weights
    except (ValueError, TypeError, UnicodeDecodeError) as error:
        raise ModelInvalid(f"The model {path} cannot be read: {one_line(error)}", path=path)
