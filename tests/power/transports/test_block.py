"""Blocks of IEEE 488.2."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from power.errors import ReplyInvalid
from power.transports.block import encode, header_length


@given(st.binary(max_size=2000), st.integers(4, 9), st.sampled_from([b"", b"C1:WF DAT2,"]))
def test_what_is_encoded_is_found(payload: bytes, digits: int, before: bytes) -> None:
    stream = io.BytesIO(before + encode(payload, digits) + b"\n")
    length = header_length(stream.read, "it")
    assert length == len(payload)
    assert stream.read(length) == payload
    assert stream.read() == b"\n"


def test_an_indefinite_block() -> None:
    assert header_length(io.BytesIO(b"#0abc\n").read, "it") is None


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"1.25E+00\n", "answered '1.25E"),
        (b"x" * 80, "where a block of data was due"),
        (b"", "where a block of data was due"),
        (b"#A123", "header '#'A''"),
        (b"#3x12abc", "length is 'x12'"),
    ],
)
def test_what_is_no_block_is_refused(sent: bytes, words: str) -> None:
    stream = io.BytesIO(sent)
    with pytest.raises(ReplyInvalid, match=words):
        header_length(stream.read, "it")
