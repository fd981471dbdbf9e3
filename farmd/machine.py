"""What the board is: processor, features, operating system. Read from /proc and /etc.

Sources: Linux kernel Documentation/arch/{x86/cpuinfo,arm64/cpu-feature-registers}.rst; Arm and NVIDIA part numbers
as in util-linux sys-utils/lscpu-arm.c; os-release(5).
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

from farmd.stats import read_text

PROTOCOL_VERSION = 1

FEATURES = (
    *(
        "sse4_2",
        "avx",
        "f16c",
        "fma",
        "avx2",
        "avx512f",
        "avx512bw",
        "avx512_vnni",
        "avx512_bf16",
        "avx512_fp16",
    ),
    *("avx_vnni", "avx_vnni_int8", "amx_tile", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
"""Processor features that change the results or the speed of inference, in the kernel's words."""

ARM_PARTS = {
    ("0x41", "0xc07"): "Cortex-A7",
    ("0x41", "0xc09"): "Cortex-A9",
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd04"): "Cortex-A35",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd0d"): "Cortex-A77",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd44"): "Cortex-X1",
    ("0x41", "0xd46"): "Cortex-A510",
    ("0x41", "0xd47"): "Cortex-A710",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x4e", "0x003"): "NVIDIA Denver 2",
    ("0x4e", "0x004"): "NVIDIA Carmel",
}


@functools.cache
def version() -> str:
    """Return the version of the installed package, or "unknown" where it runs without being installed."""
    import importlib.metadata  # slow, and only GetInfo asks

    try:
        return importlib.metadata.version("wattfarm")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def cpu_model(root: Path) -> str:
    """Return the processor's name; for Arm the cores, and the board where its device tree names it."""
    text = read_text(root / "proc/cpuinfo") or ""
    match = re.search(r"^model name\s*:\s*(\S.*)$", text, re.MULTILINE)
    if match:
        return match[1].strip()
    implementers = re.findall(r"^CPU implementer\s*:\s*(\S+)", text, re.MULTILINE)
    parts = re.findall(r"^CPU part\s*:\s*(\S+)", text, re.MULTILINE)
    cores = sorted({ARM_PARTS.get(core, "/".join(core)) for core in zip(implementers, parts, strict=False)})
    board = (read_text(root / "proc/device-tree/model") or "").strip("\0 ")
    return ", ".join(part for part in (" + ".join(cores), board) if part)


def cpu_features(root: Path) -> list[str]:
    """List the features of FEATURES that the first processor has."""
    text = read_text(root / "proc/cpuinfo") or ""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE)
    present = set(match[1].split()) if match else set()
    return [feature for feature in FEATURES if feature in present]


def operating_system(root: Path) -> str:
    """Return the distribution and the kernel: "Debian GNU/Linux 12 (bookworm), Linux 6.1.0-18-amd64"."""
    kernel = os.uname()
    text = read_text(root / "etc/os-release") or ""
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)"?$', text, re.MULTILINE)
    running = f"{kernel.sysname} {kernel.release}"
    return f"{match[1]}, {running}" if match else running


def architecture() -> str:
    """Return the machine architecture as the kernel names it."""
    return os.uname().machine
