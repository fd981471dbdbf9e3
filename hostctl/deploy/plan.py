"""What a deployment is asked to do, and what it is going to do: pure, from what is known of the board."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from hostctl.deploy.errors import BoardUnfit
from hostctl.deploy.facts import BoardPython, Facts
from hostctl.deploy.layout import Layout, layout_of, needed_bytes, release_name
from hostctl.deploy.wheels import Bundle
from hostctl.errors import UsageError

_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
"""What farmd takes as a device's name (docs/farmd.md)."""
_PATH = re.compile(r"/[A-Za-z0-9._/+@-]*")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
"""What useradd(8) takes."""


@dataclass(frozen=True)
class Request:
    """What the user asked for. `board`: its entry of the catalogue, None: unknown. `config`: the text of a farmd.toml."""

    device: str
    board: str | None = None
    prefix: str | None = None
    python: str | None = None
    account: str = "wattfarm"
    config: str | None = None
    service: bool = True

    def check(self) -> None:
        """Raise UsageError for what no board could take."""
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(
                f"'{self.device}' is no name for a board; use up to 63 letters, digits, '.', '_' and '-'."
            )
        if self.prefix is not None and not _PATH.fullmatch(self.prefix):
            raise UsageError(
                f"--prefix '{self.prefix}' must be an absolute path without blanks or special characters, such as /opt/wattfarm."
            )
        if not _ACCOUNT.fullmatch(self.account):
            raise UsageError(
                f"--user '{self.account}' is no name for an account; write for example wattfarm."
            )


@dataclass(frozen=True)
class Plan:
    """A deployment that can be carried out on the board as it was found."""

    request: Request
    facts: Facts
    python: BoardPython
    layout: Layout
    bundle: Bundle
    release: str

    @property
    def sudo(self) -> bool:
        """Whether steps go through sudo."""
        return self.request.service and self.facts.privileges == "sudo"

    @property
    def is_installed(self) -> bool:
        """Whether this very release is there already."""
        return self.release in self.facts.releases

    def default_config(self) -> str:
        """Return the farmd.toml of a board that has none, where its farmd cannot propose one."""
        values = {
            "device": self.request.device,
            "board": self.request.board,
            "listen": "127.0.0.1:50051",
            "state_dir": self.layout.state_dir,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
        return "\n".join(["# Every key: docs/farmd.md. hostctl deploy never overwrites this file.", *lines])

    def lines(self) -> list[str]:
        """Return the plan for people, one step a line."""
        total = sum(wheel.size_bytes for wheel in self.bundle.wheels)
        steps = [f"release {self.release} in {self.layout.prefix}/releases, for {self.python}"]
        if self.is_installed:
            steps.append("it is installed already: nothing is sent")
        else:
            steps.append(
                f"send up to {len(self.bundle.wheels)} wheels ({total / 1e6:.1f} MB), install them offline"
            )
        steps.append(f"keep {self.layout.config} if it is there, else write it; check it with the new farmd")
        if self.layout.unit is None:
            steps.append(f"let it serve for a moment, then switch {self.layout.prefix}/current")
        else:
            steps.append(f"unit {self.layout.unit}, account '{self.request.account}'")
            now = f"from {self.facts.current}" if self.facts.current else "for the first time"
            steps.append(f"switch over {now}, ask its health; what ran before comes back if it fails")
        return steps


def check_board(request: Request, facts: Facts) -> None:
    """Raise BoardUnfit, with what mends it, for a board that cannot be installed on as asked."""
    if facts.system != "Linux":
        raise BoardUnfit(
            f"{facts.host} runs {facts.system or 'no system that tells its name'}; farmd needs Linux."
        )
    if facts.lacks:
        raise BoardUnfit(
            f"{facts.host} lacks the command '{facts.lacks[0]}'; install it there (busybox has it as well)."
        )
    if not _PATH.fullmatch(facts.prefix):
        raise BoardUnfit(
            f"The path {facts.prefix} on {facts.host} has blanks or special characters; choose another --prefix."
        )
    if not request.service:
        return
    if facts.privileges == "none":
        raise BoardUnfit(
            f"'{facts.user}' on {facts.host} is not root, and 'sudo -n' asks for a password; log in as root, allow sudo without "
            "one, or install for this user alone with --no-service."
        )
    if not facts.has_systemd:
        raise BoardUnfit(f"{facts.host} does not run systemd; install without a service: --no-service.")


def make_plan(request: Request, facts: Facts, python: BoardPython, bundle: Bundle) -> Plan:
    """Return the plan. Raises BoardUnfit if there is no room for it."""
    plan = Plan(
        request,
        facts,
        python,
        layout_of(facts, service=request.service),
        bundle,
        release_name(bundle, python),
    )
    needed = needed_bytes(bundle.wheels)
    if not plan.is_installed and facts.free_bytes is not None and facts.free_bytes < needed:
        raise BoardUnfit(
            f"{facts.host} has {facts.free_bytes / 1e6:.0f} MB free at {facts.prefix}, but the release takes "
            f"{needed / 1e6:.0f} MB; free some, or choose a larger place with --prefix."
        )
    return plan
