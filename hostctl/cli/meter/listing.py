"""`hostctl meter list`."""

from __future__ import annotations

from typing import Any

import click

from hostctl.cli.options import json_option, pass_settings
from hostctl.cli.output import DASH, print_json_lines, print_table
from hostctl.main import Settings


@click.command("list")
@json_option
@pass_settings
def list_command(settings: Settings, as_json: bool) -> None:
    """List the meters that --meter takes: those of farm.toml, and the drivers that need no settings."""
    from hostctl.inventory import load_inventory
    from hostctl.session.meters import PLAIN
    from power.catalogue import DRIVERS

    inventory = load_inventory(settings.config)
    users = {
        meter: [d.name for d in inventory.devices.values() if d.meter == meter] for meter in inventory.meters
    }
    entries: list[dict[str, Any]] = [
        {
            "name": meter.name,
            "driver": meter.driver,
            "scope": meter.scope,
            "options": dict(meter.options),
            "calibration": None if meter.calibration is None else str(meter.calibration),
            "devices": users[meter.name],
            "reads": DRIVERS[meter.driver].summary,
        }
        for meter in inventory.meters.values()
    ]
    entries += [
        {
            "name": name,
            "driver": name,
            "scope": None,
            "options": {},
            "calibration": None,
            "devices": [],
            "reads": DRIVERS[name].summary,
        }
        for name in PLAIN
        if name not in inventory.meters
    ]
    if as_json:
        print_json_lines(entries)
        return
    rows = [
        (
            entry["name"],
            entry["driver"],
            entry["scope"] or DASH,
            ", ".join(entry["devices"]) or DASH,
            entry["reads"],
        )
        for entry in entries
    ]
    print_table("", ("meter", "driver", "scope", "of device", "reads"), rows)
