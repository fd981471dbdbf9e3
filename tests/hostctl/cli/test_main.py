"""The command line itself: lean, one sentence an error, and the right exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import grpc
import pytest

from hostctl.errors import DeviceUnreachable, HostctlError, NothingFree, Refused, UsageError
from hostctl.main import VERBS, Interrupted, LazyGroup, cli, run
from power.errors import NoReading
from tests.serving import ROOT

HEAVY = (
    "grpc",
    "google",
    "numpy",
    "rich",
    "sqlalchemy",
    "onnx",
    "onnxruntime",
    "pyarrow",
    "platformdirs",
    "power",
    "farm",
)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_click_and_nothing_else(arguments: list[str]) -> None:
    script = f"""
import sys
from hostctl.main import run
code = run({arguments!r})
heavy = sorted(name for name in sys.modules if name.partition(".")[0] in {HEAVY!r} or name.startswith("hostctl.cli"))
assert code == 0 and not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_says_in_its_help_what_the_table_says(verb: str) -> None:
    group = cli
    assert isinstance(group, LazyGroup)
    command = group.get_command(click.Context(group), verb)
    assert command is not None
    assert command.name == verb
    assert (command.help or "").partition("\n")[0] == VERBS[verb][1]


def leaf_commands() -> list[tuple[str, click.Command]]:
    """Every verb that does something, with its path."""
    context = click.Context(cli)
    found: list[tuple[str, click.Command]] = []
    for name in VERBS:
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", each) for sub, each in command.commands.items()]
        elif command is not None:
            found.append((name, command))
    return found


@pytest.mark.parametrize(("path", "command"), leaf_commands(), ids=[path for path, _ in leaf_commands()])
def test_every_verb_has_help_for_each_option_and_json(path: str, command: click.Command) -> None:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert all(option.help for option in options), path
    assert any("--json" in option.opts for option in options), path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "There is no verb 'rnu'; did you mean 'run'?"),
        (["xyzzy"], "There is no verb 'xyzzy'; see 'hostctl --help'."),
        (["run"], "Missing option '--model'; see 'hostctl run --help'."),
        (["devices", "--jsno"], "--json"),
        (["model", "cuont"], "count"),
        (["show"], "Missing argument 'DEVICE'; see 'hostctl show --help'."),
        (["--config", "nowhere.toml", "devices"], "nowhere.toml cannot be read"),
    ],
)
def test_wrong_usage_is_one_sentence_and_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err
    assert told.err.count("\n") == 1
    assert told.err.startswith("hostctl: ")


class FakeRpcError(grpc.RpcError):
    """A status as gRPC raises it."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "Connection refused"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (HostctlError("It broke."), 1, "It broke."),
        (UsageError("Wrong."), 2, "Wrong."),
        (NothingFree("All taken."), 3, "All taken."),
        (DeviceUnreachable("Gone."), 4, "Gone."),
        (Refused("Not yours."), 5, "Not yours."),
        (NoReading("The meter is silent."), 1, "The meter is silent."),
        (FakeRpcError(), 4, "connection refused"),
        (FileNotFoundError(2, "No such file or directory", "x.npy"), 1, "x.npy"),
        (ModuleNotFoundError("No module named 'rich'", name="rich"), 1, "pip install 'wattfarm[host]'"),
        (ZeroDivisionError("division by zero"), 1, "run again with --debug"),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (Interrupted(15), 143, "signal"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_every_error_is_one_sentence_and_its_code(
    error: BaseException,
    code: int,
    words: str,
    debug: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("hostctl.inventory.load_inventory", fail)
    assert run([*(["--debug"] if debug else []), "devices"]) == code
    told = capsys.readouterr().err
    assert words in told
    assert ("Traceback" in told) == debug
    if not debug:
        assert len([line for line in told.splitlines() if line]) == 1


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    shell = f"{sys.executable} -m hostctl model build --json | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_HOSTCTL_COMPLETE" in capsys.readouterr().out


def test_completes_device_names(tmp_path: Path) -> None:
    config = tmp_path / "farm.toml"
    config.write_text('[devices.orin-1]\naddress = "10.0.0.1:1"\n[devices.pi-4]\naddress = "10.0.0.2:1"\n')
    words = f"hostctl --config {config} show o"
    environment = {
        "_HOSTCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": "4",
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "hostctl"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
    )
    assert done.stdout.split() == ["plain,orin-1"]
