"""Which idle states a run is held against besides the loaded, idle one, and where each is from. Pure."""

from __future__ import annotations

from hostctl.errors import UsageError
from hostctl.inventory import Device
from hostctl.session.plan import Plan, StateChoice
from power.uncertainty import COVERAGE, Quantity


def choices(plan: Plan, device: Device) -> list[StateChoice]:
    """Return those farm.toml states for the device, then what the command line adds or states anew."""
    found = {state.name: StateChoice(state.name, state.power_w, state.u_w) for state in device.idle_states}
    for state in plan.idle_states:
        if state.power_w is not None or state.name not in found:
            found[state.name] = state
    return list(found.values())


def measured_state(plan: Plan, device: Device) -> str | None:
    """Return the state that has to be measured before the model is loaded, None if none is.

    Raises UsageError if there are several, for a board passes only one such moment, or no window to measure it in.
    """
    names = [choice.name for choice in choices(plan, device) if choice.power_w is None]
    if not names:
        return None
    if len(names) > 1:
        raise UsageError(
            f"Only one idle state can be measured before the model is loaded, not {' and '.join(names)}; give the power "
            "of the others, as in --idle-state NAME=WATTS."
        )
    if plan.idle_s == 0.0:
        raise UsageError(
            f"The idle state '{names[0]}' needs a window to be measured in; give --idle longer than 0s."
        )
    return names[0]


def description(name: str, plan: Plan, device: Device, is_measured: bool) -> str:
    """Return in words what the board did in a state."""
    if is_measured:
        return "farmd serves, no model is loaded"
    if any(state.name == name and state.power_w is not None for state in plan.idle_states):
        return "given on the command line"
    told = {state.name: state.description for state in device.idle_states}
    return told.get(name) or "given in farm.toml"


def stated(power_w: float, u_w: float | None) -> Quantity:
    """Return a power that somebody stated with its expanded uncertainty; None: unknown."""
    return Quantity.of(power_w, {"stated": None if u_w is None else u_w / COVERAGE})
