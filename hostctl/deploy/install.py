"""Carries a plan out: the steps in their order, each one script on the board that may be run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hostctl.deploy import lock
from hostctl.deploy.errors import DeployFailed
from hostctl.deploy.facts import with_settings
from hostctl.deploy.layout import KEPT_RELEASES
from hostctl.deploy.plan import Plan
from hostctl.deploy.remote import Answer, Remote
from hostctl.deploy.unit import UnitSettings, groups_for, unit_text
from hostctl.deploy.wheels import Wheel

Tell = Callable[[str], None]
USUAL_DRAIN_S = 10.0


@dataclass(frozen=True)
class Outcome:
    """What came of it. `state`: "installed", "upgraded" or "unchanged". `notes`: sentences for the user."""

    state: str
    release: str
    previous: str | None
    sent: int
    sent_bytes: int
    listen: str
    notes: tuple[str, ...]


@dataclass
class Said:
    """What a step answered, by kind of line."""

    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    outcome: str | None = None


def read_answer(output: str) -> Said:
    """Read the lines of a step."""
    said = Said()
    for line in output.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "note":
            said.notes.append(rest)
        elif kind == "missing":
            said.missing.append(rest)
        elif kind == "log":
            said.log.append(rest)
        elif kind == "setting":
            key, _, value = rest.partition(" = ")
            said.settings[key] = value
        elif kind == "error":
            said.error = said.error or rest
        elif kind == "outcome":
            said.outcome = rest
    return said


class Deployment:
    """One plan being carried out under the board's lock; `tell` hears what goes on."""

    def __init__(self, plan: Plan, remote: Remote, tell: Tell) -> None:
        self._plan = plan
        self._remote = remote
        self._tell = tell
        self._token = ""
        self._notes: list[str] = []

    def carry_out(self) -> Outcome:
        """Do it all. Raises DeployFailed in one sentence; what ran on the board before runs on or was put back."""
        with lock.held(self._remote, self._plan.layout.prefix, sudo=self._plan.sudo) as self._token:
            self._tell("comparing what is there")
            prepared = self._step("prepare", MANIFEST=self._manifest())
            sent = self._send(prepared.missing)
            self._tell("installing offline")
            self._step("install", MANIFEST=self._manifest())
            self._tell("checking the settings")
            settings = self._step(
                "configure",
                NEW_CONFIG=(self._plan.request.config or "").rstrip("\n"),
                DEFAULT_CONFIG=self._plan.default_config(),
            ).settings
            self._tell("switching over")
            state = self._activate(settings)
        return Outcome(
            state=state,
            release=self._plan.release,
            previous=self._plan.facts.current if state == "upgraded" else None,
            sent=len(sent),
            sent_bytes=sum(wheel.size_bytes for wheel in sent),
            listen=settings.get("listen", ""),
            notes=tuple(self._notes),
        )

    def _manifest(self) -> str:
        return "\n".join(f"{wheel.sha256} {wheel.name}" for wheel in self._plan.bundle.wheels)

    def _send(self, missing: list[str]) -> list[Wheel]:
        wheels = [wheel for wheel in self._plan.bundle.wheels if wheel.name in set(missing)]
        if not wheels:
            return []
        directory = f"{self._plan.layout.prefix}/releases/{self._plan.release}/wheels"
        answer = self._remote.send(
            [wheel.path for wheel in wheels], directory, sudo=self._plan.sudo, sent=self._progress(wheels)
        )
        if answer.code:
            if "no space" in answer.errors.lower():
                self._step("discard")
            raise DeployFailed(
                f"The wheels did not arrive on {self._remote.target} ({answer.last_words}); mend that and deploy again. "
                "What ran before runs on."
            )
        return wheels

    def _progress(self, wheels: list[Wheel]) -> Callable[[Path], None]:
        left = {wheel.path: wheel.size_bytes for wheel in wheels}
        total = sum(left.values())

        def sent(path: Path) -> None:
            del left[path]
            self._tell(f"sent {(total - sum(left.values())) / 1e6:.1f} of {total / 1e6:.1f} MB")

        return sent

    def _activate(self, configured: Mapping[str, str]) -> str:
        plan = self._plan
        answer, said = self._run(*self._activation(configured))
        word, _, release = (said.outcome or "").partition(" ")
        if word == "unchanged":
            return "unchanged"
        if word == "active":
            return "upgraded" if plan.facts.current not in (None, plan.release) else "installed"
        if said.error is not None or not word:
            raise self._failure("Switching over", answer, said)
        raise DeployFailed(
            f"farmd {plan.release} does not serve on {plan.facts.host}: {self._story(word, release, said)}"
        )

    def _activation(self, configured: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        plan = self._plan
        if plan.layout.unit is None:
            return "activate user", {}
        return "activate service", {"NEW_UNIT": unit_text(unit_settings(plan, configured)).rstrip("\n")}

    def _story(self, word: str, release: str, said: Said) -> str:
        """Return why it failed, what runs now, and the last lines of the log."""
        if word == "rolled-back" and release:
            now = f"{release} runs again" if self._plan.layout.unit else f"{release} stays switched on"
        elif word == "broken":
            now = f"and {release}, which ran before, does not come back: look at 'journalctl -u farmd' there"
        else:
            now = "there is no version to go back to, and nothing was left switched on"
        log = "".join(f"\n  {line}" for line in said.log[-15:])
        return f"{now}; mend what its log says and deploy again.{log}"

    def _step(self, name: str, **files: str) -> Said:
        answer, said = self._run(f"step {name}", files)
        if answer.code or said.error is not None:
            raise self._failure(f"The step '{name}'", answer, said)
        return said

    def _run(self, call: str, files: Mapping[str, str]) -> tuple[Answer, Said]:
        plan = self._plan
        settings = {
            "PREFIX": plan.layout.prefix,
            "RELEASE": plan.release,
            "TOKEN": self._token,
            "PYTHON": plan.python.path,
            "CONFIG": plan.layout.config,
            "UNIT": plan.layout.unit or "",
            "ACCOUNT": plan.request.account,
            "STATE": plan.layout.state_dir or "",
            "DEVICE": plan.request.device,
            "ENTRY": plan.request.board or "",
            "REQUIREMENT": plan.bundle.requirement,
            "KEEP": str(KEPT_RELEASES),
            **files,
        }
        script = f"{with_settings(settings, 'steps.sh')}\n{call} </dev/null\n"
        answer = self._remote.script(script, sudo=plan.sudo)
        said = read_answer(answer.output)
        self._notes += said.notes
        return answer, said

    def _failure(self, what: str, answer: Answer, said: Said) -> DeployFailed:
        if said.error is not None:
            return DeployFailed(said.error)
        return DeployFailed(
            f"{what} failed on {self._remote.target} ({answer.last_words}); what ran there before runs on; "
            "deploy again."
        )


def unit_settings(plan: Plan, configured: Mapping[str, str]) -> UnitSettings:
    """Return what the unit is written from: the plan, and the settings as farmd itself read them."""
    interpreters = [entry.partition("=")[2] for entry in configured.get("interpreters", "").split(", ")]
    paths = [
        *interpreters,
        configured.get("default_interpreter", ""),
        *configured.get("extra_worker_paths", "").split(", "),
    ]
    return UnitSettings(
        user=plan.request.account,
        command=plan.layout.start_command,
        state_dir=configured.get("state_dir") or plan.layout.state_dir or "",
        drain_s=float(configured.get("drain_s") or USUAL_DRAIN_S),
        groups=groups_for(plan.facts.groups),
        needed_paths=tuple(
            path for path in (plan.python.real_path, plan.layout.prefix, *paths) if path.startswith("/")
        ),
    )
