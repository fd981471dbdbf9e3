"""The board catalogue: every file passes the schema; published figures are there; bad files are refused."""

import re

import pytest

from targets.boards import board_names, load_board, parse_board
from targets.catalogue import BUILT_IN
from targets.errors import BoardInvalid, BoardUnknown

MINIMAL = 'display_name = "B"\nmanufacturer = "M"\nsources = ["S"]\n'


@pytest.mark.parametrize("name", board_names())
def test_every_board(name: str) -> None:
    board = load_board(name)
    assert re.fullmatch(r"[a-z0-9]+([-_][a-z0-9]+)*", name)
    assert board.name == name
    assert board.sources
    for higher, lower in (("int8", "fp16"), ("fp16", "fp32")):
        if higher in board.peak_gops and lower in board.peak_gops:
            assert board.peak_gops[higher] >= board.peak_gops[lower]
    if board.power_estimate is not None:
        idle_w, max_w = board.power_estimate.watts(4)
        assert 0 < idle_w < max_w


def test_no_two_boards_are_told_by_the_same() -> None:
    found = [load_board(name).detect for name in board_names()]
    for key in ("compatible", "model", "dmi", "pci", "usb"):
        told = [item for detect in found if detect is not None for item in getattr(detect, key)]
        assert len(told) == len(set(told)), key


def test_runtimes_are_those_that_have_a_runner() -> None:
    for name in board_names():
        for hint in load_board(name).runtimes:
            assert hint.name in BUILT_IN, name


def test_names_the_design_fixes() -> None:
    assert {"jetson-agx-orin", "generic-x86_64", "generic-aarch64", "raspberry-pi-4"} <= set(board_names())


@pytest.mark.parametrize(
    ("name", "peaks"),
    [
        ("jetson-agx-orin", {"int8": 137500, "fp16": 68750, "fp32": 34375}),
        ("jetson-orin-nx", {"int8": 100000, "fp16": 50000, "fp32": 25000}),
        ("jetson-tx2", {"fp16": 1300, "fp32": 650}),
        ("gtx1660", {"int8": 20000, "fp16": 10000, "fp32": 5000}),
        ("adlink-express-bd7", {"fp16": 1331.2, "fp32": 665.6}),
        ("aaeon-ai-core-xm2280", {"fp16": 1000, "fp32": 500}),
        ("coral-dev-board", {"int8": 4000}),
        ("hailo-8-m2", {"int8": 26000}),
        ("congatec-conga-smx8-plus", {"int8": 2300}),
        ("avnet-ultra96-v2", {"int8": 460.8}),
    ],
)
def test_peaks_are_what_the_published_tables_divide_by(name: str, peaks: dict[str, float]) -> None:
    """VEDLIoT D3.3, section 3.4, column "peak" of the result tables."""
    assert load_board(name).peak_gops == peaks


@pytest.mark.parametrize("name", ["kendryte-k210", "hx40416", "gpx-10", "ndp120", "generic-x86_64"])
def test_what_is_not_known_is_absent(name: str) -> None:
    assert load_board(name).peak_gops == {}


def test_per_cpu_estimate_grows_with_the_machine() -> None:
    """Cloud Carbon Footprint's averages for AWS: 0.74 W idle and 3.5 W busy a virtual CPU."""
    estimate = load_board("generic-x86_64").power_estimate
    assert estimate is not None
    assert estimate.watts(2) == pytest.approx((1.48, 7.0))
    fixed = load_board("raspberry-pi-4").power_estimate
    assert fixed is not None
    assert fixed.watts(1) == fixed.watts(4)


def test_unknown_board_names_the_nearest() -> None:
    with pytest.raises(BoardUnknown, match="did you mean 'jetson-agx-orin'"):
        load_board("jetson-agx-orni")
    with pytest.raises(BoardUnknown):
        load_board("../boards/jetson-nano")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "tpd_w = 3", "unknown key 'tpd_w'; did you mean 'tdp_w'"),
        (MINIMAL + "[peak_gops]\nint4 = 3", "unknown key 'peak_gops.int4'; did you mean 'int8'"),
        (MINIMAL + "[peak_gops]\nint8 = 0", "positive number"),
        (MINIMAL + "[peak_gops]\nint8 = nan", "positive number"),
        (MINIMAL + "tdp_w = '15-60'", "positive number"),
        (MINIMAL + "tdp_w = true", "positive number"),
        (MINIMAL + "soc = ''", "'soc' as text"),
        (MINIMAL + "frameworks = 'TensorRT'", "list of texts"),
        (MINIMAL + "peak_gops = 3", "as a table"),
        (MINIMAL + "[power_estimate]\nidle_w = 1\nmax_w = 2", "needs a source"),
        (MINIMAL + "[power_estimate]\nidle_w = 1\nmax_w_per_cpu = 2\nsource = 's'", "needs a source"),
        (MINIMAL + "[detect]\ncompatible = ['a,b']", "needs a source"),
        (MINIMAL + "[detect]\nsource = 's'", "at least one of compatible"),
        (MINIMAL + "[detect]\npci = ['0x1e60:2864']\nsource = 's'", "written as"),
        (MINIMAL + "[detect]\ncompatibel = ['a,b']", "'detect.compatibel'; did you mean 'compatible'"),
        (MINIMAL + "[runtimes]\nhailort = 'x'", "'runtimes.hailort' as a table"),
        (
            MINIMAL + "[runtimes.hailort.interpreters]\nOS = 'python3'",
            "'hailort' under OS as an absolute path",
        ),
        (MINIMAL + "[runtimes.hailort]\ninterpreter = '/x'", "did you mean 'interpreters'"),
        (MINIMAL + "[power_estimate]\nidle_w = 3\nmax_w = 2\nsource = 's'", "not above"),
        ('display_name = "B"\nmanufacturer = "M"\n', "lacks 'sources'"),
        ("= 3", "not TOML"),
    ],
)
def test_bad_files_are_refused(text: str, message: str) -> None:
    parse_board("b", MINIMAL)
    with pytest.raises(BoardInvalid, match=re.escape(message)):
        parse_board("b", text)


def test_names_are_lower_case_words() -> None:
    with pytest.raises(BoardInvalid, match="lower-case"):
        parse_board("Bad Name", MINIMAL)
