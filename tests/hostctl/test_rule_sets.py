"""The rule set mlperf: what breaks each rule, and what breaks none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hostctl.rules import MLPERF, Inside, Ranging, Seen, judge_mlperf
from hostctl.validity import is_valid

GOOD = Seen(
    window_s=600.1,
    settle_s=10.0,
    power_w=98.0,
    relative_u=0.009,
    same_range=True,
    inside=Inside(600, 98.0),
    ranging=Ranging(100.0, 600.0, "150 V / 2 A"),
)


def test_a_run_by_the_rules_earns_no_flag() -> None:
    assert judge_mlperf(GOOD) == []


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"window_s": 599.0}, "MLPERF_TOO_SHORT", "599 s; mlperf asks for 600 s"),
        ({"window_s": None}, "MLPERF_TOO_SHORT", "unknown"),
        ({"settle_s": 1.0}, "MLPERF_SETTLING", "rested 1 s"),
        ({"relative_u": 0.011}, "MLPERF_UNCERTAIN", "1.10%; mlperf allows 1%"),
        ({"relative_u": None}, "MLPERF_UNCERTAIN", "unknown"),
        ({"inside": Inside(59, 98.0)}, "MLPERF_TOO_FEW_SAMPLES", "59 samples"),
        ({"inside": None}, "MLPERF_TOO_FEW_SAMPLES", "None"),
        ({"same_range": False}, "MLPERF_RANGE_CHANGED", "fixed ranges"),
        ({"power_w": 94.0}, "MLPERF_BELOW_RANGING", "6.0% less than its ranging run"),
        ({"ranging": None}, "MLPERF_NOT_RANGED", "no ranges"),
        ({"ranging": Ranging(98.0, 1300.0)}, "MLPERF_SHORTER_THAN_RANGING", "less than half"),
    ],
)
def test_each_rule_by_itself(change: dict[str, object], code: str, words: str) -> None:
    found = judge_mlperf(replace(GOOD, **change))  # type: ignore[arg-type]
    assert code in {one.code for one in found}
    assert words in next(one.message for one in found if one.code == code)
    if change.get("window_s", 1.0) is not None:
        assert len(found) == 1


def test_warnings_do_not_invalidate() -> None:
    assert is_valid(judge_mlperf(replace(GOOD, ranging=None)))
    assert not is_valid(judge_mlperf(replace(GOOD, power_w=90.0)))


def test_the_limits_have_names() -> None:
    assert MLPERF.as_json()["least_duration_s"] == 600.0
    # Exactly at the limits is allowed.
    assert judge_mlperf(replace(GOOD, power_w=95.0, relative_u=0.01, window_s=600.0)) == []
