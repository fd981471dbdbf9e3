"""Blocks of IEEE 488.2: `#`, one digit n, n digits that count the bytes, the bytes.

Source: IEEE Std 488.2-1992, 8.7.9 "definite length" and 8.7.10 "indefinite length arbitrary block response data" (`#0`, ended by
the message terminator).
"""

from __future__ import annotations

from collections.abc import Callable

from power.errors import ReplyInvalid

Read = Callable[[int], bytes]
INDEFINITE = b"#0"


def header_length(read: Read, where: str, *, after_block: bool = False) -> int | None:
    """Read a block's header and return how many bytes follow; None for an indefinite block.

    `read(n)` returns exactly n bytes. Some instruments write text in front of the block (`C1:WF DAT2,#9...`): it is skipped,
    up to 64 characters; `after_block` also skips the second newline that a block before this one may have ended with.
    Raises ReplyInvalid if there is no header.
    """
    skipped = b""
    byte = read(1)
    if after_block and byte == b"\n":
        byte = read(1)
    while byte != b"#":
        skipped += byte
        if len(skipped) > 64 or byte in (b"\n", b""):
            raise ReplyInvalid(
                f"{where} answered {_shown(skipped)} where a block of data was due; see its error queue."
            )
        byte = read(1)
    digit = read(1)
    if digit == b"0":
        return None
    if not b"1" <= digit <= b"9":
        raise ReplyInvalid(
            f"{where} sent a block with the header '#{_shown(digit)}'; it is cut off or garbled."
        )
    count = read(int(digit))
    if not count.isdigit():
        raise ReplyInvalid(f"{where} sent a block whose length is {_shown(count)}; it is cut off or garbled.")
    return int(count)


def encode(payload: bytes, digits: int = 9) -> bytes:
    """Return a definite block with so many digits in its count."""
    return b"#%d%0*d" % (digits, digits, len(payload)) + payload


def _shown(data: bytes) -> str:
    return repr(data[:40].decode("latin-1"))
