"""Which wheels a board takes: platform tags by its architecture and C library, best first.

Sources: PEP 600 (manylinux_x_y and its older names), PEP 656 (musllinux), the platform compatibility tags of the PyPA.
"""

from __future__ import annotations

from dataclasses import dataclass

_OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""glibc 2.x → the name such a tag had before PEP 600."""
_OLDEST_GLIBC = {"x86_64": 5, "i686": 5}
_OLDEST_ELSEWHERE = 17
"""manylinux2014 was the first for other architectures (PEP 599)."""
_NARROW = {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}
"""What a 32-bit system on a 64-bit kernel runs: `uname -m` tells of the kernel only."""


@dataclass(frozen=True)
class Libc:
    """The C library: "glibc" or "musl", and its version. `minor` counts in 2.x (glibc) or 1.x (musl)."""

    name: str
    major: int
    minor: int

    def __str__(self) -> str:
        """Return for example "glibc 2.36"."""
        return f"{self.name} {self.major}.{self.minor}"


def architecture(machine: str, pointer_bits: int) -> str:
    """Return the architecture of a Python, from `uname -m` and the width of its pointers."""
    return _NARROW.get(machine, machine) if pointer_bits == 32 else machine


def platform_tags(machine: str, libc: Libc) -> tuple[str, ...]:
    """Return the platform tags for an architecture: the newest C library first, plain linux last."""
    if libc.name == "musl":
        tags = [f"musllinux_{libc.major}_{minor}_{machine}" for minor in range(libc.minor, -1, -1)]
    else:
        oldest = _OLDEST_GLIBC.get(machine, _OLDEST_ELSEWHERE)
        tags = []
        for minor in range(libc.minor, oldest - 1, -1):
            tags.append(f"manylinux_2_{minor}_{machine}")
            if minor in _OLD_NAMES:
                tags.append(f"{_OLD_NAMES[minor]}_{machine}")
    return (*tags, f"linux_{machine}")
