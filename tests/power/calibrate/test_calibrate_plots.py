"""Residual plots: an SVG that is one, and lines of text."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from power import calibrate
from power.calibrate.plotting import _ticks
from tests.power.calibrate.bench import certificate_of, points_of

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("seed", [None, 3])
def test_the_picture(scale: float, seed: int | None) -> None:
    loads = (0.0, 1.0 * scale, 2.5 * scale, 5.0 * scale)
    found = certificate_of(
        points_of(1.01, 0.02 * scale, loads_w=loads, u_w=1e-3 * scale, seed=seed), serial="<&>"
    )
    root = ElementTree.fromstring(calibrate.svg_plot(found))
    assert root.tag == f"{SVG}svg"
    assert root.findtext(f"{SVG}title") == "Residuals of F100 <&>, 15 V / 1 A, 2026-11-21"
    circles = root.findall(f"{SVG}circle")
    assert len(circles) == 4
    bars = [line for line in root.findall(f"{SVG}line") if line.get("class") == "bar"]
    assert len(bars) == 12
    _, _, width, height = map(float, root.get("viewBox", "").split())
    for circle, bar in zip(circles, bars[::3], strict=True):
        x, y = float(circle.get("cx", "")), float(circle.get("cy", ""))
        low, high = float(bar.get("y1", "")), float(bar.get("y2", ""))
        assert 0.0 < x < width
        assert 0.0 < high <= y <= low < height
    polygon = root.find(f"{SVG}polygon")
    assert polygon is not None
    corners = [tuple(map(float, corner.split(","))) for corner in polygon.get("points", "").split()]
    assert all(0.0 < x < width and 0.0 < y < height for x, y in corners)


def test_a_doubtful_point_is_marked() -> None:
    points = points_of(seed=1)
    bad = points[2]
    points[2] = calibrate.Point(2.5, bad.raw_w + 0.05, bad.u_raw_w, bad.reference_w, bad.u_reference_w)
    root = ElementTree.fromstring(calibrate.svg_plot(certificate_of(points)))
    assert [c.get("class") for c in root.findall(f"{SVG}circle")].count("doubtful") >= 1


def test_lines_for_a_terminal() -> None:
    points = points_of(seed=1)
    text = calibrate.text_plot(points, calibrate.fit(points))
    head, *lines = text.splitlines()
    assert "residual" in head
    assert len(lines) == 4
    for line in lines:
        assert line.count("*") == 1
        assert "mW" in line
        assert len(line) < 120


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-6, 1e6))
@settings(deadline=None)
def test_ticks_reach_beyond_both_ends(low: float, width: float) -> None:
    if low + width == low or width < abs(low) * 1e-6:
        return
    ticks = _ticks(low, low + width)
    assert 3 <= len(ticks) <= 12
    assert ticks[0] <= low + 1e-9 * max(abs(low), width)
    assert ticks[-1] >= low + width - 1e-9 * max(abs(low), width)
