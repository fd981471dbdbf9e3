"""The snippets of the documentation are what the program takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hostctl.inventory import load_inventory
from hostctl.session.meters import scope_of
from power.catalogue import DRIVERS, driver_names, make_meter

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SNIPPET = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
INVENTORIES = [
    pytest.param(snippet, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, snippet in enumerate(SNIPPET.findall(page.read_text(encoding="utf-8")))
    if re.search(r"^\[(meters|devices)\.", snippet, re.MULTILINE)
]


@pytest.mark.parametrize("snippet", INVENTORIES)
def test_an_inventory_in_the_documentation_is_taken(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for certificate in re.findall(r'"([\w-]+\.pem)"', snippet):
        Path(certificate).touch()
    file = tmp_path / "farm.toml"
    file.write_text(snippet)
    inventory = load_inventory(file)
    for config in inventory.meters.values():
        if DRIVERS[config.driver].link != "board":
            meter = make_meter(config.name, config.driver, config.options, scope=scope_of(config))
            assert meter.driver == config.driver


def test_every_instrument_has_a_snippet() -> None:
    shown = " ".join(str(parameter.values[0]) for parameter in INVENTORIES)
    missing = [
        name for name in driver_names() if DRIVERS[name].is_instrument and f'driver = "{name}"' not in shown
    ]
    assert not missing


PATH = re.compile(r"(?<![\w/.-])(?:power|hostctl|farmd|targets|tests|benchmarks|docs|proto)/[\w/-]+\.\w+")
LINK = re.compile(r"\]\(([\w./-]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_named_in_the_documentation_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [ROOT / path for path in PATH.findall(text)] + [page.parent / link for link in LINK.findall(text)]
    assert [str(path) for path in named if not path.exists()] == []
