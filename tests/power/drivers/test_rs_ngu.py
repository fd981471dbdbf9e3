"""R&S NGU and NGM: the dialogue of FastLog, its numbers against the simulated one, skipped samples, failures."""

from __future__ import annotations

import numpy as np
import pytest

from power.catalogue import make_meter
from power.drivers.rs_ngu import RsNgu
from power.errors import NoReading, OptionInvalid, ReplyInvalid
from power.sim.common.clock import VirtualTime
from power.sim.common.faults import Faults
from power.sim.rs_ngu import SimulatedRsNgu
from tests.power.dialogue import Dialogue, Step
from tests.power.scpi_trouble import (
    recorded,
    recording,
    simulator,
)
from tests.power.trials import (
    Levels,
    Timing,
    check_coverage,
    specimens,
)

IDN = "Rohde&Schwarz,NGM202,3638.4472k03/100042,03.068"
NO_ERROR = ("SYST:ERR?", '0,"No error"')
SET_UP: list[Step] = [
    ("*IDN?", IDN),
    "*CLS",
    "FLOG:STAT 0",
    "INST OUT2",
    "FLOG:TARG SCPI",
    "FLOG:SRAT S010k",
    "STAT:OPER:INST:ISUM2:PTR 4096",
    "STAT:QUES:INST:ISUM2:PTR 2048",
    "SENS:CURR:RANG:AUTO OFF",
    "SENS:CURR:RANG 1",
    NO_ERROR,
]
OPERATION, QUESTIONABLE = "STAT:OPER:INST:ISUM2:EVEN?", "STAT:QUES:INST:ISUM2:EVEN?"
START: list[Step] = [(OPERATION, "4096"), (QUESTIONABLE, "2048"), "FLOG:STAT 1", NO_ERROR]
READY: list[Step] = [(OPERATION, "4096"), (QUESTIONABLE, "0")]


def pairs(*values: tuple[float, float]) -> bytes:
    return np.array(values, "<f4").tobytes()


def scripted(steps: list[Step]) -> tuple[RsNgu, Dialogue, VirtualTime]:
    line, time = Dialogue(steps), VirtualTime()
    return RsNgu("SCRIPT::INSTR", time, channel=2, current_range_a=1.0, link=line), line, time


def test_dialogue() -> None:
    meter, line, time = scripted(
        [
            *SET_UP,
            *START,
            (OPERATION, "0"),
            (QUESTIONABLE, "0"),
            *READY,
            ("FLOG:DATA?", pairs((5.0, 0.5), (5.0, 2.0))),
            *READY,
            ("FLOG:DATA?", pairs((4.0, 0.25))),
            "FLOG:STAT 0",
            NO_ERROR,
            "FLOG:STAT 0",
            "SYST:LOC",
        ]
    )
    assert meter.connect().model == "NGM202"
    start = meter.begin()
    assert start.earliest_ns == time.now_ns()
    assert meter.fetch() is None
    block = meter.fetch()
    assert block is not None
    assert block.clipped is not None
    assert block.power_w.tolist() == pytest.approx([2.5, 5.25])
    assert block.clipped.tolist() == [False, True]
    last = meter.end()
    assert last is not None
    assert (last.first_index, last.power_w.tolist()) == (2, [1.0])
    meter.make_safe()
    meter.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_automatic_ranges_are_said() -> None:
    line = Dialogue([*SET_UP[:-3], "SENS:CURR:RANG:AUTO ON", NO_ERROR])
    meter = RsNgu("SCRIPT::INSTR", VirtualTime(), channel=2, link=line)
    meter.connect()
    assert (meter.range_text, meter.same_range) == (None, False)
    line.check_used_up()


def test_skipped_samples_are_no_reading() -> None:
    meter, line, _ = scripted([*SET_UP, *START, (OPERATION, "4096"), (QUESTIONABLE, "2048")])
    meter.connect()
    meter.begin()
    with pytest.raises(NoReading, match="skipped samples"):
        meter.fetch()
    line.check_used_up()


def test_a_log_that_stays_silent_is_noticed_by_the_clock() -> None:
    meter, _, time = scripted([*SET_UP, *START, (OPERATION, "0"), (QUESTIONABLE, "0")])
    meter.connect()
    meter.begin()
    time.sleep(2.0)
    with pytest.raises(NoReading, match=r"is 2\.0 s behind"):
        meter.fetch()


@pytest.mark.parametrize(
    ("payload", "error", "words"),
    [
        (b"\0" * 10, ReplyInvalid, "10 bytes"),
        (pairs((float("nan"), 1.0)), NoReading, "without a value"),
    ],
)
def test_data_that_are_none_are_refused(payload: bytes, error: type[Exception], words: str) -> None:
    meter, _, _ = scripted([*SET_UP, *START, *READY, ("FLOG:DATA?", payload)])
    meter.connect()
    meter.begin()
    with pytest.raises(error, match=words):
        meter.fetch()


def test_a_channel_that_it_has_not_is_refused() -> None:
    meter, line, _ = scripted([("*IDN?", "Rohde&Schwarz,NGU401,3639.3763k04/101000,02.018")])
    with pytest.raises(OptionInvalid, match="channel is 2, but the NGU401 at 'SCRIPT::INSTR' has 1 only"):
        meter.connect()
    assert line.is_closed


@pytest.mark.slow
def test_energies_lie_within_their_uncertainty() -> None:
    check_coverage(
        "rs-ngu",
        specimens(SimulatedRsNgu),
        options={"rate_hz": 1e3},
        timing=Timing(2.0, 4.0, 0.8),
        levels=Levels(2.0, 6.0, 1777.0, burst_s=0.0002),
    )


def test_answers_so_slow_that_pieces_are_skipped() -> None:
    source, time = simulator(SimulatedRsNgu)
    with recording(source, time, {"rate_hz": 1e3}) as meter:
        source.faults = Faults(delay_s=0.6)
        time.sleep(1.0)
        with pytest.raises(NoReading, match="skipped"):
            meter.stop()


def test_slow_answers_widen_the_bound_only() -> None:
    trace, _ = recorded(SimulatedRsNgu, {"rate_hz": 1e3}, Faults(delay_s=0.02))
    assert trace.power_w is not None
    assert trace.power_w == pytest.approx(3.0, rel=1e-6)
    assert 0.005 < trace.clock_bound_s < 0.1


def test_a_clipped_current_is_marked() -> None:
    trace, _ = recorded(SimulatedRsNgu, {"rate_hz": 1e3}, Faults(clip_w=2.0))
    assert trace.clipped_count == len(trace)


def test_accuracy_is_what_farm_toml_states_or_unknown() -> None:
    source, time = simulator(SimulatedRsNgu)
    with source:
        settings = dict(source.options)
        with make_meter("n", "rs-ngu", settings, timebase=time) as meter:
            assert meter.capabilities.accuracy is not None
        del settings["accuracy"]
        with make_meter("n", "rs-ngu", settings, timebase=time) as meter:
            assert meter.capabilities.accuracy is None


def test_the_output_is_left_as_it_is() -> None:
    _, source = recorded(SimulatedRsNgu, {"rate_hz": 1e3}, Faults())
    assert source.received[-2:] == ["FLOG:STAT 0", "SYST:LOC"]
    assert not any(command.startswith("OUTP") for command in source.received)
