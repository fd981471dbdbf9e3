"""The parts of the uncertainty of a run's power, each a standard uncertainty of the mean power over the run.

docs/methodology.md explains every part; power/reduction/budget.py shows them as a table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from power.reduction.energy import WindowEnergy
from power.reduction.idle import Idle
from power.uncertainty import Accuracy, Quantity


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run and the idle power it is held against are uncertain by.

    idle            None measures gross energy only
    accuracy        of the meter in the run; None if unknown
    idle_accuracy   of the meter in the idle windows
    same_range      whether both were read on one range of one meter, so that its offset cancels in the difference
    clock_bound_s   largest error of the run's edges on the trace's clock; None if unknown
    step_w          how far power steps at the run's edges
    is_counter, update_s, step_j   whether the meter counts energy, how often it renews its count, and in what steps
    """

    run: WindowEnergy
    idle: Idle | None
    accuracy: Accuracy | None
    idle_accuracy: Accuracy | None
    same_range: bool
    clock_bound_s: float | None
    step_w: float
    is_counter: bool
    update_s: float | None
    step_j: float | None = None

    def power_w(self) -> Quantity:
        """Return the mean power of the run."""
        power_w = self.run.mean_w
        meter = None if self.accuracy is None else self.accuracy.u_power_w(power_w)
        return Quantity.of(power_w, {"meter": meter, "noise": self._run_noise(), **self._edges()})

    def idle_power_w(self) -> Quantity | None:
        """Return the idle power; None without an idle model."""
        return None if self.idle is None else self.power_of(self.idle)

    def net_power_w(self) -> Quantity | None:
        """Return the power above idle; None without an idle model."""
        return None if self.idle is None else self.above(self.idle)

    def power_of(self, idle: Idle) -> Quantity:
        """Return an idle power."""
        if idle.given is not None:
            return idle.given
        meter = None if self.idle_accuracy is None else self.idle_accuracy.u_power_w(idle.mean_w)
        return Quantity.of(idle.mean_w, {"meter": meter, "idle": self.idle_noise(), "drift": idle.u_drift_w})

    def above(self, idle: Idle) -> Quantity:
        """Return the power above an idle power."""
        parts = {
            "meter": self._meter_net(idle),
            "noise": self._run_noise(),
            **self._edges(),
            "idle": self.idle_noise() if idle.given is None else idle.given.u_std,
            "drift": idle.u_drift_w,
        }
        return Quantity.of(self.run.mean_w - idle.mean_w, parts)

    def idle_noise(self) -> float | None:
        """Return what the scatter of the idle readings makes the model uncertain by; None if it cannot be told."""
        if self.idle is None or self._covers_noise:
            return 0.0
        if self.is_counter and self.idle.drift_w is not None and self.idle.u_noise_w is None:
            return 0.0  # read at its edges only: what idle power scatters by is what the drift part holds
        return self.idle.u_noise_w

    @property
    def stale_j(self) -> float:
        """What a counter makes the energy uncertain by: at either edge it is stale by up to one renewal, and up to one step."""
        return math.hypot(self.run.mean_w * (self.update_s or 0.0), self.step_j or 0.0) / math.sqrt(6.0)

    def _meter_net(self, idle: Idle) -> float | None:
        if self.accuracy is None:
            return None
        power_w, idle_w = self.run.mean_w, idle.mean_w
        if idle.given is not None:
            return self.accuracy.u_power_w(power_w)
        if self.same_range:
            return self.accuracy.u_difference_w(power_w, idle_w)
        if self.idle_accuracy is None:
            return None
        return math.hypot(self.accuracy.u_power_w(power_w), self.idle_accuracy.u_power_w(idle_w))

    def _run_noise(self) -> float | None:
        # A counter misses nothing of the run, however much the load scatters.
        return 0.0 if self._covers_noise or self.is_counter else self.run.u_noise_w

    @property
    def _covers_noise(self) -> bool:
        return self.accuracy is not None and self.accuracy.covers_noise

    def _edges(self) -> dict[str, float | None]:
        duration_s = self.run.window.duration_s
        # Both edges blur the same way, so their errors add. Where power steps just at the edges, as it does between idle and
        # run, the error is made in full: it is no limit that is seldom reached.
        edges_j = self.step_w * self.run.blur_s
        clock = None
        if self.clock_bound_s is not None:
            clock = math.sqrt(2.0) * self.step_w * self.clock_bound_s / math.sqrt(3.0) / duration_s
        return {"edges": math.hypot(edges_j, self.stale_j) / duration_s, "clock": clock}
