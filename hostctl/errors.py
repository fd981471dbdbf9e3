# ruff: noqa: N818 (an error is named after what happened, as in the other rooms)
"""What goes wrong for the user of hostctl: one sentence each, and the exit code it ends in."""

from typing import ClassVar


class HostctlError(Exception):
    """A failure told to the user in one sentence: what is wrong, where, and what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UsageError(HostctlError):
    """The command line or a name given on it is wrong."""

    exit_code: ClassVar[int] = 2


class ModelFileError(HostctlError):
    """A model file is missing, empty, truncated, corrupt, too large or of a format we cannot read."""


class NothingFree(HostctlError):
    """Every device that fits is held by somebody else, and the user did not want to wait."""

    exit_code: ClassVar[int] = 3


class DeviceUnreachable(HostctlError):
    """Nobody answers at the device's address, or the connection broke."""

    exit_code: ClassVar[int] = 4


class Refused(HostctlError):
    """The lease is not (or no longer) ours, or the device does not allow the call."""

    exit_code: ClassVar[int] = 5


class DeviceError(HostctlError):
    """The device answered with an error: a model it cannot run, a wrong input, a worker that died.

    reason   the ErrorInfo reason in UPPER_SNAKE, or the name of the gRPC status where it sent none
    details  its ErrorInfo metadata
    """

    def __init__(self, message: str, *, reason: str = "", details: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.details = dict(details or {})


class MeasurementInvalid(HostctlError):
    """A run broke off or its result cannot be trusted; what was measured is kept, marked invalid."""


class StoreError(HostctlError):
    """The database of leases or results, or its files, cannot be read or written; nothing was stored by halves."""
