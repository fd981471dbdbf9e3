"""Which board of the catalogue this machine is, by its device tree, its DMI table, and the cards in it.

Sources: Devicetree Specification 0.4, section 2.3.1 (compatible: most specific first) and 2.3.2 (model); Linux,
Documentation/ABI/stable/sysfs-class-dmi or dmi(4) (product_name).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from farmd.stats import read_text
from targets.boards import Board, board_names, load_board


@dataclass(frozen=True)
class Machine:
    """What the machine calls itself; "" and () where it says nothing."""

    model: str
    compatible: tuple[str, ...]
    product: str
    architecture: str

    @property
    def name(self) -> str:
        """What to call it in a sentence."""
        return self.model or self.product or f"a machine with the architecture {self.architecture}"


@dataclass(frozen=True)
class Choice:
    """The entry of the catalogue that was chosen, why, another that would do (with its reason), and what else shows the same."""

    name: str
    why: str
    other: str = ""
    other_why: str = ""
    caution: str = ""


def catalogue() -> list[Board]:
    """Read all boards."""
    return [load_board(name) for name in board_names()]


def machine(root: Path, architecture: str) -> Machine:
    """Read what the machine calls itself; `architecture` is the kernel's word for it."""
    tree = root / "proc/device-tree"
    dmi = root / "sys/class/dmi/id"
    entries = (read_text(tree / "compatible") or "").split("\0")
    return Machine(
        model=(read_text(tree / "model") or "").strip("\0 \n"),
        compatible=tuple(entry.strip() for entry in entries if entry.strip()),
        product=_product(dmi),
        architecture=architecture,
    )


def _product(dmi: Path) -> str:
    name = (read_text(dmi / "product_name") or "").strip()
    # What firmware writes that nobody filled in.
    return "" if name.lower() in ("to be filled by o.e.m.", "default string", "system product name") else name


def host_board(machine: Machine, boards: Iterable[Board]) -> tuple[Board, str] | None:
    """Return the entry of the machine itself and by what it was told, None if the catalogue lacks it."""
    known = [(board, board.detect) for board in boards if board.detect is not None]
    for board, detect in known:
        if any(machine.model.startswith(text) for text in detect.model):
            return board, f"the device tree's model is '{machine.model}'"
    by_entry = {entry: board for board, detect in known for entry in detect.compatible}
    for entry in machine.compatible:
        if entry in by_entry:
            return by_entry[entry], f"the device tree says '{entry}'"
    for board, detect in known:
        if machine.product in detect.dmi:
            return board, f"its DMI product name is '{machine.product}'"
    return None


def card_boards(ids: Iterable[str], boards: Iterable[Board]) -> list[Board]:
    """Return the entries of the cards whose PCI or USB ids are given, each once."""
    present = set(ids)
    return [
        board
        for board in boards
        if board.detect is not None and not present.isdisjoint(board.detect.pci + board.detect.usb)
    ]


def choose(machine: Machine, ids: Iterable[str], boards: Sequence[Board]) -> Choice:
    """Choose the entry whose peak the results are to be divided by.

    A board with a peak of its own comes first, then the one card that is in the machine, then a board without a peak. A
    daemon has one entry: a second accelerator is measured by a second farmd.
    """
    host = host_board(machine, boards)
    cards = card_boards(ids, boards)
    card = cards[0] if len(cards) == 1 else None
    generic = f"generic-{machine.architecture}"
    if host is not None and (host[0].peak_gops or card is None):
        other = (card.name, f"to measure the {card.display_name} that is plugged in") if card else ("", "")
        return Choice(host[0].name, host[1], *other, _caution(host[0]))
    if card is not None:
        own = host[0].name if host else generic
        why = f"a {card.display_name} is in {machine.name}"
        return Choice(card.name, why, own, "for its processor alone", _caution(card))
    if cards:
        names = ", ".join(one.name for one in cards)
        return Choice(generic, f"{machine.name} has several accelerators of the catalogue: {names}")
    return Choice(generic, f"the catalogue has no entry for {machine.name}")


def _caution(board: Board) -> str:
    return (board.detect.caution or "") if board.detect else ""
