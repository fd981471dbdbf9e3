"""This board's power rails: what its kernel shows, named by the board catalogue where that knows more, and what modules show."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from power.rails import Rail, RailMap, discover, hwmon
from power.rails.model import readable
from power.rails.totals import SENSORS
from targets.boards import load_board
from targets.errors import BoardUnknown


def board_rails(root: Path, board: str) -> list[Rail]:
    """List the rails of the board whose file system starts at `root`; `board` is its entry in the catalogue."""
    return discover(root, rail_map_of(board))


def module_rails(root: Path) -> list[Rail]:
    """List the rails that modules measure themselves, as farmd/sensors.py has them published below `root`.

    They are inside of what feeds the module, so none is the board's total or a part of it.
    """
    return [
        replace(
            rail,
            name=f"{rail.chip}/{rail.name}",
            driver=SENSORS,
            scope="module",
            is_total=False,
            unreadable_reason=readable(rail),
        )
        for rail in hwmon.find(root)
    ]


@lru_cache(maxsize=8)
def rail_map_of(board: str) -> RailMap | None:
    """Return what the catalogue says of a board's sensors; None if it says nothing, or does not know the board."""
    try:
        found = load_board(board).rail_map
    except BoardUnknown:
        return None
    if found is None:
        return None
    return RailMap(found.sensors, found.total, found.factors, found.scope)
