"""Where everything lies on the board, what a release is called, and how much room it takes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from hostctl.deploy.facts import BoardPython, Facts
from hostctl.deploy.wheels import Bundle, Wheel

UNIT = "farmd.service"
KEPT_RELEASES = 3
MARGIN_BYTES = 64 * 1024 * 1024
"""What has to stay free on the board beside the release: logs, the file system's own needs."""


@dataclass(frozen=True)
class Layout:
    """Paths on the board. `unit` None: installed for one user, without a service."""

    prefix: str
    config: str
    state_dir: str | None
    unit: str | None

    @property
    def farmd(self) -> str:
        """Return the command of whichever release is switched on."""
        return f"{self.prefix}/current/venv/bin/farmd"

    @property
    def start_command(self) -> str:
        """Return how a person starts it."""
        return f"{self.farmd} --config {self.config}"


def layout_of(facts: Facts, *, service: bool) -> Layout:
    """Return the places: the system's with a service, the user's without. `state_dir` None: farmd's own default."""
    if not service:
        return Layout(facts.prefix, f"{facts.prefix}/farmd.toml", None, None)
    return Layout(
        prefix=facts.prefix,
        config=f"{facts.root}/etc/wattfarm/farmd.toml",
        state_dir=f"{facts.root}/var/lib/wattfarm",
        unit=f"{facts.root}/etc/systemd/system/{UNIT}",
    )


def release_name(bundle: Bundle, python: BoardPython) -> str:
    """Return the name of a release: its version, and a hash over the wheels and the interpreter it is for."""
    parts = [f"{python.path} {python.short}", *bundle.extras]
    parts += sorted(f"{wheel.name} {wheel.sha256}" for wheel in bundle.wheels)
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"{bundle.version}-{digest[:12]}"


def needed_bytes(wheels: tuple[Wheel, ...]) -> int:
    """Return what a new release takes on the board at most, with the margin."""
    return sum(wheel.size_bytes + wheel.unpacked_bytes for wheel in wheels) + MARGIN_BYTES
