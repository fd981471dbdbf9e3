"""MobileNetV3-Small (A. Howard et al., "Searching for MobileNetV3", 2019, table 2)."""

from hostctl.models.zoo.network import Network

# kernel, expanded channels, output channels, squeeze-and-excite, hard swish (else ReLU), stride
_BLOCKS = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
_LAST_CHANNELS = 576
_HIDDEN = 1024
_CLASSES = 1000


def mobilenetv3_small() -> bytes:
    """Return MobileNetV3-Small 1.0 at 224x224 with the usual head: pooling first, then 576-1024-1000."""
    net = Network("mobilenetv3-small")
    value = net.op("HardSwish", net.conv(net.input("image", 3, 224, 224), 3, 16, 3, 2))
    channels = 16
    for kernel, expanded, outputs, excite, swish, stride in _BLOCKS:
        value = _block(net, value, channels, kernel, expanded, outputs, excite, swish, stride)
        channels = outputs
    value = net.op("HardSwish", net.conv(value, channels, _LAST_CHANNELS, 1))
    value = net.op("Flatten", net.op("GlobalAveragePool", value))
    value = net.op("HardSwish", net.dense(value, _LAST_CHANNELS, _HIDDEN))
    net.output(net.dense(value, _HIDDEN, _CLASSES), "scores", _CLASSES)
    return net.to_bytes()


def _block(
    net: Network,
    source: str,
    channels: int,
    kernel: int,
    expanded: int,
    outputs: int,
    excite: bool,
    swish: bool,
    stride: int,
) -> str:
    activation = "HardSwish" if swish else "Relu"
    value = source
    if expanded != channels:
        value = net.op(activation, net.conv(value, channels, expanded, 1))
    value = net.op(activation, net.conv(value, expanded, expanded, kernel, stride, groups=expanded))
    if excite:
        value = _squeeze_excite(net, value, expanded)
    value = net.conv(value, expanded, outputs, 1)
    return net.op("Add", source, value) if stride == 1 and channels == outputs else value


def _squeeze_excite(net: Network, source: str, channels: int) -> str:
    squeezed = max(8, (channels // 4 + 4) // 8 * 8)
    if squeezed < 0.9 * (channels // 4):
        squeezed += 8
    value = net.op("Relu", net.conv(net.op("GlobalAveragePool", source), channels, squeezed, 1))
    gate = net.op("HardSigmoid", net.conv(value, squeezed, channels, 1), alpha=1 / 6, beta=0.5)
    return net.op("Mul", source, gate)
