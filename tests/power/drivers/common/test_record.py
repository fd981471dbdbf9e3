"""Records that oscilloscopes take: they cover what they have to, or the error says what would."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from power.drivers.common.record import MARGIN, longest_s, plan_record
from power.drivers.common.scope import Mode, ScopeModel
from power.errors import OptionInvalid

STEPPED = ScopeModel("STEPPED", 4, (1_000, 10_000, 100_000, 1_000_000, 20_000_000), 2.5e9, 250)
FREE = ScopeModel("FREE", 4, (100, 4_000_000), 2.5e9, 199, any_length=True, longest_s=500.0)
RATED = ScopeModel("RATED", 2, (7_000, 70_000, 700_000), 5e8, 256, rates_hz=(1e2, 1e3, 1e4, 1e6, 5e8))
PLAIN = ScopeModel("PLAIN", 2, (7_000, 700_000), 5e8, 256, has_hires=False)
SPANNED = ScopeModel(
    "SPANNED",
    4,
    (1_000, 100_000, 20_000_000),
    2.5e9,
    250,
    longest_s=1e4,
    spans_s=(*(step * 10.0**decade for decade in range(-9, 4) for step in (1, 2, 4)), 1e4),
)
MODELS = st.sampled_from([STEPPED, FREE, RATED, PLAIN, SPANNED])


@example(SPANNED, 0.00390625, 25_000_001.0)  # the next longer record is faster than the converter
@given(MODELS, st.floats(1e-6, 1e5), st.floats(1.0, 1e9))
def test_a_record_covers_the_recording_at_the_rate_or_nothing_does(
    model: ScopeModel, duration_s: float, rate_hz: float
) -> None:
    mode: Mode = "hires" if model.has_hires else "sample"
    try:
        record = plan_record(model, duration_s, rate_hz=rate_hz, mode=mode)
    except OptionInvalid:
        too_fast = rate_hz > model.most_rate_hz
        assert too_fast or duration_s > 0.99 * longest_s(model, _taken_hz(model, rate_hz))
        return
    assert record.duration_s >= duration_s * MARGIN * (1 - 1e-9)
    if model.spans_s is not None:
        assert any(record.duration_s == pytest.approx(span_s) for span_s in model.spans_s)
    assert 1.0 / record.interval_s >= min(rate_hz, max(model.rates_hz or (rate_hz,))) * (1 - 1e-9)
    assert 1.0 / record.interval_s <= model.most_rate_hz * (1 + 1e-9)
    if model.any_length:
        assert model.record_lengths[0] <= record.points <= model.record_lengths[-1]
    else:
        assert record.points in model.record_lengths
    averages = record.interval_s * model.most_rate_hz >= 2.0
    assert record.mode == ("hires" if averages and model.has_hires else "sample")


def _taken_hz(model: ScopeModel, rate_hz: float) -> float:
    return min((one for one in model.rates_hz or () if one >= rate_hz * (1 - 1e-9)), default=rate_hz)


@given(MODELS, st.floats(1e-6, 400.0))
def test_without_a_wish_every_recording_fits_that_is_not_too_long(
    model: ScopeModel, duration_s: float
) -> None:
    mode: Mode = "hires" if model.has_hires else "sample"
    record = plan_record(model, duration_s, mode=mode)
    assert record.duration_s >= duration_s
    assert record.points <= 1_000_000


@given(st.sampled_from([STEPPED, SPANNED]), st.floats(10.0, 9e3), st.floats(1e3, 1e8))
def test_what_the_error_proposes_fits(model: ScopeModel, duration_s: float, rate_hz: float) -> None:
    try:
        plan_record(model, duration_s, rate_hz=rate_hz)
    except OptionInvalid as error:
        found = re.search(r"set rate_hz to (\S+) or less.*no longer than (\S+) s;", str(error))
        assert found is not None
        plan_record(model, duration_s, rate_hz=float(found[1]))
        plan_record(model, 0.99 * float(found[2]), rate_hz=rate_hz)


@pytest.mark.parametrize(
    ("model", "duration_s", "rate_hz", "points", "rate_made_hz"),
    [
        (STEPPED, 90.0, 200e3, 20_000_000, 20e6 / 90.9),
        (STEPPED, 30.0, None, 1_000_000, 1e6 / 30.3),
        (FREE, 30.0, 1e4, 303_000, 1e4),
        (SPANNED, 33.0, 1e4, 20_000_000, 5e5),
        (RATED, 30.0, 5e3, 700_000, 1e4),
        (RATED, 30.0, None, 700_000, 1e4),
    ],
)
def test_examples(
    model: ScopeModel, duration_s: float, rate_hz: float | None, points: int, rate_made_hz: float
) -> None:
    record = plan_record(model, duration_s, rate_hz=rate_hz)
    assert record.points == points
    assert 1.0 / record.interval_s == pytest.approx(rate_made_hz)
    assert record.mode == "hires"


@pytest.mark.parametrize(
    ("model", "duration_s", "rate_hz", "words"),
    [
        (STEPPED, 200.0, 200e3, r"20000000: set rate_hz to 99000 or less, whose averages miss nothing"),
        (FREE, 600.0, None, "longest of which takes 500 s; for longer runs take a meter that streams"),
        (PLAIN, 10.0, 100.0, 'cannot average between its points; set acquisition = "sample"'),
        (STEPPED, 1.0, 5e9, "at most, not at 5e"),
        (STEPPED, 0.0, None, "must take some time"),
    ],
)
def test_what_does_not_fit_is_said(
    model: ScopeModel, duration_s: float, rate_hz: float | None, words: str
) -> None:
    with pytest.raises(OptionInvalid, match=words):
        plan_record(model, duration_s, rate_hz=rate_hz)
