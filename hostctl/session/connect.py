"""From a selector to a connection: finds devices, starts `local`, and asks boards who they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from farm.v1 import device_service_pb2 as pb

from hostctl.calls import LeaseTag
from hostctl.client import Board
from hostctl.errors import DeviceUnreachable, HostctlError
from hostctl.inventory import Device, Inventory, parse_selector
from hostctl.local import local_device

ASK_TIMEOUT_S = 3.0
_ASKED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device said. `info` None: it did not answer, `error` says why; both None: it was not asked."""

    device: Device
    info: pb.GetInfoResponse | None = None
    error: str | None = None

    @property
    def runtimes(self) -> list[str]:
        """Return the runtimes it can use now."""
        return [] if self.info is None else [r.name for r in self.info.runtimes if r.available]


@contextmanager
def served(device: Device) -> Iterator[str]:
    """Yield the address of a device; where it has none, this machine is served for the length of the block."""
    if device.address is not None:
        yield device.address
        return
    with local_device() as address:
        yield address


@contextmanager
def connected(device: Device, lease: LeaseTag | None = None) -> Iterator[Board]:
    """Yield a connection to a device, which is closed afterwards."""
    with served(device) as address, Board(address, lease, device.tls, device.name) as board:
        yield board


def ask(device: Device, timeout_s: float = ASK_TIMEOUT_S) -> Answer:
    """Ask one device who it is; a device without an address (this machine) is not asked."""
    if device.address is None:
        return Answer(device)
    try:
        with connected(device) as board:
            return Answer(device, board.info(timeout_s))
    except HostctlError as error:
        return Answer(device, error=error.message)


def ask_all(devices: Sequence[Device]) -> list[Answer]:
    """Ask many devices at once; the answers are in the order of the devices."""
    if not devices:
        return []
    with ThreadPoolExecutor(min(len(devices), _ASKED_AT_ONCE)) as pool:
        return list(pool.map(ask, devices))


def candidates(inventory: Inventory, selector: str) -> list[Device]:
    """Return the devices a selector fits, by name; boards are asked only if it has a `runtime=` term.

    Raises UsageError where nothing in the inventory fits, DeviceUnreachable where no board with the runtime answers.
    """
    wanted = parse_selector(selector)
    devices = inventory.select(wanted)
    if not wanted.runtimes:
        return devices
    answers = [answer if answer.info else _ask_local(answer.device, answer) for answer in ask_all(devices)]
    fitting = [answer.device for answer in answers if wanted.runtimes <= set(answer.runtimes)]
    if not fitting:
        silent = ", ".join(answer.device.name for answer in answers if answer.info is None)
        hint = f"no answer came from {silent}" if silent else "'hostctl devices' lists what they have"
        raise DeviceUnreachable(f"No device that answers has {', '.join(sorted(wanted.runtimes))}; {hint}.")
    return fitting


def _ask_local(device: Device, answer: Answer) -> Answer:
    if device.address is not None:
        return answer
    with connected(device) as board:
        return Answer(device, board.info())
