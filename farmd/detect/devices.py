"""Which accelerators are in the machine, and what each lacks: its driver's node, the permission to open it, its library."""

from __future__ import annotations

import fnmatch
import grp
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from farmd.detect.ids import KINDS, Kind
from farmd.stats import read_text

LIBRARY_FOLDERS = (
    *("usr/lib", "usr/lib64", "lib", "lib64", "usr/local/lib", "usr/local/lib64"),
    *("usr/lib/*-linux-gnu*", "usr/lib/*-linux-gnu*/*", "lib/*-linux-gnu*", "usr/local/lib/*-linux-gnu*"),
    *("opt/*/lib", "opt/*/*/lib", "usr/local/cuda*/lib64"),
)


@dataclass(frozen=True)
class Accelerator:
    """One accelerator.

    where          how it was seen: "on PCI 0000:01:00.0"
    id             "vendor:device" on its bus, "" elsewhere
    nodes          its driver's files, without the root
    lacks          sentences: what keeps every runtime from it
    library_lacks  sentence: the library that was not found where the loader looks; "" if it was
    """

    kind: Kind
    where: str
    id: str = ""
    nodes: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    library_lacks: str = ""


@dataclass(frozen=True)
class Seen:
    """A device on a bus."""

    bus: str
    address: str
    id: str
    pci_class: str = ""
    node: str = ""


@dataclass(frozen=True)
class Place:
    """Where an accelerator was seen: for a sentence, its id on a bus, and a node that is its own (without the root)."""

    where: str
    id: str = ""
    node: str = ""


def find(root: Path, compatible: Sequence[str]) -> list[Accelerator]:
    """List the accelerators of the machine whose file system starts at `root`.

    They are told by their bus, else by the processor (`compatible`), else by a node that only they have, as in a container.
    """
    buses = [*pci(root), *usb(root)]
    found = [_examined(root, kind, place) for kind in KINDS for place in _places(kind, buses, compatible)]
    explained = {node for one in found for node in one.nodes}
    for kind in KINDS:
        if kind.is_told:
            unexplained = [node for node in _nodes(root, kind) if f"/{node}" not in explained]
            found += [_examined(root, kind, Place(f"behind /{node}", node=node)) for node in unexplained]
    return found


def _places(kind: Kind, buses: Iterable[Seen], compatible: Sequence[str]) -> list[Place]:
    places = [Place(f"on {seen.bus} {seen.address}", seen.id, seen.node) for seen in buses if _is(kind, seen)]
    if not places and not set(kind.soc).isdisjoint(compatible):
        return [Place("in the processor")]
    return places


def pci(root: Path) -> Iterator[Seen]:
    """Read the devices of the PCI bus."""
    for folder in sorted((root / "sys/bus/pci/devices").glob("*")):
        found = _id(folder, "vendor", "device")
        if found:
            yield Seen("PCI", folder.name, found, (read_text(folder / "class") or "").strip())


def usb(root: Path) -> Iterator[Seen]:
    """Read the devices of the USB, with the node through which each is opened."""
    for folder in sorted((root / "sys/bus/usb/devices").glob("*")):
        found = _id(folder, "idVendor", "idProduct")
        if found:
            numbers = [(read_text(folder / name) or "").strip() for name in ("busnum", "devnum")]
            node = "dev/bus/usb/{:0>3}/{:0>3}".format(*numbers) if all(numbers) else ""
            yield Seen("USB", folder.name, found, node=node)


def _id(folder: Path, vendor: str, device: str) -> str:
    numbers = [
        (read_text(folder / name) or "").strip().lower().removeprefix("0x") for name in (vendor, device)
    ]
    return ":".join(numbers) if all(numbers) else ""


def _is(kind: Kind, seen: Seen) -> bool:
    patterns = kind.pci if seen.bus == "PCI" else kind.usb
    return seen.pci_class.startswith(kind.pci_class) and any(
        fnmatch.fnmatchcase(seen.id, pattern) for pattern in patterns
    )


def _nodes(root: Path, kind: Kind) -> list[str]:
    return [str(path.relative_to(root)) for pattern in kind.nodes for path in sorted(root.glob(pattern))]


def _examined(root: Path, kind: Kind, place: Place) -> Accelerator:
    own = [place.node] if place.node and (root / place.node).exists() else []
    nodes = own or _nodes(root, kind)
    lacks = []
    if kind.nodes and not nodes:
        lacks.append(f"{kind.name} is {place.where}, but {kind.node} is missing: {kind.driver}.")
    if nodes and not any(may_open(root / node) for node in nodes):
        lacks.append(_forbidden(root, kind, nodes[0]))
    library = ""
    if kind.library and not has_library(root, kind.library):
        library = f"{kind.library} is not installed for it ({kind.name} is {place.where}): {kind.install}."
    shown = tuple(f"/{node}" for node in nodes)
    return Accelerator(kind, place.where, place.id, shown, tuple(lacks), library)


def may_open(node: Path) -> bool:
    """Whether this user may open a device for reading and writing."""
    return os.access(node, os.R_OK | os.W_OK)


def _forbidden(root: Path, kind: Kind, node: str) -> str:
    begin = f"/{node} may not be opened by this user: "
    group = _group_with_access(root / node)
    if group:
        return f"{begin}run 'sudo usermod -aG {group} $USER' and log in again (systemd: SupplementaryGroups={group})."
    rule = kind.udev.replace("'", '"')
    return f"{begin}put the line {rule} into /etc/udev/rules.d/60-wattfarm.rules, then run 'sudo udevadm trigger'."


def _group_with_access(node: Path) -> str:
    """Return the group that may read and write the node; "" if there is none but root's."""
    try:
        status = node.stat()
        group = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return ""
    allowed = stat.S_IRGRP | stat.S_IWGRP
    return group if status.st_mode & allowed == allowed and status.st_gid != 0 else ""


def has_library(root: Path, name: str) -> bool:
    """Whether a shared library of that name lies where the loader looks."""
    return any(any(root.glob(f"{folder}/{name}*")) for folder in LIBRARY_FOLDERS)
