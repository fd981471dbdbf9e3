"""What is checked, and what the checks share: expectations, refusals, seeded inputs."""

from typing import Any, Sequence

import numpy as np

from targets.client import Client, Message
from targets.errors import TargetsError
from targets.tensors import Tensors


class Subject:
    """What is checked: how its worker is started, and what it loads; a path of None means that there is no model."""

    def __init__(self, command: Sequence[str], load: Message) -> None:
        self.command = list(command)
        self.load = load
        self.spec: Message = {}

    @property
    def runtime(self) -> str:
        """The name by which requests call it."""
        return str(self.load["runtime"])

    @property
    def has_model(self) -> bool:
        """Whether there is a model to load."""
        return self.load["path"] is not None

    def client(self) -> Client:
        """Start a worker."""
        return Client(self.command)

    def loaded(self, client: Client) -> Message:
        """Load the model; keep and return its spec."""
        self.spec = client.call("load", **self.load)["spec"]
        return self.spec


def expect(condition: bool, wrong: str, *values: Any) -> None:
    """AssertionError, with the values in its sentence, unless the condition holds."""
    if not condition:
        raise AssertionError(wrong.format(*values))


def expect_refusal(client: Client, kind: str, op: str, **members: Any) -> TargetsError:
    """Send what must be refused with an error of that kind, in a sentence of one line; return the error."""
    error = client.error(op, **members)
    expect(error.kind == kind, "{} {} gave {} and not {}: {}", op, members, error.kind, kind, error)
    expect(bool(error.message), "{} has no message", kind)
    expect("\n" not in error.message, "an error has more than one line: {!r}", error.message)
    return error


def expect_memory(memory: Message) -> None:
    """What is told of the memory is a number of bytes or null, and the resident set is always told."""
    for member in ("rss_bytes", "peak_rss_bytes", "device_bytes"):
        told = memory.get(member)
        expect(told is None or (isinstance(told, int) and told >= 0), "memory.{} is {!r}", member, told)
    expect(bool(memory.get("rss_bytes")), "memory lacks rss_bytes")


def inputs_for(spec: Message, seed: int) -> Tensors:
    """Return random inputs for a spec; open dimensions are 1."""
    rng = np.random.RandomState(seed)
    found = {}
    for tensor in spec["inputs"]:
        shape, kind = [max(1, size) for size in tensor["shape"]], np.dtype(tensor["dtype"])
        if kind.kind in "iub":
            low, high = (0, 2) if kind.kind == "b" else (0, 256) if kind.kind == "u" else (-128, 128)
            found[tensor["name"]] = rng.randint(low, high, shape).astype(kind)
        else:
            found[tensor["name"]] = rng.standard_normal(shape).astype(kind)
    return found
