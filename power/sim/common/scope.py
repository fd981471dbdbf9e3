"""What all simulated oscilloscopes have in common: what their probes are on, the acquisition, the converter.

A subclass adds the commands: they set `channels` and `record`, call `arm`, `force`, `halt`, ask `state`, and send what `codes`
returns in the format of the model. Times of the record are those of the scope's own clock, which runs wrong by up to `clock_ppm`.

The supply regulates at the board, which sees `load.supply_v` whatever it draws: current is power ÷ supply voltage, and in front
of the shunt the voltage is higher by its drop. So averages of voltage and current are exact too.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, Unpack

import numpy as np
from numpy.typing import NDArray

from power.drivers.common.scope import ChannelSetting, Record, ScopeModel
from power.sim.common.load import Load
from power.sim.common.scpi import ScpiError, ScpiSettings, ScpiSimulator, word
from power.specification import Specified
from power.trace import Floats

State = Literal["stopped", "armed", "triggered"]
Codes = NDArray[np.int32]
PIECE = 1 << 18
"""Points that are made at a time."""
NOISE_CODES = 0.4
"""Noise of the converter, standard deviation in its steps: what lets averages see between two steps."""
BENT_CODES = 0.4
"""Its integral nonlinearity, amplitude in its steps: what no averaging removes."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the probes are on; None leaves one off.

    voltage, current, marker   numbers of channels
    sense                      side of the shunt that the voltage is taken from
    high_s                     times between which the board drives the marker high, host's clock
    """

    voltage: int | None = 1
    current: int | None = 2
    marker: int | None = 4
    shunt_ohm: float = 0.01
    clamp_v_per_a: float | None = None
    turns: int = 1
    sense: Literal["before", "after"] = "before"
    high_v: float = 3.3
    high_s: tuple[tuple[float, float], ...] = ()

    def options(self) -> dict[str, object]:
        """Return the settings of farm.toml that describe it, without the marker."""
        found: dict[str, object] = {}
        if self.voltage is not None:
            found["voltage"] = {"channel": self.voltage}
        if self.current is not None and self.clamp_v_per_a is not None:
            clamp: dict[str, object] = {"channel": self.current, "clamp_v_per_a": self.clamp_v_per_a}
            found["current"] = clamp | ({"turns": self.turns} if self.turns != 1 else {})
        elif self.current is not None:
            shunt: dict[str, object] = {"channel": self.current, "shunt_ohm": self.shunt_ohm}
            found["current"] = shunt | ({"sense": self.sense} if self.sense != "before" else {})
        return found


@dataclass(slots=True)
class Channel:
    """How a channel is set now; see ChannelSetting. `of_gain`, `of_offset`: its errors, as fractions of their limits."""

    is_on: bool = False
    range_v: float = 8.0
    offset_v: float = 0.0
    attenuation: float = 1.0
    bandwidth_hz: float | None = None
    deskew_s: float = 0.0
    of_gain: float = 0.0
    of_offset: float = 0.0

    def setting(self, number: int) -> ChannelSetting:
        """Return it as drivers know it."""
        return ChannelSetting(
            number, self.range_v, self.offset_v, self.attenuation, self.bandwidth_hz, "DC", self.deskew_s
        )


class ScopeSettings(ScpiSettings, total=False):
    """What oscilloscopes can be made with."""

    wiring: Wiring | None


class SimulatedScope(ScpiSimulator):
    """An oscilloscope of which `model` says what it can do.

    clock_ppm      limit of error of its clock; a specimen keeps it
    beyond         how far the converter goes beyond the screen: it clips at ± beyond × range/2
    keeps_partial  whether a record that is stopped in its middle is kept as far as it got
    """

    model: ClassVar[ScopeModel]
    sees_marker: ClassVar[bool] = True
    clock_ppm: ClassVar[float] = 10.0
    beyond: ClassVar[float] = 1.0
    keeps_partial: ClassVar[bool] = False

    def __init__(self, load: Load, *, wiring: Wiring | None = None, **settings: Unpack[ScpiSettings]) -> None:
        super().__init__(load, **settings)
        self.wiring = wiring or Wiring()
        rng = np.random.default_rng(0 if self.seed is None else self.seed)
        drawn = np.zeros(2 * self.model.channels + 2) if self.seed is None else rng.uniform(-1.0, 1.0, 18)
        self.channels = {
            number: Channel(of_gain=float(drawn[2 * number]), of_offset=float(drawn[2 * number + 1]))
            for number in range(1, self.model.channels + 1)
        }
        self._skew = 1e-6 * (self.clock_ppm * float(drawn[0]) + self.faults.clock_ppm)
        self._placed = 0.5 * float(drawn[1])  # where in its interval a high-resolution point is said to be
        self.record = Record(1000, 1e-6, "sample")
        self._origin_s = self.timebase.now_ns() / 1e9
        self._armed = False
        self._trigger_s: float | None = None
        self._points: int | None = None
        self._acquisition = 0

    @abstractmethod
    def limits(self, setting: ChannelSetting) -> Specified:
        """Return the driver's limits of error of a channel: of_reading is of the distance from the channel's offset."""

    @property
    def options(self) -> dict[str, object]:
        """The VISA address and what the probes are on."""
        found = {**super().options, **self.wiring.options()}
        if self.load.line is not None and self.wiring.marker is not None:
            found["marker"] = {"channel": self.wiring.marker, "level_v": 0.5 * self.wiring.high_v}
        return found

    def channel(self, number: int) -> Channel:
        """Return the settings of a channel. Raises ScpiError if there is none of this number."""
        if number not in self.channels:
            raise ScpiError(-114, f"Header suffix out of range; {number}")
        return self.channels[number]

    def accept(self, argument: str, *numbers: int) -> None:
        """Take a setting without effect, of a channel that there is."""
        for number in numbers:
            self.channel(number)

    def channel_named(self, argument: str, prefix: str) -> int:
        """Return the number of the channel that a word names, such as CHANnel2. Raises ScpiError."""
        return int(word(argument, *(f"{prefix}{number}" for number in self.channels))[-1])

    @property
    def state(self) -> State:
        """What it is doing: "stopped" once the record is full too."""
        if self._trigger_s is None:
            return "armed" if self._armed else "stopped"
        return "stopped" if self.points_ready == self.record.points or not self._armed else "triggered"

    @property
    def points_ready(self) -> int:
        """How many points of the record can be read now; 0 before the trigger."""
        if self._points is not None:
            return self._points
        past_s = self._past_s()
        if past_s is None:
            return 0
        # A record is there when it is full; in between nobody can read it.
        full_s = (1.0 - self.record.pretrigger) * self.record.duration_s
        return self.record.points if past_s >= full_s - 1e-9 else 0

    def arm(self) -> None:
        """Start a single acquisition: it waits for its trigger."""
        self._armed, self._trigger_s, self._points = True, None, None
        self._acquisition += 1

    def force(self) -> None:
        """Trigger, if it waits for that."""
        if self._armed and self._trigger_s is None:
            self._trigger_s = self.timebase.now_ns() / 1e9

    def halt(self) -> None:
        """Stop. What was acquired is lost unless the record is full, or the model keeps what there is."""
        past_s = self._past_s()
        if self._armed and past_s is not None and self.points_ready < self.record.points:
            before = self.record.pretrigger * self.record.points
            self._points = int(before + past_s / self.record.interval_s) if self.keeps_partial else 0
        self._armed = False

    def wait_until_done(self) -> None:
        """Let time pass up to the end of the record, as commands that block do."""
        past_s = self._past_s()
        if self._armed and past_s is not None:
            left_s = (1.0 - self.record.pretrigger) * self.record.duration_s / (1.0 + self._skew) - past_s
            self.timebase.sleep(max(0.0, left_s) + 1e-9)

    def codes(self, channel: int, first: int, count: int, steps: int) -> Codes:
        """Return points of the record as codes around the middle of the screen, `steps` of which make its height.

        y = offset_v + code × range_v ÷ steps, from −beyond × steps/2 to beyond × steps/2 − 1. `first` counts from 0. In sample
        mode only every (steps ÷ model.codes)-th code occurs. The same points are the same codes however they are asked for, if
        they are asked for in the same pieces.
        """
        made = np.empty(count, np.int32)
        for begin in range(0, count, PIECE):
            end = min(count, begin + PIECE)
            made[begin:end] = self._piece(channel, first + begin, end - begin, steps)
        return made

    def _past_s(self) -> float | None:
        """Return the time since the trigger, on the scope's clock."""
        if self._trigger_s is None:
            return None
        return (self.timebase.now_ns() / 1e9 - self._trigger_s) * (1.0 + self._skew)

    def _piece(self, number: int, first: int, count: int, steps: int) -> Codes:
        channel, record = self.channel(number), self.record
        volts = self._volts(number, channel, first, count)
        limits = self.limits(channel.setting(number))
        gain, offset_v = limits.of_reading * channel.of_gain, limits.offset * channel.of_offset
        place = ((volts - channel.offset_v) * (1.0 + gain) + offset_v) / channel.range_v
        is_average = record.mode == "hires"
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, self._acquisition, number, first])
            averaged = max(1.0, self.model.most_rate_hz * record.interval_s) if is_average else 1.0
            noise = NOISE_CODES / self.model.codes / math.sqrt(averaged)
            place += rng.normal(0.0, noise, count)
            place += BENT_CODES / self.model.codes * np.sin(2.0 * math.pi * (place + channel.of_offset))
        resolved = steps if is_average else self.model.codes
        end = round(0.5 * self.beyond * resolved)
        codes = np.clip(np.rint(place * resolved), -end, end - 1)
        return np.rint(codes * (steps / resolved)).astype(np.int32)

    def _volts(self, number: int, channel: Channel, first: int, count: int) -> Floats:
        """Return what is at the probe's tip."""
        record, wiring = self.record, self.wiring
        index = np.arange(first, first + count, dtype=np.float64) - record.pretrigger * record.points
        shown_s = index * record.interval_s - channel.deskew_s
        if record.mode == "hires":
            shown_s += self._placed * record.interval_s
        t_s = (self._trigger_s or 0.0) + shown_s / (1.0 + self._skew)
        if number == wiring.marker:
            high = np.zeros(count, np.bool_) if self.load.line is None else self.load.line.levels(t_s)
            for start_s, end_s in wiring.high_s:
                high |= (t_s >= start_s) & (t_s < end_s)
            return np.where(high, wiring.high_v, 0.0)
        at_rest_v, of_power = self._relation(number)
        if of_power == 0.0:
            return np.full(count, at_rest_v)
        power_w = self._power_w(t_s, record.interval_s / (1.0 + self._skew))
        volts = at_rest_v + of_power * power_w
        if self.faults.clip_w and number == wiring.current:
            volts[power_w >= self.faults.clip_w] = math.copysign(1e9, of_power)
        return volts

    def _relation(self, number: int) -> tuple[float, float]:
        """Return what a channel sees at no load, and V for each W that the board draws."""
        wiring, supply_v = self.wiring, self.load.supply_v
        is_clamp = wiring.clamp_v_per_a is not None
        if number == wiring.voltage:
            drop = 0.0 if is_clamp or wiring.sense == "after" else wiring.shunt_ohm
            return supply_v, drop / supply_v
        if number == wiring.current:
            per_ampere = wiring.turns * wiring.clamp_v_per_a if wiring.clamp_v_per_a else wiring.shunt_ohm
            return 0.0, per_ampere / supply_v
        return 0.0, 0.0

    def _power_w(self, t_s: Floats, interval_s: float) -> Floats:
        """Return the power at each time, or its mean over the interval around it in high resolution, with faults."""
        faults = self.faults
        if self.record.mode == "hires":
            power_w = self.load.mean_w(t_s - 0.5 * interval_s, t_s + 0.5 * interval_s)
        else:
            power_w = self.load.waveform.power_w(t_s)
        power_w = faults.distorted(power_w, t_s - self._origin_s)
        if faults.noise_w:
            rng = np.random.default_rng([self._acquisition, round(1e9 * float(t_s[0]))])
            power_w = power_w + rng.normal(0.0, faults.noise_w, len(t_s))
        return power_w
