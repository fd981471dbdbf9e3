"""From codes to volts, in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from power.drivers.common.codes import PIECE, Decoder, Scaling
from power.errors import ReplyInvalid


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", "<u2"])
def test_blocks_become_volts_and_clipped_points(dtype: str) -> None:
    kind = np.iinfo(np.dtype(dtype))
    codes = np.random.default_rng(1).integers(kind.min, kind.max + 1, 3 * PIECE + 7).astype(dtype)
    scaling = Scaling(dtype, 0.25, -3.0, kind.min + 2, kind.max - 1)
    decoder = Decoder(len(codes), scaling, "The scope")
    for begin, end in ((0, PIECE + 5), (PIECE + 5, len(codes))):
        decoder.add(codes[begin:end].tobytes(), end - begin)
    decoder.check_complete()
    assert np.array_equal(decoder.values, codes.astype(float) * 0.25 - 3.0)
    assert np.array_equal(decoder.clipped, (codes >= kind.max - 1) | (codes <= kind.min + 2))


def test_a_block_of_another_length_is_refused() -> None:
    decoder = Decoder(10, Scaling("<i2", 1.0, 0.0, -99, 99), "The scope")
    with pytest.raises(ReplyInvalid, match="The scope sent 9 bytes where 5 points of 2 bytes were due"):
        decoder.add(bytes(9), 5)


def test_missing_points_are_no_zeros() -> None:
    decoder = Decoder(10, Scaling("i1", 1.0, 0.0, -99, 99), "The scope")
    decoder.add(bytes(5), 5)
    with pytest.raises(ReplyInvalid, match="sent 5 of 10 points"):
        decoder.check_complete()


def test_points_that_were_never_acquired_are_refused() -> None:
    decoder = Decoder(4, Scaling("u1", 1.0, 0.0, 1, 255, hole=0), "The scope")
    with pytest.raises(ReplyInvalid, match="has not acquired"):
        decoder.add(bytes([128, 0, 128, 128]), 4)
