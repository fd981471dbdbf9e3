"""Tells the C library to keep the memory of large messages instead of giving it back after each call.

A message of 600 kB is copied two or three times on its way through gRPC and protobuf. glibc returns each freed copy
to the kernel, and the next call pays for hundreds of page faults: a third of the whole round trip (docs/performance.md).
"""

from __future__ import annotations

import contextlib
import ctypes

# mallopt(3); the numbers are glibc's, from malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
KEPT_BYTES = 16 << 20
# The most that glibc takes on 64-bit machines; larger blocks go back to the kernel at once.
MAPPED_FROM_BYTES = 32 << 20


def keep_freed_memory() -> bool:
    """Keep up to KEPT_BYTES of freed memory an arena; whether the C library took it. Without glibc nothing changes."""
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_M_MMAP_THRESHOLD, MAPPED_FROM_BYTES)) and bool(
            mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        )
    return False
