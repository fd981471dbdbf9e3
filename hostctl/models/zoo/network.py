"""Building ONNX nets by hand: layers with seeded random weights, normalisation already folded into them."""

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hostctl.models.zoo.store import PRODUCER, REVISION

OPSET = 17
IR_VERSION = 8


class Network:
    """A net under construction. Every layer method takes and returns names of tensors.

    Weights are uniform with the variance that keeps activations of the same size from layer to layer (He et al.
    2015), drawn from numpy's frozen RandomState stream: the same bytes whatever the numpy version.
    """

    def __init__(self, name: str, seed: int = 0) -> None:
        self._name = name
        self._random = np.random.RandomState(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, *shape: int) -> str:
        """Declare a float32 input of the given shape behind a symbolic batch."""
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))
        return name

    def output(self, source: str, name: str, *shape: int) -> None:
        """Declare an output, fed by `source`."""
        self._nodes.append(helper.make_node("Identity", [source], [name], name=f"output_{name}"))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))

    def op(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output."""
        name = f"{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def conv(
        self,
        source: str,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        gain: float = 1.0,
    ) -> str:
        """Add a convolution with bias and the padding that keeps the size at stride 1."""
        weights = self._weight(outputs, inputs // groups, kernel, kernel, gain=gain)
        return self.op(
            "Conv",
            source,
            weights,
            self._bias(outputs),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[kernel // 2] * 4,
            group=groups,
        )

    def dense(self, source: str, inputs: int, outputs: int) -> str:
        """Add a fully connected layer with bias."""
        return self.op("Gemm", source, self._weight(outputs, inputs), self._bias(outputs), transB=1)

    def constant(self, values: Sequence[float]) -> str:
        """Add a float32 vector that is no weight."""
        return self._store(np.array(values, np.float32))

    def to_bytes(self) -> bytes:
        """Check the net and return its ONNX file."""
        graph = helper.make_graph(self._nodes, self._name, self._inputs, self._outputs, self._weights)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name=PRODUCER,
            producer_version=REVISION,
        )
        onnx.checker.check_model(model)
        content: bytes = model.SerializeToString(deterministic=True)
        return content

    def _weight(self, *shape: int, gain: float = 1.0) -> str:
        limit = gain * sqrt(6.0 / prod(shape[1:]))
        return self._store(self._random.uniform(-limit, limit, shape).astype(np.float32))

    def _bias(self, size: int) -> str:
        return self._store(self._random.uniform(-0.1, 0.1, size).astype(np.float32))

    def _store(self, values: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> str:
        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values, name))
        return name
