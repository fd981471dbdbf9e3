"""What a TFLite file says of itself: custom operators and element types.

Reads the FlatBuffer by hand, because a board has no schema package: field numbers are those of TensorFlow Lite's
schema.fbs (Model, SubGraph, Tensor, OperatorCode). Weights are never touched.
"""

import mmap
import struct
from typing import Any, Dict, List, Optional, Tuple

from targets.errors import ModelInvalid

_CUSTOM = 32
_CONV_2D, _DEPTHWISE, _FULLY_CONNECTED, _TRANSPOSE_CONV, _BATCH_MATMUL = 3, 4, 9, 67, 126
_COMPUTE = (_CONV_2D, _DEPTHWISE, _FULLY_CONNECTED, _TRANSPOSE_CONV, _BATCH_MATMUL)
_DEQUANTIZE = 6
EDGE_TPU = "edgetpu-custom-op"
_COMPILED = {
    # What a vendor's compiler puts in place of the operators it compiled -> for which accelerator, and how to run it.
    # Sources: libedgetpu tflite/custom_op.h, NXP tflite-ethosu-delegate ethosu_delegate.h (Vela's output), eIQ Neutron SDK
    # "NeutronGraph".
    EDGE_TPU: ("Edge TPU", "the runtime edgetpu"),
    "ethos-u": ("Ethos-U NPU", "the runtime litert and the option delegate=ethos-u"),
    "NeutronGraph": ("Neutron NPU", "the runtime litert and the option delegate=neutron"),
}
_TYPES = {0: "float32", 1: "float16", 3: "uint8", 7: "int16", 9: "int8", 10: "float64", 18: "bfloat16"}


class TfliteFacts:
    """Operators of the main graph; dtypes of the outputs and of the weights of operators that compute, with counts."""

    def __init__(self) -> None:
        self.operators = 0
        self.custom_ops: Dict[str, int] = {}  # name -> how many of the operators
        self.compute_dtypes: Dict[str, int] = {}
        self.float16_weights = False
        self.weight_dtypes: Dict[str, int] = {}
        # Of inputs and outputs: name -> scale, zero point.
        self.quantisation: Dict[str, Tuple[float, int]] = {}

    @property
    def precision(self) -> str:
        """The precision the file asks for: int8 if most compute is quantised, float16 for float16 weights.

        What a vendor's compiler compiled is quantised: theirs take nothing else.
        """
        if self.compiled_op is not None:
            return "int8"
        counts = self.compute_dtypes
        best = max(counts, key=lambda t: counts[t]) if counts else "float32"
        if best in ("int8", "uint8", "int16"):
            return "int8"
        return "float16" if self.float16_weights else "float32"

    @property
    def compiled_op(self) -> Optional[str]:
        """The operator that holds what a vendor's compiler compiled; None if no part of the model is compiled."""
        return next((name for name in sorted(self.custom_ops) if name in _COMPILED), None)


def refuse_compiled(facts: TfliteFacts) -> None:
    """ModelInvalid for a model that only the delegate of an accelerator can run."""
    operator = facts.compiled_op
    if operator is not None:
        device, runtime = _COMPILED[operator]
        raise ModelInvalid(
            "This model is compiled for the {}; run it with {} on a board that has one, or take the model it was "
            "compiled from.".format(device, runtime),
            operator=operator,
        )


def read(path: str) -> TfliteFacts:
    """Return the facts of a TFLite file. ModelInvalid if it is none, or cut."""
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            if data[4:8] != b"TFL3":
                raise ModelInvalid(
                    "The model file {} is not a TFLite file: it lacks the mark 'TFL3'.".format(path),
                    path=path,
                )
            return _model(data)
        except (struct.error, IndexError, ValueError):
            raise ModelInvalid(
                "The model file {} is not a readable TFLite file; it may be cut or damaged.".format(path),
                path=path,
            )
        finally:
            data.close()


class _Table:
    """A FlatBuffer table: fields by number, through its vtable."""

    def __init__(self, data: Any, at: int) -> None:
        self._data = data
        self._at = at
        self._vtable = at - _int(data, "<i", at)
        self._size = _int(data, "<H", self._vtable)

    def _field(self, number: int) -> Optional[int]:
        slot = 4 + 2 * number
        offset = _int(self._data, "<H", self._vtable + slot) if slot < self._size else 0
        return self._at + offset if offset else None

    def scalar(self, number: int, kind: str, default: int = 0) -> int:
        at = self._field(number)
        return default if at is None else _int(self._data, kind, at)

    def vector(self, number: int) -> range:
        """Places of the 4-byte elements of a vector."""
        at = self._field(number)
        if at is None:
            return range(0)
        start = at + _int(self._data, "<I", at)
        count = _int(self._data, "<I", start)
        if start + 4 + count > len(self._data):
            raise ValueError("vector beyond the end")
        return range(start + 4, start + 4 + 4 * count, 4)

    def tables(self, number: int) -> List["_Table"]:
        return [_Table(self._data, at + _int(self._data, "<I", at)) for at in self.vector(number)]

    def table(self, number: int) -> Optional["_Table"]:
        at = self._field(number)
        return None if at is None else _Table(self._data, at + _int(self._data, "<I", at))

    def float_at(self, at: int) -> float:
        return float(struct.unpack_from("<f", self._data, at)[0])

    def int_at(self, at: int) -> int:
        return _int(self._data, "<q", at)

    def numbers(self, number: int) -> List[int]:
        return [_int(self._data, "<i", at) for at in self.vector(number)]

    def text(self, number: int) -> str:
        at = self._field(number)
        if at is None:
            return ""
        start = at + _int(self._data, "<I", at)
        count = _int(self._data, "<I", start)
        return bytes(self._data[start + 4 : start + 4 + count]).decode("utf-8", "replace")


def _int(data: Any, kind: str, at: int) -> int:
    if at < 0:
        raise ValueError("negative offset")
    return int(struct.unpack_from(kind, data, at)[0])


def _model(data: Any) -> TfliteFacts:
    facts = TfliteFacts()
    model = _Table(data, _int(data, "<I", 0))
    # Codes above 126 are only in the newer field; the older one saturates (schema.fbs, OperatorCode).
    kinds = [(max(code.scalar(0, "<b"), code.scalar(3, "<i")), code.text(1)) for code in model.tables(1)]
    subgraphs = model.tables(2)
    if not subgraphs:
        raise ValueError("no subgraph")
    for operator in subgraphs[0].tables(3):
        code, name = kinds[operator.scalar(0, "<I")]
        facts.operators += 1
        if code == _CUSTOM:
            facts.custom_ops[name] = facts.custom_ops.get(name, 0) + 1
    for graph in subgraphs:
        _subgraph(graph, [code for code, _ in kinds], facts)
    tensors = subgraphs[0].tables(0)
    for at in subgraphs[0].numbers(1) + subgraphs[0].numbers(2):
        found = _quantisation(tensors[at])
        if found is not None:
            facts.quantisation[tensors[at].text(3)] = found
    return facts


def _quantisation(tensor: _Table) -> Optional[Tuple[float, int]]:
    """Return scale and zero point of a tensor that has one of each."""
    table = tensor.table(4)
    scales, zeros = (table.vector(2), table.vector(3)) if table is not None else (range(0), range(0))
    if table is None or len(scales) != 1 or len(zeros) != 1:
        return None
    return table.float_at(scales[0]), table.int_at(zeros[0])


def _subgraph(graph: _Table, codes: List[int], facts: TfliteFacts) -> None:
    dtypes = [_TYPES.get(tensor.scalar(1, "<b"), "other") for tensor in graph.tables(0)]
    for operator in graph.tables(3):
        code = codes[operator.scalar(0, "<I")]
        if code in _COMPUTE:
            dtype = dtypes[operator.numbers(2)[0]]
            facts.compute_dtypes[dtype] = facts.compute_dtypes.get(dtype, 0) + 1
            weights = dtypes[operator.numbers(1)[1]]
            facts.weight_dtypes[weights] = facts.weight_dtypes.get(weights, 0) + 1
        elif code == _DEQUANTIZE and dtypes[operator.numbers(1)[0]] == "float16":
            facts.float16_weights = True
