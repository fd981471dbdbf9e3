"""A stream of 1 MS/s, voltage and current, for 60 s: processor time of this side, and what was lost.

The instrument is simulated in another process and speaks the protocol of an R&S NGU's FastLog (blocks of float32 pairs, 8 MB/s
over TCP). This side is what a session does: pyvisa, the driver, the streamed meter, the trace on the host's clock, its energy.
Its processor time includes all of that, from `start` to the energy.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from typing import ClassVar

from benchmarks import Row
from benchmarks._stream_server import POWER, RATE_HZ, RATES
from benchmarks._streamed import device, record, rows
from power.drivers.rs_ngu import PIECE_S, RsNgu
from power.timebase import HOST_TIME

DURATION_S = 60.0
_GIB = 1 << 30


class _Stream(RsNgu):
    rates: ClassVar[Mapping[float, str]] = RATES


def run(duration_s: float = DURATION_S) -> list[Row]:
    """Measure; each row is a claim of docs/performance.md."""
    with device("_stream_server") as address:
        instrument = _Stream(address, HOST_TIME, current_range_a=3.0, rate_hz=RATE_HZ)
        found = record(instrument, POWER, RATE_HZ, duration_s, PIECE_S)
    what = f"1 MS/s for {duration_s:g} s"
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _GIB  # Linux counts in KiB
    return [
        *rows(what, found, duration_s, 0.001),
        Row(f"{what}: peak resident memory", peak_gib, "GiB", None, 2.0, "at most"),
    ]
