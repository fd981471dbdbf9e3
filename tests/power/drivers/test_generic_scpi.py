"""Any SCPI instrument: what farm.toml says is asked, and nothing else; its numbers against a simulated supply; its failures."""

from __future__ import annotations

import pytest

from power.drivers.generic_scpi import GenericScpi
from power.errors import NoReading, ReplyInvalid
from power.options import Options
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.common.load import Load
from power.sim.common.waveforms import Constant
from power.sim.generic_scpi import SimulatedGenericScpi
from tests.power.dialogue import Dialogue, Step
from tests.power.scpi_trouble import (
    recorded,
    recording,
)
from tests.power.trials import (
    Levels,
    Timing,
    check_coverage,
    check_in_real_time,
    specimens,
)

IDN = ("*IDN?", "GW-Instek,GPP-4323,GER123456,V1.17")
NO_ERROR = ("SYST:ERR?", '0,"No error"')
BOTH: dict[str, object] = {
    "resource": "X",
    "identification": "GPP-4323",
    "voltage_query": "MEAS:VOLT?",
    "current_query": "MEAS:CURR?",
}


def scripted(steps: list[Step], **settings: object) -> tuple[GenericScpi, Dialogue]:
    line = Dialogue(steps)
    meter = GenericScpi.from_options(Options({**BOTH, **settings}, "'m'"), VirtualTime())
    meter._link = line
    return meter, line


def test_dialogue() -> None:
    meter, line = scripted(
        [
            IDN,
            "*CLS",
            "SENS:AVER 10",
            "OUTP:TRAC 0",
            NO_ERROR,
            ("MEAS:VOLT?", "5.0"),
            ("MEAS:CURR?", "1.5"),
            ("MEAS:VOLT?", "5.0"),
            ("MEAS:CURR?", "9.9E37"),
            ("MEAS:VOLT?", "5.0"),
            ("MEAS:CURR?", "9.91E37"),
            NO_ERROR,
            "SYST:LOC",
        ],
        set_up=["SENS:AVER 10", "OUTP:TRAC 0"],
        make_safe=["SYST:LOC"],
    )
    assert meter.connect().serial == "GER123456"
    meter.begin()
    sample = meter.read()
    assert (sample.power_w, sample.voltage_v, sample.current_a, sample.is_clipped) == (7.5, 5.0, 1.5, False)
    over = meter.read()
    assert (over.power_w, over.is_clipped) == (None, True)
    nothing = meter.read()
    assert (nothing.power_w, nothing.is_clipped) == (None, False)
    meter.end()
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_dialogue_of_power_without_an_error_queue() -> None:
    line = Dialogue([IDN, ("POW?", "12.5")])
    meter = GenericScpi(
        "X", VirtualTime(), identification="GPP", power_query="POW?", error_query=None, link=line
    )
    meter.connect()
    meter.begin()
    assert meter.read().power_w == 12.5
    meter.end()
    meter.make_safe()
    line.check_used_up()


def test_dialogue_of_a_current_on_a_known_supply() -> None:
    line = Dialogue([IDN, "*CLS", NO_ERROR, ("MEAS:CURR?", "0.5")])
    meter = GenericScpi(
        "X", VirtualTime(), identification="GPP", current_query="MEAS:CURR?", supply_v=12.0, link=line
    )
    meter.connect()
    sample = meter.read()
    assert (sample.power_w, sample.voltage_v) == (6.0, None)
    line.check_used_up()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ("", NoReading, "with nothing"),
        ("5.0 V", ReplyInvalid, "no number"),
        ("1.0,2.0", ReplyInvalid, "no number"),
    ],
)
def test_answers_that_are_no_numbers_are_refused(answer: str, error: type[Exception], words: str) -> None:
    meter, _ = scripted([IDN, "*CLS", NO_ERROR, ("MEAS:VOLT?", answer)])
    meter.connect()
    with pytest.raises(error, match=words):
        meter.read()


@pytest.mark.slow
def test_energies_lie_within_their_uncertainty() -> None:
    check_coverage(
        "scpi",
        specimens(SimulatedGenericScpi),
        timing=Timing(3.0, 8.0, 0.8),
        levels=Levels(inference_hz=211.0),
    )


@pytest.mark.slow
def test_energy_of_voltage_and_current_in_real_time() -> None:
    queries = {"voltage_query": "MEAS:VOLT?", "current_query": "MEAS:CURR?"}

    class Asked(SimulatedGenericScpi):
        @property
        def options(self) -> dict[str, object]:
            """Voltage and current instead of power."""
            return {key: value for key, value in super().options.items() if key != "power_query"} | queries

    check_in_real_time("scpi", specimens(Asked), timing=Timing(1.0, 1.5, 0.5))


def test_slow_answers_widen_the_bound() -> None:
    trace, _ = recorded(SimulatedGenericScpi, {}, Faults(delay_s=0.02))
    assert trace.power_w == pytest.approx(3.0)
    assert trace.clock_bound_s == pytest.approx(0.01)


def test_readings_over_the_range_are_no_readings() -> None:
    time = VirtualTime()
    source = SimulatedGenericScpi(Load(Constant(3.0)), timebase=time, faults=Faults(clip_w=2.0))
    with (
        recording(source, time, {}) as meter,
        pytest.raises(NoReading, match="over its range; set a larger one"),
    ):
        meter.stop()


def test_it_is_left_safe() -> None:
    _, source = recorded(SimulatedGenericScpi, {}, Faults())
    assert source.received[-1] == "SYST:LOC"
