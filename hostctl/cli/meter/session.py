"""A calibration at the bench: asks a person or a program for loads, keeps every point at once, signs at the end."""

from __future__ import annotations

import contextlib
import datetime
import math
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hostctl.cli.meter.common import REFERENCE_VALUE, config_of, held, name_of
from hostctl.cli.output import number, print_json
from hostctl.errors import HostctlError
from hostctl.session.meters import own_meter
from power import calibrate
from power.uncertainty import COVERAGE

if TYPE_CHECKING:
    from hostctl.inventory import Inventory
    from power.meter import Meter

SET_LOAD_S = 60.0
REPEATS = 2
"""Doubtful points that a script reads again before it gives up."""
_POOR = 3.0
"""A reference should be so many times better than the meter (ISO 10012:2003, 7.2.1 asks for "fit"; 3 to 4 is custom)."""


@dataclass(frozen=True)
class Order:
    """What the command line asks for. `partial` holds plan and conditions, and the points of a calibration that is resumed."""

    name: str
    partial: calibrate.Partial
    serial: str | None
    duration_s: float
    settle_s: float
    set_load: str | None
    out: Path
    points_file: Path
    replace: bool
    is_scripted: bool
    as_json: bool


class Calibration:
    """One run of `hostctl meter calibrate`."""

    def __init__(self, order: Order, inventory: Inventory) -> None:
        self._order = order
        self._meter = own_meter(config_of(order.name, inventory), is_calibrated=False)
        other = order.partial.reference_meter
        self._other: Meter | None = None if other is None else own_meter(config_of(other, inventory))
        self._guide = calibrate.Guide(order.partial.plan, order.partial.points)
        self._partial = order.partial
        self._repeats = 0

    def run(self) -> None:
        """Go through all steps. Raises HostctlError, PowerError; click.Abort and the like when a person breaks it off."""
        names = [meter.name for meter in (self._meter, self._other) if meter is not None]
        with held(*names), self._keeping(), contextlib.ExitStack() as stack:
            for meter in (self._meter, self._other):
                if meter is not None:
                    stack.enter_context(meter)
            self._begin()
            bench = calibrate.Bench(
                self._meter,
                self._other,
                duration_s=self._order.duration_s,
                settle_s=self._order.settle_s,
                range_text=self._partial.subject.range if self._partial.points else None,
            )
            while (step := self._next_step()).kind != "done":
                self._do(step, bench)
            certificate = self._certificate()
            self._sign(certificate)

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[None]:
        """Say where the points are if it breaks off, for whatever reason; they are in the file already."""
        try:
            yield
        except BaseException:
            if self._partial.points:
                self._say(
                    f"{len(self._partial.points)} point(s) are kept; go on with: "
                    f"hostctl meter calibrate {self._order.name} --resume {shlex.quote(str(self._order.points_file))}",
                )
            raise

    def _begin(self) -> None:
        known = None if self._meter.identity.serial else self._partial.subject.serial
        subject = calibrate.subject_of(self._meter, self._order.serial or known)
        if self._partial.points:
            self._partial.check(subject)
            self._say(f"Going on after {len(self._partial.points)} point(s).")
        self._partial = replace(self._partial, subject=subject)
        self._say(f"Meter: {self._meter.name}, {name_of(self._meter)}")
        if self._other is not None:
            # Refused now rather than after an hour of readings.
            reference = calibrate.reference_of(self._other)
            self._say(
                f"Reference: {self._other.name}, {name_of(self._other)} ({reference.certificate or 'stated'})"
            )

    def _next_step(self) -> calibrate.Step:
        """Return what to do next; where no line may be drawn through the points, a person may read one of them again."""
        try:
            return self._guide.next_step()
        except calibrate.PointsInvalid as error:
            if self._order.is_scripted:
                raise
            self._say(str(error))
            chosen = self._choice(())
            if chosen is None:
                raise
            self._guide.repeat(chosen)
            return self._guide.next_step()

    def _do(self, step: calibrate.Step, bench: calibrate.Bench) -> None:
        if step.kind == "prepare":
            self._prepare()
        elif step.kind == "measure":
            self._measure(step, bench)
        else:
            self._decide(step)

    def _prepare(self) -> None:
        for note in calibrate.PREPARATION:
            self._say(f"- {note}")
        self._wait("Press Enter when all of this is done")
        self._guide.prepared()

    def _measure(self, step: calibrate.Step, bench: calibrate.Bench) -> None:
        load_w = step.load_w or 0.0
        self._say(step.text)
        if self._order.set_load is not None:
            set_load(self._order.set_load, load_w)
        else:
            self._wait("Press Enter when it is set")
        point = bench.compare(load_w) if self._other is not None else self._typed(load_w, bench)
        self._guide.take(point)
        subject = self._subject()
        self._partial = replace(self._partial, points=self._guide.points, subject=subject)
        calibrate.save_partial(self._partial, self._order.points_file)
        self._say(
            f"  meter {_value(point.raw_w, point.u_raw_w)}, reference {_value(point.reference_w, point.u_reference_w)}"
        )

    def _typed(self, load_w: float, bench: calibrate.Bench) -> calibrate.Point:
        self._say(
            f"  reading for {self._order.settle_s + self._order.duration_s:g} s: watch the reference meanwhile."
        )
        reading = bench.read()
        value_w, u_w = click.prompt(
            "  The reference shows, in W (such as 2.503, or 2.503±0.002 with k = 2)",
            type=REFERENCE_VALUE,
            err=self._order.as_json,
        )
        return calibrate.typed(load_w, reading, value_w, u_w)

    def _decide(self, step: calibrate.Step) -> None:
        self._show_residuals()
        self._say(step.text)
        if self._order.is_scripted:
            if self._repeats >= REPEATS:
                raise HostctlError(step.text)
            self._repeats += 1
            self._guide.repeat()
        elif (chosen := self._choice(self._guide.judgement.suspects)) is not None:
            self._guide.repeat(chosen)
        elif self._ask(
            "Take it as it is, and count the scatter as the meter's non-linearity?", default=False
        ):
            self._guide.accept()
        else:
            raise click.Abort

    def _choice(self, suspects: tuple[int, ...]) -> int | None:
        """Return the point that the person wants to read again, None for none."""
        points = self._guide.points
        loads = [f"{point.load_w:g}" for point in points]
        answer = click.prompt(
            "Repeat the point at which load?",
            type=click.Choice([*dict.fromkeys(loads), "none"]),
            default=loads[suspects[0]] if suspects else "none",
            err=self._order.as_json,
        )
        if answer == "none":
            return None
        # Of several rounds, the reading of that load which fits least.
        likeliest = sorted(
            range(len(points)), key=lambda i: suspects.index(i) if i in suspects else len(points)
        )
        return next(i for i in likeliest if loads[i] == answer)

    def _certificate(self) -> calibrate.Certificate:
        partial = self._partial
        today = calibrate.today()
        return self._guide.certify(
            self._subject(),
            self._reference(),
            calibrate.Conditions(
                today,
                today + datetime.timedelta(days=partial.valid_days),
                partial.operator,
                partial.temperature_c,
                partial.humidity_percent,
            ),
        )

    def _subject(self) -> calibrate.Subject:
        return calibrate.subject_of(self._meter, self._partial.subject.serial)

    def _reference(self) -> calibrate.Reference:
        if self._other is not None:
            return calibrate.reference_of(self._other)
        if self._partial.reference is None:
            raise HostctlError(f"{self._order.points_file} names no reference; begin the calibration anew.")
        return self._partial.reference

    def _sign(self, certificate: calibrate.Certificate) -> None:
        self._show_residuals()
        self._say(_summary(certificate))
        self._say_if_poor(certificate)
        if not self._order.is_scripted and not self._ask(
            f"Sign this as {certificate.conditions.operator}?", default=True
        ):
            raise click.Abort
        out = self._order.out
        picture = out.with_suffix(".svg")
        # The certificate comes last: what it stands for is complete once it is there.
        calibrate.save(calibrate.svg_plot(certificate), picture, replace=True)
        calibrate.write(certificate, out, replace=self._order.replace)
        self._order.points_file.unlink(missing_ok=True)
        self._partial = replace(self._partial, points=())
        if self._order.as_json:
            print_json(_json(certificate, out, picture))
        else:
            click.echo(f"Certificate {certificate.id}\n  in {out}, residuals in {picture}.")
            click.echo(f'Put into [meters.{self._order.name}] of farm.toml: calibration = "{out}"')

    def _say_if_poor(self, certificate: calibrate.Certificate) -> None:
        """Say so if the reference is hardly better than the meter itself."""
        stated = self._meter.capabilities.accuracy
        if stated is None:
            return
        high_w = certificate.fit.high_w
        times = stated.u_power_w(high_w) / max(certificate.reference.u_power_w(high_w), 1e-300)
        if times < _POOR:
            self._say(
                f"At {number(high_w)} W the reference is {times:.1f} times as accurate as the meter's own specification; "
                f"{_POOR:g} times or more is usual, and the certificate cannot be better than its reference."
            )

    def _show_residuals(self) -> None:
        self._say(calibrate.text_plot(self._guide.points, self._guide.fit))

    def _wait(self, text: str) -> None:
        if not self._order.is_scripted:
            click.prompt(text, default="", show_default=False, prompt_suffix=" ", err=self._order.as_json)

    def _ask(self, text: str, *, default: bool) -> bool:
        return click.confirm(text, default=default, err=self._order.as_json)

    def _say(self, text: str) -> None:
        click.echo(text, err=self._order.as_json)


def set_load(command: str, load_w: float) -> None:
    """Run the program that sets the load. Raises HostctlError if it cannot be started, fails, or does not come back."""
    arguments = [*shlex.split(command), f"{load_w:g}"]
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=SET_LOAD_S, check=False)
    except OSError as error:
        raise HostctlError(
            f"'{arguments[0]}' could not be started to set the load ({error.strerror}); correct --set-load."
        ) from None
    except subprocess.TimeoutExpired:
        raise HostctlError(
            f"'{command}' did not set the load within {SET_LOAD_S:g} s; check the load."
        ) from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or "it said nothing"
        raise HostctlError(
            f"'{command}' could not set the load to {load_w:g} W (exit code {done.returncode}: {said}); check the load."
        )


def _value(value_w: float, u_w: float) -> str:
    return f"{number(value_w, 6)} W ± {number(COVERAGE * u_w, 2)} W"


def _summary(certificate: calibrate.Certificate) -> str:
    found = certificate.fit
    (v_gain, _), (_, v_offset) = found.covariance
    accuracy = certificate.accuracy()
    high_w = found.high_w
    return (
        f"gain {found.gain:.6g} ± {COVERAGE * math.sqrt(v_gain):.2g}, "
        f"offset {found.offset_w:.4g} W ± {COVERAGE * math.sqrt(v_offset):.2g} W, "
        f"residual sd {found.residual_sd_w:.2g} W, reduced chi² {found.chi2_reduced:.2g}\n"
        f"with the reference's own: {number(high_w)} W ± {COVERAGE * accuracy.u_power_w(high_w):.2g} W (all k = 2)"
    )


def _json(certificate: calibrate.Certificate, out: Path, picture: Path) -> dict[str, Any]:
    said = calibrate.content(certificate)
    days = {key: str(said[key]) for key in ("date", "expires")}
    return {
        **said,
        **days,
        "id": certificate.id,
        "sha256": certificate.sha256,
        "file": str(out),
        "picture": str(picture),
    }
