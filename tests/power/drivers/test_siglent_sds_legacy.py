"""Older Siglent oscilloscopes: dialogue, batches, models, answers with and without units."""

from __future__ import annotations

import numpy as np
import pytest

from power.drivers.common.scope import ChannelSetting, Record
from power.drivers.common.single_shot import parse_value, spans, step_up
from power.drivers.siglent_sds_legacy import SiglentSdsLegacy, limits
from power.errors import InstrumentError, ReplyInvalid
from power.sim.common.clock import VirtualTime
from power.timebase import HOST_TIME
from power.transports.block import header_length
from tests.power.dialogue import Dialogue, Step
from tests.power.scpi_trouble import one_sentence

IDN = "Siglent Technologies,SDS1104X-E,SDSMMGKC000001,8.3.6.1.37R8"
CONNECT: list[Step] = [("*IDN?", IDN), "CHDR OFF"]
CHANNELS = [ChannelSetting(1, 8.0, 2.0, 10.0, 20e6), ChannelSetting(2, 0.1, 0.03)]
RECORD = Record(7_000, 0.0039, "sample")
MADE = Record(7_000, 0.004, "sample")
SET_UP: list[Step] = [
    "TRMD AUTO",
    "C1:TRA ON",
    "C1:CPL D1M",
    "BWL C1,ON",
    "C1:INVS OFF",
    "C1:UNIT V",
    "C1:ATTN 10",
    "C1:VDIV 1V",
    "C1:OFST -2V",
    "C1:SKEW 0NS",
    "C2:TRA ON",
    "C2:CPL D1M",
    "BWL C2,OFF",
    "C2:INVS OFF",
    "C2:UNIT V",
    "C2:ATTN 1",
    "C2:VDIV 0.02V",
    "C2:OFST -0.03V",
    "C2:SKEW 0NS",
    "C3:TRA OFF",
    "C4:TRA OFF",
    "ACQW SAMPLING",
    "TDIV 2S",
    "TRDL 14S",
    "MSIZ 7K",
    "TRSE EDGE,SR,C1,HT,OFF",
    "C1:TRSL POS",
    "C1:TRLV 6V",
    ("TDIV?", "2.00E+00"),
    ("MSIZ?", "7K"),
    ("C1:ATTN?", "10"),
    ("C1:VDIV?", "1.00E+00"),
    ("C2:ATTN?", "1"),
    ("C2:VDIV?", "2.00E-02"),
]
FOUND: dict[str, str] = {
    "SANU? C2": "7.00E+03",
    "SARA?": "2.50E+02",
    "TRDL?": "1.40E+01",
    "C2:VDIV?": "2.00E-02",
    "C2:OFST?": "-3.00E-02",
}


def begin_read(**other: str) -> list[Step]:
    found = {**FOUND, **{query.replace("_", " "): answer for query, answer in other.items()}}
    return [("SAST?", "Stop"), *found.items()]


def ready(*steps: Step) -> tuple[SiglentSdsLegacy, Dialogue]:
    """Return a scope that was set up, with a script for what follows."""
    line = Dialogue([*CONNECT, *SET_UP, *steps])
    scope = SiglentSdsLegacy("SCRIPT::INSTR", VirtualTime(), channels=(1, 2), link=line)
    assert scope.connect().model == "SDS1104X-E"
    assert scope.set_up(CHANNELS, RECORD) == MADE
    return scope, line


def test_dialogue() -> None:
    codes = (np.arange(7_000) % 256 - 128).astype(np.int8)
    steps: list[Step] = [
        "TRMD SINGLE",
        "ARM",
        ("SAST?", "Armed"),
        ("SAST?", "Ready"),
        "FRTR",
        ("SAST?", "Trig'd"),
        ("SAST?", "Stop"),
        *begin_read(),
        "WFSU SP,1,NP,7000,FP,0",
        ("C2:WF? DAT2", codes.tobytes()),
        "STOP",
    ]
    time = VirtualTime()
    line = Dialogue([*CONNECT, *SET_UP, *steps])
    scope = SiglentSdsLegacy("SCRIPT::INSTR", time, channels=(1, 2), link=line)
    scope.connect()
    scope.set_up(CHANNELS, RECORD)
    scope.arm()
    scope.trigger()
    time.sleep(28.0)
    assert scope.is_done()
    waveform = scope.read(2)
    assert (waveform.start_s, waveform.interval_s) == (0.0, 0.004)
    # Two's complement: the byte 255 is −1, not 0.
    assert waveform.values == pytest.approx(codes * 0.02 / 25 + 0.03)
    assert np.array_equal(waveform.clipped, (codes == -128) | (codes == 127))
    scope.make_safe()
    scope.disconnect()
    line.check_used_up()
    assert line.is_closed


@pytest.mark.parametrize(("limit", "sizes"), [(7000, [7000]), (6999, [6999, 1]), (3000, [3000, 3000, 1000])])
def test_batches(limit: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("power.drivers.siglent_sds_legacy.BATCH_POINTS", limit)
    steps: list[Step] = []
    first = 0
    for number, size in enumerate(sizes):
        steps += [f"WFSU SP,1,NP,{size},FP,{first}", ("C2:WF? DAT2", bytes([number]) * size)]
        first += size
    scope, line = ready(*begin_read(), *steps)
    values = scope.read(2).values
    line.check_used_up()
    assert values == pytest.approx(np.repeat([n * 8e-4 + 0.03 for n in range(len(sizes))], sizes))


@pytest.mark.parametrize("size", [0, 6999, 7001])
def test_a_block_of_another_length_is_refused(size: int) -> None:
    scope, line = ready(*begin_read(), "WFSU SP,1,NP,7000,FP,0", ("C2:WF? DAT2", bytes(size)))
    with pytest.raises(ReplyInvalid, match=f"sent {size} bytes where 7000 points"):
        scope.read(2)
    line.check_used_up()


def test_fewer_points_over_the_same_screen_are_taken_as_they_are() -> None:
    steps = begin_read(**{"SANU? C2": "3.50E+03", "SARA?": "1.25E+02"})
    scope, line = ready(*steps, "WFSU SP,1,NP,3500,FP,0", ("C2:WF? DAT2", bytes(3500)))
    waveform = scope.read(2)
    line.check_used_up()
    assert (len(waveform.values), waveform.interval_s) == (3500, 0.008)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"SANU? C2": "3.50E+03"}, "3500 points at 250 S/s, which is not the record of 28 s"),
        ({"SARA?": "0.00E+00"}, "at 0 S/s"),
        ({"SANU? C2": "1"}, "holds 1 points"),
        ({"SARA?": "****"}, "no number"),
        ({"TRDL?": "-1.40E+01"}, "begins -28 s from its trigger"),
    ],
)
def test_memory_that_is_not_the_record_is_refused(found: dict[str, str], words: str) -> None:
    scope, _ = ready(*begin_read(**found))
    with pytest.raises(ReplyInvalid, match=words) as caught:
        scope.read(2)
    one_sentence(caught.value)


def test_a_forced_trigger_that_is_not_taken_is_told() -> None:
    scope, _ = ready("TRMD SINGLE", "ARM", ("SAST?", "Ready"), "FRTR", *[("SAST?", "Ready")] * 300)
    scope.arm()
    with pytest.raises(InstrumentError, match=r"did not take the forced trigger \(FRTR\)"):
        scope.trigger()


def test_a_setting_that_was_not_taken_is_told() -> None:
    line = Dialogue([*CONNECT, *SET_UP[:-5], ("MSIZ?", "14M")])
    scope = SiglentSdsLegacy("SCRIPT::INSTR", VirtualTime(), link=line)
    scope.connect()
    with pytest.raises(InstrumentError, match=r"answers 1\.4e\+07 to 'MSIZ\?' after 7000 was set"):
        scope.set_up(CHANNELS, RECORD)
    line.check_used_up()


@pytest.mark.parametrize(
    ("on", "lengths", "rate_hz"),
    [
        ((1,), (14_000, 140_000, 1_400_000, 14_000_000), 1e9),
        ((1, 3), (14_000, 140_000, 1_400_000, 14_000_000), 1e9),
        ((1, 2), (7_000, 70_000, 700_000, 7_000_000), 5e8),
        ((1, 3, 4), (7_000, 70_000, 700_000, 7_000_000), 5e8),
    ],
)
def test_pairs_of_channels_share_their_memory(
    on: tuple[int, ...], lengths: tuple[int, ...], rate_hz: float
) -> None:
    scope = SiglentSdsLegacy("SCRIPT::INSTR", HOST_TIME, channels=on, link=Dialogue(CONNECT))
    scope.connect()
    assert (scope.model.record_lengths, scope.model.most_rate_hz) == (lengths, rate_hz)
    assert (scope.model.channels, scope.model.has_hires, scope.model.longest_s) == (4, False, 1400.0)


def test_a_probe_that_cannot_be_set_is_told() -> None:
    scope = SiglentSdsLegacy("SCRIPT::INSTR", HOST_TIME, link=Dialogue([*CONNECT, "TRMD AUTO"]))
    scope.connect()
    with pytest.raises(InstrumentError, match="no setting for a probe of 3:1"):
        scope.set_up([ChannelSetting(1, 8.0, attenuation=3.0)], RECORD)


def test_limits_of_error() -> None:
    found = limits(ChannelSetting(1, 8.0, 2.0, 10.0))
    assert [found.of_reading, found.offset] == pytest.approx([0.03, 0.02 + 0.12 + 0.02])


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("7.00E+06", 7e6),
        ("1.4M", 1.4e6),
        ("14Mpts", 14e6),
        ("7K", 7e3),
        ("SARA 5.00E+08Sa/s", 5e8),
        ("1.00GSa/s", 1e9),
        ("500MSa/s", 5e8),
        ("C1:VDIV 5.00E-02V", 0.05),
        ("TDIV 1.00E-03S", 1e-3),
        ("20MS", 0.02),
        ("-3.00mV", -3e-3),
        ("3NS", 3e-9),
        ("10", 10.0),
    ],
)
def test_numbers_with_what_stands_around_them(answer: str, value: float) -> None:
    assert parse_value(answer, "Q?", "X") == pytest.approx(value)


@pytest.mark.parametrize("answer", ["", "****", "AUTO", "1.0E", "nan", "1,2"])
def test_what_is_no_number_is_refused(answer: str) -> None:
    with pytest.raises(ReplyInvalid, match="is no number"):
        parse_value(answer, "Q?", "X")


@pytest.mark.parametrize(
    ("value", "step"),
    [(1.0, 1.0), (1.01, 2.0), (2.0, 2.0), (3.0, 5.0), (5.1, 10.0), (0.0125, 0.02), (1e-9, 1e-9)],
)
def test_steps(value: float, step: float) -> None:
    assert step_up(value) == step


def test_spans_of_a_time_base() -> None:
    assert spans(10, 0.1, 2.0) == (1.0, 2.0, 5.0, 10.0, 20.0)


def test_a_second_newline_after_a_block_is_passed_over() -> None:
    data = iter(b"\nDAT2,#9000000003")

    def read(count: int) -> bytes:
        return bytes(next(data) for _ in range(count))

    assert header_length(read, "X", after_block=True) == 3
    data = iter(b"\nDAT2,#9000000003")
    with pytest.raises(ReplyInvalid, match="where a block of data was due"):
        header_length(read, "X")
