"""What an ONNX file says of itself: operators and element types.

Walks the protobuf by hand, because a board has no onnx package: field numbers are those of onnx.proto (ONNX IR). Bulk data is
skipped, never read, so that a file of gigabytes takes milliseconds.
"""

import mmap
from typing import Any, Dict, Iterator, Tuple

from targets.errors import ModelInvalid
from targets.formats.protobuf import BYTES, VARINT, fields

_MAX_BYTES = 2**31 - 1  # protobuf's limit for one message
_QUANTISED = (
    "QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "MatMulNBits",
)  # fmt: skip
_TYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16", 2: "uint8", 3: "int8"}


class OnnxFacts:
    """Operators of all graphs with their counts, and bytes of the initialisers by element type."""

    def __init__(self) -> None:
        self.ops: Dict[str, int] = {}
        self.weight_bytes: Dict[str, int] = {}
        self.node_names: Dict[str, int] = {}

    @property
    def precision(self) -> str:
        """The precision the file asks for: int8 if it is quantised, else the float type of most weights."""
        if any(op in _QUANTISED or op.startswith("QLinear") for op in self.ops):
            return "int8"
        floats = {t: n for t, n in self.weight_bytes.items() if t in ("float32", "float16", "bfloat16")}
        return max(floats, key=lambda t: floats[t]) if floats else "float32"


def read(path: str) -> OnnxFacts:
    """Return the facts of an ONNX file. ModelInvalid if it is no ONNX file, or one larger than 2 GiB."""
    facts = OnnxFacts()
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            if len(data) > _MAX_BYTES:
                raise ModelInvalid(
                    "The model file {} has {} bytes; an ONNX file holds at most 2 GiB.".format(
                        path, len(data)
                    ),
                    path=path,
                )
            if data[4:8] == b"TFL3":
                raise ModelInvalid(
                    "The model file {} is a TFLite file; load it with the format 'tflite'.".format(path),
                    path=path,
                )
            graphs = [place for field, place in _model_fields(data) if field == 7]
            if len(graphs) != 1:
                raise ValueError("it holds {} graphs".format(len(graphs)))
            _graph(data, graphs[0], facts)
        except (ValueError, RecursionError) as error:
            raise ModelInvalid(
                "The model file {} is not a readable ONNX file ({}); it may be cut or damaged.".format(
                    path, error
                ),
                path=path,
            )
        finally:
            data.close()
    return facts


def _model_fields(data: Any) -> Iterator[Tuple[int, Tuple[int, int]]]:
    for field, kind, value in fields(data, 0, len(data)):
        if field == 7 and kind != BYTES:
            raise ValueError("its graph is no message")
        if kind == BYTES:
            yield field, value


def _graph(data: Any, place: Tuple[int, int], facts: OnnxFacts) -> None:
    for field, kind, value in fields(data, *place):
        if kind != BYTES:
            continue
        if field == 1:
            _node(data, value, facts)
        elif field == 5:
            _initializer(data, value, facts)


def _node(data: Any, place: Tuple[int, int], facts: OnnxFacts) -> None:
    for field, kind, value in fields(data, *place):
        if kind != BYTES:
            continue
        if field in (3, 4):
            text = bytes(data[value[0] : value[1]]).decode("utf-8", "replace")
            counts = facts.ops if field == 4 else facts.node_names
            counts[text] = counts.get(text, 0) + 1
        elif field == 5:
            for inner, inner_kind, sub in fields(data, *value):
                if inner in (6, 11) and inner_kind == BYTES:
                    _graph(data, sub, facts)


def _initializer(data: Any, place: Tuple[int, int], facts: OnnxFacts) -> None:
    dtype, start, stop = "other", place[0], place[1]
    for field, kind, value in fields(data, *place):
        if field == 2 and kind == VARINT:
            dtype = _TYPES.get(value[0], "other")
    facts.weight_bytes[dtype] = facts.weight_bytes.get(dtype, 0) + stop - start
