"""The board catalogue: one TOML file a board in this folder, checked against one schema.

A number is here only if somebody published it; ``sources`` says who, ``notes`` what is odd about it. What is absent is
unknown. A peak whose precision the source does not state, or that the source contradicts, stays in the notes.
"""

import importlib
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from targets.boards.detection import Detect, RuntimeHint, read_detect, read_runtimes
from targets.boards.reading import check_keys, list_of, positive, table_of, text_of
from targets.errors import BoardInvalid, BoardUnknown
from targets.options import nearest

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_NAME = re.compile(r"[a-z0-9]+([-_][a-z0-9]+)*\Z")
_PRECISIONS = ("int8", "fp16", "fp32")
_TEXTS = ("display_name", "manufacturer", "soc", "architecture", "memory", "os", "notes")
_LISTS = ("frameworks", "rails", "sources")
_REQUIRED = ("display_name", "manufacturer", "sources")
_TABLES = ("peak_gops", "power_estimate", "rail_map", "detect", "runtimes")
_RAIL_MAP = ("sensors", "factors", "total", "scope", "source")
_SCOPES = ("rail", "card", "module", "board")
_ESTIMATE = ("idle_w", "max_w", "idle_w_per_cpu", "max_w_per_cpu", "source")


class PowerEstimate(NamedTuple):
    """Watts of a board without a meter, idle and with all processors busy; given for the board or for each CPU."""

    idle_w: Optional[float]
    max_w: Optional[float]
    idle_w_per_cpu: Optional[float]
    max_w_per_cpu: Optional[float]
    source: str

    def watts(self, cpu_count: int) -> Tuple[float, float]:
        """Return idle and maximum watts of a board with that many processors."""
        if self.idle_w_per_cpu is not None and self.max_w_per_cpu is not None:
            return self.idle_w_per_cpu * cpu_count, self.max_w_per_cpu * cpu_count
        if self.idle_w is not None and self.max_w is not None:
            return self.idle_w, self.max_w
        raise BoardInvalid("A power estimate needs idle and maximum watts of the board or of each CPU.")


class RailMap(NamedTuple):
    """What a board's power sensors measure that Linux shows by the name of the chip only."""

    sensors: Dict[str, str]  # name of the hwmon chip -> name of the rail
    factors: Dict[str, float]  # rail -> multiplier, where the sensor sees one of several phases
    total: Tuple[str, ...]  # rails whose sum is the whole; empty if nobody says
    scope: str  # what the total covers: "rail", "card", "module" or "board"
    source: str


class Board(NamedTuple):
    """What is published about a board; None or empty is unknown."""

    name: str
    display_name: str
    manufacturer: str
    soc: Optional[str]
    architecture: Optional[str]
    memory: Optional[str]
    os: Optional[str]
    frameworks: Tuple[str, ...]
    peak_gops: Dict[str, float]  # precision ("int8", "fp16", "fp32") -> 10^9 operations a second
    tdp_w: Optional[float]
    power_estimate: Optional[PowerEstimate]
    rails: Tuple[str, ...]
    rail_map: Optional[RailMap]
    detect: Optional[Detect]
    runtimes: Tuple[RuntimeHint, ...]
    sources: Tuple[str, ...]
    notes: Optional[str]


def board_names() -> List[str]:
    """Return the names of all boards, sorted."""
    return sorted(entry[:-5] for entry in os.listdir(_FOLDER) if entry.endswith(".toml"))


def load_board(name: str) -> Board:
    """Return a board by its name. BoardUnknown names the nearest one; BoardInvalid for a file that breaks the schema."""
    names = board_names()
    if name not in names:
        raise BoardUnknown(
            "The board '{}' is not in the catalogue{}".format(name, nearest(name, names) or "."), board=name
        )
    with open(os.path.join(_FOLDER, name + ".toml"), "rb") as file:
        return parse_board(name, file.read().decode("utf-8"))


def parse_board(name: str, text: str) -> Board:
    """Return the board that a TOML text describes. BoardInvalid for anything the schema does not allow."""
    # tomllib is younger than the interpreters that run workers; only the host reads boards.
    tomllib: Any = importlib.import_module("tomllib")
    try:
        data: Dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BoardInvalid("The board '{}' is not TOML: {}.".format(name, error), board=name)
    if not _NAME.match(name):
        raise BoardInvalid(
            "The board name '{}' must be lower-case words with hyphens.".format(name), board=name
        )
    check_keys(name, data, _TEXTS + _LISTS + _TABLES + ("tdp_w",))
    for key in _REQUIRED:
        if not data.get(key):
            raise BoardInvalid("The board '{}' lacks '{}'.".format(name, key), board=name)
    texts = {key: text_of(name, data, key) for key in _TEXTS}
    lists = {key: list_of(name, data, key) for key in _LISTS}
    tdp_w = None if "tdp_w" not in data else positive(name, data, "tdp_w")
    return Board(
        name=name,
        display_name=str(texts["display_name"]),
        manufacturer=str(texts["manufacturer"]),
        soc=texts["soc"],
        architecture=texts["architecture"],
        memory=texts["memory"],
        os=texts["os"],
        frameworks=lists["frameworks"],
        peak_gops=_peaks(name, data),
        tdp_w=tdp_w,
        power_estimate=_estimate(name, data),
        rails=lists["rails"],
        rail_map=_rail_map(name, data),
        detect=read_detect(name, data),
        runtimes=read_runtimes(name, data),
        sources=lists["sources"],
        notes=texts["notes"],
    )


def _peaks(name: str, data: Dict[str, Any]) -> Dict[str, float]:
    table = table_of(name, data, "peak_gops", _PRECISIONS)
    return {key: positive(name, table, key) for key in table}


def _estimate(name: str, data: Dict[str, Any]) -> Optional[PowerEstimate]:
    if "power_estimate" not in data:
        return None
    table = table_of(name, data, "power_estimate", _ESTIMATE)
    watts = {key: positive(name, table, key) for key in table if key != "source"}
    pairs = [
        pair for pair in (("idle_w", "max_w"), ("idle_w_per_cpu", "max_w_per_cpu")) if set(pair) == set(watts)
    ]
    source = text_of(name, table, "source")
    if not pairs or source is None or watts[pairs[0][0]] > watts[pairs[0][1]]:
        raise BoardInvalid(
            "The power_estimate of the board '{}' needs a source and either idle_w and max_w, or idle_w_per_cpu and "
            "max_w_per_cpu, idle not above maximum.".format(name),
            board=name,
            key="power_estimate",
        )
    return PowerEstimate(
        watts.get("idle_w"),
        watts.get("max_w"),
        watts.get("idle_w_per_cpu"),
        watts.get("max_w_per_cpu"),
        source,
    )


def _rail_map(name: str, data: Dict[str, Any]) -> Optional[RailMap]:
    if "rail_map" not in data:
        return None
    table = table_of(name, data, "rail_map", _RAIL_MAP)
    sensors = table.get("sensors")
    factors = table.get("factors", {})
    total = list_of(name, table, "total")
    source = text_of(name, table, "source")
    scope = table.get("scope", "rail")
    named = isinstance(sensors, dict) and all(isinstance(rail, str) and rail for rail in sensors.values())
    if not named or not sensors or not isinstance(factors, dict) or source is None or scope not in _SCOPES:
        raise BoardInvalid(
            "The rail_map of the board '{}' needs sensors (chip = \"rail\"), a source, and a scope of {}.".format(
                name, ", ".join(_SCOPES)
            ),
            board=name,
            key="rail_map",
        )
    for rail in tuple(factors) + total:
        if rail not in sensors.values():
            raise BoardInvalid(
                "The rail_map of the board '{}' speaks of the rail '{}', which none of its sensors is.".format(
                    name, rail
                ),
                board=name,
                key="rail_map",
            )
    return RailMap(
        sensors=dict(sensors),
        factors={rail: positive(name, factors, rail) for rail in factors},
        total=total,
        scope=scope,
        source=source,
    )
