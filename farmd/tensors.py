"""Checks a client's tensors against the model before a worker sees them. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from farm.v1 import model_pb2, tensor_pb2

from farmd import errors
from farmd.errors import FieldViolation
from targets.wire import ITEM_BYTES, aligned, tensor_nbytes


class TensorValue(NamedTuple):
    """A tensor taken out of a message once: each look at a bytes field of protobuf copies it."""

    name: str
    dtype: str
    shape: list[int]
    data: bytes | memoryview


class InputRule(NamedTuple):
    """What one input takes; -1 is a dimension of any size."""

    name: str
    dtype: str
    shape: list[int]


def rules_of(spec: model_pb2.ModelSpec) -> dict[str, InputRule]:
    """Return the rules of a model's inputs by name: looking into a message for each inference would be slow."""
    return {entry.name: InputRule(entry.name, entry.dtype, list(entry.shape)) for entry in spec.inputs}


def values(tensors: Iterable[tensor_pb2.Tensor]) -> list[TensorValue]:
    """Take the tensors of a message out of it."""
    return [TensorValue(t.name, t.dtype, list(t.shape), t.data) for t in tensors]


def check_inputs(rules: Mapping[str, InputRule], tensors: Sequence[TensorValue], model: str) -> None:
    """Raise InputInvalid with one violation for each input that is missing, unknown, doubled or not as specified."""
    violations: list[FieldViolation] = []
    seen: set[str] = set()
    for index, tensor in enumerate(tensors):
        where = f"inputs[{index}]"
        entry = rules.get(tensor.name)
        if entry is None:
            violations.append(FieldViolation(f"{where}.name", _unknown(tensor.name, list(rules))))
        elif tensor.name in seen:
            violations.append(FieldViolation(f"{where}.name", f"The input '{tensor.name}' is given twice."))
        else:
            violations.extend(_check_one(where, entry, tensor))
        seen.add(tensor.name)
    violations.extend(
        FieldViolation("inputs", f"The input '{name}' is missing; it takes {_described(entry)}.")
        for name, entry in rules.items()
        if name not in seen
    )
    if violations:
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        raise errors.InputInvalid(
            f"The inputs do not fit '{model}': {violations[0].description}{more}",
            metadata={"model": model},
            violations=violations,
        )


def _check_one(where: str, entry: InputRule, tensor: TensorValue) -> list[FieldViolation]:
    if tensor.dtype != entry.dtype:
        text = f"The input '{entry.name}' takes {entry.dtype}, but {tensor.dtype or 'no dtype'} was sent."
        return [FieldViolation(f"{where}.dtype", text)]
    if not _fits(entry.shape, tensor.shape):
        text = f"The input '{entry.name}' takes {_described(entry)}, but the shape {tensor.shape} was sent."
        return [FieldViolation(f"{where}.shape", text)]
    needed, sent = tensor_nbytes(tensor.dtype, tensor.shape), len(tensor.data)
    if sent != needed:
        text = (
            f"The input '{entry.name}' of {tensor.dtype} {tensor.shape} has {needed} bytes, but {sent} "
            "were sent."
        )
        return [FieldViolation(f"{where}.data", text)]
    return []


def _fits(wanted: Sequence[int], sent: Sequence[int]) -> bool:
    if wanted == sent:
        return -1 not in wanted
    return len(wanted) == len(sent) and all(
        size >= 0 and (size == limit or limit < 0) for limit, size in zip(wanted, sent, strict=True)
    )


def _described(entry: InputRule) -> str:
    return f"{entry.dtype} of shape {entry.shape}" + (" (-1: any)" if -1 in entry.shape else "")


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(known) or 'none'}."
    return f"The model has no input '{name}'; {hint}"


def output_bytes(spec: model_pb2.ModelSpec) -> int:
    """Return the room the outputs take in the mapped file; what is dynamic counts as 1 and is found out later."""
    return sum(
        aligned(tensor_nbytes(entry.dtype, [max(1, size) for size in entry.shape]))
        for entry in spec.outputs
        if entry.dtype in ITEM_BYTES
    )
