"""Newer Siglent oscilloscopes: dialogue, preamble, batches, models."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from power.drivers.common.codes import Decoder
from power.drivers.common.scope import ChannelSetting, Record
from power.drivers.common.siglent_models import limits
from power.drivers.common.siglent_wavedesc import WAVEDESC_BYTES, Wavedesc
from power.drivers.siglent_sds import SiglentSds, depth_text
from power.errors import InstrumentError, LinkLost, ReplyInvalid
from power.sim.common.clock import VirtualTime
from power.timebase import HOST_TIME
from tests.power.dialogue import Dialogue, Step
from tests.power.scpi_trouble import one_sentence

HD = "Siglent Technologies,SDS814X HD,SDS08A0D000001,4.8.12.1.1.6.5"
PLUS = "Siglent Technologies,SDS2104X Plus,SDS2PX0000001,1.5.2R3"
QUIET: Step = (":SYSTem:ERRor?", '0,"No error"')
CHANNELS = [ChannelSetting(1, 8.0, 2.0, 10.0, 20e6), ChannelSetting(2, 0.1, 0.03)]
RECORD = Record(10_000, 0.0019, "sample")
MADE = Record(10_000, 0.002, "sample")


def connect(idn: str = HD) -> list[Step]:
    return [("*IDN?", idn), "*CLS", QUIET]


def set_up(*, has_50_ohm: bool = False) -> list[Step]:
    def high(channel: int) -> list[Step]:
        return [f":CHANnel{channel}:IMPedance ONEMeg"] if has_50_ohm else []

    return [
        ":TRIGger:MODE AUTO",
        ":TRIGger:RUN",
        ":CHANnel1:SWITch ON",
        ":CHANnel1:COUPling DC",
        *high(1),
        ":CHANnel1:BWLimit 20M",
        ":CHANnel1:INVert OFF",
        ":CHANnel1:UNIT V",
        ":CHANnel1:PROBe VALue,10",
        ":CHANnel1:SCALe 1",
        ":CHANnel1:OFFSet -2",
        ":CHANnel1:SKEW 0",
        ":CHANnel2:SWITch ON",
        ":CHANnel2:COUPling DC",
        *high(2),
        ":CHANnel2:BWLimit FULL",
        ":CHANnel2:INVert OFF",
        ":CHANnel2:UNIT V",
        ":CHANnel2:PROBe VALue,1",
        ":CHANnel2:SCALe 0.02",
        ":CHANnel2:OFFSet -0.03",
        ":CHANnel2:SKEW 0",
        ":CHANnel3:SWITch OFF",
        ":CHANnel4:SWITch OFF",
        ":ACQuire:TYPE NORMal",
        ":ACQuire:SEQuence OFF",
        ":ACQuire:MMANagement FMDepth",
        ":TIMebase:SCALe 2",
        ":TIMebase:DELay 10",
        ":ACQuire:MDEPth 10k",
        ":TRIGger:TYPE EDGE",
        ":TRIGger:EDGE:SOURce C1",
        ":TRIGger:EDGE:SLOPe RISing",
        ":TRIGger:EDGE:LEVel 6",
        QUIET,
        (":TIMebase:SCALe?", "2.00E+00"),
        (":ACQuire:MDEPth?", "10k"),
        (":CHANnel1:SCALe?", "1.00E+00"),
        (":CHANnel1:PROBe?", "1.00E+01"),
        (":CHANnel2:SCALe?", "2.00E-02"),
        (":CHANnel2:PROBe?", "1.00E+00"),
        (":ACQuire:SRATe?", "5.00E+02"),
    ]


READY: list[Step] = [
    ":TRIGger:MODE SINGle",
    ":TRIGger:RUN",
    (":TRIGger:STATus?", "Arm"),
    (":TRIGger:STATus?", "Ready"),
]
FIRED: list[Step] = [":TRIGger:MODE FTRIG", (":TRIGger:STATus?", "Trig'd")]


def preamble(
    *,
    width: int = 1,
    order: int = 0,
    points: int = 10_000,
    first: int = 0,
    step: int = 1,
    div_v: float = 0.02,
    offset_v: float = -0.03,
    codes_per_div: float = 7680.0,
    interval_s: float = 0.002,
    delay_s: float = 10.0,
    probe: float = 1.0,
) -> bytes:
    data = bytearray(WAVEDESC_BYTES)
    struct.pack_into("<hh", data, 0x20, width, order)
    struct.pack_into("<i", data, 0x3C, points * (1 + width))
    struct.pack_into("<i", data, 0x74, points)
    struct.pack_into("<ii", data, 0x84, first, step)
    struct.pack_into("<fff", data, 0x9C, div_v, offset_v, codes_per_div)
    struct.pack_into("<h", data, 0xAC, 16)
    struct.pack_into("<f", data, 0xB0, interval_s)
    struct.pack_into("<d", data, 0xB4, delay_s)
    struct.pack_into("<f", data, 0x148, probe)
    return bytes(data)


def begin_read(desc: bytes, width: str = "WORD") -> list[Step]:
    return [
        (":TRIGger:STATus?", "Stop"),
        ":WAVeform:SOURce C2",
        f":WAVeform:WIDTh {width}",
        ":WAVeform:BYTeorder LSB",
        ":WAVeform:INTerval 1",
        ":WAVeform:STARt 0",
        ":WAVeform:POINt 10000",
        (":WAVeform:PREamble?", desc),
    ]


def batch(first: int, count: int, codes: bytes) -> list[Step]:
    return [f":WAVeform:STARt {first}", f":WAVeform:POINt {count}", (":WAVeform:DATA?", codes)]


def ready(*steps: Step, idn: str = HD) -> tuple[SiglentSds, Dialogue]:
    """Return a scope that was set up, with a script for what follows."""
    line = Dialogue([*connect(idn), *set_up(has_50_ohm=idn == PLUS), *steps])
    scope = SiglentSds("SCRIPT::INSTR", VirtualTime(), channels=(1, 2), link=line)
    scope.connect()
    assert scope.set_up(CHANNELS, RECORD) == MADE
    return scope, line


def test_dialogue() -> None:
    codes = ((np.arange(10_000) % 4096) - 2048) * 16
    steps: list[Step] = [
        *READY,
        *FIRED,
        (":TRIGger:STATus?", "Trig'd"),
        (":TRIGger:STATus?", "Stop"),
        *begin_read(preamble()),
        (":WAVeform:MAXPoint?", "5.00E+06"),
        *batch(0, 10_000, codes.astype("<i2").tobytes()),
        ":TRIGger:STOP",
        ":SYSTem:REMote OFF",
    ]
    time = VirtualTime()
    line = Dialogue([*connect(), *set_up(), *steps])
    scope = SiglentSds("SCRIPT::INSTR", time, channels=(1, 2), link=line)
    assert scope.connect().serial == "SDS08A0D000001"
    scope.set_up(CHANNELS, RECORD)
    scope.arm()
    start = scope.trigger()
    assert start.earliest_ns == start.latest_ns == time.now_ns()
    assert not scope.is_done()
    time.sleep(20.0)
    assert scope.is_done()
    waveform = scope.read(2)
    assert (waveform.start_s, waveform.interval_s) == (0.0, 0.002)
    assert waveform.values == pytest.approx(codes / 7680.0 * 0.02 + 0.03, abs=1e-8)
    assert np.array_equal(waveform.clipped, (codes == -32768) | (codes == 2047 * 16))
    scope.make_safe()
    scope.disconnect()
    line.check_used_up()
    assert line.is_closed


def test_dialogue_of_a_converter_of_8_bits() -> None:
    codes = np.array([0, 30, -30, 127, -128] * 2000, np.int8)
    scope, line = ready(
        *begin_read(preamble(width=0, codes_per_div=30.0, probe=10.0, div_v=0.1, offset_v=-0.2), "BYTE"),
        (":WAVeform:MAXPoint?", "1.00E+07"),
        *batch(0, 10_000, codes.tobytes()),
        idn=PLUS,
    )
    waveform = scope.read(2)
    line.check_used_up()
    # y = (code ÷ code_per_div · vdiv − offset) · probe
    assert waveform.values[:3] == pytest.approx([2.0, 3.0, 1.0])
    assert list(waveform.clipped[:5]) == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("most", "sizes"),
    [("1.00E+04", [10_000]), ("9999", [9999, 1]), ("4.00E+03", [4000, 4000, 2000]), ("5E+06", [10_000])],
)
def test_batches(most: str, sizes: list[int]) -> None:
    steps: list[Step] = []
    first = 0
    for number, size in enumerate(sizes):
        steps += batch(first, size, np.full(size, 160 * number, "<i2").tobytes())
        first += size
    scope, line = ready(*begin_read(preamble()), (":WAVeform:MAXPoint?", most), *steps)
    values = scope.read(2).values
    line.check_used_up()
    expected = np.repeat([160 * n / 7680.0 * 0.02 + 0.03 for n in range(len(sizes))], sizes)
    assert values == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("size", [0, 10_000, 19_999, 20_001])
def test_a_block_of_another_length_is_refused(size: int) -> None:
    scope, line = ready(
        *begin_read(preamble()), (":WAVeform:MAXPoint?", "5.00E+06"), *batch(0, 10_000, bytes(size))
    )
    with pytest.raises(ReplyInvalid, match=f"sent {size} bytes where 10000 points of 2 bytes"):
        scope.read(2)
    line.check_used_up()


def test_no_points_at_a_time_are_refused() -> None:
    scope, _ = ready(*begin_read(preamble()), (":WAVeform:MAXPoint?", "0.00E+00"))
    with pytest.raises(ReplyInvalid, match="reads 0 points at a time"):
        scope.read(2)


@pytest.mark.parametrize(
    ("desc", "words"),
    [
        (preamble()[:300], "preamble of 300 bytes instead of 346"),
        (b"", "preamble of 0 bytes"),
        (preamble(codes_per_div=0.0), "scales nothing"),
        (preamble(div_v=float("nan")), "no usable numbers"),
        (preamble(width=7), "scales nothing"),
        (preamble(width=0), "sends BYTEs, which were not asked for"),
        (preamble(step=10), "one of 10 points.*not fit for energy"),
        (preamble(first=5), "from number 5 on"),
        (preamble(points=9_999), "9999 points in its memory instead of 10000"),
        (preamble(interval_s=0.004), r"0\.004 s apart, not 0\.002 s"),
    ],
)
def test_memory_that_is_not_the_record_is_refused(desc: bytes, words: str) -> None:
    scope, line = ready(*begin_read(desc))
    with pytest.raises(ReplyInvalid, match=words) as caught:
        scope.read(2)
    one_sentence(caught.value)
    line.check_used_up()


@pytest.mark.parametrize(
    ("desc", "words"),
    [
        (preamble(delay_s=-10.0), "begins -20 s from its trigger, not at"),
        (preamble(codes_per_div=30.0), "codes and preamble do not belong together"),
    ],
)
def test_values_that_are_misplaced_are_refused(desc: bytes, words: str) -> None:
    scope, line = ready(
        *begin_read(desc),
        (":WAVeform:MAXPoint?", "5.00E+06"),
        *batch(0, 10_000, np.full(10_000, 1600, "<i2").tobytes()),
    )
    with pytest.raises(ReplyInvalid, match=words):
        scope.read(2)
    line.check_used_up()


def test_byte_order_follows_the_preamble() -> None:
    found = Wavedesc.parse(preamble(order=1), "X")
    decoder = Decoder(1, found.scaling(12), "X")
    decoder.add(b"\x1e\x00", 1)  # 7680, high byte first
    assert decoder.values[0] == pytest.approx(0.05)


def test_firmware_without_an_error_queue_is_set_up_by_reading_back() -> None:
    silent = LinkLost("The instrument did not answer.")
    steps = [step for step in set_up() if step != QUIET]
    line = Dialogue([("*IDN?", HD), "*CLS", (":SYSTem:ERRor?", silent), *steps])
    scope = SiglentSds("SCRIPT::INSTR", VirtualTime(), link=line)
    scope.connect()
    assert scope.set_up(CHANNELS, RECORD) == MADE
    line.check_used_up()


@pytest.mark.parametrize(
    ("place", "answer", "words"),
    [
        (-6, "1.00E+06", "answers 1e.06 to ':ACQuire:MDEPth.' after 10000"),
        (-7, "5.00E+00", "answers 5 to ':TIMebase:SCALe.' after 2"),
        (-4, "1.00E+00", "answers 1 to ':CHANnel1:PROBe.' after 10"),
        (-1, "1.00E+03", "answers 1000 to ':ACQuire:SRATe.' after 500"),
    ],
)
def test_a_setting_that_was_not_taken_is_told(place: int, answer: str, words: str) -> None:
    steps = set_up()
    asked = steps[place]
    assert isinstance(asked, tuple)
    line = Dialogue([*connect(), *steps[:place], (asked[0], answer)])
    scope = SiglentSds("SCRIPT::INSTR", VirtualTime(), link=line)
    scope.connect()
    with pytest.raises(InstrumentError, match=words):
        scope.set_up(CHANNELS, RECORD)
    line.check_used_up()


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (Record(12_000, 1e-3, "sample"), "holds 10000, 100000, 1000000, 10000000 points"),
        (Record(10_000, 1e-10, "sample"), r"takes 1e\+09 S/s at most"),
        (Record(10_000, 1e-3, "hires"), "cannot average between its points"),
    ],
)
def test_limits_of_the_model_are_enforced(record: Record, words: str) -> None:
    line = Dialogue(connect())
    scope = SiglentSds("SCRIPT::INSTR", HOST_TIME, link=line)
    scope.connect()
    with pytest.raises(InstrumentError, match=words):
        scope.set_up(CHANNELS, record)
    line.check_used_up()


@pytest.mark.parametrize(
    ("name", "channels", "on", "most_points", "rate_hz", "codes"),
    [
        ("SDS824X HD", 4, (1, 2), 10_000_000, 1e9, 3840),
        ("SDS1202X HD", 2, (1,), 10_000_000, 2e9, 3840),
        ("SDS2354X HD", 4, (1, 2, 4), 10_000_000, 1e9, 3840),
        ("SDS2104X Plus", 4, (1,), 200_000_000, 2e9, 240),
        ("SDS2104X Plus", 4, (1, 2), 100_000_000, 1e9, 240),
        ("SDS5034X", 4, (1, 2), 125_000_000, 2.5e9, 240),
    ],
)
def test_memory_and_rate_of_the_models(
    name: str, channels: int, on: tuple[int, ...], most_points: int, rate_hz: float, codes: int
) -> None:
    line = Dialogue(connect(f"Siglent Technologies,{name},X,1"))
    scope = SiglentSds("SCRIPT::INSTR", HOST_TIME, channels=on, link=line)
    scope.connect()
    model = scope.model
    assert (model.name, model.channels, model.record_lengths[-1]) == (name, channels, most_points)
    assert (model.most_rate_hz, model.codes, model.has_hires) == (rate_hz, codes, False)


def test_limits_of_error() -> None:
    hd = limits(ChannelSetting(1, 8.0, 2.0, 10.0), is_hd=True)
    assert [hd.of_reading, hd.offset] == pytest.approx([0.005, 0.04 + 0.01 + 0.01])
    plus = limits(ChannelSetting(1, 8.0, 2.0, 10.0), is_hd=False)
    assert [plus.of_reading, plus.offset] == pytest.approx([0.03, 0.12 + 0.03 + 0.02])
    assert limits(ChannelSetting(1, 0.016), is_hd=False).of_reading == 0.04


@pytest.mark.parametrize(
    ("points", "text"), [(10_000, "10k"), (250_000, "250k"), (1_250_000, "1.25M"), (200_000_000, "200M")]
)
def test_depths_are_written_as_the_guide_does(points: int, text: str) -> None:
    assert depth_text(points) == text
