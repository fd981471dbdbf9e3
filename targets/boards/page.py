"""The page docs/boards.md, made of the catalogue: ``python -m targets.boards.page > docs/boards.md``."""

import sys
from typing import List, Optional

from targets.boards import Board, board_names, load_board

HEAD = """\
# Boards

Made of `targets/boards/*.toml` by `python -m targets.boards.page > docs/boards.md`; mend the file of a board, not this page.

**None of this was run on the hardware.** Peaks, rails and estimates are what the named sources publish; device-tree entries, ids
and interpreters are tested against fake machines (`tests/farmd/detect`). What was run on real hardware is in the reports that
`make hardware-report` writes.

- *Runtimes*: farmd's names; the interpreter is the one that the vendor's package of that image is made for. Without one, the
  runtime works wherever pip installed it. On the board [`farmd --detect`](farmd.md#what-this-machine-is) looks for itself.
- *Peak*: 10⁹ operations a second (1 MAC = 2), what `performance_ratio` divides by; what is not published is empty. The notes in
  the file say what is odd about it.
- *Rails*: what the board measures of itself. *Estimate*: watts idle and busy where there is no meter.
- *Told by*: what `farmd --detect` knows it by; the file names where that is published. Empty: say it with `board =`.

| board | runtimes | peak int8 | fp16 | fp32 | source | rails | estimate | told by |
|---|---|---|---|---|---|---|---|---|
"""


def page() -> str:
    """Return the page's text."""
    return HEAD + "".join(_row(load_board(name)) + "\n" for name in board_names())


def _row(board: Board) -> str:
    cells = ["{}<br>`{}`".format(board.display_name, board.name), _runtimes(board)]
    cells += [_number(board.peak_gops.get(precision)) for precision in ("int8", "fp16", "fp32")]
    cells += [
        "; ".join(board.sources),
        ", ".join(board.rails or _mapped(board)),
        _estimate(board),
        _told(board),
    ]
    return "| {} |".format(" | ".join(cell.replace("|", "\\|") for cell in cells))


def _runtimes(board: Board) -> str:
    lines = []
    for hint in board.runtimes:
        places = ["`{}` ({})".format(path, image) for image, path in hint.interpreters.items()]
        lines.append("{}: {}".format(hint.name, ", ".join(places)) if places else hint.name)
    return "<br>".join(lines)


def _mapped(board: Board) -> List[str]:
    return [] if board.rail_map is None else list(board.rail_map.sensors.values())


def _number(value: Optional[float]) -> str:
    return "" if value is None else "{:.7g}".format(value)


def _estimate(board: Board) -> str:
    found = board.power_estimate
    if found is None:
        return ""
    idle_w, max_w = found.watts(1)
    return "{:g} to {:g} W{}".format(idle_w, max_w, " a CPU" if found.idle_w is None else "")


def _told(board: Board) -> str:
    detect = board.detect
    if detect is None:
        return ""
    ways = (
        ("device tree", detect.compatible), ("model", detect.model), ("DMI", detect.dmi), ("PCI", detect.pci),
        ("USB", detect.usb),
    )  # fmt: skip
    return "<br>".join(
        "{} {}".format(way, ", ".join("`{}`".format(text) for text in texts)) for way, texts in ways if texts
    )


if __name__ == "__main__":
    sys.stdout.write(page())
