"""docs/boards.md is what the catalogue says."""

from pathlib import Path

import pytest

from targets.boards import board_names, load_board
from targets.boards.page import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "boards.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m targets.boards.page > docs/boards.md"


@pytest.mark.parametrize("name", board_names())
def test_every_board_has_its_row(name: str) -> None:
    (row,) = [line for line in page().splitlines() if f"`{name}`" in line]
    cells = [cell.strip() for cell in row.strip("| ").split(" | ")]
    board = load_board(name)
    assert cells[0].startswith(board.display_name)
    assert row.count(" | ") == 8
    assert "; ".join(board.sources) in row
    assert all(
        hint.name in row and all(path in row for path in hint.interpreters.values())
        for hint in board.runtimes
    )
    assert all(f"{peak:.7g}" in cells[2:5] for peak in board.peak_gops.values())
