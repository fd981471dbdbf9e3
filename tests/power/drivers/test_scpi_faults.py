"""What can go wrong with every SCPI instrument of the catalogue, and a trial of each in real time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from power.catalogue import DRIVERS
from power.sim.common.faults import Faults
from power.sim.common.scpi import ScpiSimulator
from power.sim.generic_scpi import SimulatedGenericScpi
from power.sim.keysight_34465a import SimulatedKeysight34465a
from power.sim.keysight_infiniivision import SimulatedInfiniiVision
from power.sim.keysight_n6705 import SimulatedKeysightN6705
from power.sim.rigol_ds1000z import SimulatedRigolDs1000z
from power.sim.rigol_mso5000 import SimulatedRigolMso5000
from power.sim.rs_ngu import SimulatedRsNgu
from power.sim.siglent_sdm3055 import SimulatedSiglentSdm3055
from power.sim.siglent_sds import SimulatedSiglentSds
from power.sim.siglent_sds_legacy import SimulatedSiglentSdsLegacy
from power.sim.tektronix_mdo4000 import SimulatedMdo4000
from power.sim.yokogawa_wt310 import SimulatedWt310
from tests.power.scpi_trouble import (
    TROUBLE,
    check_doomed,
    check_refusal,
    check_switched_off,
    check_trouble,
    impatient,
)
from tests.power.trials import Timing, check_in_real_time, specimens

__all__ = ["impatient"]

BLOCKS = {"wrong length": Faults(wrong_length=True)}
ERROR = {"error": Faults(error="Overload")}
RECORD = BLOCKS | {"cut off in the block": Faults(truncate_at=5000)}
SINGLE_SHOT = {"power.drivers.common.single_shot.READ_S": 0.2}
MDO4000 = {"power.drivers.tektronix_mdo4000.TRANSFER_S": 0.2}
INFINIIVISION = {
    "power.drivers.keysight_infiniivision.TRANSFER_S": 0.2,
    "power.drivers.keysight_infiniivision.SLOWEST_BYTES_A_S": 1e9,
}
SHUNT: dict[str, object] = {
    "voltage": {"channel": 1, "range_v": 2.0, "offset_v": 5.0},
    "current": {"channel": 2, "shunt_ohm": 0.01, "range_v": 0.05},
}
FIXED: dict[str, object] = {"voltage_range_v": 15.0, "current_range_a": 2.0}
UPDATED: dict[str, object] = {**FIXED, "update_s": 0.25}
COUNTING: dict[str, object] = {**UPDATED, "mode": "integration"}
SAMPLES: dict[str, object] = {"acquisition": "sample", "rate_hz": 10_000.0}


Trial = tuple[type[ScpiSimulator], Timing, dict[str, object]]


@dataclass(frozen=True)
class Case:
    """An instrument and how it is tried.

    after_s    when the fault is looked for: for oscilloscopes, after the end of the record
    more       faults besides those that every instrument shows
    patience   what tells how long its transfers are waited for, and what to set it to
    """

    made: type[ScpiSimulator]
    options: dict[str, object] = field(default_factory=dict)
    after_s: float = 1.5
    more: dict[str, Faults] = field(default_factory=dict)
    patience: dict[str, float] = field(default_factory=dict)


CASES = {
    "scpi": Case(SimulatedGenericScpi, more=ERROR),
    "keysight-34465a": Case(SimulatedKeysight34465a, {"rate_hz": 100.0}, more=BLOCKS | ERROR),
    "keysight-n6705": Case(SimulatedKeysightN6705, more=BLOCKS | ERROR),
    "rs-ngu": Case(SimulatedRsNgu, {"rate_hz": 1e3}, more=BLOCKS | ERROR),
    "siglent-sdm3055": Case(SimulatedSiglentSdm3055, after_s=3.0, more=BLOCKS | ERROR),
    "yokogawa-wt310": Case(SimulatedWt310, UPDATED, 3.0, ERROR),
    "yokogawa-wt310, counting": Case(SimulatedWt310, COUNTING, 3.0, ERROR),
    "rigol-ds1000z": Case(SimulatedRigolDs1000z, {}, 120.0, RECORD, SINGLE_SHOT),
    "rigol-mso5000": Case(SimulatedRigolMso5000, {}, 120.0, RECORD, SINGLE_SHOT),
    "siglent-sds": Case(SimulatedSiglentSds, {}, 300.0, RECORD, SINGLE_SHOT),
    "siglent-sds-legacy": Case(SimulatedSiglentSdsLegacy, {}, 300.0, RECORD, SINGLE_SHOT),
    "keysight-infiniivision": Case(SimulatedInfiniiVision, SHUNT, 150.0, ERROR, INFINIIVISION),
    "tektronix-mdo4000": Case(SimulatedMdo4000, {**SHUNT, "rate_hz": 1000.0}, 150.0, ERROR, MDO4000),
}
TRIED = [(name, trouble) for name, case in CASES.items() for trouble in [*TROUBLE, *case.more]]

AT_ONCE = [
    *(
        ("keysight-infiniivision", faults)
        for faults in (
            Faults(truncate_at=3),
            Faults(truncate_at=70),
            Faults(truncate_at=5000),
            Faults(wrong_length=True),
            Faults(is_stale=True),
            Faults(silent_after=20),
            Faults(silent_after=52),
            Faults(disconnect_after=30),
            Faults(disconnect_after=52),
            Faults(garbage_after=30),
            Faults(garbage_after=52),
            Faults(error="Calibration due"),
        )
    ),
    *(
        ("tektronix-mdo4000", faults)
        for faults in (
            Faults(truncate_at=20),
            Faults(truncate_at=5000),
            Faults(wrong_length=True),
            Faults(is_stale=True),
            Faults(silent_after=13),
            Faults(silent_after=63),
            Faults(disconnect_after=23),
            Faults(disconnect_after=63),
            Faults(garbage_after=13),
            Faults(garbage_after=63),
            Faults(error="Calibration due"),
        )
    ),
]
"""Faults that begin among the commands that set an oscilloscope up, or among those that read it."""


@pytest.fixture
def case(request: pytest.FixtureRequest, impatient: None, monkeypatch: pytest.MonkeyPatch) -> Case:
    """The case of this name, its transfers not waited for."""
    found = CASES[request.param]
    for name, value in found.patience.items():
        monkeypatch.setattr(name, value)
    return found


def test_every_scpi_instrument_is_tried() -> None:
    assert {case.made.driver for case in CASES.values()} == {
        name for name in DRIVERS if DRIVERS[name].link == "scpi"
    }


@pytest.mark.parametrize(("case", "trouble"), TRIED, indirect=["case"])
@pytest.mark.slow
def test_trouble_in_mid_run(case: Case, trouble: str) -> None:
    check_trouble(case.made, case.options, {**TROUBLE, **case.more}[trouble], case.after_s)


@pytest.mark.parametrize(("case", "faults"), AT_ONCE, indirect=["case"])
def test_a_record_that_fails_is_one_sentence(case: Case, faults: Faults) -> None:
    check_doomed(case.made, case.options, faults)


@pytest.mark.parametrize("case", CASES, indirect=True)
@pytest.mark.slow
def test_switched_off_in_mid_run(case: Case) -> None:
    check_switched_off(case.made, case.options, case.after_s)


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"siglent-sds-legacy"}))  # which has no error queue
def test_errors_at_set_up(name: str) -> None:
    check_refusal(CASES[name].made, CASES[name].options)


SLOW: list[Trial] = [
    (SimulatedKeysight34465a, Timing(1.0, 1.5, 0.25), {"rate_hz": 5000.0}),
    (SimulatedKeysightN6705, Timing(1.0, 1.5, 0.25), {}),
    (SimulatedRsNgu, Timing(1.0, 1.5, 0.7), {"rate_hz": 50e3}),
    (SimulatedSiglentSdm3055, Timing(1.0, 2.0, 0.5), {"nplc": 0.3, "interval_s": 0.1}),
    (SimulatedWt310, Timing(1.0, 1.5, 0.25), {**FIXED, "update_s": 0.1}),
]
SHORT = Timing(0.3, 0.4, 0.08)
"""Short enough for a record of 2 s: time bases come in steps."""
SCOPES: list[Trial] = [
    (SimulatedRigolDs1000z, SHORT, {"rate_hz": 10_000.0}),
    (SimulatedRigolMso5000, SHORT, {"rate_hz": 10_000.0}),
    (SimulatedSiglentSds, SHORT, SAMPLES),
    (SimulatedSiglentSdsLegacy, SHORT, SAMPLES),
    (SimulatedInfiniiVision, SHORT, SHUNT),
    (SimulatedMdo4000, SHORT, {**SHUNT, "rate_hz": 10_000.0}),
]


def test_every_scpi_instrument_is_tried_in_real_time() -> None:
    tried = {made.driver for made, _, _ in [*SLOW, *SCOPES]} | {"scpi"}  # test_generic_scpi.py
    assert tried == {case.made.driver for case in CASES.values()}


@pytest.mark.slow
@pytest.mark.parametrize(("made", "timing", "options"), SLOW)
def test_energy_in_real_time(made: type[ScpiSimulator], timing: Timing, options: dict[str, object]) -> None:
    seed = 3 if made is SimulatedWt310 else 1
    check_in_real_time(made.driver, specimens(made), timing=timing, options=options, seed=seed)


@pytest.mark.parametrize(("made", "timing", "options"), SCOPES)
@pytest.mark.slow
def test_energy_of_a_record_in_real_time(
    made: type[ScpiSimulator], timing: Timing, options: dict[str, object]
) -> None:
    check_in_real_time(made.driver, specimens(made), timing=timing, options=options, seed=3)
