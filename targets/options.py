"""Load options: text from the wire, checked and typed before any vendor code sees them."""

import difflib
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

from targets.errors import OptionInvalid, PrecisionUnsupported

# What every runtime understands. ``shape.<input>`` stands for one key for each input of the model.
COMMON = {
    "threads": "CPU threads that compute one inference",
    "in_flight": "requests in flight in the throughput scenario",
    "scenario": "latency or throughput: what the runtime is tuned for where it has to know before the load",
    "device": "the device that executes, as the runtime names it",
}
SHAPE_PREFIX = "shape."
PRECISIONS = ("float32", "float16", "bfloat16", "int8")
SCENARIOS = ("latency", "throughput")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return '; did you mean ...?' for the nearest known word, or nothing if none is near."""
    lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(lower), n=1, cutoff=0.6)
    return "; did you mean '{}'?".format(lower[close[0]]) if close else ""


class LoadOptions:
    """How a model is to be loaded. ``precision`` None means as the file is; ``batch`` None as the file is."""

    def __init__(
        self,
        format: str,  # noqa: A002 - the word of the protocol
        precision: Optional[str] = None,
        batch: Optional[int] = None,
        values: Optional[Dict[str, str]] = None,
    ) -> None:
        self.format = format
        self.precision = precision
        self.batch = batch
        self.values: Dict[str, str] = dict(values or {})
        if precision is not None and precision not in PRECISIONS:
            raise PrecisionUnsupported(
                "The precision '{}' is not known{} Use one of {}.".format(
                    precision, nearest(precision, PRECISIONS) or ".", ", ".join(PRECISIONS)
                ),
                precision=precision,
                supported=list(PRECISIONS),
            )
        if batch is not None and batch < 1:
            raise OptionInvalid("The batch {} is impossible; it starts at 1.".format(batch), option="batch")

    def check_known(self, runtime: str, known: Iterable[str]) -> None:
        """OptionInvalid for a key that is neither common nor one of ``known``, with the nearest name."""
        names = sorted(set(known) | set(COMMON))
        for key in sorted(self.values):
            if key in names or (key.startswith(SHAPE_PREFIX) and len(key) > len(SHAPE_PREFIX)):
                continue
            raise OptionInvalid(
                "The option '{}' is not one of {}{} It has {} and {}<input>{}.".format(
                    key,
                    runtime,
                    nearest(key, names) or ".",
                    ", ".join(name for name in names if not name.isupper()),
                    SHAPE_PREFIX,
                    ", and the vendor's own in capitals" if any(name.isupper() for name in names) else "",
                ),
                option=key,
                known=names,
            )

    def text(self, key: str, default: Optional[str] = None) -> Optional[str]:
        """Return the value of a key as it came."""
        return self.values.get(key, default)

    def integer(self, key: str, minimum: int = 1) -> Optional[int]:
        """Return a whole number, or None if the key is absent."""
        value = self.values.get(key)
        if value is None:
            return None
        try:
            number = int(value)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise OptionInvalid(
                "The option {}='{}' must be a whole number from {} up.".format(key, value, minimum),
                option=key,
                value=value,
            )
        return number

    def choice(self, key: str, allowed: Sequence[str]) -> Optional[str]:
        """Return one of the allowed words, or None if the key is absent."""
        value = self.values.get(key)
        if value is not None and value not in allowed:
            raise OptionInvalid(
                "The option {}='{}' is not known{} Use one of {}.".format(
                    key, value, nearest(value, allowed) or ".", ", ".join(allowed)
                ),
                option=key,
                value=value,
            )
        return value

    def flag(self, key: str) -> Optional[bool]:
        """Return a truth value written as 1 or 0, or None if the key is absent."""
        value = self.choice(key, ("1", "0", "true", "false"))
        return None if value is None else value in ("1", "true")

    @property
    def scenario(self) -> Optional[str]:
        """What the runtime shall be tuned for; None where nothing was said."""
        return self.choice("scenario", SCENARIOS)

    def shapes(self, prefix: str = SHAPE_PREFIX) -> Dict[str, Tuple[int, ...]]:
        """Return the shapes given as ``shape.<input>=1,3,224,224``, or under another prefix."""
        found = {}
        for key, value in self.values.items():
            if key.startswith(prefix):
                found[key[len(prefix) :]] = _shape(key, value)
        return found


def _shape(key: str, value: str) -> Tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in value.split(",")) if value.strip() else ()
    except ValueError:
        sizes = (0,)
    if any(size < 1 for size in sizes):
        raise OptionInvalid(
            "The option {}='{}' must be sizes from 1 up with commas between, for example 1,3,224,224.".format(
                key, value
            ),
            option=key,
            value=value,
        )
    return sizes


def resolve_shapes(
    declared: Sequence[Tuple[str, Sequence[int]]], options: LoadOptions
) -> List[Tuple[int, ...]]:
    """Return the shape of each input after ``shape.<input>`` and ``batch``; -1 stays where neither says.

    ``declared`` is name and shape of each input as the file gives them (-1 = dynamic). A dimension that the file fixes
    cannot be changed: OptionInvalid says which. ``batch`` fills dynamic first dimensions.
    """
    given = options.shapes()
    names = [name for name, _ in declared]
    for name in given:
        if name not in names:
            raise OptionInvalid(
                "The option shape.{} names no input{} The inputs are {}.".format(
                    name, nearest(name, names) or ".", ", ".join(names)
                ),
                option=SHAPE_PREFIX + name,
            )
    shapes = [_merge(name, tuple(shape), given.get(name)) for name, shape in declared]
    return shapes if options.batch is None else _with_batch(names, shapes, options.batch)


def _merge(name: str, declared: Tuple[int, ...], given: Optional[Tuple[int, ...]]) -> Tuple[int, ...]:
    if given is None:
        return declared
    fits = len(given) == len(declared) and all(d in (-1, g) for d, g in zip(declared, given))
    if not fits:
        raise OptionInvalid(
            "The input '{}' has the shape {} in the file (-1 = dynamic); it cannot take {}.".format(
                name, list(declared), list(given)
            ),
            option=SHAPE_PREFIX + name,
        )
    return given


def _with_batch(names: List[str], shapes: List[Tuple[int, ...]], batch: int) -> List[Tuple[int, ...]]:
    filled = [(batch,) + shape[1:] if shape and shape[0] == -1 else shape for shape in shapes]
    if any(new and new[0] == batch for new in filled):
        return filled
    first = shapes[0] if shapes else ()
    raise OptionInvalid(
        "The batch {} is impossible: the input '{}' has the static shape {}. Export the model with a dynamic first "
        "dimension, or ask for the batch it has.".format(batch, names[0] if names else "", list(first)),
        option="batch",
        value=str(batch),
    )
