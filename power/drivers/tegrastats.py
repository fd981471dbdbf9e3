"""NVIDIA's tegrastats: what a Jetson prints of its rails, for where sysfs is out of reach.

Source: NVIDIA Jetson Linux Developer Guide, releases 28 to 38, "tegrastats Utility". A rail is printed in three ways:

    VDD_IN 2532/2698                    up to JetPack 4: now/average, mW
    VDD_IN 2390mW/2390mW                JetPack 5 and 6
    VDD_GPU 5139mW/5139mW/5139mW        JetPack 7: now/average/maximum

The average is that since tegrastats was started and says nothing of a window: it is never used. JetPack 5 and newer print date
and time first, in the board's local time: what counts is when a line arrives. On AGX Xavier rails are called GPU and CPU, as
loads (`CPU [2%@1190,...]`, `GR3D_FREQ 0%`) and temperatures (`GPU@28C`) are: only pairs with a slash are powers.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self, get_args

from power.drivers.common.base import PushedInstrument
from power.errors import MeterUnavailable, NoReading, ReplyInvalid
from power.meter import Identity, Scope
from power.options import Options
from power.rails.totals import total_rails, total_scope
from power.sample import Sample
from power.timebase import Timebase
from power.trace import Reading
from power.transports.process import LineProcess
from power.uncertainty import Accuracy

COMMAND = "tegrastats"
LEAST_INTERVAL_S = 0.05
PRINTED_LATE_S = 0.05
"""From reading the first rail to the line's arrival."""
STEP_W = 1e-3
FIRST_LINES_S = 10.0
RAIL = re.compile(r"(?<!\S)([A-Za-z][A-Za-z0-9_]*) (\d+)(?:mW)?/(\d+)(?:mW)?(?:/(\d+)(?:mW)?)?(?!\S)")
"""A name, and two or three whole numbers. `RAM 2015/3964MB` and `SWAP 0/8MB` end in another unit."""


def rails_of(line: str) -> dict[str, float]:
    """Return the rails of a line and their power now, W; {} where it tells none. Channels that are not connected are left out."""
    return {
        name: int(now) * 1e-3 for name, now, _average, _most in RAIL.findall(line) if name.upper() != "NC"
    }


@dataclass(frozen=True, slots=True)
class _Printed:
    """A printed rail, as power/rails/totals.py wants to know it."""

    name: str
    driver: str = "tegrastats"
    is_total: bool = False


class Tegrastats(PushedInstrument):
    """The module's total, or the sum of the rails that are named."""

    driver = "tegrastats"
    reading: Reading = "instantaneous"
    """The sensors' values at each line."""
    time_bound_s = PRINTED_LATE_S
    check_text = "that it still runs on the board, and the line to it"

    def __init__(
        self,
        timebase: Timebase,
        *,
        command: Sequence[str] = (COMMAND,),
        interval_s: float = 0.1,
        rails: Sequence[str] = (),
    ) -> None:
        self._timebase, self._command, self._interval_s = timebase, tuple(command), interval_s
        self._wanted, self._names = tuple(rails), tuple(rails)
        self._scope: Scope = "rail"
        self._process: LineProcess | None = None
        self._is_simulated = False
        self.silence_s = max(FIRST_LINES_S, 5.0 * interval_s)

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take command, interval_s and rails."""
        interval_s = options.number("interval_s", 0.1, low=LEAST_INTERVAL_S, high=60.0)
        command = shlex.split(options.text("command", COMMAND))
        return cls(timebase, command=command, interval_s=interval_s, rails=options.names("rails"))

    @property
    def source_text(self) -> str:
        """The command."""
        return f"through '{shlex.join(self._command)}'"

    @property
    def interval_s(self) -> float:
        """What it is asked to print at."""
        return self._interval_s

    @property
    def resolution_w(self) -> float | None:
        """Whole mW; the sensor's own step is wider, and not told."""
        return STEP_W

    @property
    def scope(self) -> Scope:  # type: ignore[override]
        """What the rails cover together."""
        return self._scope

    def accuracy(self, voltage_v: float | None) -> Accuracy | None:
        """Nobody states one: it depends on the module's shunts."""
        return None

    def connect(self) -> Identity:
        """Run it for as long as it takes to see which rails it prints."""
        process = self._started()
        try:
            self._choose(list(self._first_rails(process)))
        finally:
            process.close()
        return Identity("NVIDIA", "tegrastats", is_simulated=self._is_simulated)

    def begin(self) -> None:
        """Start it."""
        self._process = self._started()

    def receive(self, timeout_s: float) -> Sequence[Sample]:
        """Return a sample a line. A line that lacks one of the rails holds no value."""
        return [
            Sample(arrival_ns, power_w=self._sum(line))
            for line, arrival_ns in self._running.read_lines(timeout_s)
            if line.strip()
        ]

    def end(self) -> None:
        """End it: it takes processor time from the board."""
        self.disconnect()

    def make_safe(self) -> None:
        """End it."""
        self.disconnect()

    def disconnect(self) -> None:
        """End the program."""
        process, self._process = self._process, None
        if process is not None:
            process.close()

    @property
    def _running(self) -> LineProcess:
        if self._process is None:
            raise NoReading("tegrastats was not started.")
        return self._process

    def _started(self) -> LineProcess:
        return LineProcess(
            [*self._command, "--interval", str(round(self._interval_s * 1e3))], timebase=self._timebase
        )

    def _first_rails(self, process: LineProcess) -> Mapping[str, float]:
        waits = max(1, round((FIRST_LINES_S + self._interval_s) / 0.1))
        said = ""
        for _ in range(waits):
            for line, _arrival_ns in process.read_lines(0.1):
                said = line.strip() or said
                self._is_simulated = self._is_simulated or "WATTFARM-SIM" in line
                if rails := rails_of(line):
                    return rails
                if "RAM" in line:
                    raise MeterUnavailable(
                        f"'{process.text}' prints no power rails: on Orin only root sees them, so give command = "
                        '"sudo tegrastats" in farm.toml and allow that without a password; the 2 GB Nano has none.'
                    )
        if said:
            raise MeterUnavailable(
                f"'{process.text}' printed '{said[:60]}', which is no line of tegrastats; correct command."
            )
        raise MeterUnavailable(
            f"'{process.text}' printed nothing for {FIRST_LINES_S:g} s; run it by hand to see why."
        )

    def _choose(self, names: Sequence[str]) -> None:
        found = self._wanted or total_rails([_Printed(name) for name in names])
        if not found:
            raise MeterUnavailable(
                f"It is not known which of the rails that tegrastats prints ({', '.join(names)}) make up the whole; "
                "name them with rails = […]."
            )
        missing = [name for name in found if name not in names]
        if missing:
            raise MeterUnavailable(f"tegrastats prints no rail '{missing[0]}'; it prints {', '.join(names)}.")
        known = total_scope(found, names)
        module = "module" if known is None and not self._wanted else known
        self._names = tuple(found)
        self._scope = next((scope for scope in get_args(Scope) if scope == module), "rail")

    def _sum(self, line: str) -> float | None:
        rails = rails_of(line)
        if not rails:
            raise ReplyInvalid(
                f"tegrastats printed '{line.strip()[:60]}', which holds no power; run it by hand to see why."
            )
        values_w = [rails.get(name) for name in self._names]
        known_w = [value for value in values_w if value is not None]
        return sum(known_w) if len(known_w) == len(values_w) else None
