"""What the board would have drawn during a run if it had not worked: the idle models.

before, after   the mean of that window
linear          both windows, interpolated in time to the middle of the run
fixed           a given power, not measured in this run
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from power.errors import WindowInvalid
from power.reduction.energy import WindowEnergy
from power.trace import Window
from power.uncertainty import Accuracy, Quantity

IdleModel = Literal["before", "after", "linear", "fixed"]


@dataclass(frozen=True, slots=True)
class Idle:
    """Mean idle power over the run.

    drift_w     after − before, None unless both windows were measured
    u_drift_w   standard uncertainty because idle power need not have gone the way the model says; 0 if drift is unknown
    u_noise_w   standard uncertainty from the scatter of the idle readings, None if there are too few
    given       the quantity of model "fixed", which shares no error with the run; else None
    """

    model: IdleModel
    mean_w: float
    u_noise_w: float | None
    drift_w: float | None = None
    u_drift_w: float = 0.0
    given: Quantity | None = None


@dataclass(frozen=True, slots=True)
class IdleState:
    """A further state that a run is held against, such as an FPGA before it was configured. Power in W.

    u_noise_w   standard uncertainty from the scatter of its readings, None if there are too few
    given       its power where it was not measured with this meter; it then shares no error with the run
    accuracy    of the meter when it was measured, where another range had another; None: the same as in the run
    same_range  whether it was measured on the range of the run, so that the meter's offset cancels in the difference
    """

    name: str
    mean_w: float
    u_noise_w: float | None
    given: Quantity | None = None
    accuracy: Accuracy | None = None
    same_range: bool = True

    @classmethod
    def by_hand(cls, name: str, power_w: Quantity) -> IdleState:
        """Make it of a power that somebody states."""
        return cls(name, power_w.value, 0.0, power_w, None, False)

    @classmethod
    def seen(
        cls, name: str, window: WindowEnergy, *, accuracy: Accuracy | None = None, same_range: bool = True
    ) -> IdleState:
        """Make it of a window of this meter's readings."""
        return cls(name, window.mean_w, window.u_noise_w, None, accuracy, same_range)

    def as_idle(self) -> Idle:
        """Return it as the idle power of a run; nothing is known of its drift."""
        if self.given is not None:
            return Idle("fixed", self.mean_w, 0.0, None, 0.0, self.given)
        return Idle("before", self.mean_w, self.u_noise_w)


def idle_power(
    model: IdleModel,
    run: Window,
    before: WindowEnergy | None = None,
    after: WindowEnergy | None = None,
    given: Quantity | None = None,
) -> Idle:
    """Return the idle power during `run`. Raises WindowInvalid if the model lacks a window it needs or one overlaps."""
    if model not in get_args(IdleModel):
        raise WindowInvalid(f"The idle model is one of {', '.join(get_args(IdleModel))}, not '{model}'.")
    if before is not None and before.window.end_s > run.start_s:
        raise WindowInvalid("The idle window before the run ends after the run has begun.")
    if after is not None and after.window.start_s < run.end_s:
        raise WindowInvalid("The idle window after the run begins before the run has ended.")
    drift_w = None if before is None or after is None else after.mean_w - before.mean_w
    if model == "fixed":
        if given is None:
            raise WindowInvalid("The idle model 'fixed' needs an idle power; give it in watts.")
        return Idle(model, given.value, 0.0, drift_w, 0.0, given)
    if model == "linear":
        return _linear(run, _needed(before, model, "before"), _needed(after, model, "after"))
    window = _needed(before, model, "before") if model == "before" else _needed(after, model, "after")
    # Idle power lay somewhere between the two windows, and the model takes one of them.
    u_drift_w = 0.0 if drift_w is None else abs(drift_w) / math.sqrt(3.0)
    return Idle(model, window.mean_w, window.u_noise_w, drift_w, u_drift_w)


def _linear(run: Window, before: WindowEnergy, after: WindowEnergy) -> Idle:
    begin_s, end_s = before.window.middle_s, after.window.middle_s
    weight = (run.middle_s - begin_s) / (end_s - begin_s)
    drift_w = after.mean_w - before.mean_w
    noise: float | None = None
    if before.u_noise_w is not None and after.u_noise_w is not None:
        noise = math.hypot((1.0 - weight) * before.u_noise_w, weight * after.u_noise_w)
    mean_w = before.mean_w + weight * drift_w
    # Nobody saw whether it moved steadily: anywhere between the two windows, around the middle.
    return Idle("linear", mean_w, noise, drift_w, abs(drift_w) / math.sqrt(12.0))


def _needed(window: WindowEnergy | None, model: IdleModel, which: str) -> WindowEnergy:
    if window is None:
        raise WindowInvalid(f"The idle model '{model}' needs an idle window {which} the run; measure one.")
    return window
