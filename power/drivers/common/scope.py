"""What every oscilloscope driver is. power/meters/scope.py plans the record, arms, and makes a trace of the channels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from power.drivers.common.base import Instrument, Start
from power.specification import Specified
from power.trace import Flags, Floats, Reading
from power.uncertainty import Accuracy

Mode = Literal["sample", "hires"]


@dataclass(frozen=True, slots=True)
class ScopeModel:
    """What a model can do.

    record_lengths   lengths that can be chosen, points, increasing; or (least, most) with any_length
    rates_hz         sample rates that can be chosen with one channel on; None: whatever comes of length and time
    most_rate_hz     highest rate with two channels on
    codes            steps of the converter over the whole screen
    has_hires        whether it can average all that it samples between two points
    longest_s        longest record, whatever its rate; None: no limit but the memory
    spans_s          lengths of records that can be chosen, increasing, where a time base comes in steps; None: any
    """

    name: str
    channels: int
    record_lengths: tuple[int, ...]
    most_rate_hz: float
    codes: int
    any_length: bool = False
    rates_hz: tuple[float, ...] | None = None
    has_hires: bool = True
    longest_s: float | None = None
    spans_s: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class ChannelSetting:
    """How a channel is set: `range_v` is what the whole screen shows, V at the probe's tip; `offset_v` its middle.

    attenuation   input ÷ output of the probe: 10 for a 10:1 probe
    bandwidth_hz  limit of the channel; None leaves it open
    """

    number: int
    range_v: float
    offset_v: float = 0.0
    attenuation: float = 1.0
    bandwidth_hz: float | None = None
    coupling: Literal["DC", "AC"] = "DC"
    deskew_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """One acquisition: so many points, so far apart. `pretrigger` is the fraction of it before the trigger."""

    points: int
    interval_s: float
    mode: Mode
    pretrigger: float = 0.0

    @property
    def duration_s(self) -> float:
        """Length."""
        return self.points * self.interval_s


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """One channel of an acquisition, V (or A where the probe's unit is that).

    start_s  time of the first point relative to the trigger
    clipped  true where the converter was at its end
    """

    start_s: float
    interval_s: float
    values: Floats
    clipped: Flags


class Oscilloscope(Instrument):
    """Records once and is read out afterwards.

    The order is connect, set_up, arm, trigger, is_done until true (or stop), read of each channel, make_safe.

    clock_ppm      limit of error of its clock
    keeps_partial  whether `stop` in the middle of a record keeps what there is of it; `read` returns fewer points then
    """

    clock_ppm: float = 50.0
    keeps_partial: bool = False

    @property
    @abstractmethod
    def model(self) -> ScopeModel:
        """What the connected model can do; known once connected."""

    @property
    def reading(self) -> Reading:
        """Points are samples; averages over their interval in high-resolution mode (the meter says so then)."""
        return "instantaneous"

    def accuracy(self, voltage_v: float | None) -> Accuracy | None:
        """None: what the probes are on decides, so the meter makes it of `specified`."""
        return None

    def fitted(self, channel: ChannelSetting) -> ChannelSetting:
        """Return how a channel will really be set: some models have ranges in steps only."""
        return channel

    @abstractmethod
    def set_up(self, channels: Sequence[ChannelSetting], record: Record) -> Record:
        """Set channels and record; return the record that the instrument really made of it, read back.

        Raises InstrumentError where it did not take a setting.
        """

    @abstractmethod
    def arm(self) -> None:
        """Start a single acquisition; returns when it waits for its trigger."""

    @abstractmethod
    def trigger(self) -> Start:
        """Trigger now, by command; return between which two times of the host's clock that happened."""

    @abstractmethod
    def is_done(self) -> bool:
        """Whether the record is full."""

    @abstractmethod
    def stop(self) -> None:
        """End the acquisition, whatever it waits for."""

    @abstractmethod
    def read(self, channel: int) -> Waveform:
        """Read one channel of the finished record. Raises ReplyInvalid if it is not all there, or not fit for energy."""

    @abstractmethod
    def specified(self, channel: ChannelSetting) -> Specified:
        """Return the limits of error of a channel's voltage as it is set.

        As data sheets of oscilloscopes state them, `of_reading` is of the distance between the voltage and the channel's offset.
        """
