"""Meters made of this machine's own rails: what rapl.py and hwmon.py have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from power.errors import MeterUnavailable
from power.meter import Capabilities, Meter, shared_reading, widest
from power.rails import Rail, RailReader, discover, total_rails
from power.sampler import Sampler, trace_of
from power.trace import Reading, Trace, total
from power.uncertainty import stated_accuracy

LEAST_INTERVAL_S = 0.01
"""Polling a sensor faster than this would itself be load on the machine that is measured."""


class SysfsMeter(Meter):
    """The sum of the rails that make up the whole, or of those that are named.

    Options: `rails` (names of rails), `interval_s` (time between samples), `accuracy` (limits of error of the sum, as in
    `stated_accuracy`; no interface tells them). `root` is where the file system starts, for tests.
    Counters are read at marks and often enough never to miss a wrap; other rails are sampled by a sleeping thread.
    """

    rail_drivers: tuple[str, ...] = ()
    wrap_guard_s = 60.0

    def __init__(
        self,
        name: str,
        *,
        rails: Sequence[str] = (),
        interval_s: float | None = None,
        accuracy: Mapping[str, object] | None = None,
        root: Path = Path("/"),
    ) -> None:
        super().__init__(name)
        self._accuracy = None if accuracy is None else stated_accuracy(accuracy, name)
        self._wanted, self._interval_s, self._root = tuple(rails), interval_s, root
        self._rails: list[Rail] = []
        self._samplers: list[Sampler] = []

    @property
    def capabilities(self) -> Capabilities:
        """What the rails say of themselves."""
        reading = self._reading
        resolutions = [rail.resolution_w for rail in self._rails if rail.resolution_w is not None]
        return Capabilities(
            reading=reading,
            scope=widest(rail.scope for rail in self._rails),
            rate_hz=None if reading == "counter" else 1.0 / self._period_s,
            resolution_w=sum(resolutions) if len(resolutions) == len(self._rails) and resolutions else None,
            accuracy=self._accuracy,
        )

    def _open(self) -> None:
        found = [rail for rail in discover(self._root) if rail.driver in self.rail_drivers]
        if not found:
            raise MeterUnavailable(
                f"This machine has no {self.driver} rails; 'hostctl doctor' tells which meters it has."
            )
        names = self._wanted or total_rails(found)
        known = {rail.name: rail for rail in found}
        if not names:
            raise MeterUnavailable(
                f"It is not known which of this machine's rails ({', '.join(known)}) make up the whole; "
                "name them with rails = […]."
            )
        missing = [name for name in names if name not in known]
        if missing:
            raise MeterUnavailable(f"There is no rail '{missing[0]}'; this machine has {', '.join(known)}.")
        self._rails = [known[name] for name in names]
        for rail in self._rails:
            if rail.unreadable_reason:
                raise MeterUnavailable(rail.unreadable_reason)
        shared_reading(rail.reading for rail in self._rails)

    def _start(self) -> None:
        self._samplers = [Sampler(RailReader(rail).read, self._period_s) for rail in self._rails]
        for sampler in self._samplers:
            sampler.start()

    def _mark(self) -> None:
        if self._reading == "counter":
            for sampler in self._samplers:
                sampler.take()

    def _stop(self) -> Trace:
        counter = self._reading == "counter"
        samples = [sampler.stop() for sampler in self._samplers]
        interval_s = None if counter else self._period_s
        traces = [trace_of(one, self._reading, interval_s) for one in samples]
        return replace(
            total(traces),
            update_s=self._update_s if counter else None,
            averaging_s=self._update_s if self._reading == "average" else None,
        )

    def _close(self) -> None:
        self._samplers = []

    @property
    def _reading(self) -> Reading:
        return shared_reading(rail.reading for rail in self._rails)

    @property
    def _update_s(self) -> float | None:
        rates_hz = [rail.rate_hz for rail in self._rails]
        known = [rate_hz for rate_hz in rates_hz if rate_hz]
        return 1.0 / min(known) if known and len(known) == len(rates_hz) else None

    @property
    def _period_s(self) -> float:
        if self._reading == "counter":
            return self.wrap_guard_s
        rates_hz = [rail.rate_hz for rail in self._rails if rail.rate_hz]
        own_s = 1.0 / min(rates_hz) if rates_hz else 0.1
        return max(self._interval_s or own_s, LEAST_INTERVAL_S)
