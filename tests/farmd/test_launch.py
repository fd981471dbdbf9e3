"""What a worker is started with, and that nothing of the daemon leaks into it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from farmd import errors, launch
from tests.farmd.modelfarm import FAKES, config_of


def test_the_path_holds_the_targets_package_and_nothing_else(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    (tmp_path / launch.WORKER_PATH).mkdir()
    (tmp_path / launch.WORKER_PATH / "numpy.py").write_text("stray")
    (tmp_path / launch.WORKER_PATH / "targets").symlink_to("/nowhere")
    launch.prepare(config)
    (entry,) = (tmp_path / launch.WORKER_PATH).iterdir()
    assert entry.name == "targets"
    assert (entry / "worker.py").is_file()
    launch.prepare(config)


def test_what_a_killed_daemon_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / launch.WORK / "old").mkdir(parents=True)
    launch.prepare(config_of(tmp_path))
    assert list((tmp_path / launch.WORK).iterdir()) == []


def test_the_environment_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONHOME", "PYTHONSTARTUP", "PYTHONPATH", "MALLOC_ARENA_MAX", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/leak")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    config = replace(config_of(tmp_path), worker_env=MappingProxyType({"OMP_NUM_THREADS": "1"}))
    env = launch.environment(config)
    assert "/leak" not in env.values()
    assert env["CUDA_VISIBLE_DEVICES"] == "0"
    assert env["OMP_NUM_THREADS"] == "1"
    assert env["PYTHONPATH"] == os.pathsep.join(map(str, [tmp_path / launch.WORKER_PATH, *FAKES]))


def test_an_interpreter_that_is_none_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "python"
    bad.write_text("no program")
    config = replace(config_of(tmp_path), interpreters=MappingProxyType({"openvino": bad}))
    launch.prepare(config)
    with pytest.raises(errors.WorkerUnstartable, match=r"'openvino'.*\[interpreters\]") as caught:
        launch.start(config, "openvino")
    assert caught.value.metadata == {"runtime": "openvino", "interpreter": str(bad)}
    assert list((tmp_path / launch.WORK).iterdir()) == []


def test_a_worker_has_an_empty_directory_of_its_own(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    launch.prepare(config)
    child, sock, directory = launch.start(config, "fake")
    assert list(directory.iterdir()) == []
    assert os.readlink(f"/proc/{child.pid}/cwd") == str(directory)
    sock.close()
    assert child.exited.wait(20)
    assert Path(sys.executable).exists()
