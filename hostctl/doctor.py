"""What on this machine is missing or misconfigured, and the command that mends it.

Every check is a function that returns Findings; none changes anything, and none raises for what it finds.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["ok", "missing", "broken"]

# Less than this and a night of traces fills the disk.
LEAST_FREE_BYTES = 1_000_000_000
RUNTIMES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai-edge-litert"}
LINKS = {"scpi": ("pyvisa", "visa"), "serial": ("pyserial", "serial"), "mqtt": ("aiomqtt", "mqtt")}
"""How a meter is reached → the package for it, and the extra that brings it."""
RAPL = "sys/class/powercap/intel-rapl:0/energy_uj"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `mend` is a command or an action, empty where nothing has to be done.

    "missing" is something that may be done without; "broken" is something that will fail.
    """

    subject: str
    state: State
    detail: str
    mend: str = ""


@dataclass(frozen=True)
class Surroundings:
    """Where the checks look, so that tests can point them elsewhere."""

    data_dir: Path
    config: Path | None
    root: Path = Path("/")


def examine(around: Surroundings) -> list[Finding]:
    """Run every check, in the order a newcomer would need them mended."""
    return [finding for check in CHECKS for finding in check(around)]


def healthy(findings: list[Finding]) -> bool:
    """Whether nothing is broken; missing options do not count."""
    return all(finding.state != "broken" for finding in findings)


def python(around: Surroundings) -> Iterator[Finding]:
    """The interpreter's version."""
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Finding("Python", "ok", version)
    else:
        yield Finding(
            "Python", "broken", f"{version} is not tested; 3.11 to 3.13 are", "make PYTHON=python3.11 setup"
        )


def runtimes(around: Surroundings) -> Iterator[Finding]:
    """The runtimes that the device `local` could use."""
    found = 0
    for name, package in RUNTIMES.items():
        try:
            yield Finding(f"runtime {name}", "ok", importlib.metadata.version(package))
            found += 1
        except importlib.metadata.PackageNotFoundError:
            yield Finding(
                f"runtime {name}", "missing", "not installed here", f"pip install 'wattfarm[{name}]'"
            )
    if not found:
        yield Finding(
            "runtimes", "broken", "the device `local` can run nothing", "pip install 'wattfarm[onnxruntime]'"
        )


def storage(around: Surroundings) -> Iterator[Finding]:
    """Whether results can be written, and for how long."""
    folder = around.data_dir
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        yield Finding(
            "data directory", "broken", f"{existing} is not writable", f"sudo chown -R $USER {existing}"
        )
        return
    free_bytes = shutil.disk_usage(existing).free
    detail = f"{folder}, {free_bytes / 1e9:.1f} GB free"
    if free_bytes < LEAST_FREE_BYTES:
        yield Finding("data directory", "broken", detail, f"free some space on the disk of {existing}")
    else:
        yield Finding("data directory", "ok", detail)


def databases(around: Surroundings) -> Iterator[Finding]:
    """Whether the databases of leases and results are sound."""
    for path in sorted(around.data_dir.glob("*.sqlite")):
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                (verdict,) = connection.execute("PRAGMA quick_check").fetchone()
        except sqlite3.Error as error:
            verdict = str(error)
        if verdict == "ok":
            yield Finding(f"database {path.name}", "ok", str(path))
        else:
            yield Finding(f"database {path.name}", "broken", str(verdict), f"mv {path} {path}.damaged")


def rapl(around: Surroundings) -> Iterator[Finding]:
    """Whether the processor's energy counter can be read. Linux restricts it since CVE-2020-8694."""
    counter = around.root / RAPL
    if not counter.exists():
        yield Finding("meter rapl", "missing", "this machine shows no RAPL energy counter")
    elif os.access(counter, os.R_OK):
        yield Finding("meter rapl", "ok", str(counter))
    else:
        yield Finding(
            "meter rapl",
            "broken",
            f"{counter} is readable by root only",
            f"sudo chmod a+r {counter.parent}/energy_uj",
        )


def serial_ports(around: Surroundings) -> Iterator[Finding]:
    """Whether serial meters can be opened."""
    devices = around.root / "dev"
    for port in sorted([*devices.glob("ttyUSB*"), *devices.glob("ttyACM*"), *devices.glob("rfcomm*")]):
        if os.access(port, os.R_OK | os.W_OK):
            yield Finding(f"serial port {port.name}", "ok", str(port))
        else:
            mend = "sudo usermod -aG dialout $USER, then log in again"
            yield Finding(f"serial port {port.name}", "broken", f"no permission to open {port}", mend)


def governor(around: Surroundings) -> Iterator[Finding]:
    """Whether the processor's clock is left to a governor that makes short measurements depend on history."""
    policy = around.root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    try:
        name = policy.read_text().strip()
    except OSError:
        yield Finding("CPU governor", "missing", "this machine does not tell its clock policy")
        return
    if name == "performance":
        yield Finding("CPU governor", "ok", name)
    else:
        yield Finding(
            "CPU governor", "missing", f"{name}: clocks vary", "sudo cpupower frequency-set -g performance"
        )


def inventory(around: Surroundings) -> Iterator[Finding]:
    """Whether farm.toml can be read."""
    from hostctl.errors import HostctlError
    from hostctl.inventory import load_inventory

    try:
        devices = load_inventory(around.config).devices
    except HostctlError as error:
        yield Finding("inventory", "broken", str(error), "mend the line it names")
        return
    yield Finding("inventory", "ok", f"{len(devices)} device(s): {', '.join(sorted(devices))}")


def visa(around: Surroundings) -> Iterator[Finding]:
    """Which VISA library instruments are reached by, and whether it can do USB."""
    try:
        import pyvisa
    except ModuleNotFoundError:
        return  # `instruments` has told
    try:
        path = str(pyvisa.ResourceManager().visalib.library_path)
    except (ValueError, OSError, pyvisa.errors.Error) as error:
        yield Finding("VISA library", "broken", " ".join(str(error).split()), "pip install 'wattfarm[visa]'")
        return
    if path != "py":
        yield Finding("VISA library", "ok", path)
    elif _has_libusb():
        yield Finding("VISA library", "ok", "pyvisa-py: LAN, serial and USB")
    else:
        yield Finding(
            "VISA library",
            "missing",
            "pyvisa-py: LAN and serial; addresses that begin with USB need libusb, which is not installed",
            "sudo apt-get install libusb-1.0-0",
        )


def _has_libusb() -> bool:
    try:
        from usb.backend import libusb1
    except ImportError:
        return False
    return libusb1.get_backend() is not None


def instruments(around: Surroundings) -> Iterator[Finding]:
    """Whether what the instruments of farm.toml are reached through is installed."""
    from hostctl.errors import HostctlError
    from hostctl.inventory import load_inventory
    from power.catalogue import DRIVERS

    try:
        meters = load_inventory(around.config).meters.values()
    except HostctlError:
        return  # `inventory` has told
    for link, (package, extra) in LINKS.items():
        names = sorted(meter.name for meter in meters if DRIVERS[meter.driver].link == link)
        try:
            yield Finding(f"meters over {link}", "ok", f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            needed = f"needed by {', '.join(names)}" if names else "no meter of farm.toml needs it"
            detail = f"{package} is not installed; {needed}"
            yield Finding(
                f"meters over {link}",
                "broken" if names else "missing",
                detail,
                f"pip install 'wattfarm[{extra}]'",
            )


def deployment(around: Surroundings) -> Iterator[Finding]:
    """What `hostctl deploy` needs here: the way to a board, and the collector of wheels."""
    ssh = shutil.which("ssh")
    if ssh is not None:
        yield Finding("ssh for hostctl deploy", "ok", ssh)
    else:
        yield Finding("ssh for hostctl deploy", "missing", "not on PATH", "apt-get install openssh-client")
    try:
        yield Finding("pip for hostctl deploy", "ok", importlib.metadata.version("pip"))
    except importlib.metadata.PackageNotFoundError:
        mend = f"{sys.executable} -m ensurepip"
        yield Finding("pip for hostctl deploy", "missing", "not in this environment", mend)


CHECKS: tuple[Callable[[Surroundings], Iterator[Finding]], ...] = (
    python,
    runtimes,
    storage,
    databases,
    inventory,
    instruments,
    visa,
    rapl,
    serial_ports,
    governor,
    deployment,
)
