"""`python -m farmd.health`: whether the daemon of this board serves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farmd import health
from tests.serving import serve_farmd, write_config

if TYPE_CHECKING:
    from tests.conftest import Certificates


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Return the exit code and what was said."""
    code = health.main([str(argument) for argument in arguments])
    return code, capsys.readouterr().err


def test_one_that_serves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve_farmd(tmp_path) as (address, process):
        config = write_config(tmp_path / "asked.toml", {"listen": address})
        assert ask(capsys, "--config", config) == (0, "")
        assert ask(
            capsys, "--config", config, "--address-file", tmp_path / "address", "--pid", process.pid
        ) == (0, "")
    code, said = ask(capsys, "--config", config)
    assert code == 1
    assert said.startswith("farmd: The daemon does not serve (")


def test_one_with_tls(tmp_path: Path, capsys: pytest.CaptureFixture[str], certificates: Certificates) -> None:
    tls = {"cert": certificates.cert, "key": certificates.key, "client_ca": certificates.ca}
    with serve_farmd(tmp_path, listen="0.0.0.0:0", tls=tls) as (address, _):
        config = write_config(tmp_path / "asked.toml", {"listen": address, "tls": tls})
        assert ask(capsys, "--config", config) == (0, "")
    assert ask(capsys, "--config", config) == (1, "farmd: The daemon does not serve (Connection refused).\n")


def test_it_does_not_wait_for_a_process_that_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "asked.toml", {"listen": "127.0.0.1:1"})
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet noticed by its parent
        arguments = (
            "--config",
            config,
            "--address-file",
            tmp_path / "none",
            "--pid",
            ended.pid,
            "--timeout",
            1000,
        )
        assert ask(capsys, *arguments) == (1, "farmd: The daemon does not serve (its process has ended).\n")
    code, said = ask(capsys, "--config", config, "--address-file", tmp_path / "none")
    assert (code, "it has not written" in said) == (1, True)


def test_wrong_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = ask(capsys, "--config", tmp_path / "absent.toml")
    assert (code, said.count("\n")) == (2, 1)
