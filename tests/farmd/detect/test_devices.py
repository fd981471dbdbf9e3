"""What a look at the buses tells, device by device; and which of several entries of the catalogue is chosen."""

from __future__ import annotations

import grp
import os
import re
from pathlib import Path

import pytest

from farmd.detect import board, devices
from farmd.detect.ids import KINDS, Kind
from farmd.detect.runtimes import hints_of
from targets.boards import load_board
from targets.catalogue import BUILT_IN
from tests.farmd.detect.fakeroot import FakeRoot

BOARDS = board.catalogue()


def machine(root: Path) -> board.Machine:
    return board.machine(root, "aarch64")


def test_several_of_a_kind_are_all_there(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path).pci("0000:01:00.0", "1e60:2864").pci("0000:02:00.0", "1e60:2864")
    root.file("dev/hailo0").file("dev/hailo1").file("usr/lib/libhailort.so.4.23.0")
    found = devices.find(tmp_path, ())
    assert [one.where for one in found] == ["on PCI 0000:01:00.0", "on PCI 0000:02:00.0"]
    assert found[0].nodes == ("/dev/hailo0", "/dev/hailo1")
    assert not any(one.lacks or one.library_lacks for one in found)


def test_a_node_without_a_bus_tells_the_device_as_in_a_container(tmp_path: Path) -> None:
    FakeRoot(tmp_path).file("dev/apex_0")
    (found,) = devices.find(tmp_path, ())
    assert (found.kind.runtimes, found.where, found.nodes) == (
        ("edgetpu",),
        "behind /dev/apex_0",
        ("/dev/apex_0",),
    )


def test_a_newer_hailo_is_not_seen_twice(tmp_path: Path) -> None:
    FakeRoot(tmp_path).pci("0000:01:00.0", "1e60:45c4").file("dev/hailo0")
    (found,) = devices.find(tmp_path, ())
    assert found.kind.name == "A Hailo-10H or Hailo-15L"
    assert "install hailort 5" in found.library_lacks


def test_sound_and_bridges_of_a_vendor_are_no_accelerators(tmp_path: Path) -> None:
    root = FakeRoot(tmp_path).pci("0000:41:00.1", "10de:1aef", "0x040300")
    root.pci("0000:00:1f.0", "8086:7e02", "0x060100").usb("1-3", "18d1:4ee7")
    root.file("sys/bus/usb/devices/1-0:1.0/bInterfaceClass", "09\n")
    assert devices.find(tmp_path, ()) == []


def test_what_may_not_be_opened_names_group_or_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = FakeRoot(tmp_path).usb("1-2", "18d1:9302").path / "dev/bus/usb/001/005"
    monkeypatch.setattr(devices, "may_open", lambda path: False)
    node.chmod(0o600)
    (found,) = devices.find(tmp_path, ())
    assert found.nodes == ("/dev/bus/usb/001/005",)
    assert found.lacks[0].startswith(
        "/dev/bus/usb/001/005 may not be opened by this user: put the line SUBSYSTEM"
    )
    node.chmod(0o660)
    group = grp.getgrall()[1]
    monkeypatch.setattr(devices, "_group_with_access", lambda path: group.gr_name)
    (found,) = devices.find(tmp_path, ())
    assert f"sudo usermod -aG {group.gr_name} $USER" in found.lacks[0]


def test_the_group_of_a_node_counts_only_with_its_bits(tmp_path: Path) -> None:
    node = tmp_path / "node"
    node.touch()
    node.chmod(0o640)
    assert devices._group_with_access(node) == ""
    node.chmod(0o660)
    group = os.stat(node).st_gid
    assert devices._group_with_access(node) == (grp.getgrgid(group).gr_name if group else "")
    assert devices._group_with_access(tmp_path / "gone") == ""


def test_a_library_is_found_where_distributions_put_it(tmp_path: Path) -> None:
    assert not devices.has_library(tmp_path, "libedgetpu.so.1")
    for folder in (
        "usr/lib",
        "usr/lib/x86_64-linux-gnu",
        "usr/lib/aarch64-linux-gnu/tegra",
        "opt/xilinx/xrt/lib",
    ):
        library = FakeRoot(tmp_path).file(f"{folder}/libedgetpu.so.1.0").path / folder / "libedgetpu.so.1.0"
        assert devices.has_library(tmp_path, "libedgetpu.so.1"), folder
        library.unlink()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_can_say_what_is_missing(kind: Kind) -> None:
    assert kind.name.startswith(("A ", "An ", "The "))
    assert kind.runtimes
    assert set(kind.runtimes) <= set(BUILT_IN)
    assert kind.pci or kind.usb or kind.soc or kind.is_told
    assert all(re.fullmatch(r"[0-9a-f]{4}:([0-9a-f]{4}|\*)", number) for number in kind.pci + kind.usb)
    if kind.nodes and not (kind.is_told and not kind.node):
        assert kind.node.startswith("/dev/")
        assert kind.driver
        assert kind.udev
    assert bool(kind.library or kind.newest) == bool(kind.install)


def test_every_card_of_the_catalogue_is_of_a_known_kind() -> None:
    for entry in BOARDS:
        for number in entry.detect.pci if entry.detect else ():
            assert any(number in kind.pci or f"{number[:4]}:*" in kind.pci for kind in KINDS), entry.name
        for number in entry.detect.usb if entry.detect else ():
            assert any(number in kind.usb for kind in KINDS), entry.name


@pytest.mark.parametrize(
    ("name", "entry"), [(one.name, text) for one in BOARDS if one.detect for text in one.detect.compatible]
)
def test_every_entry_of_a_device_tree_tells_its_board(name: str, entry: str, tmp_path: Path) -> None:
    FakeRoot(tmp_path).device_tree("Some board", entry, "vendor,processor")
    found = board.host_board(machine(tmp_path), BOARDS)
    assert found is not None
    assert found[0].name == name


def test_the_most_specific_entry_wins(tmp_path: Path) -> None:
    FakeRoot(tmp_path).device_tree("ZynqMP ZCU102 Rev1.0", "xlnx,zynqmp-zcu102", "xlnx,zynqmp")
    found = board.host_board(machine(tmp_path), BOARDS)
    assert found is not None
    assert found[0].name == "xilinx-zcu102"


def test_firmware_that_nobody_filled_in_is_no_name(tmp_path: Path) -> None:
    FakeRoot(tmp_path).dmi("Default string")
    assert machine(tmp_path).name == "a machine with the architecture aarch64"


def test_several_cards_leave_the_choice_to_the_user(tmp_path: Path) -> None:
    choice = board.choose(machine(tmp_path), ["1e60:2864", "18d1:9302"], BOARDS)
    assert choice.name == "generic-aarch64"
    assert "several accelerators of the catalogue: edge-tpu, hailo-8-m2" in choice.why


def test_a_card_that_others_look_like_is_to_be_checked(tmp_path: Path) -> None:
    assert "Hailo-8L" in board.choose(machine(tmp_path), ["1e60:2864"], BOARDS).caution


def test_modules_with_another_peak_are_not_taken_for_the_board(tmp_path: Path) -> None:
    FakeRoot(tmp_path).device_tree(
        "NVIDIA Jetson AGX Orin 32GB", "nvidia,p3737-0000+p3701-0004", "nvidia,tegra234"
    )
    assert board.host_board(machine(tmp_path), BOARDS) is None


def test_two_ids_of_one_card_are_one_card(tmp_path: Path) -> None:
    assert board.choose(machine(tmp_path), ["1a6e:089a", "18d1:9302"], BOARDS).name == "edge-tpu"


def test_hints_begin_with_the_newest_image() -> None:
    assert hints_of(load_board("jetson-agx-orin")) == ["/usr/bin/python3.10", "/usr/bin/python3.8"]
    assert hints_of(None) == []
