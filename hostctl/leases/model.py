"""The words of leasing. Times are seconds of the store's clock, since 1970."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from hostctl.errors import Refused, UsageError

LONGEST_TTL_S = 7 * 86400.0


class State(StrEnum):
    """Where a lease is in its life. Only the first two are alive."""

    QUEUED = "queued"
    ACTIVE = "active"
    RELEASED = "released"
    EXPIRED = "expired"
    BROKEN = "broken"


class LeaseLost(Refused):
    """The lease has run out, was given back or was broken: whoever held it has to stop."""

    exit_code: ClassVar[int] = 5


@dataclass(frozen=True)
class Claim:
    """A device that would do, and the instruments taken together with it or not at all."""

    device: str
    instruments: frozenset[str] = frozenset()

    @property
    def resources(self) -> frozenset[str]:
        """Everything the lease would hold, devices and instruments in one name space."""
        return frozenset({f"device:{self.device}", *(f"meter:{name}" for name in self.instruments)})


@dataclass(frozen=True)
class Lease:
    """A claim granted or waiting.

    claims      what would do while queued, in order of preference; the one that is held once active
    fence       grows by one each time the device changes hands; None while queued
    end_s       when it ends unless it is renewed
    token       what the controller signed, None in this version
    reason      why it was broken
    """

    id: str
    holder: str
    state: State
    claims: tuple[Claim, ...]
    priority: int
    ttl_s: float
    create_s: float
    end_s: float
    start_s: float | None = None
    fence: int | None = None
    token: str | None = None
    reason: str | None = None

    @property
    def device(self) -> str | None:
        """The device it holds; None while queued for one of several."""
        return self.claims[0].device if self.state is not State.QUEUED or len(self.claims) == 1 else None

    @property
    def alive(self) -> bool:
        """Whether it holds or waits for something."""
        return self.state in (State.QUEUED, State.ACTIVE)


def default_holder() -> str:
    """Return a label for this process: who, where, which."""
    return f"{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}"


def check_ttl(ttl_s: float) -> float:
    """Return the time to live. Raises UsageError if it is not within what a lease may have."""
    if not 0 < ttl_s <= LONGEST_TTL_S:
        raise UsageError(
            f"A lease of {ttl_s:g} s is not possible; it takes more than 0 and at most {LONGEST_TTL_S:g} s."
        )
    return ttl_s
