"""The page about calibration: its program runs, its farm.toml is one, its commands and keys exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest

from power import calibrate
from tests.power.calibrate.bench import certificate_of
from tests.serving import ROOT

PAGE = (ROOT / "docs" / "calibration.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks("python"):
        exec(compile(block, "docs/calibration.md", "exec"), names)
    assert names["verdict"].passed
    assert names["certificate"] == calibrate.read(tmp_path / "m1.toml")
    assert (tmp_path / "m1.svg").exists()
    assert "'m1' passes" in capsys.readouterr().out


def test_farm_toml(tmp_path: Path) -> None:
    from hostctl.inventory import load_inventory

    (block,) = blocks("toml")
    (tmp_path / "farm.toml").write_text(block)
    meter = load_inventory(tmp_path / "farm.toml").meters["scope1"]
    assert meter.calibration == tmp_path / "scope1.toml"


def test_every_key_of_a_certificate_is_explained() -> None:
    said = calibrate.content(certificate_of())
    table = PAGE.split("## What the certificate holds")[1].split("## Formulas")[0]
    for key, value in said.items():
        inner = value if isinstance(value, dict) else value[0] if isinstance(value, list) else {}
        for name in (key, *inner):
            assert f"{name}`" in table or f"[{name}]" in table, name


def test_every_option_exists() -> None:
    from hostctl.cli.meter import meter_command

    known = {
        option
        for command in meter_command.commands.values()
        for each in command.params
        for option in each.opts
    }
    context = click.Context(meter_command)
    assert set(meter_command.list_commands(context)) == {"list", "read", "check", "calibrate", "latency"}
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) - {"--detach-sign"}
    assert used <= known, used - known
