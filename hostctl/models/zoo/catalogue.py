"""The names of the zoo, what stands behind each, and its parameters and MACs."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from hostctl.errors import UsageError

_MLP = re.compile(r"mlp(-[1-9][0-9]{0,4}){2,16}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One net. `macs` is per sample; `make` returns the bytes of its ONNX file, the same ones on every call."""

    name: str
    summary: str
    params: int
    macs: int
    make: Callable[[], bytes]
    aliases: tuple[str, ...] = ()
    trained: bool = False


def _resnet50() -> bytes:
    from hostctl.models.zoo.resnet import resnet50

    return resnet50()


def _mobilenet() -> bytes:
    from hostctl.models.zoo.mobilenet import mobilenetv3_small

    return mobilenetv3_small()


def _yolo() -> bytes:
    from hostctl.models.zoo.yolo import yolov4

    return yolov4(416)


def _digits_float() -> bytes:
    from hostctl.models.zoo.digits import model_bytes

    return model_bytes()


def _digits_int8() -> bytes:
    from hostctl.models.zoo.digits import model_bytes

    return model_bytes(int8=True)


def _mlp_entry(name: str, summary: str, *layers: int, aliases: tuple[str, ...] = ()) -> Entry:
    pairs = list(pairwise(layers))

    def make() -> bytes:
        from hostctl.models.zoo.mlp import mlp

        return mlp(layers)

    macs = sum(inputs * outputs for inputs, outputs in pairs)
    return Entry(name, summary, macs + sum(layers[1:]), macs, make, aliases)


def _think(number: int, note: str, *layers: int) -> Entry:
    sizes = "-".join(map(str, layers))
    summary = f"MLP {sizes}, THINK challenge {number} ({note})"
    return _mlp_entry(f"think-ch{number}", summary, *layers, aliases=(f"mlp-{sizes}",))


ENTRIES: Final[tuple[Entry, ...]] = (
    Entry(
        "mobilenetv3-small",
        "MobileNetV3-Small 1.0, 224x224, 1000 classes (Howard et al. 2019), random weights",
        2_536_800,
        56_510_400,
        _mobilenet,
    ),
    Entry(
        "resnet50",
        "ResNet-50 v1, stride on the 1x1 convolution, 224x224, 1000 classes (He et al. 2015), random weights",
        25_530_472,
        3_857_973_248,
        _resnet50,
        ("resnet50-v1",),
    ),
    Entry(
        "yolov4-416",
        "YOLOv4, 416x416, 80 classes, raw heads (Bochkovskiy et al. 2020), random weights",
        64_329_949,
        30_052_385_792,
        _yolo,
        ("yolov4",),
    ),
    _think(1, "layers as published", 2, 8, 1),
    _think(3, "layers as published", 2, 200, 100, 50, 1),
    _think(4, "layers inferred from its 658 951 parameters", 2, 1000, 500, 250, 100, 50, 1),
    _think(5, "layers inferred from its 156 951 parameters", 2, 500, 250, 100, 50, 1),
    Entry(
        "digits-dscnn",
        "depthwise-separable CNN for 8x8 digits, trained, float32",
        8_746,
        107_904,
        _digits_float,
        trained=True,
    ),
    Entry(
        "digits-dscnn-int8",
        "the same quantised to int8 (QDQ)",
        8_746,
        107_904,
        _digits_int8,
        trained=True,
    ),
)


def names() -> list[str]:
    """Return the names that `build` takes; any "mlp-IN-...-OUT" is understood besides."""
    return [entry.name for entry in ENTRIES]


def find(name: str) -> Entry:
    """Return the entry of a name or alias. Raises UsageError, naming the nearest known name, for another."""
    known = {alias: entry for entry in ENTRIES for alias in (entry.name, *entry.aliases)}
    if name in known:
        return known[name]
    if _MLP.fullmatch(name):
        layers = [int(size) for size in name.split("-")[1:]]
        return _mlp_entry(name, f"MLP {name[4:]}, random weights", *layers)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'" if close else f"the zoo has {', '.join(names())}"
    raise UsageError(f"The zoo has no model '{name}'; {hint}.")
