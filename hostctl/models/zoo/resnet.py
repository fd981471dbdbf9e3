"""ResNet-50 v1 (K. He et al., "Deep residual learning for image recognition", 2015, table 1)."""

from hostctl.models.zoo.network import Network

_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
_EXPANSION = 4
_BRANCH_GAIN = 0.3
"""Keeps activations near 1 over sixteen sums of random branches."""


def resnet50() -> bytes:
    """Return ResNet-50 with the stride on the first 1x1 convolution of a stage, as published (3.858 GMAC)."""
    net = Network("resnet50-v1")
    value = net.op("Relu", net.conv(net.input("image", 3, 224, 224), 3, 64, 7, 2))
    value = net.op("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, (width, blocks) in enumerate(_STAGES):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            value = _bottleneck(net, value, channels, width, stride)
            channels = width * _EXPANSION
    value = net.op("Flatten", net.op("GlobalAveragePool", value))
    net.output(net.dense(value, channels, 1000), "scores", 1000)
    return net.to_bytes()


def _bottleneck(net: Network, source: str, channels: int, width: int, stride: int) -> str:
    value = net.op("Relu", net.conv(source, channels, width, 1, stride))
    value = net.op("Relu", net.conv(value, width, width, 3))
    value = net.conv(value, width, width * _EXPANSION, 1, gain=_BRANCH_GAIN)
    if channels != width * _EXPANSION:
        source = net.conv(source, channels, width * _EXPANSION, 1, stride)
    return net.op("Relu", net.op("Add", value, source))
