"""What simulated Rigol and Siglent oscilloscopes share: a time base in squares, one acquisition or one after the other."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, Unpack

from power.drivers.common.scope import Mode, Record, ScopeModel
from power.drivers.common.single_shot import ROWS, step_up
from power.sim.common.load import Load
from power.sim.common.scope import ScopeSettings, SimulatedScope, State

FINE_RANGE_V = 0.08


class SimulatedSingleShot(SimulatedScope):
    """A scope that acquires again and again, or once. Subclasses say which points it takes.

    divisions   squares of its screen from left to right
    div_s       time base, s a square
    delay_s     time from the trigger to the middle of the screen
    runs        whether it acquires again and again: nothing of that can be read
    """

    divisions: int

    def __init__(self, load: Load, **settings: Unpack[ScopeSettings]) -> None:
        super().__init__(load, **settings)
        self.div_s, self.delay_s = 1e-3, 0.0
        self.runs = True

    @property
    def options(self) -> dict[str, object]:
        """The VISA address and what the probes are on; the shunt's range is one that 8 bits see enough of."""
        options = super().options
        current = options.get("current")
        if isinstance(current, dict) and "shunt_ohm" in current:
            return {**options, "current": {**current, "range_v": FINE_RANGE_V}}
        return options

    @abstractmethod
    def model_now(self) -> ScopeModel:
        """Return what it can do with the channels that are on."""

    @abstractmethod
    def points_now(self) -> int:
        """Return how many points an acquisition has."""

    @property
    def channels_on(self) -> list[int]:
        """Numbers of the channels that are on."""
        return [number for number, channel in self.channels.items() if channel.is_on]

    @property
    def doing(self) -> State | Literal["running"]:
        """What its status query tells."""
        return "running" if self.runs else self.state

    @property
    def length_s(self) -> float:
        """The time that the screen shows."""
        return self.divisions * self.div_s

    def set_running(self, runs: bool) -> None:
        """Acquire again and again, or no more."""
        self.halt()
        self.runs = runs

    def begin(self, mode: Mode = "sample") -> None:
        """Wait for one trigger."""
        points = self.points_now()
        self.record = Record(points, self.length_s / points, mode, 0.5 - self.delay_s / self.length_s)
        self.runs = False
        self.arm()

    def attenuate(self, channel: int, ratio: float) -> None:
        """Choose a probe, which scales the range."""
        here = self.channel(channel)
        here.range_v *= ratio / here.attenuation
        here.attenuation = ratio

    def set_scale(self, channel: int, scale_v: float) -> None:
        """Choose the range, V a square, in steps of 1-2-5."""
        self.channel(channel).range_v = ROWS * step_up(scale_v)

    def scale_v(self, channel: int) -> float:
        """Return the range, V a square."""
        return self.channel(channel).range_v / ROWS

    def at_most(self, depth: int) -> int:
        """Return how many points of a memory this deep are used: at the fastest rate, perhaps not all."""
        most = self.model_now().most_rate_hz * self.length_s
        return depth if depth <= most else round(most)

    def sendable(self, first: int, count: int) -> int:
        """Return how many of `count` points (0: all) from `first` on can be sent; none while it is at work."""
        left = max(0, self.points_ready - first)
        return min(count or left, left) if self.state == "stopped" else 0
