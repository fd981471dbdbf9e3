"""This board's power rails: what its kernel shows, named by its entry in the board catalogue where that knows more."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from power.rails import Rail, RailMap, discover
from targets.boards import load_board
from targets.errors import BoardUnknown


def board_rails(root: Path, board: str) -> list[Rail]:
    """List the rails of the board whose file system starts at `root`; `board` is its entry in the catalogue."""
    return discover(root, rail_map_of(board))


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
