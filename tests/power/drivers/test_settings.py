"""Settings of farm.toml that an instrument cannot take: each is refused in one sentence that says what would do."""

from __future__ import annotations

import pytest

from power.catalogue import DRIVERS, make_meter
from power.drivers.common.scope import Oscilloscope
from power.errors import OptionInvalid
from tests.power.scpi_trouble import one_sentence

Settings = dict[str, object]

SUPPLY: Settings = {"supply_v": 5.0, "supply_tolerance": 0.001}
KEYSIGHT: Settings = {"resource": "X", "range": 3.0, **SUPPLY}
SIGLENT: Settings = {"resource": "X", "range": 2.0, **SUPPLY}
SCPI: Settings = {
    "resource": "X",
    "identification": "GPP-4323",
    "voltage_query": "MEAS:VOLT?",
    "current_query": "MEAS:CURR?",
}
INA: Settings = {"port": "X", "shunt_ohm": 0.1}
KIT: Settings = {"port": "X", "supply_v": 5.0}
JSON: Settings = {"url": "http://h", "path": "$.a"}
PLUG: Settings = {"broker": "h", "topic": "p"}
PROBES: Settings = {
    "resource": "X",
    "voltage": {"channel": 1},
    "current": {"channel": 2, "shunt_ohm": 0.01},
}

SCOPE: list[tuple[Settings, str]] = [
    ({}, "current is missing|resource is missing"),
    ({"resource": "X"}, "current is missing"),
    ({"resource": "X", "current": {"channel": 2, "shunt_ohm": 0.01}}, "give either voltage"),
    ({"resource": "X", "current": {"channel": 2}, "supply_v": 5.0}, "either shunt_ohm or clamp_v_per_a"),
    ({**PROBES, "supply_tolerance": 0.01}, "supply_tolerance belongs to supply_v"),
    ({**PROBES, "current": {"channel": 1, "shunt_ohm": 0.01}}, "two probes .* channel 1"),
    ({**PROBES, "marker": {"channel": 3, "level_v": 50.0}}, "level_v, 50 V, is off its screen of 10 V"),
    ({**PROBES, "rate": 1.0}, "did you mean 'rate_hz'"),
    ({**PROBES, "acquisition": "highres"}, "did you mean 'hires'"),
]
"""Of every oscilloscope."""

REFUSED: dict[str, list[tuple[Settings, str]]] = {
    "hailo": [({"averaging": 17}, "HailoRT has 1, 4, 16"), ({"averagin": 16}, "did you mean 'averaging'")],
    "ina-serial": [
        ({"shunt_ohm": 0.1}, "port is missing"),
        ({"port": "X"}, "shunt_ohm is missing"),
        ({**INA, "shunt_ohm": 0}, "shunt_ohm must be above 0"),
        ({**INA, "shunt_ohm": 1e99}, "shunt_ohm must be .*1000"),
        ({**INA, "channels": ["4"]}, 'different ones of "1", "2", "3"'),
        ({**INA, "channels": ["1", "1"]}, 'different ones of "1", "2", "3"'),
        ({"port": "X", "shunt_ohms": 0.1}, "shunt_ohm"),
    ],
    "keysight-34465a": [
        ({}, "range is missing"),
        ({**KEYSIGHT, "range": 2.0}, "there are 0.01, 0.1, 1, 3, 10"),
        ({**KEYSIGHT, "rate_hz": 60e3}, "to 50000"),
        ({**KEYSIGHT, "aperture_s": 0.1}, "longer than the 0.001 s"),
        ({**KEYSIGHT, "shunt_ohm": 0.1}, "function = 'voltage' only"),
        ({**KEYSIGHT, "supply_at": "source"}, "with a shunt only"),
        ({**KEYSIGHT, "function": "voltage", "range": 1.0}, "shunt_ohm is missing"),
        ({**KEYSIGHT, "suply_v": 5.0}, "did you mean 'supply_v'"),
    ],
    "keysight-n6705": [
        ({}, "resource is missing"),
        ({"resource": "X", "current_range_a": 2.0}, "there are 3, 0.1"),
        ({"resource": "X", "period_s": 1e-4}, "from 0.0002048"),
        ({"resource": "X", "channel": 5}, "from 1 to 4"),
        ({"resource": "X", "chanel": 1}, "did you mean 'channel'"),
    ],
    "nordic-ppk2": [
        ({"supply_v": 5.0}, "port is missing"),
        ({"port": "X"}, "supply_v is missing"),
        ({**KIT, "supply_v": 12.0}, "supply_v must be from 0.8 to 5"),
        ({**KIT, "mode": "sourse"}, "did you mean 'source'"),
        ({**KIT, "marker": 8}, "marker must be a whole number from 0 to 7"),
        ({**KIT, "switchon": True}, "did you mean 'switch_on'"),
    ],
    "nvml": [
        ({"index": 0, "uuid": "GPU-1"}, "give one of them"),
        ({"index": -1}, "from 0 to 255"),
        ({"mode": "engery"}, "did you mean 'energy'"),
        ({"interval_s": 0.0}, "from 0.02"),
    ],
    "rest": [
        ({**JSON, "url": "h/p"}, "url must begin with http"),
        ({"url": "http://h"}, "path is missing"),
        ({**JSON, "path": "$.a[*]"}, r"'\[\*\]' is neither .name nor"),
        ({**JSON, "unit": "Wh"}, "unit is 'Wh'"),
        ({**JSON, "reading": "count"}, "did you mean 'counter'"),
        ({**JSON, "reading": "counter", "averaging_s": 1.0}, "averaging_s is for averages"),
        ({**JSON, "factor": 0.0}, "factor must be above 0"),
        ({**JSON, "interval_s": 0.001}, "interval_s must be from 0.02"),
        ({**JSON, "headers": {"X": 1}}, "the header 'X' must be one line of text"),
        ({**JSON, "headers": {"X": "a\nb"}}, "the header 'X' must be one line of text"),
        ({**JSON, "token": "x"}, "did you mean 'token_env'"),
    ],
    "rs-ngu": [
        ({}, "resource is missing"),
        ({"resource": "X", "rate_hz": 2e3}, "there are 100, 1000, 10000, 50000, 250000, 500000"),
        ({"resource": "X", "channel": 3}, "from 1 to 2"),
        ({"resource": "X", "rate": 1e3}, "did you mean 'rate_hz'"),
    ],
    "scpi": [
        ({"resource": "X"}, "give power_query, or voltage_query and current_query, or"),
        ({**SCPI, "power_query": "P?"}, "nothing more of these"),
        ({**SCPI, "supply_v": 5.0}, "nothing more of these"),
        ({**SCPI, "averaging_s": 0.1}, "reading = 'average' only"),
        ({**SCPI, "reading": "average"}, "averaging_s is missing"),
        ({**SCPI, "identification": "("}, "no regular expression"),
        ({**SCPI, "interval_s": 0.001}, r"from 0\.01"),
        ({**SCPI, "set_up": "*RST"}, "list of texts"),
        ({**SCPI, "identity": "X"}, "did you mean 'identification'"),
    ],
    "shelly": [
        ({**PLUG, "channel": 9}, "channel must be a whole number from 0 to 7"),
        ({**PLUG, "component": "pm"}, "component is 'pm'; did you mean 'pm1'"),
        ({**PLUG, "topic": "shellies/p", "component": "pm1"}, "from the second generation on"),
        ({**PLUG, "generation": 5}, "generation must be a whole number from 1 to 4"),
        ({**PLUG, "interval": 1.0}, "did you mean 'interval_s'"),
    ],
    "siglent-sdm3055": [
        ({}, "range is missing"),
        ({**SIGLENT, "range": 3.0}, r"there are 0\.0002, 0\.002, 0\.02, 0\.2, 2, 10"),
        ({**SIGLENT, "nplc": 2.0}, r"there are 0\.3, 1, 10"),
        ({**SIGLENT, "nplc": 10.0, "interval_s": 0.5}, "from 1"),
        ({**SIGLENT, "interval_s": 200.0}, "to 100"),
        ({**SIGLENT, "npcl": 1.0}, "did you mean 'nplc'"),
    ],
    "tasmota": [
        ({"topic": "p"}, "broker is missing"),
        ({**PLUG, "topic": "a/#"}, "topic must name one device"),
        ({"broker": "h"}, "topic is missing"),
        ({**PLUG, "broker": "h:x"}, 'broker must be "host:port"'),
        ({**PLUG, "broker": "h:70000"}, 'broker must be "host:port"'),
        ({**PLUG, "read": "watt"}, "read is 'watt'"),
        ({**PLUG, "password_env": "X"}, "password_env needs a username"),
        ({**PLUG, "ca_file": "x.pem"}, "need tls = true"),
        ({**PLUG, "full_topic": "x/"}, "full_topic must hold"),
        ({**PLUG, "topc": "p"}, "did you mean 'topic'"),
    ],
    "tegrastats": [
        ({"interval_s": 0.001}, "from 0.05"),
        ({"comand": "x"}, "did you mean 'command'"),
        ({"command": ""}, "must be a text"),
    ],
    "wattsup-pro": [({}, "port is missing"), ({"port": "x", "baud": 9600}, "speaks 115200 or 19200")],
    "yokogawa-wt310": [
        ({}, "resource is missing"),
        ({"resource": "X", "voltage_range_v": 20.0}, "a WT310 has 15, 30"),
        ({"resource": "X", "voltage_rangev": 15.0}, "did you mean 'voltage_range_v'"),
        ({"resource": "X", "mode": "integrate"}, "did you mean 'integration'"),
    ],
}
RUIDENG = ("rdtech-um24c", "rdtech-um25c", "rdtech-um34c")
USB: list[tuple[Settings, str]] = [({}, "port is missing"), ({"port": "X", "baud": 9600}, "'baud'")]
"""Of the RuiDeng meters, whose baud rate is fixed."""

SCOPES = [
    name
    for name, entry in DRIVERS.items()
    if entry.is_instrument and issubclass(entry.instrument(), Oscilloscope)
]
ALL = [
    (name, settings, words)
    for name, rows in (REFUSED | dict.fromkeys(SCOPES, SCOPE) | dict.fromkeys(RUIDENG, USB)).items()
    for settings, words in rows
]
ON_BOARD = {"hwmon", "jetson-ina3221", "rapl"}
"""Theirs are in test_onboard_rails.py."""


def test_every_instrument_is_tried() -> None:
    instruments = {name for name, entry in DRIVERS.items() if entry.is_instrument}
    assert {name for name, _, _ in ALL} == instruments - ON_BOARD


@pytest.mark.parametrize(("name", "settings", "words"), ALL)
def test_settings_are_checked(name: str, settings: Settings, words: str) -> None:
    with pytest.raises(OptionInvalid, match=words) as caught:
        make_meter("m", name, settings)
    one_sentence(caught.value)
