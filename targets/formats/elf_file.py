"""What an ELF file says of itself: for which processor it is, and whether it is whole.

The loader of the system tells neither in words a user could act on: a program of another architecture is "Exec format error",
and a library that was cut in half dies with SIGBUS once it is touched. Source: elf(5).
"""

import os
import struct
from typing import Dict, Tuple

from targets.errors import ModelInvalid

# e_machine -> the names that uname(2) gives such processors. (Linux, include/uapi/linux/elf-em.h)
MACHINES: Dict[int, Tuple[str, ...]] = {
    3: ("i386", "i486", "i586", "i686"), 8: ("mips", "mips64"), 20: ("ppc",), 21: ("ppc64", "ppc64le"),
    22: ("s390", "s390x"), 40: ("armv6l", "armv7l", "armv8l"), 62: ("x86_64",), 183: ("aarch64",),
    243: ("riscv32", "riscv64"), 258: ("loongarch64",),
}  # fmt: skip
# What a 64-bit kernel runs beside its own: (machine of the kernel, bits of the file, e_machine).
_COMPATIBLE = (("x86_64", 3), ("aarch64", 40))
_HEADER = {32: "HHIIIIIHHHHHH", 64: "HHIQQQIHHHHHH"}
_MAGIC = b"\x7fELF"


class ElfFacts:
    """The architecture of an ELF file, its bits (32 or 64), and the bytes the file must have at least."""

    def __init__(self, machine: int, bits: int, is_little: bool, needed_bytes: int) -> None:
        self.machine = machine
        self.bits = bits
        self.is_little = is_little
        self.needed_bytes = needed_bytes

    @property
    def architecture(self) -> str:
        """The processor as uname names it, or its number where it has no name here."""
        names = MACHINES.get(self.machine)
        return names[-1] if names else "machine {}".format(self.machine)

    def runs_on(self, machine: str) -> bool:
        """Whether a kernel that calls itself ``machine`` (``os.uname().machine``) can run this file."""
        if machine in MACHINES.get(self.machine, ()):
            return True
        return (machine, self.machine) in _COMPATIBLE


def is_elf(path: str) -> bool:
    """Whether a file begins as an ELF file does. OSError as it comes."""
    with open(path, "rb") as file:
        return file.read(4) == _MAGIC


def read(path: str) -> ElfFacts:
    """Read the header of an ELF file. ModelInvalid if it is none or ends before its sections; OSError as it comes."""
    size = os.stat(path).st_size
    with open(path, "rb") as file:
        head = file.read(64)
    if head[:4] != _MAGIC or len(head) < 52 or head[4] not in (1, 2) or head[5] not in (1, 2):
        raise ModelInvalid("{} is no ELF file.".format(path), path=path)
    bits, is_little = 32 * head[4], head[5] == 1
    layout = ("<" if is_little else ">") + _HEADER[bits]
    if len(head) < 16 + struct.calcsize(layout):
        raise ModelInvalid("{} is cut inside its ELF header.".format(path), path=path)
    fields = struct.unpack_from(layout, head, 16)
    machine, segments, sections = fields[1], fields[4], fields[5]
    needed = max(segments + fields[8] * fields[9], sections + fields[10] * fields[11])
    if needed > size:
        raise ModelInvalid(
            "{} has {} bytes, but its ELF header speaks of {}: it is cut.".format(path, size, needed),
            path=path,
        )
    return ElfFacts(machine, bits, is_little, needed)
