"""The daemon's settings: what `farmd.toml` may say, checked value by value.

Every mistake is one `ConfigInvalid` sentence that names the file, the key and what to write instead. Keys,
units and defaults are described in docs/farmd.md; a missing key has its default, an unknown one is refused.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from farmd import readers
from farmd.errors import ConfigInvalid
from farmd.readers import Address as Address
from farmd.readers import parse_address as parse_address

SYSTEM_CONFIG = Path("/etc/wattfarm/farmd.toml")
LOCAL_CONFIG = Path("farmd.toml")
DEFAULT_ADDRESS = Address("127.0.0.1", 50051)
GIB = 1 << 30
MIB = 1 << 20

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class TlsConfig:
    """PEM files: the server's chain, its key, the CA whose clients alone are let in (None: any client)."""

    cert: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True)
class LeaseConfig:
    """What the lease gate asks for. `required`: calls that use the board are refused without a lease."""

    required: bool = False


def default_device() -> str:
    """Return the host name, cut to what a device may be called."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", os.uname().nodename)[:63].strip("-._") or "board"


def default_board() -> str:
    """Return the catalogue's entry for a machine of this architecture that nobody described further."""
    return f"generic-{os.uname().machine}"


def default_state_dir() -> Path:
    """Return /var/lib/wattfarm for root, else the user's state directory (XDG base directories)."""
    if os.geteuid() == 0:
        return Path("/var/lib/wattfarm")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "wattfarm" / "farmd"


@dataclass(frozen=True)
class Config:
    """All settings of one daemon. Paths are absolute; times in seconds; sizes in bytes."""

    device: str = field(default_factory=default_device)
    board: str = field(default_factory=default_board)
    listen: Address = DEFAULT_ADDRESS
    tls: TlsConfig | None = None
    state_dir: Path = field(default_factory=default_state_dir)
    cache_bytes: int = 8 * GIB
    max_model_bytes: int = 4 * GIB
    max_message_bytes: int = 64 * MIB
    max_loaded_models: int = 8
    interpreters: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    default_interpreter: Path = field(default_factory=lambda: Path(sys.executable))
    external: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Runtimes whose worker is an executable of its own: the command, its path first."""
    extra_worker_paths: tuple[Path, ...] = ()
    worker_env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    sensors: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Runtimes whose modules measure themselves, and what is read of them: "temperature", or "power" with it."""
    load_timeout_s: float = 600.0
    infer_timeout_s: float = 60.0
    benchmark_max_s: float = 3600.0
    drain_s: float = 10.0
    lease: LeaseConfig = LeaseConfig()
    system_root: Path = Path("/")
    """Root of the file system whose sys/ and proc/ the sensors are read from."""
    source: Path | None = None
    """The file it was read from; None for the built-in defaults."""

    def interpreter_of(self, runtime: str) -> Path:
        """Return the Python that runs this runtime's worker."""
        return self.interpreters.get(runtime, self.default_interpreter)

    def program_of(self, runtime: str) -> Path:
        """Return what a runtime's worker is: an executable of its own, else a Python."""
        command = self.external.get(runtime)
        return Path(command[0]) if command else self.interpreter_of(runtime)


@dataclass(frozen=True)
class _Key:
    """How one key is read: `read` turns a TOML value into a field, ValueError if it is not `wants`."""

    read: Callable[[Any, Path], object]
    wants: str
    example: str


def _seconds_key(key: str, lowest: float, highest: float, example: float) -> _Key:
    return _Key(
        readers.seconds(lowest, highest),
        f"a number of seconds from {lowest:g} to {highest:g}",
        f"{key} = {example:g}",
    )


def _bytes_key(key: str, lowest: int, highest: int, example: str) -> _Key:
    return _Key(
        readers.integer(lowest, highest),
        f"a whole number of bytes from {lowest} to {highest}",
        f"{key} = {example}",
    )


_A_NAME = "a name of up to 63 letters, digits, '.', '_' and '-'"
_KEYS: dict[str, _Key] = {
    "device": _Key(readers.name, _A_NAME, 'device = "orin-1"'),
    "board": _Key(readers.name, _A_NAME, 'board = "jetson-agx-orin"'),
    "listen": _Key(parse_address, '"host:port" or "[ipv6]:port"', 'listen = "127.0.0.1:50051"'),
    "state_dir": _Key(readers.path, "a path", 'state_dir = "/var/lib/wattfarm"'),
    "cache_bytes": _bytes_key("cache_bytes", MIB, 1 << 50, "8_589_934_592"),
    "max_model_bytes": _bytes_key("max_model_bytes", 1, 1 << 50, "4_294_967_296"),
    "max_message_bytes": _bytes_key("max_message_bytes", MIB, (1 << 31) - 1, "67_108_864"),
    "max_loaded_models": _Key(
        readers.integer(1, 1000), "a whole number from 1 to 1000", "max_loaded_models = 8"
    ),
    "default_interpreter": _Key(
        readers.executable, "an executable Python", 'default_interpreter = "/usr/bin/python3"'
    ),
    "extra_worker_paths": _Key(
        readers.paths, "a list of paths", 'extra_worker_paths = ["/usr/lib/python3/dist-packages"]'
    ),
    "load_timeout_s": _seconds_key("load_timeout_s", 0.1, 86_400, 600),
    "infer_timeout_s": _seconds_key("infer_timeout_s", 0.01, 86_400, 60),
    "benchmark_max_s": _seconds_key("benchmark_max_s", 0.1, 604_800, 3600),
    "drain_s": _seconds_key("drain_s", 0, 3600, 10),
    "system_root": _Key(readers.path, "a path", 'system_root = "/"'),
}
_TLS_KEYS: dict[str, _Key] = {
    "cert": _Key(readers.path, "the path of a PEM file", 'cert = "/etc/wattfarm/board.crt"'),
    "key": _Key(readers.path, "the path of a PEM file", 'key = "/etc/wattfarm/board.key"'),
    "client_ca": _Key(readers.path, "the path of a PEM file", 'client_ca = "/etc/wattfarm/clients.crt"'),
}
_LEASE_KEYS: dict[str, _Key] = {"required": _Key(readers.boolean, "true or false", "required = true")}
_INTERPRETER = _Key(readers.executable, "an executable Python", 'openvino = "/opt/openvino/bin/python3"')
_EXTERNAL = _Key(
    readers.command, "a list of an executable and its arguments", 'npu = ["/opt/npu/worker", "--device", "0"]'
)
_ENVIRONMENT = _Key(readers.text, "a text", 'OMP_NUM_THREADS = "4"')
_SENSOR_KEYS: dict[str, _Key] = {
    "hailort": _Key(
        readers.one_of("temperature", "power"), '"temperature" or "power"', 'hailort = "temperature"'
    )
}
_TABLES = ("tls", "lease", "interpreters", "external", "worker_env", "sensors")


def nearest(word: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """Return "; did you mean 'x'?" for the closest known word, or the list of all of them."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known are {', '.join(sorted(known))}."


def _read_keys(
    table: Mapping[str, Any], keys: Mapping[str, _Key], where: str, prefix: str, base: Path
) -> dict[str, Any]:
    values = {}
    for name, value in table.items():
        if name not in keys:
            raise ConfigInvalid(f"{where} has an unknown key '{prefix}{name}'; {nearest(name, keys)}")
        values[name] = _read_one(value, keys[name], where, prefix + name, base)
    return values


def _read_one(value: Any, key: _Key, where: str, name: str, base: Path) -> Any:
    try:
        return key.read(value, base)
    except (ValueError, RuntimeError):  # RuntimeError: "~" without a home directory
        shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."
        raise ConfigInvalid(
            f"{where}: '{name}' must be {key.wants}, but is {shown}; write for example {key.example}."
        ) from None


def _read_open(table: Mapping[str, Any], key: _Key, where: str, prefix: str, base: Path) -> Mapping[str, Any]:
    """Read a table whose keys are free names: runtimes, or environment variables."""
    pattern, wants = (_VARIABLE, "a variable's name") if key is _ENVIRONMENT else (readers.NAME, _A_NAME)
    values = {}
    for name, value in table.items():
        if not pattern.fullmatch(name):
            raise ConfigInvalid(f"{where}: '{prefix}{name}' is not allowed as a key; use {wants}.")
        values[name] = _read_one(value, key, where, prefix + name, base)
    return MappingProxyType(values)


def _split_tables(document: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any]]:
    flat = {key: value for key, value in document.items() if key not in _TABLES}
    tables = {key: value for key, value in document.items() if key in _TABLES}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigInvalid(f"{where}: '{name}' must be a table; begin it with a line [{name}].")
    for name in flat:
        if name not in _KEYS:
            raise ConfigInvalid(f"{where} has an unknown key '{name}'; {nearest(name, (*_KEYS, *_TABLES))}")
    return flat, tables


def _tls(table: Mapping[str, Any], where: str, base: Path) -> TlsConfig:
    values = _read_keys(table, _TLS_KEYS, where, "tls.", base)
    for needed in ("cert", "key"):
        if needed not in values:
            raise ConfigInvalid(
                f"{where}: [tls] lacks '{needed}'; write for example {_TLS_KEYS[needed].example}."
            )
    return TlsConfig(**values)


def from_document(document: Mapping[str, Any], where: str, base: Path, source: Path | None = None) -> Config:
    """Check a parsed TOML document. `where` names it in sentences, relative paths start at `base`.

    Raises ConfigInvalid with one sentence for the first thing that is wrong.
    """
    flat, tables = _split_tables(document, where)
    values = _read_keys(flat, _KEYS, where, "", base)
    if "cache_bytes" in values and "max_model_bytes" not in values:
        values["max_model_bytes"] = min(Config.max_model_bytes, values["cache_bytes"])
    if "tls" in tables:
        values["tls"] = _tls(tables["tls"], where, base)
    if "lease" in tables:
        values["lease"] = LeaseConfig(**_read_keys(tables["lease"], _LEASE_KEYS, where, "lease.", base))
    if "interpreters" in tables:
        values["interpreters"] = _read_open(
            tables["interpreters"], _INTERPRETER, where, "interpreters.", base
        )
    if "external" in tables:
        values["external"] = _read_open(tables["external"], _EXTERNAL, where, "external.", base)
    if "worker_env" in tables:
        values["worker_env"] = _read_open(tables["worker_env"], _ENVIRONMENT, where, "worker_env.", base)
    if "sensors" in tables:
        sensors = _read_keys(tables["sensors"], _SENSOR_KEYS, where, "sensors.", base)
        values["sensors"] = MappingProxyType(sensors)
    config = Config(**values, source=source)
    for runtime in config.external:
        if runtime in config.interpreters:
            raise ConfigInvalid(
                f"{where}: '{runtime}' is both in [interpreters] and in [external]; its worker is one or the other."
            )
    if config.max_model_bytes > config.cache_bytes:
        raise ConfigInvalid(
            f"{where}: 'max_model_bytes' ({config.max_model_bytes}) is larger than 'cache_bytes' "
            f"({config.cache_bytes}), so the largest model could never be kept; raise cache_bytes or lower "
            "max_model_bytes."
        )
    return config


def read(path: Path) -> Config:
    """Read and check one file. Raises ConfigInvalid."""
    import tomllib  # a daemon without a file never needs it

    try:
        document = tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise ConfigInvalid(f"{path} does not exist; create it or name another file with --config.") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigInvalid(
            f"{path} cannot be read ({reason}); check the path and its permissions."
        ) from None
    except UnicodeDecodeError:
        raise ConfigInvalid(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(f"{path} is not valid TOML: {error}; mend that line.") from None
    return from_document(document, str(path), path.absolute().parent, path)


def find(chosen: Path | None = None) -> Config:
    """Read the chosen file, else ./farmd.toml, else /etc/wattfarm/farmd.toml, else take the defaults."""
    if chosen is not None:
        return read(chosen)
    for candidate in (LOCAL_CONFIG, SYSTEM_CONFIG):
        if candidate.exists():
            return read(candidate)
    return from_document({}, "the built-in settings", Path.cwd())


def override(config: Config, given: Mapping[str, str | None]) -> Config:
    """Return the settings with those of the command line (None: not given) in their place. Raises ConfigInvalid."""
    values = {}
    for name, value in given.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            example = _KEYS[name].example.partition(" = ")[2].strip('"')
            key = dataclasses.replace(_KEYS[name], example=f"{option} {example}")
            values[name] = _read_one(value, key, "The command line", option, Path.cwd())
    return dataclasses.replace(config, **values)


def _shown(entry: object) -> str:
    return shlex.join(entry) if isinstance(entry, tuple) else str(entry)


def summary(config: Config) -> str:
    """Return the settings as lines "key = value", the source first."""
    shown = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    source = shown.pop("source")
    lines = [f"Settings of {source or 'farmd (no file)'} are sound."]
    for name, value in shown.items():
        if isinstance(value, TlsConfig | LeaseConfig):
            value = {part.name: str(getattr(value, part.name)) for part in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            value = ", ".join(f"{key}={_shown(entry)}" for key, entry in value.items())
        elif isinstance(value, tuple):
            value = ", ".join(map(str, value))
        lines.append(f"  {name} = {'-' if value in (None, '') else value}")
    return "\n".join(lines)
