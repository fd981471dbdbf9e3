"""From what data sheets say of an instrument to what it means for power.

P = V · I with errors (gain g, offset o) of either: to first order the gains add, an offset of V acts on P as a gain of
o_V / V, and an offset of I as an offset of V · o_I. Between run and idle, read on one range, the latter cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

from power.uncertainty import GainOffset, limit, relative_product


@dataclass(frozen=True, slots=True)
class Specified:
    """Limits of error of one quantity: ±(of_reading × reading + offset), `offset` in V or A, range and counts included."""

    of_reading: float
    offset: float


EXACT = Specified(0.0, 0.0)


def product_accuracy(
    voltage: Specified, current: Specified, voltage_v: float, *, resolution_w: float = 0.0, source: str
) -> GainOffset:
    """Return the accuracy of P = V · I at a supply of about `voltage_v`; each limit is rectangular, all are independent.

    A supply that is not measured but given has its tolerance in `voltage.of_reading`.
    """
    u_gain = relative_product(
        limit(voltage.of_reading), limit(current.of_reading), limit(voltage.offset / voltage_v)
    )
    return GainOffset(u_gain, limit(voltage_v * current.offset), 0.0, resolution_w, source)
