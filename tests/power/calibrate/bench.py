"""A bench in virtual time: a load with a knob, and meters that read it with known errors."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

import numpy as np

from power import calibrate
from power.meter import Capabilities, Identity, Kind, Meter
from power.sim.common.clock import VirtualTime
from power.trace import Reading, Trace
from power.uncertainty import Accuracy, GainOffset

DAY = datetime.date(2026, 11, 21)
LOADS_W = (0.0, 1.0, 2.5, 5.0)


@dataclass
class Load:
    """What is connected."""

    power_w: float = 0.0
    drift_w_per_s: float = 0.0


class FakeMeter(Meter):
    """Reads gain × load + offset + noise, `rate_hz` times a second."""

    driver = "fake"

    def __init__(
        self,
        name: str,
        load: Load,
        time: VirtualTime,
        *,
        gain: float = 1.0,
        offset_w: float = 0.0,
        noise_w: float = 0.002,
        rate_hz: float = 10.0,
        seed: int = 1,
        serial: str | None = "SN1",
        model: str | None = "F100",
        range_text: str | None = "15 V / 1 A",
        accuracy: Accuracy | None = None,
        kind: Kind = "measured",
        reading: Reading = "instantaneous",
        clip_w: float | None = None,
    ) -> None:
        super().__init__(name)
        self.load, self.time = load, time
        self.gain, self.offset_w, self.noise_w, self.clip_w = gain, offset_w, noise_w, clip_w
        self.rate_hz = rate_hz
        self.setup: str | None = None
        self.range, self.kind, self.same_range, self.reading_kind = range_text, kind, True, reading
        self.stated = accuracy
        self.told = Identity("Maker", model, serial, "1.0")
        self.is_reached = False
        self._rng = np.random.default_rng(seed)
        self._start_s = 0.0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            self.reading_kind,
            "board",
            self.rate_hz,
            accuracy=self.stated,
            kind=self.kind,
            same_range=self.same_range,
        )

    @property
    def identity(self) -> Identity:
        return self.told

    @property
    def range_text(self) -> str | None:
        return self.range

    def begin_ranging(self) -> bool:
        self.range = "300 V / 20 A"
        return True

    @property
    def setup_text(self) -> str | None:
        return self.setup

    def fix_ranges(self) -> None:
        self.range = "15 V / 1 A"

    def _open(self) -> None:
        self.is_reached = True

    def _start(self) -> None:
        self._start_s = self.time.now_ns() / 1e9

    def _stop(self) -> Trace:
        past_s = self.time.now_ns() / 1e9 - self._start_s
        t_s = self._start_s + np.arange(int(past_s * self.rate_hz) + 1) / self.rate_hz
        true_w = self.load.power_w + self.load.drift_w_per_s * (t_s - t_s[0])
        power_w = self.gain * true_w + self.offset_w + self._rng.normal(0.0, 1.0, len(t_s)) * self.noise_w
        interval_s = 1.0 / self.rate_hz
        if self.reading_kind == "counter":
            energy_j = np.cumsum(power_w) * interval_s
            return Trace(t_s, energy_j=energy_j, reading="counter", interval_s=interval_s)
        clipped = None if self.clip_w is None else power_w >= self.clip_w
        return Trace(t_s, power_w=power_w, interval_s=interval_s, clipped=clipped)

    def _close(self) -> None:
        self.is_reached = False


@dataclass
class Laboratory:
    """A meter under test (reads (true − 0.02) / 1.01) and a reference with a common gain and offset error, on one load."""

    gain: float = 1.0 / 1.01
    offset_w: float = -0.02 / 1.01
    noise_w: float = 0.002
    reference_gain: float = 0.0
    reference_offset_w: float = 0.0
    seed: int = 1
    time: VirtualTime = field(default_factory=VirtualTime)
    load: Load = field(default_factory=Load)

    def meter(self, **how: object) -> FakeMeter:
        """The meter under test."""
        given: dict[str, object] = {
            "gain": self.gain,
            "offset_w": self.offset_w,
            "noise_w": self.noise_w,
            "seed": self.seed,
        }
        return FakeMeter("m1", self.load, self.time, **{**given, **how})  # type: ignore[arg-type]

    def reference(self, **how: object) -> FakeMeter:
        """What it is compared with."""
        given: dict[str, object] = {
            "gain": 1.0 + self.reference_gain,
            "offset_w": self.reference_offset_w,
            "noise_w": 0.0005,
            "seed": self.seed + 1_000_000,
            "serial": "REF7",
            "accuracy": GainOffset(3e-4, 5e-4, source="certificate K-77"),
        }
        return FakeMeter("ref", self.load, self.time, **{**given, **how})  # type: ignore[arg-type]

    def calibrate(
        self, meter: FakeMeter, reference: FakeMeter, loads_w: tuple[float, ...] = LOADS_W
    ) -> calibrate.Certificate:
        """Calibrate without a person; meters must be open."""
        guide = calibrate.Guide(calibrate.Plan(loads_w))
        bench = calibrate.Bench(meter, reference, duration_s=5.0, settle_s=1.0, timebase=self.time)

        def measure(step: calibrate.Step) -> calibrate.Point:
            assert step.load_w is not None
            self.load.power_w = step.load_w
            return bench.compare(step.load_w)

        calibrate.walk(guide, measure, repeats=10)
        return guide.certify(calibrate.subject_of(meter), calibrate.reference_of(reference), conditions())


def conditions() -> calibrate.Conditions:
    """Who signs, and when."""
    return calibrate.Conditions(
        DAY, DAY + datetime.timedelta(days=365), 'Ada "the operator" Löve', 23.0, 45.0
    )


def points_of(
    gain: float = 1.01,
    offset_w: float = 0.02,
    *,
    loads_w: tuple[float, ...] = LOADS_W,
    u_w: float = 0.001,
    seed: int | None = None,
) -> list[calibrate.Point]:
    """Points on a line, scattered by `u_w` in both directions where a seed is given."""
    rng = np.random.default_rng(seed)
    scatter = np.zeros((2, len(loads_w))) if seed is None else rng.normal(0.0, u_w, (2, len(loads_w)))
    return [
        calibrate.Point(w, (w - offset_w) / gain + scatter[0, i], u_w, w + scatter[1, i], u_w)
        for i, w in enumerate(loads_w)
    ]


def certificate_of(points: list[calibrate.Point] | None = None, **subject: object) -> calibrate.Certificate:
    """A certificate of the fake meter."""
    given: dict[str, object] = {
        "name": "m1",
        "driver": "fake",
        "maker": "Maker",
        "model": "F100",
        "serial": "SN1",
        "firmware": "1.0",
        "range": "15 V / 1 A",
    }
    found = points or points_of()
    reference = calibrate.Reference("ref", "REF7", "K-77", 3e-4, 5e-4, 0.0)
    return calibrate.Certificate(
        calibrate.Subject(**{**given, **subject}),  # type: ignore[arg-type]
        reference,
        conditions(),
        tuple(found),
        calibrate.fit(found),
    )
