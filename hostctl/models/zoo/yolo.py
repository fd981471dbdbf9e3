"""YOLOv4 (A. Bochkovskiy et al., 2020; layers as in the authors' yolov4.cfg)."""

from hostctl.models.zoo.network import Network

_STAGES = ((128, 2), (256, 8), (512, 8), (1024, 4))
_ANCHORS = 3
_LEAKY_SLOPE = 0.1
_BRANCH_GAIN = 0.3


def yolov4(side: int, classes: int = 80) -> bytes:
    """Return YOLOv4 for side x side images with its three raw heads, strides 8, 16 and 32."""
    net = Network(f"yolov4-{side}")
    value = _mish(net, net.input("image", 3, side, side), 3, 32, 3)
    value = _csp_first(net, _mish(net, value, 32, 64, 3, 2))
    routes, channels = [], 64
    for width, blocks in _STAGES:
        value = _csp(net, _mish(net, value, channels, width, 3, 2), width, blocks)
        routes.append(value)
        channels = width
    deep = _pyramid_pooling(net, value)
    middle = _merge_up(net, deep, routes[-2], 512)
    fine = _merge_up(net, middle, routes[-3], 256)
    outputs = _ANCHORS * (classes + 5)
    _head(net, fine, 128, outputs, side // 8)
    middle = _merge_down(net, fine, middle, 256)
    _head(net, middle, 256, outputs, side // 16)
    deep = _merge_down(net, middle, deep, 512)
    _head(net, deep, 512, outputs, side // 32)
    return net.to_bytes()


def _mish(
    net: Network, source: str, inputs: int, outputs: int, kernel: int, stride: int = 1, gain: float = 1.0
) -> str:
    value = net.conv(source, inputs, outputs, kernel, stride, gain=gain)
    return net.op("Mul", value, net.op("Tanh", net.op("Softplus", value)))


def _leaky(net: Network, source: str, inputs: int, outputs: int, kernel: int, stride: int = 1) -> str:
    return net.op("LeakyRelu", net.conv(source, inputs, outputs, kernel, stride), alpha=_LEAKY_SLOPE)


def _residual(net: Network, source: str, channels: int, inner: int) -> str:
    value = _mish(net, source, channels, inner, 1)
    return net.op("Add", source, _mish(net, value, inner, channels, 3, gain=_BRANCH_GAIN))


def _csp_first(net: Network, source: str) -> str:
    """The first cross-stage block keeps the full width on both sides."""
    skip = _mish(net, source, 64, 64, 1)
    value = _residual(net, _mish(net, source, 64, 64, 1), 64, 32)
    value = net.op("Concat", _mish(net, value, 64, 64, 1), skip, axis=1)
    return _mish(net, value, 128, 64, 1)


def _csp(net: Network, source: str, width: int, blocks: int) -> str:
    half = width // 2
    skip = _mish(net, source, width, half, 1)
    value = _mish(net, source, width, half, 1)
    for _ in range(blocks):
        value = _residual(net, value, half, half)
    value = net.op("Concat", _mish(net, value, half, half, 1), skip, axis=1)
    return _mish(net, value, width, width, 1)


def _pyramid_pooling(net: Network, source: str) -> str:
    value = _squeeze(net, source, 1024, 512, rounds=1)
    pools = [
        net.op("MaxPool", value, kernel_shape=[size, size], strides=[1, 1], pads=[size // 2] * 4)
        for size in (13, 9, 5)
    ]
    return _squeeze(net, net.op("Concat", *pools, value, axis=1), 2048, 512, rounds=1)


def _squeeze(net: Network, source: str, inputs: int, width: int, rounds: int = 2) -> str:
    """Alternate 1x1 and 3x3 convolutions, narrow and wide, ending narrow."""
    value = _leaky(net, source, inputs, width, 1)
    for _ in range(rounds):
        value = _leaky(net, value, width, 2 * width, 3)
        value = _leaky(net, value, 2 * width, width, 1)
    return value


def _merge_up(net: Network, deep: str, route: str, channels: int) -> str:
    half = channels // 2
    scales = net.constant([1, 1, 2, 2])
    up = net.op(
        "Resize",
        _leaky(net, deep, channels, half, 1),
        "",
        scales,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    value = net.op("Concat", _leaky(net, route, channels, half, 1), up, axis=1)
    return _squeeze(net, value, channels, half)


def _merge_down(net: Network, fine: str, deep: str, width: int) -> str:
    down = _leaky(net, fine, width // 2, width, 3, 2)
    return _squeeze(net, net.op("Concat", down, deep, axis=1), 2 * width, width)


def _head(net: Network, source: str, channels: int, outputs: int, side: int) -> None:
    value = _leaky(net, source, channels, 2 * channels, 3)
    net.output(net.conv(value, 2 * channels, outputs, 1), f"head_{side}", outputs, side, side)
