"""What is on the board: asked by one small POSIX shell script, read into plain data."""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass
from importlib import resources

from hostctl.deploy.errors import BoardUnfit
from hostctl.deploy.remote import Remote
from hostctl.deploy.tags import Libc, architecture, platform_tags

OLDEST_PYTHON = (3, 11)
NEWEST_TRIED_PYTHON = (3, 13)
FACTS_TIMEOUT_S = 120.0
_VERSION = re.compile(r"(\d+)\.(\d+)")
_SOABI = re.compile(r"cpython-(\d+t?)")


@dataclass(frozen=True)
class BoardPython:
    """An interpreter on the board. `bits` is the width of its pointers; `abi` its wheel tag, "" for one that is not CPython."""

    path: str
    real_path: str
    version: tuple[int, int, int]
    abi: str
    bits: int
    has_venv: bool
    has_ensurepip: bool

    @property
    def short(self) -> str:
        """Return for example "3.11"."""
        return f"{self.version[0]}.{self.version[1]}"

    def __str__(self) -> str:
        """Return for example "/usr/bin/python3 (3.11.2)"."""
        return f"{self.path} ({'.'.join(map(str, self.version))})"


@dataclass(frozen=True)
class Facts:
    """One board. `libc` and `free_bytes` None: it does not tell. `privileges`: "root", "sudo" or "none".

    root      where its /etc and /var lie, "" for the usual place
    current   the release that is switched on, None for none
    releases  the releases that are complete
    """

    host: str
    user: str
    system: str
    machine: str
    prefix: str
    root: str
    libc: Libc | None
    privileges: str
    has_systemd: bool
    free_bytes: int | None
    lacks: tuple[str, ...]
    groups: frozenset[str]
    pythons: tuple[BoardPython, ...]
    current: str | None
    releases: frozenset[str]

    def tags(self, python: BoardPython) -> tuple[str, ...]:
        """Return the platform tags of the wheels that this interpreter takes, best first. Raises BoardUnfit."""
        if self.libc is None:
            raise BoardUnfit(
                f"{self.host} tells no C library (neither 'getconf GNU_LIBC_VERSION' nor 'ldd --version'), so no wheels "
                "can be chosen for it; install getconf there."
            )
        return platform_tags(architecture(self.machine, python.bits), self.libc)


def examine(remote: Remote, *, prefix: str | None, service: bool, python: str | None) -> Facts:
    """Ask the board. Raises BoardUnfit if it does not answer as a board should, DeviceUnreachable if not at all."""
    settings = {
        "PREFIX": prefix or ("/opt/wattfarm" if service else ""),
        "SERVICE": "yes" if service else "no",
        "CHOSEN": python or "",
    }
    answer = remote.script(with_settings(settings, "facts.sh"), timeout_s=FACTS_TIMEOUT_S)
    if "fact end yes" not in answer.output.splitlines():
        raise BoardUnfit(
            f"{remote.target} did not answer a shell script as a Linux board does ({answer.last_words}); "
            f"try 'ssh {remote.target} uname -a'."
        )
    return parse(answer.output)


def with_settings(settings: dict[str, str], *names: str) -> str:
    """Return scripts of hostctl/deploy/board, after assignments of what they need."""
    folder = resources.files("hostctl.deploy") / "board"
    assignments = "".join(f"{key}={shlex.quote(value)}\n" for key, value in settings.items())
    return assignments + "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def parse(output: str) -> Facts:
    """Read the script's lines; what a login shell says besides is passed over."""
    lines = [line.split(" ", 2)[1:] for line in output.splitlines() if line.startswith("fact ")]
    many: dict[str, list[str]] = {}
    for key, *value in lines:
        many.setdefault(key, []).append(value[0].strip() if value else "")
    one = {key: values[-1] for key, values in many.items()}
    free_kib = one.get("free_kib", "")
    return Facts(
        host=one.get("host") or "the board",
        user=one.get("user", ""),
        system=one.get("system", ""),
        machine=one.get("machine", ""),
        prefix=posixpath.normpath(one["prefix"]),
        root=one.get("root", "").rstrip("/"),
        libc=_libc(one.get("libc", "")),
        privileges=one.get("privileges", "none"),
        has_systemd="systemd" in one,
        free_bytes=int(free_kib) * 1024 if free_kib.isdigit() else None,
        lacks=tuple(many.get("lacks", ())),
        groups=frozenset(many.get("group", ())),
        pythons=_pythons(many.get("python", [])),
        current=one.get("current") or None,
        releases=frozenset(many.get("release", ())),
    )


def _libc(text: str) -> Libc | None:
    name, _, version = text.partition(" ")
    found = _VERSION.match(version)
    return Libc(name, int(found[1]), int(found[2])) if found else None


def _pythons(lines: list[str]) -> tuple[BoardPython, ...]:
    found: dict[str, BoardPython] = {}
    for line in lines:
        path, real_path, version, soabi, bits, venv, ensurepip = line.split("|")
        abi = _SOABI.match(soabi)
        numbers = [int(part) for part in version.split(".")]
        python = BoardPython(
            path=path,
            real_path=real_path,
            version=(numbers[0], numbers[1], numbers[2]),
            abi=f"cp{abi[1]}" if abi else "",
            bits=int(bits),
            has_venv=venv == "yes",
            has_ensurepip=ensurepip == "yes",
        )
        found.setdefault(real_path, python)
    return tuple(found.values())


def choose_python(facts: Facts, wanted: str | None) -> BoardPython:
    """Return the interpreter for farmd: the one asked for, else the first that fits. Raises BoardUnfit."""
    if wanted is not None and not facts.pythons:
        raise BoardUnfit(
            f"{wanted} on {facts.host} is no Python that runs; give --python the path of one that is 3.11 or newer."
        )
    fit = [python for python in facts.pythons if python.version >= OLDEST_PYTHON and python.abi]
    if not fit:
        raise _too_old(facts)
    usable = [python for python in fit if python.has_venv]
    if not usable:
        raise BoardUnfit(
            f"{fit[0]} on {facts.host} lacks the module venv; install the package that holds it (Debian: "
            f"python{fit[0].short}-venv, Yocto: python3-venv), or give --python another interpreter."
        )
    return next((python for python in usable if python.version[:2] <= NEWEST_TRIED_PYTHON), usable[0])


def _too_old(facts: Facts) -> BoardUnfit:
    found = ", ".join(map(str, facts.pythons)) or "none"
    return BoardUnfit(
        f"{facts.host} has no CPython 3.11 or newer, which farmd needs (found: {found}); the vendor's runtimes keep their "
        f"old interpreter, farmd only needs one of its own: unpack a standalone build to "
        f"{facts.prefix}/python, or give --python PATH."
    )
