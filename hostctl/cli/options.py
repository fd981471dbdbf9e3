"""Option types and options that several verbs share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from hostctl.main import Settings

F = TypeVar("F", bound=Callable[..., Any])
_UNITS_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)")


def examples(*lines: str) -> str:
    """Return the end of a command's help: commands to copy."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class DurationType(click.ParamType[float]):
    """A time with its unit, such as 500ms, 10s, 2m or 1h30m, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds, or refuse with an example."""
        if isinstance(value, int | float):
            return float(value)
        parts = _DURATION.findall(value)
        spelled = "".join(number + unit for number, unit in parts)
        if not parts or spelled != value.replace(" ", "") or any(unit not in _UNITS_S for _, unit in parts):
            self.fail(
                f"'{value}' is no duration; write it with its unit, such as 500ms, 10s or 2m.", param, ctx
            )
        return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


class SpanType(DurationType):
    """A time that is not 0."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds, or refuse."""
        span_s = super().convert(value, param, ctx)
        if span_s == 0.0:
            self.fail("it must be longer than 0s.", param, ctx)
        return span_s


class PositiveNumber(click.ParamType[float]):
    """A finite number above zero, exponents allowed."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or refuse."""
        try:
            number = float(value)
        except ValueError:
            self.fail(f"'{value}' is no number; write for example 7.78e9.", param, ctx)
        if not math.isfinite(number) or number <= 0.0:
            self.fail(f"'{value}' must be a finite number above 0.", param, ctx)
        return number


class ListOf(click.ParamType[tuple[Any, ...]]):
    """Values joined by commas, none twice."""

    def __init__(self, each: click.ParamType[Any]) -> None:
        self.each = each
        self.name = f"{each.name},…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """Return the values in their order."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if "" in parts:
            self.fail(f"'{value}' has an empty entry; join values by single commas.", param, ctx)
        values = tuple(self.each.convert(part, param, ctx) for part in parts)
        if len(set(values)) != len(values):
            self.fail(f"'{value}' names something twice.", param, ctx)
        return values


class KeyValue(click.ParamType[tuple[str, str]]):
    """KEY=VALUE."""

    name = "key=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return the pair, or refuse."""
        if isinstance(value, tuple):
            return value
        key, equals, rest = value.partition("=")
        if not equals or not key.strip():
            self.fail(f"'{value}' is not KEY=VALUE.", param, ctx)
        return key.strip(), rest.strip()


class ShapeType(click.ParamType[tuple[str, str]]):
    """INPUT=1,3,224,224: the shape an input with open dimensions is given."""

    name = "input=shape"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return the input's name and the shape as the protocol takes it, or refuse."""
        if isinstance(value, tuple):
            return value
        name, equals, shape = value.rpartition("=")
        sizes = [size.strip() for size in shape.split(",")]
        if not equals or not name or not all(size.isdigit() and int(size) > 0 for size in sizes):
            self.fail(f"'{value}' is no shape; write for example input=1,3,224,224.", param, ctx)
        return name, ",".join(sizes)


class IdleStateType(click.ParamType["tuple[str, float | None, float | None]"]):
    """NAME, NAME=WATTS or NAME=WATTS±U: an idle state, measured or given."""

    name = "name[=watts[±u]]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float | None, float | None]:
        """Return name, power in W and its expanded uncertainty (None where not given), or refuse."""
        if isinstance(value, tuple):
            return value
        name, equals, rest = (part.strip() for part in value.partition("="))
        if not name or (equals and not rest):
            self.fail(
                f"'{value}' is no idle state; write NAME, or NAME=WATTS±U such as booted=5.2±0.1.", param, ctx
            )
        if not equals:
            return name, None, None
        power, sign, u = (part.strip() for part in rest.replace("+-", "±").partition("±"))
        u_w = None if not sign else PositiveNumber().convert(u, param, ctx)
        return name, PositiveNumber().convert(power, param, ctx), u_w


DURATION, SPAN = DurationType(), SpanType()
IDLE_STATE = IdleStateType()
NUMBER = PositiveNumber()
WORDS = ListOf(click.STRING)
BATCHES = ListOf(click.IntRange(1, 1_000_000))
KEY_VALUE = KeyValue()
SHAPE = ShapeType()


def complete_device(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return device names for the shell; an inventory that cannot be read completes nothing."""
    from hostctl.errors import HostctlError
    from hostctl.inventory import load_inventory

    root = ctx.find_root()
    try:
        names = sorted(load_inventory(root.params.get("config")).devices)
    except HostctlError:
        names = ["local"]
    return [name for name in names if name.startswith(incomplete)]


def json_option(command: F) -> F:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def device_argument(command: F) -> F:
    """Add the positional DEVICE."""
    return click.argument("device", shell_complete=complete_device)(command)


pass_settings = click.make_pass_decorator(Settings)
