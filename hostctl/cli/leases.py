"""`hostctl reserve`, `renew`, `release` and `leases`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from hostctl.cli.options import DURATION, complete_device, examples, json_option, pass_settings
from hostctl.cli.output import DASH, print_json, print_json_lines, print_table, span
from hostctl.main import Settings

if TYPE_CHECKING:
    from hostctl.leases.model import Lease
    from hostctl.leases.store import LeaseStore

_QUEUE_TTL_S = 30.0
"""A place in the queue is kept this long after its process died."""


@contextlib.contextmanager
def _leases() -> Iterator[LeaseStore]:
    from hostctl.session.reservation import open_leases

    with contextlib.closing(open_leases()) as store:
        yield store


@click.command(
    "reserve",
    epilog=examples(
        "hostctl reserve orin-1 --for 2h",
        "hostctl reserve tag=gpu,runtime=openvino --no-wait",
    ),
)
@click.argument("selector", shell_complete=complete_device)
@click.option("--for", "ttl_s", type=DURATION, default="2h", show_default=True, help="How long.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for a free device, or exit 3.")
@click.option("--priority", type=int, default=0, show_default=True, help="Higher is served first.")
@json_option
@pass_settings
def reserve_command(
    settings: Settings, selector: str, ttl_s: float, wait: bool, priority: int, as_json: bool
) -> None:
    """Reserve a device.

    SELECTOR is a device name or terms such as tag=gpu,runtime=openvino. 'hostctl run' then uses the lease by itself.
    """
    from hostctl.inventory import load_inventory
    from hostctl.leases.model import Claim, State, check_ttl
    from hostctl.session.connect import candidates
    from hostctl.session.progress import progress_on
    from hostctl.session.reservation import Teller, person

    check_ttl(ttl_s)
    devices = candidates(load_inventory(settings.config), selector)
    claims = [Claim(device.name, frozenset([device.meter] if device.meter else [])) for device in devices]
    with _leases() as store:
        # While it waits the entry lives from moment to moment; once granted it gets its whole time.
        lease = store.request(person(), claims, ttl_s=min(ttl_s, _QUEUE_TTL_S), priority=priority, wait=wait)
        if lease.state is State.QUEUED:
            lease = store.wait_for(lease.id, on_waiting=Teller(progress_on()))
        lease = store.renew(lease.id, ttl_s=ttl_s)
    _tell(lease, as_json, f"{lease.device} is yours until {_clock(lease.end_s)}: lease {lease.id}.")


@click.command("renew")
@click.argument("lease_id", metavar="LEASE")
@click.option("--for", "ttl_s", type=DURATION, help="How long from now; its own length if not given.")
@json_option
def renew_command(lease_id: str, ttl_s: float | None, as_json: bool) -> None:
    """Extend a lease."""
    with _leases() as store:
        lease = store.renew(lease_id, ttl_s=ttl_s)
    _tell(lease, as_json, f"{lease.device} is yours until {_clock(lease.end_s)}: lease {lease.id}.")


@click.command("release")
@click.argument("lease_id", metavar="LEASE|DEVICE", shell_complete=complete_device)
@json_option
def release_command(lease_id: str, as_json: bool) -> None:
    """Give a lease back.

    A device's name releases your own lease over it.
    """
    from hostctl.session.reservation import person

    with _leases() as store:
        own = [lease for lease in store.list() if lease.holder == person() and lease.device == lease_id]
        lease = store.release(own[0].id if own else lease_id)
    _tell(
        lease, as_json, f"The lease {lease.id} over {lease.device or 'no device yet'} is {lease.state.value}."
    )


@click.command("leases")
@click.option("--all", "history", is_flag=True, help="Those that are over as well, the newest first.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Most to list."
)
@json_option
def leases_command(history: bool, limit: int, as_json: bool) -> None:
    """List leases."""
    with _leases() as store:
        found = store.list(history=history, limit=limit)
    if as_json:
        print_json_lines(as_object(lease) for lease in found)
        return
    rows = [_row(lease) for lease in found]
    print_table("", ("lease", "device", "holder", "state", "priority", "ends", "left"), rows)


def as_object(lease: Lease) -> dict[str, Any]:
    """Return a lease for programs; times in ISO 8601, UTC."""
    return {
        "id": lease.id,
        "holder": lease.holder,
        "state": lease.state.value,
        "device": lease.device,
        "devices": [claim.device for claim in lease.claims],
        "instruments": sorted({name for claim in lease.claims for name in claim.instruments}),
        "fence": lease.fence,
        "priority": lease.priority,
        "ttl_s": lease.ttl_s,
        "created": _iso(lease.create_s),
        "started": None if lease.start_s is None else _iso(lease.start_s),
        "ends": _iso(lease.end_s),
        "reason": lease.reason,
    }


def _row(lease: Lease) -> tuple[str, ...]:
    left_s = lease.end_s - time.time()
    device = lease.device or " or ".join(claim.device for claim in lease.claims)
    left = span(left_s) if lease.alive and left_s > 0 else DASH
    return (lease.id, device, lease.holder, lease.state.value, str(lease.priority), _clock(lease.end_s), left)


def _tell(lease: Lease, as_json: bool, sentence: str) -> None:
    if as_json:
        print_json(as_object(lease))
    else:
        click.echo(sentence)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
