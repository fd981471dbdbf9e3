"""The range of shapes an engine is built for, from the shapes of the file and the load options.

TensorRT builds for a minimum, an optimum (which it tunes for) and a maximum of each input with dynamic dimensions. Source:
TensorRT documentation, "Working with Dynamic Shapes".
"""

from typing import Dict, List, Optional, Sequence, Tuple

from targets.errors import InputInvalid, OptionInvalid
from targets.options import LoadOptions, nearest, resolve_shapes

MIN_PREFIX, MAX_PREFIX = "shape_min.", "shape_max."
DEFAULT_MAX_BATCH = 16
Shape = Tuple[int, ...]


class Range:
    """The smallest, the optimal and the largest shape of one input."""

    def __init__(self, name: str, smallest: Shape, optimal: Shape, largest: Shape) -> None:
        self.name = name
        self.smallest = smallest
        self.optimal = optimal
        self.largest = largest

    @property
    def is_fixed(self) -> bool:
        """Whether there is only one shape."""
        return self.smallest == self.largest

    @property
    def shape(self) -> Shape:
        """The shape with -1 for the dimensions that are free."""
        return common_shape(self.smallest, self.largest)

    def key(self) -> Tuple[Shape, Shape]:
        """What must be equal for two ranges to allow the same shapes."""
        return self.smallest, self.largest

    def check(self, shape: Shape) -> None:
        """InputInvalid unless a shape lies in the range."""
        if len(shape) == len(self.smallest) and all(
            low <= size <= high for low, size, high in zip(self.smallest, shape, self.largest)
        ):
            return
        raise InputInvalid(
            "The input '{}' has the shape {}, but this engine takes {} to {}; load the model with {}{}=... and "
            "{}{}=... for more.".format(
                self.name,
                list(shape),
                list(self.smallest),
                list(self.largest),
                MIN_PREFIX,
                self.name,
                MAX_PREFIX,
                self.name,
            ),
            field="shape",
            name=self.name,
        )


def common_shape(one: Sequence[int], other: Sequence[int]) -> Shape:
    """Return the dimensions that two shapes share, and -1 where they differ."""
    return tuple(a if a == b else -1 for a, b in zip(one, other))


def range_options(options: LoadOptions) -> List[str]:
    """Return the keys among the options that give an end of a range."""
    return [key for key in options.values if key.startswith((MIN_PREFIX, MAX_PREFIX))]


def build_ranges(declared: Sequence[Tuple[str, Shape]], options: LoadOptions) -> List[Range]:
    """Return the range of each input to build for; OptionInvalid where the options do not fit the file.

    A free first dimension that nothing says more about goes from 1 to ``max_batch``. Any other free dimension needs a size.
    """
    smallest, largest = options.shapes(MIN_PREFIX), options.shapes(MAX_PREFIX)
    names = [name for name, _ in declared]
    for prefix, given in ((MIN_PREFIX, smallest), (MAX_PREFIX, largest)):
        for name in given:
            if name not in names:
                raise OptionInvalid(
                    "The option {}{} names no input{} The inputs are {}.".format(
                        prefix, name, nearest(name, names) or ".", ", ".join(names)
                    ),
                    option=prefix + name,
                )
    resolved = resolve_shapes(declared, options)
    max_batch = options.integer("max_batch") or DEFAULT_MAX_BATCH
    return [
        _range(name, shape, optimal, smallest.get(name), largest.get(name), max_batch)
        for (name, shape), optimal in zip(declared, resolved)
    ]


def plan_ranges(found: Sequence[Range], options: LoadOptions) -> List[Range]:
    """Return the ranges of a ready plan, narrowed to the shapes that the options ask for."""
    wanted = resolve_shapes([(each.name, each.shape) for each in found], options)
    narrowed = []
    for each, shape in zip(found, wanted):
        low = tuple(size if size != -1 else least for size, least in zip(shape, each.smallest))
        high = tuple(size if size != -1 else most for size, most in zip(shape, each.largest))
        try:
            each.check(low)
            each.check(high)
        except InputInvalid:
            raise OptionInvalid(
                "The plan takes {} to {} for the input '{}'; it cannot take {}.".format(
                    list(each.smallest), list(each.largest), each.name, list(shape)
                ),
                option="batch",
            )
        optimal = tuple(min(max(best, a), b) for a, best, b in zip(low, each.optimal, high))
        narrowed.append(Range(each.name, low, optimal, high))
    return narrowed


def _range(
    name: str, declared: Shape, optimal: Shape, low: Optional[Shape], high: Optional[Shape], max_batch: int
) -> Range:
    if low is None and high is None:
        return _open_batch(name, optimal, max_batch)
    if low is None or high is None:
        missing = MIN_PREFIX if low is None else MAX_PREFIX
        raise OptionInvalid(
            "The input '{}' has one end of its range only; give {}{} too.".format(name, missing, name),
            option=missing + name,
        )
    best = tuple(top if size == -1 or (free == -1 and size > top) else size
                 for free, size, top in zip(declared, optimal, high))  # fmt: skip
    fits = len(low) == len(high) == len(declared) and all(
        least <= size <= most and (free == -1 or least == most == free)
        for free, least, size, most in zip(declared, low, best, high)
    )
    if not fits:
        raise OptionInvalid(
            "The input '{}' has the shape {} in the file (-1 = dynamic); its range from {} over {} to {} is "
            "impossible.".format(name, list(declared), list(low), list(optimal), list(high)),
            option=MIN_PREFIX + name,
        )
    return Range(name, low, best, high)


def _open_batch(name: str, optimal: Shape, max_batch: int) -> Range:
    if -1 in optimal[1:]:
        raise OptionInvalid(
            "The input '{}' has the shape {} with dynamic dimensions; give their sizes with shape.{}=..., or a range "
            "with {}{}=... and {}{}=....".format(
                name, list(optimal), name, MIN_PREFIX, name, MAX_PREFIX, name
            ),
            option="shape." + name,
        )
    if not optimal or optimal[0] != -1:
        return Range(name, optimal, optimal, optimal)
    rest = optimal[1:]
    return Range(name, (1,) + rest, (1,) + rest, (max_batch,) + rest)


def by_name(ranges: Sequence[Range]) -> Dict[str, Range]:
    """Return the ranges by the names of their inputs."""
    return {each.name: each for each in ranges}
