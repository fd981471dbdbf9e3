"""The farm of `farm.toml`: which devices there are, where, and what measures them; and how a person selects one.

Every key and value is checked when the file is read. A mistake is one sentence that names file and place; an unknown name is
refused with the nearest known one.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from hostctl import paths
from hostctl.errors import UsageError

FILE_NAME = "farm.toml"
LOCAL = "local"
SCOPES = ("rail", "card", "module", "board", "wall")
DEVICE_KEYS = ("address", "board", "tags", "meter", "power_switch", "tls", "idle_states")
IDLE_STATE_KEYS = ("power_w", "u_w", "description")
TLS_KEYS = ("ca", "certificate", "key", "server_name")
LONGEST_LATENCY_S = 60.0
METER_KEYS = ("driver", "scope", "calibration", "latency_s", "latency_u_s")
"""Keys of every meter; its driver adds its own (power/catalogue.py)."""
# A name, an IPv4 address, or an IPv6 address in brackets.
HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]")
PORT = re.compile(r"[0-9]{1,5}")
NAME = re.compile(r"[^\s,=]+")
TERMS = ("tag", "board", "runtime")


class InventoryError(UsageError):
    """farm.toml is missing, unreadable or wrong."""


@dataclass(frozen=True)
class Tls:
    """Files (PEM) for a device that is not on the loopback. `server_name` where the certificate names another host."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None


@dataclass(frozen=True)
class StatedIdle:
    """The power of a named idle state that somebody measured by other means, W. `u_w` is expanded (k = 2), None: unknown."""

    name: str
    power_w: float
    u_w: float | None = None
    description: str | None = None


@dataclass(frozen=True)
class Device:
    """A board of the farm. `address` None is this machine: a farmd is started for the call. `meter` None: none is configured."""

    name: str
    address: str | None
    board: str
    tags: frozenset[str] = frozenset()
    meter: str | None = None
    power_switch: Mapping[str, Any] | None = None
    tls: Tls | None = None
    idle_states: tuple[StatedIdle, ...] = ()


@dataclass(frozen=True)
class MeterConfig:
    """An instrument: its driver, what it sees (`scope`, None: the driver's own), and the driver's options.

    latency_s, latency_u_s  how late its times are, and the standard uncertainty of that
    calibration             file of its certificate, None if it has none
    """

    name: str
    driver: str
    scope: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    latency_s: float = 0.0
    latency_u_s: float = 0.0
    calibration: Path | None = None


@dataclass(frozen=True)
class Selector:
    """What a person asked for: a device by name, or all that have every tag, one of the boards and every runtime."""

    name: str | None = None
    tags: frozenset[str] = frozenset()
    boards: frozenset[str] = frozenset()
    runtimes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Inventory:
    """The farm. `source` None: no file was found, and there is only `local`."""

    source: Path | None
    devices: Mapping[str, Device]
    meters: Mapping[str, MeterConfig]

    def device(self, name: str) -> Device:
        """Return a device. Raises UsageError with the nearest name."""
        if name not in self.devices:
            raise UsageError(
                f"There is no device '{name}'{nearest(name, self.devices) or '; hostctl devices lists them.'}"
            )
        return self.devices[name]

    def meter(self, name: str) -> MeterConfig:
        """Return a meter. Raises UsageError with the nearest name."""
        if name not in self.meters:
            raise UsageError(
                f"There is no meter '{name}'{nearest(name, self.meters) or '; hostctl meter list shows them.'}"
            )
        return self.meters[name]

    def select(self, selector: Selector) -> list[Device]:
        """Return the devices that fit, by name. Raises UsageError if none can.

        Runtimes are not known here: the caller asks the boards.
        """
        if selector.name is not None:
            return [self.device(selector.name)]
        found = [
            device
            for _, device in sorted(self.devices.items())
            if selector.tags <= device.tags and (not selector.boards or device.board in selector.boards)
        ]
        if not found:
            raise UsageError("No device has these tags and this board; hostctl devices lists them.")
        return found


def parse_selector(text: str) -> Selector:
    """Read a SELECTOR: a device name, or `tag=…`, `board=…`, `runtime=…` terms joined by commas. Raises UsageError."""
    if "=" not in text:
        if not text.strip() or "," in text:
            raise UsageError(
                f"'{text}' is no selector; write a device name or terms such as tag=gpu,runtime=openvino."
            )
        return Selector(name=text.strip())
    found: dict[str, set[str]] = {term: set() for term in TERMS}
    for term in text.split(","):
        key, _, value = (part.strip() for part in term.partition("="))
        if key not in found:
            raise UsageError(
                f"'{term}' is no term of a selector{nearest(key, TERMS) or '; the terms are tag=, board=, runtime=.'}"
            )
        if not value:
            raise UsageError(f"The selector term '{term}' has no value; write for example {key}=name.")
        found[key].add(value)
    return Selector(None, *(frozenset(found[term]) for term in TERMS))


def load_inventory(config: Path | None) -> Inventory:
    """Read `config`, else ./farm.toml, else the user's farm.toml; the device `local` is always there.

    Raises InventoryError in one sentence for anything that is wrong with the file.
    """
    path = config or next((place for place in _places() if place.is_file()), None)
    raw = {} if path is None else _read(path)
    where = str(path)
    _known(raw, ("devices", "meters"), where, "the top level")
    meters = {name: _meter(name, entry, where) for name, entry in _table(raw, "meters", where).items()}
    devices = {
        name: _device(name, entry, where, meters) for name, entry in _table(raw, "devices", where).items()
    }
    devices.setdefault(LOCAL, Device(LOCAL, None, local_board()))
    return Inventory(path, devices, meters)


def local_board() -> str:
    """Return the catalogue entry of this machine where nobody says better."""
    import platform

    return "generic-aarch64" if platform.machine() in ("aarch64", "arm64") else "generic-x86_64"


def nearest(name: str, known: Collection[str]) -> str:
    """Return `; did you mean 'x'?` for a close match, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""


def _places() -> tuple[Path, ...]:
    return (Path(FILE_NAME), paths.config_dir() / FILE_NAME)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InventoryError(
            f"The inventory {path} cannot be read ({error.strerror}); check --config."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InventoryError(f"The inventory {path} is not valid TOML: {error}.") from None


def _device(name: str, entry: Any, where: str, meters: Mapping[str, MeterConfig]) -> Device:
    place = f"[devices.{name}]"
    entry = _mapping(entry, where, place)
    _known(entry, DEVICE_KEYS, where, place)
    if not NAME.fullmatch(name):
        _fail(where, f"the device name '{name}' cannot be selected; use no spaces, commas or equals signs")
    meter = _text(entry, "meter", where, place)
    if meter is not None and meter not in meters:
        _fail(
            where, f"{place} names the meter '{meter}', which has no [meters.{meter}]{nearest(meter, meters)}"
        )
    return Device(
        name=name,
        address=_address(name, entry, where, place),
        board=_board(entry, where, place),
        tags=_tags(entry, where, place),
        meter=meter,
        power_switch=_power_switch(entry, where, place),
        tls=_tls(entry, where, place),
        idle_states=_idle_states(entry, where, place),
    )


def _idle_states(entry: Mapping[str, Any], where: str, place: str) -> tuple[StatedIdle, ...]:
    found = []
    for name, raw in _table_of(entry, "idle_states", where, place).items():
        here = f"{place} idle_states.{name}"
        state = _mapping(raw, where, here)
        _known(state, IDLE_STATE_KEYS, where, here)
        power_w, u_w = _number(state, "power_w", where, here), _number(state, "u_w", where, here)
        if power_w is None:
            _fail(where, f"{here} has no power_w; give its power in watts")
        if u_w is not None and u_w < 0.0:
            _fail(where, f"u_w of {here} is negative; give the expanded uncertainty (k = 2) in watts")
        found.append(StatedIdle(name, power_w, u_w, _text(state, "description", where, here)))
    return tuple(found)


def _address(name: str, entry: Mapping[str, Any], where: str, place: str) -> str | None:
    address = _text(entry, "address", where, place)
    if address is None:
        if name == LOCAL:
            return None
        _fail(where, f'{place} has no address; write address = "host:50051"')
    host, _, port = address.rpartition(":")
    if not HOST.fullmatch(host) or not PORT.fullmatch(port) or not 0 < int(port) < 65536:
        _fail(where, f'the address "{address}" of {place} is not host:port')
    return address


def _board(entry: Mapping[str, Any], where: str, place: str) -> str:
    from targets.boards import board_names

    board = _text(entry, "board", where, place)
    if board is None:
        return local_board()
    if board not in board_names():
        _fail(
            where,
            f"{place} names the board '{board}', which is not in the catalogue{nearest(board, board_names())}",
        )
    return board


def _tags(entry: Mapping[str, Any], where: str, place: str) -> frozenset[str]:
    tags = entry.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
        _fail(where, f'the tags of {place} are not a list of texts; write tags = ["gpu"]')
    for tag in tags:
        if not NAME.fullmatch(tag):
            _fail(
                where, f"the tag '{tag}' of {place} cannot be selected; use no spaces, commas or equals signs"
            )
    return frozenset(tags)


def _power_switch(entry: Mapping[str, Any], where: str, place: str) -> Mapping[str, Any] | None:
    """Check what every switch has; its driver's own keys are the driver's to check."""
    if "power_switch" not in entry:
        return None
    switch = _mapping(entry["power_switch"], where, f"{place} power_switch")
    if _text(switch, "driver", where, f"{place} power_switch") is None:
        _fail(where, f'{place} power_switch has no driver; write power_switch = {{driver = "tasmota", ...}}')
    return switch


def _tls(entry: Mapping[str, Any], where: str, place: str) -> Tls | None:
    if "tls" not in entry:
        return None
    tls = _mapping(entry["tls"], where, f"{place} tls")
    _known(tls, TLS_KEYS, where, f"{place} tls")
    files = {key: Path(str(tls[key])).expanduser() for key in TLS_KEYS[:3] if key in tls}
    if "ca" not in files:
        _fail(where, f"{place} tls has no ca; name the PEM file that signed the board's certificate")
    if ("certificate" in files) != ("key" in files):
        _fail(where, f"{place} tls needs certificate and key together")
    for key, path in files.items():
        if not path.is_file():
            _fail(where, f"{place} tls.{key} names {path}, which is not there")
    return Tls(
        files["ca"], files.get("certificate"), files.get("key"), _text(tls, "server_name", where, place)
    )


def _meter(name: str, entry: Any, where: str) -> MeterConfig:
    from power.catalogue import DRIVERS, driver_names

    place = f"[meters.{name}]"
    entry = _mapping(entry, where, place)
    driver = _text(entry, "driver", where, place)
    if driver is None:
        _fail(where, f"{place} has no driver; the drivers are {', '.join(driver_names())}")
    if driver not in driver_names():
        known = nearest(driver, driver_names()) or f", which is not one of {', '.join(driver_names())}"
        _fail(where, f"{place} names the driver '{driver}'{known}")
    _known(entry, (*METER_KEYS, *sorted(DRIVERS[driver].options)), where, place)
    scope = _text(entry, "scope", where, place)
    if scope is not None and scope not in SCOPES:
        _fail(where, f"the scope '{scope}' of {place} is not one of {', '.join(SCOPES)}")
    latency_s, latency_u_s = (
        _number(entry, key, where, place) or 0.0 for key in ("latency_s", "latency_u_s")
    )
    if latency_u_s < 0.0:
        _fail(where, f"latency_u_s of {place} is negative; give the standard uncertainty of latency_s")
    if max(abs(latency_s), latency_u_s) > LONGEST_LATENCY_S:
        _fail(
            where,
            f"the latency of {place} is over {LONGEST_LATENCY_S:g} s, more than any meter's; give it in s",
        )
    options = {key: value for key, value in entry.items() if key not in METER_KEYS}
    calibration = _text(entry, "calibration", where, place)
    file = None if calibration is None else Path(where).parent / Path(calibration).expanduser()
    return MeterConfig(name, driver, scope, options, latency_s, latency_u_s, file)


def _table(raw: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    return _mapping(raw.get(key, {}), where, f"[{key}]")


def _table_of(entry: Mapping[str, Any], key: str, where: str, place: str) -> Mapping[str, Any]:
    return _mapping(entry.get(key, {}), where, f"{place} {key}")


def _number(entry: Mapping[str, Any], key: str, where: str, place: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        _fail(where, f"{key} of {place} must be a number, not {value!r}")
    return float(value)


def _mapping(entry: Any, where: str, place: str) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        _fail(where, f"{place} is not a table")
    return dict(entry)


def _text(entry: Mapping[str, Any], key: str, where: str, place: str) -> str | None:
    value = entry.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        _fail(where, f"{key} of {place} is not a text")
    return value


def _known(entry: Mapping[str, Any], keys: Collection[str], where: str, place: str) -> None:
    for key in entry:
        if key not in keys:
            _fail(
                where,
                f"{place} has the unknown key '{key}'{nearest(key, keys) or '; known are ' + ', '.join(keys)}",
            )


def _fail(where: str, what: str) -> NoReturn:
    end = "" if what.endswith("?") else "."
    raise InventoryError(f"In {where}, {what}{end}")
