"""Counting an ONNX file: read, bind, prepare, walk, and divide a static batch out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import numpy_helper

from hostctl.models.count.files import sha256_of
from hostctl.models.count.onnx_bind import Binding, apply_binding, bind_inputs
from hostctl.models.count.onnx_prepare import Prepared, prepare, runs
from hostctl.models.count.onnx_read import read_onnx
from hostctl.models.count.onnx_walk import walk
from hostctl.models.count.result import ModelCount, Tally, Uncounted


def count_onnx(path: Path, shapes: Mapping[str, Sequence[int]], name: str) -> ModelCount:
    """Count one inference of an ONNX file; see `hostctl.models.count.count_operations`."""
    model = read_onnx(path)
    binding = bind_inputs(model.graph, shapes)
    prepared = _prepared(model, binding)
    tally = walk(prepared)
    if binding.open:
        tally.uncounted = [
            *_open_inputs(binding),
            *(entry for entry in tally.uncounted if not entry.for_shape),
        ]
    batch = _static_batch(model, binding, prepared, tally) if tally.complete else 1
    return tally.to_count(name, sha256_of(path), "onnx", batch)


def _open_inputs(binding: Binding) -> list[Uncounted]:
    """One entry an input stands for all the nodes behind it whose shapes follow from it."""
    return [
        Uncounted(dim.input_name, "Input", f"its shape is not fixed in the model; bind it with {dim.hint}")
        for dim in binding.open
    ]


def _prepared(model: onnx.ModelProto, binding: Binding) -> Prepared:
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    apply_binding(bound, binding)
    return prepare(bound, {})


def _static_batch(model: onnx.ModelProto, binding: Binding, prepared: Prepared, tally: Tally) -> int:
    """Return how many samples one run of the model holds: the leading size of its inputs, if that is a batch.

    It is one if the count grows in proportion to it and no recurrent layer takes it for its time axis; the rows
    of a matrix or the steps of a sequence are none. Where the model is written for this size only, so that
    another cannot be tried, all its inputs and outputs must lead with it.
    """
    ranked = {name: shape for name, shape in binding.shapes.items() if len(shape) >= 2}
    batch = next((shape[0] for shape in ranked.values()), 1)
    if batch == 1:
        return 1
    larger = _prepared(model, Binding({name: _grown(shape, batch) for name, shape in binding.shapes.items()}))
    trial = walk(larger)
    if trial.sequence_lengths != tally.sequence_lengths:
        return 1
    if trial.complete and trial.macs * batch == tally.macs * (batch + 1):
        return batch
    if runs(larger) or not _written_for(prepared, batch):
        return 1
    outputs = [prepared.shapes.get(value.name) for value in prepared.graph.output]
    leads = all(shape[0] == batch for shape in ranked.values())
    return batch if leads and all(not shape or shape[0] % batch == 0 for shape in outputs) else 1


def _written_for(prepared: Prepared, batch: int) -> bool:
    """Whether a shape or a first state written into the model holds the batch, so that it runs with this one only."""
    for node in prepared.graph.node:
        if node.op_type in ("Reshape", "Expand") and node.input[1] in prepared.constants:
            target = numpy_helper.to_array(prepared.constants[node.input[1]]).flatten()
            if target.size and (batch in target or (target[0] > 0 and target[0] % batch == 0)):
                return True
        if node.op_type in ("RNN", "LSTM", "GRU"):
            states = [prepared.shapes.get(name, ()) for name in node.input[5:7]]
            if any(shape[1:2] == (batch,) for shape in states):
                return True
    return False


def _grown(shape: tuple[int, ...], batch: int) -> tuple[int, ...]:
    """Add one sample: on the first axis of the batch's size (a recurrent state has it further in)."""
    if batch not in shape:
        return shape
    axis = shape.index(batch)
    return (*shape[:axis], batch + 1, *shape[axis + 1 :])
