"""Any server that tells a power or an energy as JSON over HTTP, such as the management of a RECS (1 value a second and node).

There is no manual to follow: farm.toml says where (url, path) the value is, and what it is (reading, unit, update_s).
Source: docs/meters/network.md of this project; RFC 9110 (HTTP); RFC 6750, 2.1 (bearer tokens).

A value is up to one renewal old, so it is taken to be half a renewal older than the answer, ± as much.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, get_args

from power.drivers.common.base import SIMULATED_SERIAL, PolledInstrument
from power.drivers.common.readings import Rising, reading
from power.errors import MeterUnavailable, NoReading, ReplyInvalid
from power.meter import Identity, Scope
from power.options import Options
from power.sample import Sample
from power.timebase import Timebase
from power.trace import Reading
from power.transports.jsonpath import JsonPath, PathError
from power.transports.rest import TIMEOUT_S, JsonSource, RestLine

POWER_UNITS = {"W": 1.0, "mW": 1e-3, "uW": 1e-6, "kW": 1e3}
ENERGY_UNITS = {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "kJ": 1e3, "Wh": 3600.0, "mWh": 3.6, "kWh": 3.6e6}


@dataclass(frozen=True, slots=True)
class Values:
    """What is read of each document, and what it means.

    to_si     factor from what the document says to W or J
    update_s  how often the server renews it; None if unknown
    step      smallest step, W or J; None if negligible
    """

    path: JsonPath
    reading: Reading
    to_si: float
    averaging_s: float | None = None
    update_s: float | None = None
    step: float | None = None
    voltage: JsonPath | None = None
    current: JsonPath | None = None
    serial: JsonPath | None = None


class Rest(PolledInstrument):
    """One value of a JSON document, and voltage and current where they stand beside it."""

    driver = "rest"
    scope: Scope = "board"

    def __init__(
        self,
        url: str,
        values: Values,
        timebase: Timebase,
        *,
        interval_s: float = 1.0,
        timeout_s: float = TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
        token_env: str | None = None,
        ca_file: str | None = None,
        line: JsonSource | None = None,
    ) -> None:
        """`headers` whose text begins with $ are read from the environment; `line` is for tests."""
        self._url, self._values, self._timebase = url, values, timebase
        self._interval_s, self._timeout_s = interval_s, timeout_s
        self._headers, self._token_env, self._ca_file = dict(headers or {}), token_env, ca_file
        self._given, self._line = line, line
        self._rising = Rising()
        self.averaging_s, self.update_s = values.averaging_s, values.update_s
        self.step_j = values.step if values.reading == "counter" else None
        # A value is up to one renewal old: half of one on average. What a counter's age varies by is a part of its own.
        self._late_s = 0.5 * (values.update_s or 0.0)
        self._bound_s = self.time_bound_s = 0.0 if values.reading == "counter" else self._late_s

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take url, path, reading, unit and what else docs/meters/network.md lists."""
        url = options.text("url")
        if not url.lower().startswith(("http://", "https://")):
            options.fail(f"url must begin with http:// or https://, not {url!r}")
        interval_s = options.number("interval_s", 1.0, low=0.02, high=3600.0)
        return cls(
            url,
            _values(options, interval_s),
            timebase,
            interval_s=interval_s,
            timeout_s=options.number("timeout_s", TIMEOUT_S, above=0.0, high=60.0),
            headers=_headers(options),
            token_env=options.text("token_env") if "token_env" in options else None,
            ca_file=options.text("ca_file") if "ca_file" in options else None,
        )

    @property
    def reading(self) -> Reading:
        """What farm.toml says it is."""
        return self._values.reading

    @property
    def interval_s(self) -> float:
        """Time between requests."""
        return self._interval_s

    @property
    def tail_s(self) -> float:
        """Some readings, and what they are late."""
        return super().tail_s + self._late_s

    @property
    def setup_text(self) -> str | None:
        """Which value it is, and its factor."""
        unit = "J" if self._values.reading == "counter" else "W"
        return f"{self._values.path.text} times {self._values.to_si:.6g} {unit}"

    @property
    def resolution_w(self) -> float | None:
        """Smallest step of a power."""
        return None if self.reading == "counter" else self._values.step

    def accuracy(self, voltage_v: float | None) -> None:
        """Return nothing: only farm.toml can say."""

    def connect(self) -> Identity:
        """Fetch the document once, and see whether the values are where they should be."""
        line = self._line = self._given or RestLine(
            self._url, headers=self._resolved(), timeout_s=self._timeout_s, ca_file=self._ca_file
        )
        document = line.get()
        values = self._values
        try:
            for path in (values.path, values.voltage, values.current):
                if path is not None:
                    reading(path.find(document), path.text, f"'{self._url}'")
            serial = None if values.serial is None else str(values.serial.find(document))
        except PathError as error:
            raise ReplyInvalid(
                f"In what '{self._url}' answers, {error}; correct path in farm.toml."
            ) from None
        server = line.server or ""
        return Identity(serial=serial, model=line.server, is_simulated=server.startswith(SIMULATED_SERIAL))

    def begin(self) -> None:
        """Let the counter begin anywhere."""
        self._rising = Rising()

    def read(self) -> Sample:
        """Fetch the document; what is not in it this time is None."""
        if self._line is None:
            raise NoReading(f"'{self._url}' was not connected.")
        values = self._values
        asked_ns = self._timebase.now_ns()
        document = self._line.get()
        answered_ns = self._timebase.now_ns()
        self.time_bound_s = max(self.time_bound_s, self._bound_s + 0.5e-9 * (answered_ns - asked_ns))
        value = self._found(document, values.path)
        is_counter = values.reading == "counter"
        si = None if value is None else value * values.to_si
        if is_counter and si is not None:
            si = self._rising.checked(si, f"'{self._url}'")
        return Sample(
            (asked_ns + answered_ns) // 2 - round(self._late_s * 1e9),
            power_w=None if is_counter else si,
            energy_j=si if is_counter else None,
            voltage_v=self._found(document, values.voltage),
            current_a=self._found(document, values.current),
        )

    def make_safe(self) -> None:
        """Nothing was changed."""

    def disconnect(self) -> None:
        """Forget the line: each request is a connection of its own."""
        self._line = None

    def _found(self, document: object, path: JsonPath | None) -> float | None:
        if path is None:
            return None
        try:
            found = path.find(document)
        except PathError:
            return None
        return reading(found, path.text, f"'{self._url}'")

    def _resolved(self) -> dict[str, str]:
        headers = {
            name: self._secret(text[1:]) if text.startswith("$") else text
            for name, text in self._headers.items()
        }
        if self._token_env is not None:
            headers["Authorization"] = f"Bearer {self._secret(self._token_env)}"
        return headers

    def _secret(self, name: str) -> str:
        text = os.environ.get(name, "").strip()
        if not text:
            raise MeterUnavailable(
                f"Reading '{self._url}' needs the environment variable {name}, which is not set; export it."
            )
        return text


def _values(options: Options, interval_s: float) -> Values:
    kind = options.choice("reading", get_args(Reading), "average")
    units = ENERGY_UNITS if kind == "counter" else POWER_UNITS
    update_s = options.maybe("update_s", above=0.0, high=3600.0)
    averaging_s = options.maybe("averaging_s", above=0.0, high=3600.0)
    if averaging_s is not None and kind != "average":
        options.fail(f"averaging_s is for averages, and reading is '{kind}'")
    if kind == "average":
        averaging_s = averaging_s or update_s or interval_s
        update_s = update_s or averaging_s
    elif kind == "counter":
        update_s = update_s or interval_s
    unit = units[options.choice("unit", tuple(units), "J" if kind == "counter" else "W")]
    to_si = unit * options.number("factor", 1.0, above=0.0)
    step = options.maybe("resolution", above=0.0)
    return Values(
        _path(options, "path", options.text("path")),
        "counter" if kind == "counter" else "average" if kind == "average" else "instantaneous",
        to_si,
        averaging_s,
        update_s,
        None if step is None else step * to_si,
        *(
            _path(options, key, options.text(key)) if key in options else None
            for key in ("voltage_path", "current_path", "serial_path")
        ),
    )


def _path(options: Options, key: str, text: str) -> JsonPath:
    try:
        return JsonPath.parse(text)
    except PathError as error:
        options.fail(f"{key}: {error}")


def _headers(options: Options) -> dict[str, str]:
    headers = options.mapping("headers") or {}
    for name, text in headers.items():
        if not isinstance(text, str) or not text or any(letter in name + text for letter in "\r\n"):
            options.fail(f"the header '{name}' must be one line of text, not {text!r}")
    return {name: str(text) for name, text in headers.items()}
