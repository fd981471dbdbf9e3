"""MACs of an Einstein summation: the product of the sizes of all its indexes."""

from collections.abc import Sequence

from hostctl.models.count.onnx_node import RuleError, Shape

_ELLIPSIS = "..."


def einsum_macs(equation: str, operands: Sequence[Shape]) -> int:
    """Return the MACs of an einsum of the given operand shapes.

    With one operand nothing is multiplied and the answer is 0. With more, all operands are multiplied and summed
    in one sweep over every distinct index; a runtime that contracts pairwise may do with less. Axes under an
    ellipsis align at the right and broadcast. Raises RuleError for an equation that does not fit the shapes.
    """
    if len(operands) < 2:
        return 0
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) != len(operands):
        raise RuleError(f"the equation '{equation}' has {len(terms)} terms for {len(operands)} operands")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, operands, strict=True):
        for index, size in zip(_indexes(term, shape), shape, strict=True):
            sizes[index] = max(sizes.get(index, 1), size)
            if size not in (1, sizes[index]):
                raise RuleError(f"index '{index}' of '{equation}' has two sizes")
    macs = 1
    for size in sizes.values():
        macs *= size
    return macs


def _indexes(term: str, shape: Shape) -> list[str]:
    """One label an axis; axes under the ellipsis are named by their distance from its right end."""
    before, dots, after = term.partition(_ELLIPSIS)
    hidden = len(shape) - len(before) - len(after)
    if hidden < 0 or (hidden > 0 and not dots):
        raise RuleError(f"the term '{term}' does not fit a tensor of rank {len(shape)}")
    return [*before, *(f"{_ELLIPSIS}{distance}" for distance in range(hidden, 0, -1)), *after]
