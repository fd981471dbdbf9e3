"""What is checked, and what the points of the check share: demands, refusals, a loaded model."""

from typing import Any, Dict, List, Optional, Tuple

from targets.client import Client, Message
from targets.errors import KINDS, TargetsError
from targets.tensors import Tensors, TensorSpec, random_inputs
from targets.wire import ITEM_BYTES


class Subject:
    """What is checked: the command, the name farmd.toml gives it, and a model with its format and options, or None."""

    def __init__(
        self,
        command: List[str],
        runtime: str = "external",
        model: Optional[str] = None,
        model_format: Optional[str] = None,
        options: Optional[Dict[str, str]] = None,
    ) -> None:
        self.command = command
        self.runtime = runtime
        self.model = model
        self.format = model_format
        self.options = dict(options or {})

    def load_fields(self, **changes: Any) -> Message:
        """Return the members of a load."""
        fields: Message = {
            "path": self.model, "format": self.format, "runtime": self.runtime, "precision": None, "batch": None,
            "options": self.options,
        }  # fmt: skip
        fields.update(changes)
        return fields


class Failed(Exception):  # noqa: N818 - it is a verdict
    """A point does not hold; the message says what came instead."""


def demand(holds: bool, told: str, *values: Any) -> None:
    """Failed, with the values in the sentence, unless it holds."""
    if not holds:
        raise Failed(told.format(*values))


def refused(client: Client, kind: str, op: str, **fields: Any) -> TargetsError:
    """Send what must be refused with an error of that kind and a sentence."""
    try:
        error = client.error(op, **fields)
    except AssertionError:
        raise Failed("'{}' was accepted, but must fail with {}".format(op, kind))
    demand(type(error) is KINDS[kind], "'{}' failed with {}, but {} was due", op, error.kind, kind)
    demand(bool(error.message) and "\n" not in error.message, "{} has no message of one line", kind)
    return error


def load_model(subject: Subject, client: Client) -> Tuple[List[TensorSpec], List[TensorSpec], Message]:
    """Load the model; return its inputs, its outputs and the reply."""
    reply = client.call("load", **subject.load_fields())
    inputs, outputs = (_specs(reply["spec"][side]) for side in ("inputs", "outputs"))
    return inputs, outputs, reply


def _specs(entries: Any) -> List[TensorSpec]:
    demand(isinstance(entries, list) and bool(entries), "the spec has no list of tensors")
    found = []
    for entry in entries:
        shape_fits = all(type(size) is int and (size > 0 or size == -1) for size in entry["shape"])
        demand(shape_fits, "the shape {} has a size that is neither above 0 nor -1", entry["shape"])
        demand(entry["dtype"] in ITEM_BYTES, "the dtype '{}' is not one of numpy's names", entry["dtype"])
        found.append(
            TensorSpec(
                entry["name"], entry["dtype"], entry["shape"], entry.get("scale"), entry.get("zero_point")
            )
        )
    return found


def loaded_inputs(subject: Subject, client: Client) -> Tensors:
    """Load the model and return seeded inputs for it."""
    return random_inputs(load_model(subject, client)[0], 1)


def check_memory(memory: Message) -> None:
    """What is told of the memory is bytes or null; the resident set is always told."""
    for member in ("rss_bytes", "peak_rss_bytes", "device_bytes"):
        told = memory.get(member)
        demand(told is None or (type(told) is int and told >= 0), "memory.{} is {!r}", member, told)
    demand(memory.get("rss_bytes") is not None, "memory lacks rss_bytes")
