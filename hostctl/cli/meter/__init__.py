"""`hostctl meter`: instruments listed, read, checked, calibrated, and their latency."""

from __future__ import annotations

import click

from hostctl.cli.meter.calibrate import calibrate_command
from hostctl.cli.meter.latency import latency_command
from hostctl.cli.meter.listing import list_command
from hostctl.cli.meter.reading import check_command, read_command


@click.group("meter")
def meter_command() -> None:
    """Instruments: list, read, check, calibrate, latency."""


for _command in (list_command, read_command, check_command, calibrate_command, latency_command):
    meter_command.add_command(_command)
