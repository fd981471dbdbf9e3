"""A comparison that cannot decide says why: silence would read as agreement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hostctl.fidelity import compare

ONES, ZEROS = np.ones((1, 4)), np.zeros((1, 4))


@pytest.mark.parametrize(
    ("ours", "reference", "precision", "reason"),
    [
        (ONES * 1e9, ZEROS, "float32", "all zeros"),
        (ONES, ONES, "uint4", "no tolerance for the precision 'uint4'"),
        (ONES, ONES * np.nan, "float32", "reference itself is not finite"),
        (np.zeros((0, 4)), np.zeros((0, 4)), "float32", "are empty"),
    ],
)
def test_why_nothing_can_be_said(
    ours: NDArray[Any], reference: NDArray[Any], precision: str, reason: str
) -> None:
    found = compare({"y": ours}, {"y": reference}, precision=precision, source="s")
    assert found.within_tolerance is None
    assert reason in str(found.reason)


def test_one_wrong_output_is_not_hidden_by_another_that_agrees() -> None:
    found = compare({"a": ONES, "b": ONES}, {"a": ONES, "b": ZEROS}, precision="float32", source="s")
    assert found.within_tolerance is None
    assert "all zeros" in str(found.reason)


def test_zeros_that_agree_with_another_output_that_does() -> None:
    found = compare({"a": ONES, "b": ZEROS}, {"a": ONES, "b": ZEROS}, precision="float32", source="s")
    assert (found.within_tolerance, found.reason) == (True, None)
