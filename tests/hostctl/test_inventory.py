"""farm.toml: what it says, every mistake in it, and selecting devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostctl.errors import UsageError
from hostctl.inventory import InventoryError, Selector, StatedIdle, load_inventory, parse_selector

FARM = """
[devices.orin-1]
address = "10.0.0.21:50051"
board = "jetson-agx-orin"
tags = ["gpu", "fp16"]
meter = "here"
power_switch = {driver = "tasmota", topic = "plug3"}

[devices.pi-1]
address = "pi.example:50051"
tags = ["arm"]

[meters.here]
driver = "estimate"
scope = "board"
idle_w = 2.5
max_w = 6.0
"""


@pytest.fixture(autouse=True)
def nobody_elses_inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTFARM_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.toml"
    path.write_text(text)
    return path


def test_a_farm(tmp_path: Path) -> None:
    farm = load_inventory(written(tmp_path, FARM))
    orin = farm.device("orin-1")
    assert (orin.address, orin.board) == ("10.0.0.21:50051", "jetson-agx-orin")
    assert orin.tags == {"gpu", "fp16"}
    assert orin.power_switch == {"driver": "tasmota", "topic": "plug3"}
    meter = farm.meter("here")
    assert (meter.driver, meter.scope, meter.options) == ("estimate", "board", {"idle_w": 2.5, "max_w": 6.0})


def test_local_is_always_there() -> None:
    farm = load_inventory(None)
    assert farm.source is None
    assert farm.device("local").address is None
    assert farm.device("local").board.startswith("generic-")


def test_the_working_directory_comes_before_the_users(tmp_path: Path) -> None:
    users = tmp_path / "home" / "config" / "farm.toml"
    users.parent.mkdir(parents=True)
    users.write_text('[devices.a]\naddress = "a:1"\n')
    assert set(load_inventory(None).devices) == {"a", "local"}
    (tmp_path / "farm.toml").write_text('[devices.b]\naddress = "b:1"\n')
    assert set(load_inventory(None).devices) == {"b", "local"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[device.x]\n", "unknown key 'device'; did you mean 'devices'"),
        ('[devices.x]\nadress = "a:1"\n', "unknown key 'adress'; did you mean 'address'"),
        ("[devices.x]\n", "has no address"),
        ('[devices.x]\naddress = "nowhere"\n', "not host:port"),
        ('[devices.x]\naddress = "a:99999"\n', "not host:port"),
        ('[devices.x]\naddress = "a:1"\nboard = "jetson-agx-orni"\n', "did you mean 'jetson-agx-orin'"),
        ('[devices.x]\naddress = "a:1"\ntags = "gpu"\n', "not a list"),
        ('[devices.x]\naddress = "a:1"\nmeter = "m"\n', "no \\[meters.m\\]"),
        ('[devices.x]\naddress = "a:1"\ntls = {ca = "/no/such.pem"}\n', "is not there"),
        ('[devices.x]\naddress = "a:1"\ntls = {key = "k"}\n', "no ca"),
        ("[meters.m]\n", "has no driver"),
        ('[meters.m]\ndriver = "voodoo"\n', "not one of"),
        ('[meters.m]\ndriver = "estimate"\nscope = "planet"\n', "not one of rail"),
        ('[meters.m]\ndriver = "estimate"\nlatency_s = "late"\n', "latency_s of .* must be a number"),
        ('[meters.m]\ndriver = "estimate"\nlatency_u_s = -0.1\n', "latency_u_s of .* is negative"),
        ('[meters.m]\ndriver = "estimate"\nlatency_s = 1e99\n', "latency of .* is over 60 s"),
        ('[meters.m]\ndriver = "estimate"\nlatency_s = -350\n', "latency of .* is over 60 s"),
        ('[devices.x]\naddress = "a:1"\nidle_states = 3\n', "idle_states is not a table"),
        ('[devices.x]\naddress = "a:1"\nidle_states = {off = {u_w = 1}}\n', "has no power_w"),
        (
            '[devices.x]\naddress = "a:1"\nidle_states = {off = {power_w = 1, u_w = -1}}\n',
            "u_w of .* is negative",
        ),
        ('[devices.x]\naddress = "a:1"\nidle_states = {off = {watts = 1}}\n', "unknown key 'watts'"),
        ("devices = 3\n", "is not a table"),
        ("[devices.x\n", "not valid TOML"),
    ],
)
def test_every_mistake_is_one_sentence_with_the_file(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InventoryError, match=words) as caught:
        load_inventory(path)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 2


def test_a_missing_file_that_was_named(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="cannot be read"):
        load_inventory(tmp_path / "nothing.toml")


def test_a_wrong_name_suggests_the_right_one(tmp_path: Path) -> None:
    farm = load_inventory(written(tmp_path, FARM))
    with pytest.raises(UsageError, match="did you mean 'orin-1'"):
        farm.device("orin1")
    with pytest.raises(UsageError, match="did you mean 'here'"):
        farm.meter("her")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("orin-1", ["orin-1"]),
        ("tag=gpu", ["orin-1"]),
        ("tag=gpu,tag=fp16", ["orin-1"]),
        ("board=jetson-agx-orin", ["orin-1"]),
        ("tag=arm , runtime=litert", ["pi-1"]),
        ("runtime=openvino", ["local", "orin-1", "pi-1"]),
    ],
)
def test_selecting(tmp_path: Path, text: str, names: list[str]) -> None:
    farm = load_inventory(written(tmp_path, FARM))
    assert [device.name for device in farm.select(parse_selector(text))] == names


def test_runtimes_are_kept_for_whoever_asks_the_boards() -> None:
    assert parse_selector("runtime=a,runtime=b") == Selector(runtimes=frozenset({"a", "b"}))


@pytest.mark.parametrize("text", ["", "a,b", "tga=x", "tag=", "=x"])
def test_no_selector(text: str) -> None:
    with pytest.raises(UsageError):
        parse_selector(text)


def test_nothing_fits(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="hostctl devices"):
        load_inventory(written(tmp_path, FARM)).select(parse_selector("tag=gpu,tag=arm"))


def test_idle_states_and_latency(tmp_path: Path) -> None:
    text = """
[devices.fpga]
address = "a:1"
idle_states.unconfigured = {power_w = 5.2, u_w = 0.1, description = "powered, no bitstream"}
idle_states.off = {power_w = 0}

[meters.um25c]
driver = "estimate"
latency_s = 0.35
latency_u_s = 0.004
"""
    farm = load_inventory(written(tmp_path, text))
    assert farm.device("fpga").idle_states == (
        StatedIdle("unconfigured", 5.2, 0.1, "powered, no bitstream"),
        StatedIdle("off", 0.0),
    )
    meter = farm.meter("um25c")
    assert (meter.latency_s, meter.latency_u_s, meter.options) == (0.35, 0.004, {})
