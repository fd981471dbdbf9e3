"""What farm.toml may not say: addresses nobody can dial, names nobody can select, switches without a driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostctl.inventory import InventoryError, load_inventory


def refusal(folder: Path, text: str) -> str:
    (folder / "farm.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InventoryError) as caught:
        load_inventory(folder / "farm.toml")
    return caught.value.message


@pytest.mark.parametrize("address", ["h:²", "h:٣", "::1:50051", "a b:1", "http://h:1", "h:999999999999"])
def test_an_address_nobody_can_dial(tmp_path: Path, address: str) -> None:
    assert "is not host:port" in refusal(tmp_path, f'[devices.x]\naddress = "{address}"')


@pytest.mark.parametrize("address", ["h:1", "10.0.0.21:50051", "[::1]:50051", "board-1.lab_2.example:65535"])
def test_addresses(tmp_path: Path, address: str) -> None:
    (tmp_path / "farm.toml").write_text(f'[devices.x]\naddress = "{address}"')
    assert load_inventory(tmp_path / "farm.toml").device("x").address == address


@pytest.mark.parametrize("name", ["a=b", "a,b", "a b", ""])
def test_a_device_nobody_can_select(tmp_path: Path, name: str) -> None:
    assert "cannot be selected" in refusal(tmp_path, f'[devices."{name}"]\naddress = "h:1"')


def test_a_tag_nobody_can_select(tmp_path: Path) -> None:
    assert "cannot be selected" in refusal(tmp_path, '[devices.x]\naddress = "h:1"\ntags = ["a,b"]')


def test_a_power_switch_is_a_table_with_a_driver(tmp_path: Path) -> None:
    device = '[devices.x]\naddress = "h:1"\npower_switch = '
    assert "is not a table" in refusal(tmp_path, device + "7")
    assert "has no driver" in refusal(tmp_path, device + '{topic = "plug3"}')
