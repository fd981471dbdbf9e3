"""Which idle states a run is held against, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hostctl.errors import UsageError
from hostctl.inventory import Device, StatedIdle
from hostctl.session.idlestates import choices, description, measured_state, stated
from hostctl.session.modelchoice import ModelChoice
from hostctl.session.plan import Plan, StateChoice

BOARD = Device(
    "fpga",
    "a:1",
    "generic-aarch64",
    idle_states=(StatedIdle("unconfigured", 5.2, 0.1, "no bitstream"), StatedIdle("off", 0.2)),
)


def plan(*states: StateChoice, **options: Any) -> Plan:
    return Plan(models=(ModelChoice(Path("net.onnx"), "onnx"),), idle_states=states, **options)


def test_farm_toml_states_and_the_command_line_adds_or_states_anew() -> None:
    found = choices(plan(StateChoice("booted"), StateChoice("off", 0.3)), BOARD)
    assert found == [StateChoice("unconfigured", 5.2, 0.1), StateChoice("off", 0.3), StateChoice("booted")]
    # A name alone means the one that is stated.
    assert choices(plan(StateChoice("unconfigured")), BOARD)[0].power_w == 5.2


def test_one_state_is_measured_before_the_load() -> None:
    assert measured_state(plan(), BOARD) is None
    assert measured_state(plan(StateChoice("booted")), BOARD) == "booted"
    with pytest.raises(UsageError, match="not a and b; give the power"):
        measured_state(plan(StateChoice("a"), StateChoice("b")), BOARD)
    with pytest.raises(UsageError, match="--idle longer than 0s"):
        measured_state(plan(StateChoice("booted"), idle_s=0.0), BOARD)


def test_states_are_described() -> None:
    told = plan(StateChoice("off", 0.3), StateChoice("booted"))
    assert description("unconfigured", told, BOARD, False) == "no bitstream"
    assert description("off", told, BOARD, False) == "given on the command line"
    assert description("off", plan(), BOARD, False) == "given in farm.toml"
    assert description("booted", told, BOARD, True) == "farmd serves, no model is loaded"


def test_a_stated_uncertainty_is_expanded() -> None:
    assert stated(5.2, 0.1).u_std == pytest.approx(0.05)
    assert stated(5.2, None).u_std is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"idle_model": "fixed"}, "belong together"),
        ({"idle_w": 4.0}, "belong together"),
        ({"idle_u_w": 0.1}, "--idle-u is the uncertainty of --idle-w"),
        ({"idle_model": "before", "idle_s": 0.0}, "needs an idle window"),
        ({"idle_model": "median"}, "--idle-model 'median' is not known"),
        ({"idle_states": (StateChoice("loaded"),)}, "names of their own"),
        ({"idle_states": (StateChoice("a"), StateChoice("a"))}, "none twice"),
        ({"align": "gps"}, "--align 'gps' is not known"),
        ({"rules": "spec"}, "--rules 'spec' is not known"),
        ({"settle_s": -1.0}, "--settle must be"),
    ],
)
def test_what_cannot_be_planned(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Plan(models=(ModelChoice(Path("net.onnx"), "onnx"),), **options)


def test_how_long_the_board_rests() -> None:
    assert plan(idle_s=2.0).rest_s == pytest.approx(0.4)
    assert plan(idle_s=60.0).rest_s == 1.0
    assert plan(rules="mlperf").rest_s == 10.0
    assert plan(rules="mlperf", settle_s=0.1).rest_s == 0.1
    assert plan(idle_s=0.0).rest_s == 0.0
    assert not plan(idle_model="fixed", idle_w=4.0).measures_idle
