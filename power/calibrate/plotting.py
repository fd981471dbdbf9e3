"""Residuals of a calibration for the eye: an SVG file beside the certificate, and lines of text for a terminal.

A dozen points with error bars need no plotting package, which would be the largest dependency of everything that measures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from power.calibrate.certificate import Certificate
from power.calibrate.fitting import WORST_RESIDUAL, Fit, Point
from power.uncertainty import COVERAGE

_WIDTH, _HEIGHT = 720.0, 440.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 84.0, 20.0, 84.0, 56.0
_TICKS = 6
_BAR_CHARACTERS = 41
_LOOKS = {
    "title": 'font-size="14" font-weight="bold"',
    "grid": 'stroke="#ddd"',
    "axis": 'stroke="#222"',
    "band": 'fill="#1f6fb4" fill-opacity="0.15"',
    "bar": 'stroke="#1f6fb4" stroke-width="1.5"',
    "point": 'fill="#1f6fb4"',
    "doubtful": 'fill="#c0392b"',
}
"""Attributes rather than a style sheet, which small renderers pass over."""


def expanded_w(points: Sequence[Point], found: Fit) -> list[float]:
    """Return U (k = 2) of each residual: reading, reference at that point, and linearity."""
    return [COVERAGE * math.hypot(found.gain * p.u_raw_w, p.u_reference_w, found.linearity_w) for p in points]


def text_plot(points: Sequence[Point], found: Fit) -> str:
    """Return one line a point: `*` is the residual, `----` its U (k = 2), `|` the line itself."""
    bars_w = expanded_w(points, found)
    reach_w = max(abs(r) + u for r, u in zip(found.residuals_w, bars_w, strict=True)) or 1.0
    factor, unit = _unit(reach_w)
    lines = [f"{'load':>9}  {'reading':>11}  {'reference':>11}  {'residual':>9}  {'U (k=2)':>8}"]
    for point, residual_w, u_w in zip(points, found.residuals_w, bars_w, strict=True):
        lines.append(
            f"{point.load_w:>7.4g} W  {point.raw_w:>9.5g} W  {point.reference_w:>9.5g} W  {residual_w * factor:>6.3g} {unit:<2}  "
            f"{u_w * factor:>5.2g} {unit:<2}  {_bar(residual_w / reach_w, u_w / reach_w)}"
        )
    return "\n".join(line.rstrip() for line in lines)


def svg_plot(certificate: Certificate) -> str:
    """Return a picture of the residuals over power, with error bars (k = 2) and the band of the fit."""
    return _Picture.of(certificate).drawn()


def _bar(residual: float, u: float) -> str:
    def column(value: float) -> int:
        return round((value + 1.0) / 2.0 * (_BAR_CHARACTERS - 1))

    cells = [" "] * _BAR_CHARACTERS
    for i in range(column(residual - u), column(residual + u) + 1):
        cells[i] = "-"
    cells[column(0.0)] = "|"
    cells[column(residual)] = "*"
    return "".join(cells)


@dataclass(frozen=True, slots=True)
class _Picture:
    certificate: Certificate
    bars_w: list[float]
    x_ticks: list[float]
    y_ticks: list[float]
    factor: float
    unit: str

    @classmethod
    def of(cls, certificate: Certificate) -> _Picture:
        found = certificate.fit
        bars_w = expanded_w(certificate.points, found)
        reach_w = max(abs(r) + u for r, u in zip(found.residuals_w, bars_w, strict=True)) or 1.0
        reach_w = max(reach_w, _band_w(found, found.low_w), _band_w(found, found.high_w))
        factor, unit = _unit(reach_w)
        margin_w = 0.05 * (found.high_w - found.low_w)
        x_ticks = _ticks(found.low_w - margin_w, found.high_w + margin_w)
        return cls(
            certificate,
            bars_w,
            x_ticks,
            _ticks(-1.1 * reach_w * factor, 1.1 * reach_w * factor),
            factor,
            unit,
        )

    def x(self, power_w: float) -> float:
        low, high = self.x_ticks[0], self.x_ticks[-1]
        return _LEFT + (power_w - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, residual: float) -> float:
        low, high = self.y_ticks[0], self.y_ticks[-1]
        return _HEIGHT - _BOTTOM - (residual - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    def drawn(self) -> str:
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" '
            'font-family="sans-serif" font-size="12" fill="#222">',
            f"<title>{escape(self._heading())}</title>",
            f'<rect width="{_WIDTH:g}" height="{_HEIGHT:g}" fill="white"/>',
            *self._head(),
            *self._grid(),
            self._band(),
            *self._points(),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    def _heading(self) -> str:
        subject, conditions = self.certificate.subject, self.certificate.conditions
        what = " ".join(
            part for part in (subject.model or subject.driver, subject.serial or subject.name) if part
        )
        where = "" if subject.range is None else f", {subject.range}"
        return f"Residuals of {what}{where}, {conditions.date}"

    def _head(self) -> list[str]:
        found = self.certificate.fit
        (v_gain, _), (_, v_offset) = found.covariance
        line = (
            f"gain {found.gain:.6g} ± {COVERAGE * math.sqrt(v_gain):.1g}, offset {found.offset_w:.4g} W ± "
            f"{COVERAGE * math.sqrt(v_offset):.1g} W (k = 2)"
        )
        scatter = (
            f"residual sd {found.residual_sd_w:.2g} W, reduced chi² {found.chi2_reduced:.2g}; bars: U of the points, "
            "band: U of the line (k = 2)"
        )
        texts = [(22, line), (40, scatter)]
        return [
            f'<text {_look("title")} x="{_LEFT:g}" y="24">{escape(self._heading())}</text>',
            *(f'<text x="{_LEFT:g}" y="{24 + down}">{escape(text)}</text>' for down, text in texts),
        ]

    def _grid(self) -> list[str]:
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        parts = []
        for tick in self.x_ticks:
            at = f"{self.x(tick):.1f}"
            parts.append(f'<line {_look("grid")} x1="{at}" y1="{_TOP:g}" x2="{at}" y2="{bottom:g}"/>')
            parts.append(f'<text x="{at}" y="{bottom + 18:g}" text-anchor="middle">{tick:g}</text>')
        for tick in self.y_ticks:
            at = f"{self.y(tick):.1f}"
            kind = "axis" if tick == 0.0 else "grid"
            parts.append(f'<line {_look(kind)} x1="{_LEFT:g}" y1="{at}" x2="{right:g}" y2="{at}"/>')
            parts.append(f'<text x="{_LEFT - 8:g}" y="{at}" dy="4" text-anchor="end">{tick:g}</text>')
        middle = 0.5 * (_LEFT + right)
        parts.append(
            f'<text x="{middle:g}" y="{bottom + 40:g}" text-anchor="middle">calibrated power, W</text>'
        )
        y = 0.5 * (_TOP + bottom)
        parts.append(
            f'<text transform="translate(18 {y:g}) rotate(-90)" text-anchor="middle">reference − line, {self.unit}</text>'
        )
        return parts

    def _band(self) -> str:
        found, steps = self.certificate.fit, 40
        powers_w = [found.low_w + (found.high_w - found.low_w) * i / steps for i in range(steps + 1)]
        upper = [(p, _band_w(found, p)) for p in powers_w]
        corners = [*upper, *((p, -u) for p, u in reversed(upper))]
        path = " ".join(f"{self.x(p):.1f},{self.y(u * self.factor):.1f}" for p, u in corners)
        return f'<polygon {_look("band")} points="{path}"/>'

    def _points(self) -> list[str]:
        parts = []
        found = self.certificate.fit
        for i, point in enumerate(self.certificate.points):
            x = self.x(found.corrected_w(point.raw_w))
            residual, u = found.residuals_w[i] * self.factor, self.bars_w[i] * self.factor
            low, high = self.y(residual - u), self.y(residual + u)
            parts.append(f'<line {_look("bar")} x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}"/>')
            for end in (low, high):
                parts.append(
                    f'<line {_look("bar")} x1="{x - 5:.1f}" y1="{end:.1f}" x2="{x + 5:.1f}" y2="{end:.1f}"/>'
                )
            kind = "doubtful" if abs(found.normalised[i]) > WORST_RESIDUAL else "point"
            parts.append(f'<circle {_look(kind)} cx="{x:.1f}" cy="{self.y(residual):.1f}" r="4"/>')
        return parts


def _look(kind: str) -> str:
    return f'class="{kind}" {_LOOKS[kind]}'


def _band_w(found: Fit, power_w: float) -> float:
    """Return U (k = 2) of the line at a calibrated power."""
    raw_w = (power_w - found.offset_w) / found.gain
    (v_gain, shared), (_, v_offset) = found.covariance
    return COVERAGE * math.sqrt(max(0.0, v_gain * raw_w**2 + 2.0 * shared * raw_w + v_offset))


def _unit(reach_w: float) -> tuple[float, str]:
    return next(
        ((factor, unit) for factor, unit in ((1.0, "W"), (1e3, "mW")) if reach_w * factor >= 1.0),
        (1e6, "µW"),
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers, evenly spaced, that reach beyond both ends."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(i * step, 12) for i in range(first, last + 1)]
