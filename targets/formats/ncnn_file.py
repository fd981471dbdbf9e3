"""ncnn models: ``model.param`` (text: layers and blobs) and ``model.bin`` (weights) in one ZIP archive.

Source: ncnn's "param and model file structure" (docs/developer-guide/param-and-model-file-structure.md): a magic line 7767517, a
line with the numbers of layers and blobs, then a line a layer: type, name, counts of inputs and outputs, their blobs, and
parameters ``id=value``.
"""

from typing import Dict, List, Tuple

from targets.errors import ModelInvalid
from targets.formats import pair_file

MAGIC = "7767517"
# Layers with weights, and the parameter that says they are in 8 bits (int8_scale_term in the layers' sources).
_INT8_TERMS = {"Convolution": "8", "ConvolutionDepthWise": "8", "InnerProduct": "8"}


class NcnnFacts:
    """What the text says. ``inputs`` are (name, sizes without a batch, -1 where unknown); ``outputs`` are names."""

    def __init__(self, inputs: List[Tuple[str, Tuple[int, ...]]], outputs: List[str], precision: str) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.precision = precision


def read(path: str) -> Tuple[NcnnFacts, str, bytes]:
    """Return the facts, the text and the weights. ModelInvalid for what is no such model."""
    if not pair_file.is_pair(path):
        raise ModelInvalid(
            "The model file {} is no ncnn model: give hostctl the .param with its .bin beside it.".format(
                path
            ),
            path=path,
        )
    param, weights = pair_file.read(path, (".param", ".bin"), "an ncnn model")
    try:
        text = param.decode("utf-8")
        return _facts(path, text), text, weights
    except (UnicodeDecodeError, ValueError, IndexError) as error:
        raise _invalid(path, "its .param cannot be read ({})".format(error))


def _facts(path: str, text: str) -> NcnnFacts:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != [MAGIC]:
        raise _invalid(path, "its .param does not begin with {}".format(MAGIC))
    layers = lines[2:]
    if int(lines[1][0]) != len(layers):
        raise _invalid(path, "its .param tells {} layers and has {}".format(lines[1][0], len(layers)))
    inputs: List[Tuple[str, Tuple[int, ...]]] = []
    made: List[str] = []
    used = set()
    is_int8 = False
    for words in layers:
        sources, targets, values = _blobs(words)
        used.update(sources)
        made.extend(targets)
        if words[0] == "Input":
            inputs.append((targets[0], _sizes(values)))
        is_int8 = is_int8 or int(values.get(_INT8_TERMS.get(words[0], ""), "0")) > 0
    outputs = [name for name in made if name not in used]
    if not inputs or not outputs:
        raise _invalid(path, "its .param has no input or no output")
    return NcnnFacts(inputs, outputs, "int8" if is_int8 else "float32")


def _blobs(words: List[str]) -> Tuple[List[str], List[str], Dict[str, str]]:
    ins, outs = int(words[2]), int(words[3])
    if len(words) < 4 + ins + outs:
        raise ValueError("the layer {} lacks blobs".format(words[1]))
    pairs = [word.partition("=") for word in words[4 + ins + outs :]]
    return words[4 : 4 + ins], words[4 + ins : 4 + ins + outs], {key: value for key, _, value in pairs}


def _sizes(values: Dict[str, str]) -> Tuple[int, ...]:
    """Return c, h, w of an Input layer as numpy orders them; without parameters the sizes are unknown."""
    w, h, c = (int(values.get(key, "0")) for key in ("0", "1", "2"))
    if c:
        return (c, h, w)
    return (h, w) if h else (w or -1,)


def _invalid(path: str, why: str) -> ModelInvalid:
    return ModelInvalid("The ncnn model {} cannot be used: {}.".format(path, why), path=path)
