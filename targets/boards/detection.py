"""What a board is told by, and which runtimes it uses in which interpreters: two tables of its file.

[detect]
compatible = ["nvidia,p3701-0000"]     # any of the entries of /proc/device-tree/compatible
model = ["Xilinx Versal vck190"]       # beginnings of /proc/device-tree/model, where no entry is the board's own
dmi = ["conga-B7E3"]                   # /sys/class/dmi/id/product_name
pci = ["1e60:2864"]                    # vendor:device of a card
usb = ["1a6e:089a"]
caution = "what else shows the same"       # optional
source = "where these are published"

[runtimes.tensorrt.interpreters]       # image of the operating system -> the Python that the vendor's package is for
"JetPack 5" = "/usr/bin/python3.8"
"""

import re
from typing import Any, Dict, NamedTuple, Optional, Tuple

from targets.boards.reading import list_of, table_of, text_of
from targets.errors import BoardInvalid

_KEYS = ("compatible", "model", "dmi", "pci", "usb")
_ID = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}\Z")


class Detect(NamedTuple):
    """What tells the board, as its kernel shows it; empty where it has none."""

    compatible: Tuple[str, ...]
    model: Tuple[str, ...]
    dmi: Tuple[str, ...]
    pci: Tuple[str, ...]  # "vendor:device", four lower-case hexadecimal digits each
    usb: Tuple[str, ...]
    source: str
    caution: Optional[str]  # what else shows the same, and how to know


class RuntimeHint(NamedTuple):
    """A runtime that the board uses, and where its package lives; no interpreters means wherever pip installed it."""

    name: str
    interpreters: Dict[str, str]  # image of the operating system -> absolute path


def read_detect(name: str, data: Dict[str, Any]) -> Optional[Detect]:
    """Return the table ``detect``, None if the file has none. BoardInvalid if it breaks the schema."""
    if "detect" not in data:
        return None
    table = table_of(name, data, "detect", _KEYS + ("caution", "source"))
    lists = {key: list_of(name, table, key) for key in _KEYS}
    source, caution = text_of(name, table, "source"), text_of(name, table, "caution")
    ids = lists["pci"] + lists["usb"]
    if source is None or not any(lists.values()) or not all(_ID.match(item) for item in ids):
        raise BoardInvalid(
            "The table detect of the board '{}' needs a source, and at least one of {}; PCI and USB ids are written "
            'as "1e60:2864".'.format(name, ", ".join(_KEYS)),
            board=name,
            key="detect",
        )
    return Detect(source=source, caution=caution, **lists)


def read_runtimes(name: str, data: Dict[str, Any]) -> Tuple[RuntimeHint, ...]:
    """Return the table ``runtimes``, in the file's order. BoardInvalid if it breaks the schema."""
    table = table_of(name, data, "runtimes")
    return tuple(RuntimeHint(key, _interpreters(name, table, key)) for key in table)


def _interpreters(name: str, runtimes: Dict[str, Any], runtime: str) -> Dict[str, str]:
    entry = table_of(name, runtimes, runtime, ("interpreters",), "runtimes.")
    found = table_of(name, entry, "interpreters", None, "runtimes.{}.".format(runtime))
    for image in found:
        path = text_of(name, found, image)
        if path is None or not path.startswith("/"):
            raise BoardInvalid(
                "The board '{}' needs the interpreter of '{}' under {} as an absolute path.".format(
                    name, runtime, image
                ),
                board=name,
                key="runtimes",
            )
    return dict(found)
