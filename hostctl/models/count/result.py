"""What a count gives: the model object of a result, with what was left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

CONVENTION = "mac2"
OPS_PER_MAC = 2


@dataclass(frozen=True, slots=True)
class Operations:
    """Operations of one inference; `value` is None where an operator that computes could not be counted."""

    value: int | float | None
    convention: str = CONVENTION
    source: str = "counted"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of a result's `model.ops_per_inference`."""
        return {"value": self.value, "convention": self.convention, "source": self.source}


@dataclass(frozen=True, slots=True)
class Uncounted:
    """A node without a count.

    `computes` is False where its work is outside the convention anyway; `for_shape` is True where nothing but an
    unknown shape stands in the way, so that binding the inputs may help.
    """

    node: str
    operator: str
    reason: str
    computes: bool = True
    for_shape: bool = False

    def to_dict(self) -> dict[str, str]:
        """Return the JSON object of one entry of `uncounted`."""
        return {"node": self.node, "operator": self.operator, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class ModelCount:
    """A counted model. `params` counts the elements of its trained (or generated) constants."""

    name: str
    sha256: str
    format: str
    params: int
    ops_per_inference: Operations
    other_ops: Mapping[str, int] = field(default_factory=dict)
    uncounted: tuple[Uncounted, ...] = ()

    @property
    def macs(self) -> int | float | None:
        """Multiply-accumulates of one inference, or None where the operations are None."""
        value = self.ops_per_inference.value
        return None if value is None else as_number(Fraction(value) / OPS_PER_MAC)

    def model_object(self) -> dict[str, Any]:
        """Return the `model` object of a result."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "format": self.format,
            "params": self.params,
            "ops_per_inference": self.ops_per_inference.to_dict(),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what `hostctl model count --json` prints: the model object, other_ops and uncounted."""
        return {
            **self.model_object(),
            "other_ops": dict(self.other_ops),
            "uncounted": [entry.to_dict() for entry in self.uncounted],
        }


class Tally:
    """The running sum over a graph: MACs, other operations by kind, parameters, and what could not be counted."""

    def __init__(self) -> None:
        self.macs = 0
        self.other: dict[str, int] = {}
        self.params: dict[str, int] = {}
        self.uncounted: list[Uncounted] = []
        self.sequence_lengths: list[int] = []
        """Time steps of every recurrent layer, in order: tells a leading sequence axis from a batch."""

    def add_other(self, kind: str, operations: int) -> None:
        """Add operations that the convention keeps apart."""
        if operations:
            self.other[kind] = self.other.get(kind, 0) + operations

    def add_uncounted(
        self, node: str, operator: str, reason: str, *, computes: bool = True, for_shape: bool = False
    ) -> None:
        """Note a node that has no count; one that computes makes the whole value None."""
        self.uncounted.append(Uncounted(node, operator, reason, computes, for_shape))

    def merge(self, body: "Tally", times: int = 1) -> None:
        """Add a nested graph that runs `times` times; its parameters exist once."""
        self.macs += body.macs * times
        for kind, operations in body.other.items():
            self.add_other(kind, operations * times)
        self.params.update(body.params)
        self.uncounted.extend(body.uncounted)
        self.sequence_lengths.extend(body.sequence_lengths)

    @property
    def complete(self) -> bool:
        """Whether every operator that computes was counted."""
        return not any(entry.computes for entry in self.uncounted)

    def to_count(self, name: str, sha256: str, model_format: str, batch: int) -> ModelCount:
        """Divide a static batch out and close the books."""
        value = None if not self.complete else as_number(Fraction(self.macs * OPS_PER_MAC, batch))
        other = {kind: round(Fraction(ops, batch)) for kind, ops in sorted(self.other.items())}
        return ModelCount(
            name=name,
            sha256=sha256,
            format=model_format,
            params=sum(self.params.values()),
            ops_per_inference=Operations(value),
            other_ops=other,
            uncounted=tuple(self.uncounted),
        )


def as_number(value: Fraction) -> int | float:
    """Return an exact int where there is one, else the nearest float."""
    return value.numerator if value.denominator == 1 else float(value)
