"""A loaded model: what the client asked for, what the runtime made of it, and the worker that holds it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from farm.v1 import model_pb2, tensor_pb2

from farmd import errors
from farmd.cache import CachedModel
from farmd.tensors import TensorValue, check_inputs, rules_of
from farmd.waiting import Cancel
from farmd.worker import Worker


@dataclass(frozen=True)
class LoadPlan:
    """A checked header of a load, and the fence of the lease it came under; None: it came without one."""

    name: str
    format: str
    sha256: str
    size_bytes: int
    runtime: str
    precision: str | None
    batch: int | None
    options: Mapping[str, str]
    timeout_s: float
    fence: int | None = None


@dataclass
class Model:
    """One loaded model. `message` is what clients see of it."""

    model_id: str
    message: model_pb2.LoadedModel
    worker: Worker
    file: CachedModel
    fence: int | None
    """It ends when a holder with a higher fence comes; None: it stays until it is unloaded."""

    def __post_init__(self) -> None:
        self.name = self.message.name
        self._rules = rules_of(self.message.spec)

    def check_inputs(self, inputs: Sequence[TensorValue]) -> None:
        """Raise InputInvalid, naming each input that does not fit the model."""
        check_inputs(self._rules, inputs, self.name)

    @contextmanager
    def turn(self, cancel: Cancel, timeout_s: float) -> Iterator[Worker]:
        """Wait in line for the worker and hold it. Raises as `take_turn` does."""
        worker = self.take_turn(cancel, timeout_s)
        try:
            yield worker
        finally:
            worker.turn.release()

    def take_turn(self, cancel: Cancel, timeout_s: float) -> Worker:
        """Wait in line for the worker; its `turn` has to be released. CallCancelled, WorkerBusy, or what it died of."""
        worker = self.worker
        if not worker.turn.acquire(cancel, timeout_s):
            cancel.check()
            raise errors.WorkerBusy(
                f"'{worker.model}' was busy with earlier requests for {timeout_s:g} s; send fewer at once.",
                metadata={"model_id": self.model_id},
                retry_delay_s=1.0,
            )
        if worker.dead is not None:
            worker.turn.release()
            raise worker.dead
        return worker


def loaded_message(model_id: str, plan: LoadPlan, reply: Mapping[str, Any]) -> model_pb2.LoadedModel:
    """Return what clients see, from a worker's reply to `load`. KeyError, TypeError or ValueError: it is garbage."""
    describe = reply["describe"]
    return model_pb2.LoadedModel(
        model_id=model_id,
        name=plan.name,
        sha256=plan.sha256,
        format=plan.format,
        spec=model_pb2.ModelSpec(
            inputs=[_tensor_spec(entry) for entry in reply["spec"]["inputs"]],
            outputs=[_tensor_spec(entry) for entry in reply["spec"]["outputs"]],
        ),
        execution=model_pb2.Execution(
            runtime=describe["runtime"],
            version=describe["version"],
            device=describe["device"],
            requested={key: str(value) for key, value in describe["requested"].items()},
            effective={key: str(value) for key, value in describe["effective"].items()},
            fallbacks=describe["fallbacks"],
        ),
        load_duration_ns=reply["load_ns"],
        memory=worker_memory(reply["memory"]),
        optimal_in_flight=reply["optimal_in_flight"],
    )


def _tensor_spec(entry: Mapping[str, Any]) -> tensor_pb2.TensorSpec:
    return tensor_pb2.TensorSpec(
        name=entry["name"],
        dtype=entry["dtype"],
        shape=entry["shape"],
        scale=entry.get("scale"),
        zero_point=entry.get("zero_point"),
    )


def worker_memory(reply: Mapping[str, Any]) -> model_pb2.WorkerMemory:
    """Return the memory a worker tells; what it does not tell stays absent."""
    return model_pb2.WorkerMemory(
        rss_bytes=reply.get("rss_bytes"),
        peak_rss_bytes=reply.get("peak_rss_bytes"),
        device_bytes=reply.get("device_bytes"),
    )


class Graveyard:
    """Why models that are gone went, so that a late caller learns more than "not found". Keeps the last few."""

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._stones: dict[str, str] = {}

    def bury(self, model_id: str, why: str) -> None:
        """Remember one sentence about the end of a model."""
        self._stones[model_id] = why
        while len(self._stones) > self._size:
            with contextlib.suppress(KeyError):
                del self._stones[next(iter(self._stones))]

    def not_found(self, model_id: str) -> errors.ModelNotFound:
        """Return the error for a model that is not loaded (any more)."""
        why = self._stones.get(model_id)
        text = (
            f"The model {model_id} is gone. {why}"
            if why
            else f"No model {model_id!r} is loaded on this board; load it, or ask ListModels for those that are."
        )
        return errors.ModelNotFound(text, metadata={"model_id": model_id})
