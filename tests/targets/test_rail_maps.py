"""Maps of rails in the board catalogue: what stands there, and what the schema refuses."""

from __future__ import annotations

import pytest

from targets.boards import board_names, load_board, parse_board
from targets.errors import BoardInvalid

MINIMAL = 'display_name = "B"\nmanufacturer = "M"\nsources = ["S"]\n'
MAP = '[rail_map]\nsource = "S"\n[rail_map.sensors]\nina226_u1 = "VCCINT"\n'


def test_the_maps_of_the_catalogue() -> None:
    found = {name: load_board(name).rail_map for name in board_names()}
    assert {name for name, one in found.items() if one is not None} == {"kria-k26", "xilinx-zcu102"}
    zcu102 = found["xilinx-zcu102"]
    assert zcu102 is not None
    assert len(zcu102.sensors) == 18
    assert set(zcu102.sensors.values()) == set(zcu102.total) == set(load_board("xilinx-zcu102").rails)
    kria = found["kria-k26"]
    assert kria is not None
    assert (kria.sensors, kria.total, kria.scope) == ({"ina260_u14": "SOM_5V0"}, ("SOM_5V0",), "module")


def test_a_map_with_factors() -> None:
    board = parse_board("b", f"{MINIMAL}{MAP}[rail_map.factors]\nVCCINT = 6\n")
    assert board.rail_map is not None
    assert board.rail_map.factors == {"VCCINT": 6.0}
    assert board.rail_map.total == ()
    assert board.rail_map.scope == "rail"
    assert parse_board("b", MINIMAL).rail_map is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[rail_map]\nsource = "S"\n', "needs sensors"),
        ('[rail_map]\n[rail_map.sensors]\na = "b"\n', "needs sensors"),
        ('[rail_map]\nsource = "S"\n[rail_map.sensors]\na = 1\n', "needs sensors"),
        ('[rail_map]\nsource = "S"\nscope = "desk"\n[rail_map.sensors]\na = "b"\n', "a scope of rail"),
        ('[rail_map]\nsource = "S"\ntotal = ["c"]\n[rail_map.sensors]\na = "b"\n', "speaks of the rail 'c'"),
        (MAP + "[rail_map.factors]\nVCCINT = 0\n", "positive number"),
        (MAP + "[rail_map.factors]\nVCCAUX = 2\n", "speaks of the rail 'VCCAUX'"),
        ('[rail_map]\nsource = "S"\nsensor = "a"\n', "unknown key"),
    ],
)
def test_maps_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(BoardInvalid, match=words):
        parse_board("b", MINIMAL + text)
