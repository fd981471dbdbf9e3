"""One reading of a source of power. Standard library only: the board's daemon imports this."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading; what a source lacks, or could not tell this time, is None.

    time_ns     `time.monotonic_ns` of the reading: the middle of a read, or the arrival of what came by itself
    energy_j    counted since any origin, never decreasing
    is_clipped  whether the source was at its limit, None if it cannot tell
    """

    time_ns: int
    power_w: float | None = None
    voltage_v: float | None = None
    current_a: float | None = None
    energy_j: float | None = None
    is_clipped: bool | None = None
