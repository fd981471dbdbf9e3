"""`hostctl devices` and `hostctl show DEVICE`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

from hostctl.cli.messages import to_json
from hostctl.cli.options import device_argument, json_option, pass_settings
from hostctl.cli.output import DASH, print_facts, print_json, print_json_lines, print_table, size
from hostctl.main import Settings

if TYPE_CHECKING:
    from farm.v1 import board_pb2
    from farm.v1 import device_service_pb2 as pb

    from hostctl.inventory import Device
    from hostctl.leases.model import Lease
    from hostctl.session.connect import Answer


@click.command("devices")
@click.option("--ask/--no-ask", default=True, show_default=True, help="Ask each device, or only list them.")
@json_option
@pass_settings
def devices_command(settings: Settings, ask: bool, as_json: bool) -> None:
    """List the farm at a glance.

    The device 'local', this machine, is started when it is used and not asked here.
    """
    from hostctl.inventory import load_inventory
    from hostctl.session.connect import Answer, ask_all

    devices = [device for _, device in sorted(load_inventory(settings.config).devices.items())]
    answers = ask_all(devices) if ask else [Answer(device) for device in devices]
    holders = _holders()
    if as_json:
        print_json_lines(_device_object(answer, holders.get(answer.device.name)) for answer in answers)
        return
    rows = [_row(answer, holders.get(answer.device.name)) for answer in answers]
    columns = ("device", "board", "address", "state", "runtimes", "meter", "tags", "lease")
    print_table("", columns, rows)


@click.command("show")
@device_argument
@json_option
@pass_settings
def show_command(settings: Settings, device: str, as_json: bool) -> None:
    """Show one device in full."""
    from hostctl.inventory import load_inventory
    from hostctl.session.connect import Answer, connected

    found = load_inventory(settings.config).device(device)
    with connected(found) as board:
        info = board.info()
        stats = board.stats()
        models = board.models()
    lease = _holders().get(device)
    if as_json:
        entry = _device_object(Answer(found, info), lease)
        print_json({**entry, "stats": to_json(stats), "models": [to_json(model) for model in models]})
        return
    print_facts(_facts(found, info, lease))
    rows = [_runtime_row(runtime) for runtime in info.runtimes]
    print_table("Runtimes", ("name", "version", "formats", "precisions", "why not"), rows)
    rails = [(r.name, r.driver, r.reading, r.scope, r.unreadable_reason or "readable") for r in info.rails]
    print_table("Power rails", ("name", "driver", "reading", "scope", "state"), rails)


def _facts(device: Device, info: pb.GetInfoResponse, lease: Lease | None) -> list[tuple[str, Any]]:
    return [
        ("device", device.name),
        ("board", device.board),
        ("address", device.address or "this machine"),
        ("tags", ", ".join(sorted(device.tags))),
        ("meter", device.meter),
        ("lease", _lease_text(lease)),
        ("farmd", f"{info.farmd_version}, protocol {info.protocol_version}"),
        ("system", info.operating_system),
        ("processor", f"{info.cpu_model}, {info.cpu_count} logical, {info.architecture}"),
        ("memory", size(info.memory_total_bytes if info.HasField("memory_total_bytes") else None)),
        ("health", "healthy" if info.health.healthy else " ".join(info.health.reasons)),
        ("largest model", size(info.limits.max_model_bytes)),
    ]


def _runtime_row(runtime: board_pb2.RuntimeInfo) -> tuple[str, ...]:
    return (
        runtime.name,
        runtime.version or DASH,
        ", ".join(runtime.formats),
        ", ".join(runtime.precisions),
        runtime.reason,
    )


def _holders() -> dict[str, Lease]:
    """Return device → the lease that holds it; empty where there is no lease store yet."""
    from hostctl.leases.model import State
    from hostctl.session.reservation import open_leases

    with contextlib.closing(open_leases()) as store:
        return {lease.device: lease for lease in store.list() if lease.state is State.ACTIVE and lease.device}


def _row(answer: Answer, lease: Lease | None) -> tuple[str, ...]:
    device = answer.device
    return (
        device.name,
        device.board,
        device.address or "this machine",
        _state(answer),
        ", ".join(answer.runtimes) or DASH,
        device.meter or DASH,
        ", ".join(sorted(device.tags)) or DASH,
        _lease_text(lease),
    )


def _state(answer: Answer) -> str:
    if answer.error is not None:
        return "no answer"
    if answer.info is None:
        return "on call" if answer.device.address is None else "not asked"
    return "healthy" if answer.info.health.healthy else "unhealthy"


def _lease_text(lease: Lease | None) -> str:
    return "free" if lease is None else f"{lease.holder} ({lease.id})"


def _device_object(answer: Answer, lease: Lease | None) -> dict[str, Any]:
    from hostctl.cli.leases import as_object

    device = answer.device
    return {
        "device": device.name,
        "board": device.board,
        "address": device.address,
        "tags": sorted(device.tags),
        "meter": device.meter,
        "state": _state(answer),
        "error": answer.error,
        "lease": None if lease is None else as_object(lease),
        "info": None if answer.info is None else to_json(answer.info),
    }
