"""Every finding of the doctor is provoked."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from hostctl import doctor
from hostctl.doctor import Finding, Surroundings


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    (tmp_path / "data").mkdir()
    return Surroundings(data_dir=tmp_path / "data", config=None, root=tmp_path)


def only(check: Callable[[Surroundings], Iterator[Finding]], around: Surroundings) -> Finding:
    (finding,) = check(around)
    return finding


def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deny every access: tests may run as root, whom permissions do not stop."""
    monkeypatch.setattr("os.access", lambda path, mode: False)


def test_this_machine_can_be_examined(around: Surroundings) -> None:
    findings = doctor.examine(around)
    assert {"Python", "runtime onnxruntime", "data directory", "meter rapl", "CPU governor"} <= {
        finding.subject for finding in findings
    }
    assert all(finding.mend for finding in findings if finding.state == "broken")


def test_a_machine_without_any_runtime_is_broken(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "RUNTIMES", {"nothing": "no-such-package-anywhere"})
    missing, broken = doctor.runtimes(around)
    assert missing.state == "missing"
    assert "wattfarm[nothing]" in missing.mend
    assert broken.state == "broken"
    assert not doctor.healthy([missing, broken])


def test_an_unwritable_data_directory(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    unreadable(monkeypatch)
    assert only(doctor.storage, around).state == "broken"


def test_a_full_disk(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 1 << 60)
    assert "GB free" in only(doctor.storage, around).detail
    assert only(doctor.storage, around).state == "broken"


def test_a_data_directory_that_is_not_there_yet_is_fine(around: Surroundings) -> None:
    later = Surroundings(data_dir=around.data_dir / "a" / "b", config=None, root=around.root)
    assert only(doctor.storage, later).state == "ok"


def test_a_sound_and_a_damaged_database(around: Surroundings) -> None:
    connection = sqlite3.connect(around.data_dir / "leases.sqlite")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    (around.data_dir / "results.sqlite").write_bytes(b"not a database, not at all" * 100)
    sound, damaged = doctor.databases(around)
    assert (sound.state, damaged.state) == ("ok", "broken")
    assert "results.sqlite.damaged" in damaged.mend


@pytest.mark.parametrize("denied", [False, True])
def test_rapl(around: Surroundings, monkeypatch: pytest.MonkeyPatch, denied: bool) -> None:
    assert only(doctor.rapl, around).state == "missing"
    counter = around.root / doctor.RAPL
    counter.parent.mkdir(parents=True)
    counter.write_text("1\n")
    if denied:
        unreadable(monkeypatch)
    finding = only(doctor.rapl, around)
    assert finding.state == ("broken" if denied else "ok")
    assert ("chmod" in finding.mend) is denied


@pytest.mark.parametrize("denied", [False, True])
def test_serial_ports(around: Surroundings, monkeypatch: pytest.MonkeyPatch, denied: bool) -> None:
    assert list(doctor.serial_ports(around)) == []
    (around.root / "dev").mkdir()
    (around.root / "dev" / "ttyUSB0").touch()
    if denied:
        unreadable(monkeypatch)
    assert only(doctor.serial_ports, around).state == ("broken" if denied else "ok")


@pytest.mark.parametrize(("name", "state"), [("performance", "ok"), ("schedutil", "missing")])
def test_governor(around: Surroundings, name: str, state: str) -> None:
    assert only(doctor.governor, around).state == "missing"
    policy = around.root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    policy.parent.mkdir(parents=True)
    policy.write_text(name + "\n")
    assert only(doctor.governor, around).state == state


def test_a_broken_inventory_is_told(around: Surroundings, tmp_path: Path) -> None:
    config = tmp_path / "farm.toml"
    config.write_text("[devices.x]\nadress = 1\n")
    finding = only(doctor.inventory, Surroundings(around.data_dir, config, around.root))
    assert finding.state == "broken"
    assert "adress" in finding.detail


def test_local_is_always_in_the_inventory(around: Surroundings, tmp_path: Path) -> None:
    config = tmp_path / "farm.toml"
    config.write_text("")
    assert "local" in only(doctor.inventory, Surroundings(around.data_dir, config, around.root)).detail


@pytest.mark.parametrize("needed", [True, False])
def test_a_package_that_instruments_need(
    around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needed: bool
) -> None:
    config = tmp_path / "farm.toml"
    config.write_text('[meters.m1]\ndriver = "yokogawa-wt310"\nresource = "X"\n' if needed else "")
    monkeypatch.setattr(doctor, "LINKS", {"scpi": ("no-such-package-anywhere", "visa")})
    finding = only(doctor.instruments, Surroundings(around.data_dir, config, around.root))
    assert finding.state == ("broken" if needed else "missing")
    assert ("m1" in finding.detail) == needed
    assert finding.mend == "pip install 'wattfarm[visa]'"


def visa_found(monkeypatch: pytest.MonkeyPatch, path: str, libusb: object) -> None:
    class Library:
        library_path = path

    class Manager:
        visalib = Library()

    monkeypatch.setattr("pyvisa.ResourceManager", Manager)
    monkeypatch.setattr("usb.backend.libusb1.get_backend", lambda: libusb)


@pytest.mark.parametrize(
    ("path", "libusb", "state", "words"),
    [
        ("/usr/lib/x86_64-linux-gnu/libvisa.so", None, "ok", "libvisa.so"),
        ("py", object(), "ok", "LAN, serial and USB"),
        ("py", None, "missing", "need libusb"),
    ],
)
def test_the_visa_library(
    path: str, libusb: object, state: str, words: str, around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    visa_found(monkeypatch, path, libusb)
    finding = only(doctor.visa, around)
    assert finding.state == state
    assert words in finding.detail
    assert bool(finding.mend) == (state != "ok")


def test_what_installing_on_boards_needs(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("importlib.metadata.version", lambda _name: "26.0")
    assert [finding.state for finding in doctor.deployment(around)] == ["ok", "ok"]

    def absent(_name: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr("importlib.metadata.version", absent)
    ssh, pip = doctor.deployment(around)
    assert (ssh.state, ssh.mend) == ("missing", "apt-get install openssh-client")
    assert (pip.state, pip.mend) == ("missing", f"{sys.executable} -m ensurepip")
