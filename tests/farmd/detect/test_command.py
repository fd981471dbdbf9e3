"""`farmd --detect` as a command: on this machine, into a file, for programs, with real workers, and refused."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.farmd.detect.fakeroot import FakeRoot
from tests.serving import ROOT
from tests.targets.interpreters import oldest
from tests.targets.runners.cases import CASES

FAKES = ROOT / "tests" / "targets" / "fakes"
OPEN = ("onnxruntime", "openvino", "litert", "tvm", "akida", "ncnn")
"""Runtimes that farmd's own interpreter may have: its own come first."""
FAKE_RUNNER = "WATTFARM_RUNNERS=fake=wattfarm_fakes:FakeRunner"


def farmd(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"}
    command = [sys.executable, "-m", "farmd", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=cwd, env=env, check=False)


def test_this_machine_gets_a_proposal_that_farmd_takes(tmp_path: Path) -> None:
    done = farmd("--detect", "--device", "bench", cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert "Board: " in done.stderr
    (tmp_path / "farmd.toml").write_text(done.stdout)
    checked = farmd("--check-config", cwd=tmp_path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "device = bench" in checked.stdout


@pytest.mark.slow
def test_real_workers_under_an_old_interpreter_written_to_a_file(tmp_path: Path) -> None:
    """A Jetson Nano with JetPack 4: the runtime is only in the image's Python 3.6, which farmd could not run in."""
    root = FakeRoot(tmp_path / "root").device_tree(
        "NVIDIA Jetson Nano", "nvidia,p3450-0000", "nvidia,tegra210"
    )
    root.python("usr/bin/python3.6", FAKES, interpreter=oldest(), env=FAKE_RUNNER)
    root.python("usr/bin/python3.9", interpreter="/bin/false")
    path = tmp_path / "farmd.toml"
    done = farmd("--detect", "--root", root.path, "--write", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "Board: jetson-nano, because the device tree says 'nvidia,p3450-0000'." in done.stderr
    assert f"Interpreter: {root.path}/usr/bin/python3.9 cannot be used: " in done.stderr
    assert "Missing: The GPU of a Jetson is in the processor, but /dev/nvhost-gpu is missing" in done.stderr
    assert f'fake = "{root.path}/usr/bin/python3.6"' in path.read_text()
    assert farmd("--config", path, "--check-config").returncode == 0
    again = farmd("--detect", "--root", root.path, "--write", path)
    assert again.returncode == 2
    assert "exists already" in again.stderr


@pytest.mark.slow
def test_for_programs_with_a_named_environment(tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    FakeRoot(environment).python("bin/python", FAKES, env=FAKE_RUNNER).file("pyvenv.cfg")
    root = FakeRoot(tmp_path / "root").pci("0000:01:00.0", "1e60:2864").path
    done = farmd("--detect", "--json", "--root", root, "--interpreter", environment, "--board", "hailo-8")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert (found["board"]["name"], found["board"]["why"]) == ("hailo-8", "the command line says so")
    (asked,) = [one for one in found["interpreters"] if one["path"] == f"{environment}/bin/python"]
    assert "fake" in [runtime["name"] for runtime in asked["runtimes"] if runtime["is_available"]]
    assert found["runtimes"]["fake"] == f"{environment}/bin/python"
    assert [one["id"] for one in found["accelerators"]] == ["1e60:2864"]
    assert any("/dev/hailo0 is missing" in sentence for sentence in found["missing"])
    assert 'board = "hailo-8"' in found["farmd_toml"]


@pytest.mark.slow
def test_each_vendor_package_is_found_in_its_own_interpreter(tmp_path: Path) -> None:
    """A machine with one interpreter a vendor: the real runners answer, against the vendors' fakes."""
    vendors = {case.runtime: case for case in CASES if case.is_fake and case.runtime not in OPEN}
    root = FakeRoot(tmp_path / "root")
    for number, case in enumerate(vendors.values(), 10):
        env = case.environment()
        packages = [Path(place) for place in env.pop("PYTHONPATH").split(":")]
        words = " ".join(f"{name}={shlex.quote(value)}" for name, value in env.items())
        root.python(f"usr/bin/python3.{number}", *packages, interpreter=oldest(), env=words)
    done = farmd("--detect", "--json", "--root", root.path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["runtimes"]
    expected = {name: f"{root.path}/usr/bin/python3.{number}" for number, name in enumerate(vendors, 10)}
    assert {"tensorrt", "hailort", "edgetpu", "vitisai"} <= set(expected)
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--detect", "--config", "x.toml"), "reads none; leave --config out"),
        (("--detect", "--interpreter", "/nowhere"), "/nowhere is no Python and no virtual environment"),
        (("--detect", "--listen", "0.0.0.0:50051"), "without TLS"),
        (("--detect", "--device", "a b"), "'--device' must be a name"),
        (("--json",), "go with --detect"),
        (("--write", "x.toml"), "go with --detect"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    done = farmd(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr


def test_the_daemon_does_not_load_it() -> None:
    code = "import sys, farmd.main, farmd.server; sys.exit('farmd.detect' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto'}"}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 0
