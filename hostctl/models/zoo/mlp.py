"""Multi-layer perceptrons, such as those of the THINK challenge."""

from collections.abc import Sequence
from itertools import pairwise

from hostctl.models.zoo.network import Network


def mlp(layers: Sequence[int]) -> bytes:
    """Return a net of the given layer sizes: ReLU between layers, a linear last one."""
    net = Network("mlp-" + "-".join(map(str, layers)))
    value = net.input("x", layers[0])
    last = len(layers) - 2
    for index, (inputs, outputs) in enumerate(pairwise(layers)):
        value = net.dense(value, inputs, outputs)
        if index < last:
            value = net.op("Relu", value)
    net.output(value, "y", layers[-1])
    return net.to_bytes()
