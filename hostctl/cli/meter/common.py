"""What reading, checking and calibrating share: the meter of a name, the lease on it, numbers typed in."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from hostctl.cli.output import DASH, number
from hostctl.errors import UsageError

if TYPE_CHECKING:
    from hostctl.inventory import Inventory, MeterConfig
    from power.meter import Meter


class WattsType(click.ParamType[float]):
    """A finite number of watts from 0 on."""

    name = "watts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or refuse."""
        try:
            found = float(value)
        except ValueError:
            self.fail(f"'{value}' is no number; write watts, such as 2.5.", param, ctx)
        if not math.isfinite(found) or found < 0.0:
            self.fail(f"'{value}' must be a finite number of watts from 0 on.", param, ctx)
        return found


class ReferenceValueType(click.ParamType["tuple[float, float]"]):
    """WATTS or WATTS±U as read from an instrument: value and standard uncertainty.

    U is expanded (k = 2); without it the last digit that was typed is the resolution.
    """

    name = "watts[±u]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """Return value and standard uncertainty, W, or refuse."""
        if isinstance(value, tuple):
            return value
        text, sign, u = (part.strip() for part in value.replace("+-", "±").partition("±"))
        try:
            found, expanded = float(text), float(u) if sign else 0.0
        except ValueError:
            self.fail(f"'{value}' is no reading; write watts such as 2.503 or 2.503±0.002.", param, ctx)
        if not (math.isfinite(found) and math.isfinite(expanded) and expanded >= 0.0):
            self.fail(f"'{value}' must be finite, and its uncertainty 0 or more.", param, ctx)
        return found, expanded / 2.0 if sign else last_digit(text) / math.sqrt(12.0)


def last_digit(text: str) -> float:
    """Return what one step of the last digit of a number is worth, such as 0.001 of 2.503."""
    mantissa, _, exponent = text.strip().lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(f"1e{int(exponent or 0) - decimals}")


WATTS = WattsType()
REFERENCE_VALUE = ReferenceValueType()


def config_of(name: str, inventory: Inventory) -> MeterConfig:
    """Return the settings of a meter that can be read without a board. Raises UsageError."""
    from hostctl.inventory import MeterConfig
    from hostctl.session.meters import NONE, check_meter_name

    check_meter_name(name, inventory)
    config = inventory.meters.get(name) or MeterConfig(name, name)
    if name == NONE or config.driver in ("board", "estimate"):
        raise UsageError(
            f"'{name}' is no instrument by itself, a board's daemon reads it; watch it with hostctl power DEVICE."
        )
    return config


@contextlib.contextmanager
def held(*names: str) -> Iterator[None]:
    """Keep runs off these meters for the length of the block. Raises NothingFree if one is in use.

    A device that the user reserved together with its meter is the user's; then nothing has to be taken.
    """
    from hostctl.inventory import Device, local_board
    from hostctl.leases.model import State
    from hostctl.session.progress import progress_on
    from hostctl.session.reservation import Wanted, open_leases, person, reserved

    store = open_leases()
    try:
        own = [lease for lease in store.list() if lease.state is State.ACTIVE and lease.holder == person()]
    finally:
        store.close()
    mine = {name for lease in own for claim in lease.claims for name in claim.instruments}
    wanted = frozenset(names) - mine
    if not wanted:
        yield
        return
    bench = Device(f"bench of {', '.join(sorted(wanted))}", None, local_board())
    with reserved(Wanted([bench], {bench.name: wanted}, wait=False), progress_on()):
        yield


def name_of(meter: Meter) -> str:
    """Return driver, model, serial number and range of an open meter for people."""
    identity = meter.identity
    parts = (meter.driver, identity.model, identity.serial and f"serial {identity.serial}", meter.range_text)
    return ", ".join(part for part in parts if part)


def with_u(value: float, u: float | None, digits: int = 6) -> str:
    """Return a power with its expanded uncertainty."""
    return f"{number(value, digits)} W ± {DASH if u is None else number(u, 2) + ' W (k = 2)'}"
