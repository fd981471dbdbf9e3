"""Option types: what they take, and what they refuse."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from hostctl.cli.options import BATCHES, DURATION, IDLE_STATE, KEY_VALUE, NUMBER, SHAPE, WORDS
from hostctl.main import cli


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5), ("10s", 10.0), ("2m", 120.0), ("1h30m", 5400.0), ("1.5s", 1.5), ("0s", 0.0),
        ("250us", 250e-6), ("2 h", 7200.0),
    ],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["10", "", "s", "ten s", "-1s", "1s garbage", "1y", "1e3s", "nan s", "1s1"])
def test_no_durations(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no duration"):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize(("text", "value"), [("7.78e9", 7.78e9), ("48", 48.0)])
def test_numbers(text: str, value: float) -> None:
    assert NUMBER.convert(text, None, None) == value


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "many"])
def test_no_numbers(text: str) -> None:
    with pytest.raises(click.BadParameter):
        NUMBER.convert(text, None, None)


def test_lists() -> None:
    assert BATCHES.convert("1,8, 16", None, None) == (1, 8, 16)
    assert WORDS.convert("latency", None, None) == ("latency",)


@pytest.mark.parametrize("text", ["1,,8", "1,1", "0", "-1", "x", ","])
def test_no_batches(text: str) -> None:
    with pytest.raises(click.BadParameter):
        BATCHES.convert(text, None, None)


def test_pairs() -> None:
    assert KEY_VALUE.convert("provider=CPU=x", None, None) == ("provider", "CPU=x")
    assert SHAPE.convert("a=b=1, 3,224", None, None) == ("a=b", "1,3,224")


@pytest.mark.parametrize("text", ["plain", "=x"])
def test_no_pairs(text: str) -> None:
    with pytest.raises(click.BadParameter):
        KEY_VALUE.convert(text, None, None)


@pytest.mark.parametrize("text", ["x", "x=", "x=0,3", "x=1,-1", "=1,2", "x=1,,2", "x=a"])
def test_no_shapes(text: str) -> None:
    with pytest.raises(click.BadParameter):
        SHAPE.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("booted", ("booted", None, None)),
        ("unconfigured=5.2", ("unconfigured", 5.2, None)),
        ("unconfigured = 5.2±0.1", ("unconfigured", 5.2, 0.1)),
        ("off=0.3 +- 0.01", ("off", 0.3, 0.01)),
    ],
)
def test_idle_states(text: str, state: tuple[str, float | None, float | None]) -> None:
    assert IDLE_STATE.convert(text, None, None) == state


@pytest.mark.parametrize("text", ["", "=5", "off=", "off=much", "off=5±", "off=-1", "off=5±0"])
def test_no_idle_states(text: str) -> None:
    with pytest.raises(click.BadParameter):
        IDLE_STATE.convert(text, None, None)


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


EXAMPLES = [
    pytest.param(path, command, line.strip(), id=line.strip())
    for path, command in _commands(cli, "hostctl")
    for line in (command.epilog or "").splitlines()
    if line.strip().startswith("hostctl")
]


@pytest.mark.parametrize(("path", "command", "line"), EXAMPLES)
def test_an_example_in_a_help_text_is_taken(
    path: str, command: click.Command, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("resnet50.onnx", "m.onnx", "open.onnx", "digits-dscnn.onnx"):
        (tmp_path / file).touch()
    assert line.startswith(f"{path} ") or line == path
    command.make_context(path, shlex.split(line)[len(path.split()) :])


def test_the_main_verbs_show_examples() -> None:
    assert {f"hostctl {verb}" for verb in ("run", "calc", "reserve", "infer")} <= {
        parameter.values[0] for parameter in EXAMPLES
    }
