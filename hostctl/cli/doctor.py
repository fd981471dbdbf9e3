"""`hostctl doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from hostctl.cli.options import json_option, pass_settings
from hostctl.cli.output import print_json_lines, print_table
from hostctl.main import Settings

if TYPE_CHECKING:
    from hostctl.doctor import Finding

_MARKS = {"ok": "ok", "missing": "missing", "broken": "BROKEN"}


@click.command("doctor")
@click.option("--all", "with_devices", is_flag=True, help="Ask every device of the inventory as well.")
@json_option
@pass_settings
def doctor_command(settings: Settings, with_devices: bool, as_json: bool) -> int:
    """Tell what on this machine is missing, and the command that mends it.

    Exits 1 if something is broken; what is merely missing does no harm.
    """
    from hostctl.doctor import Surroundings, examine, healthy
    from hostctl.paths import data_dir

    findings = examine(Surroundings(data_dir=data_dir(), config=settings.config))
    if with_devices:
        findings += list(_devices(settings))
    if as_json:
        print_json_lines(asdict(finding) for finding in findings)
    else:
        rows = [(f.subject, _MARKS[f.state], f.detail, f.mend) for f in findings]
        print_table("", ("what", "state", "found", "what mends it"), rows)
    return 0 if healthy(findings) else 1


def _devices(settings: Settings) -> Iterator[Finding]:
    """Ask every device whether it answers and what keeps it from work. An inventory that is wrong was told already."""
    from hostctl.doctor import Finding
    from hostctl.errors import HostctlError
    from hostctl.inventory import load_inventory
    from hostctl.session.connect import ask_all

    try:
        devices = list(load_inventory(settings.config).devices.values())
    except HostctlError:
        return
    for answer in ask_all([device for device in devices if device.address is not None]):
        subject = f"device {answer.device.name}"
        if answer.info is None:
            mend = f"start farmd there: farmd --listen {answer.device.address}"
            yield Finding(subject, "broken", answer.error or "no answer", mend)
        elif not answer.info.health.healthy:
            yield Finding(
                subject, "broken", " ".join(answer.info.health.reasons), "look at farmd's log there"
            )
        else:
            able = ", ".join(answer.runtimes) or "no runtime"
            yield Finding(subject, "ok", f"farmd {answer.info.farmd_version}; {able}")
