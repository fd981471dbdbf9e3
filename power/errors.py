# ruff: noqa: N818 (an error is named after what happened, as in the other rooms)
"""What can go wrong while measuring power.

    PowerError
    ├── MeterError              an instrument: absent, refused, broken off, misused
    │   ├── MeterUnavailable    it cannot be opened here
    │   ├── MeterStateError     a step of open, start, stop, close out of order
    │   ├── OptionInvalid       an option of a meter is unknown or wrong
    │   ├── WrongInstrument     another instrument answers than the driver is for
    │   ├── InstrumentError     the instrument itself reports an error
    │   ├── ReplyInvalid        it answered what its manual does not know
    │   └── NoReading           it yielded nothing, or stopped doing so
    │       └── LinkLost        nobody answers any more: switched off, cable pulled, broker gone
    ├── RailUnreadable          a rail of the board exists but cannot be read
    ├── TraceInvalid            samples that no trace can be made of
    ├── WindowInvalid           a window that is empty, inverted or not covered by samples
    └── ClockError              probes from which no clock relation follows
        └── AlignmentError      a trace in which the marks of the run cannot be found

Each message is one sentence: what is wrong, where, and what to do about it.
"""


class PowerError(Exception):
    """Root of everything this package raises on purpose."""


class MeterError(PowerError):
    """An instrument failed or was misused."""


class MeterUnavailable(MeterError):
    """The meter cannot be opened on this machine; the message says why and what would mend it."""


class MeterStateError(MeterError):
    """A step of the meter's life cycle was taken out of order, such as stop before start."""


class OptionInvalid(MeterError):
    """An option of a meter is unknown or has a wrong value; the message names the nearest known one."""


class NoReading(MeterError):
    """A source yielded no value; never to be replaced by zero."""


class LinkLost(NoReading):
    """The way to the instrument broke: no answer in time, connection closed, port vanished."""


class WrongInstrument(MeterError):
    """The instrument that answers is not one that the driver is for; the message names both."""


class InstrumentError(MeterError):
    """The instrument refused a command or reports an error of its own; the message quotes it."""


class ReplyInvalid(MeterError):
    """A reply is cut off, of wrong length, out of turn or not what the manual describes."""


class RailUnreadable(PowerError):
    """A rail exists but cannot be read; `path` is the file, and the message holds the mending command."""

    def __init__(self, message: str, *, rail: str, path: str) -> None:
        super().__init__(message)
        self.rail = rail
        self.path = path


class TraceInvalid(PowerError):
    """Samples are not a trace: times do not increase, lengths differ, or values are not finite."""


class WindowInvalid(PowerError):
    """A window is empty or inverted, or the trace does not cover it."""


class ClockError(PowerError):
    """The probes do not determine how two clocks relate."""


class AlignmentError(ClockError):
    """A trace does not show what it should be aligned by: no edge, no pattern, or several that would fit."""
