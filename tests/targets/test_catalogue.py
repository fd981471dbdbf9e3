"""The catalogue: built-in runners, an operator's own, and nothing a client could smuggle in."""

from pathlib import Path

import pytest

from targets import catalogue
from targets.errors import OptionInvalid, RuntimeUnavailable


def test_built_in() -> None:
    assert catalogue.entries({}) == catalogue.BUILT_IN
    for name in catalogue.entries({}):
        cls = catalogue.runner_class(name)
        assert cls.name == name
        assert cls.package
        assert cls.formats
        assert cls.precisions


def test_an_operator_adds_runners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(catalogue.VARIABLE, "fast = my.npu:Npu, other.pkg:Cls,")
    found = catalogue.entries({catalogue.VARIABLE: "fast=my.npu:Npu, other.pkg:Cls,"})
    assert found["fast"] == "my.npu:Npu"
    assert found["other.pkg:Cls"] == "other.pkg:Cls"
    with pytest.raises(OptionInvalid, match=r"package\.module:Class"):
        catalogue.entries({catalogue.VARIABLE: "fast=my.npu"})


def test_an_unregistered_module_is_not_importable() -> None:
    with pytest.raises(RuntimeUnavailable, match="is not known"):
        catalogue.runner_class("os:PathLike")


def test_unknown_runtime_names_the_nearest() -> None:
    with pytest.raises(RuntimeUnavailable, match="did you mean 'openvino'"):
        catalogue.runner_class("openvin")


@pytest.mark.parametrize(
    ("entry", "message"),
    [("x=no_such_module_at_all:Cls", "cannot be imported"), ("x=os:Missing", "cannot be imported"),
     ("x=os:PathLike", "is not a Runner"), ("x=os:sep", "is not a Runner")],
)  # fmt: skip
def test_broken_entries(monkeypatch: pytest.MonkeyPatch, entry: str, message: str) -> None:
    monkeypatch.setenv(catalogue.VARIABLE, entry)
    with pytest.raises(RuntimeUnavailable, match=message):
        catalogue.runner_class("x")
    (info,) = catalogue.probe(["x"])
    assert info["available"] is False
    assert message in info["reason"]


def test_a_runner_that_breaks_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "breaks_on_import.py").write_text("None + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(catalogue.VARIABLE, "x=breaks_on_import:Cls")
    broken, _ = catalogue.probe(["x", "onnxruntime"])
    assert broken["available"] is False
    assert "The runner of x is broken (TypeError: " in broken["reason"]


@pytest.mark.parametrize("name", sorted(catalogue.BUILT_IN))
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    cls = catalogue.runner_class(name)
    modules = getattr(cls, "modules", [name])
    for module in modules:
        monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(RuntimeUnavailable, match=f"install {cls.package}|install .*packagegroup") as caught:
        cls.version()
    assert caught.value.details == {"runtime": name, "package": cls.package}
