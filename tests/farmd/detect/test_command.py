"""`farmd --detect` as a command: on this machine, into a file, for programs, with real workers, and refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.farmd.detect.fakeroot import FakeRoot
from tests.serving import ROOT
from tests.targets.interpreters import oldest

FAKES = ROOT / "tests" / "targets" / "fakes"
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


def test_a_vendor_package_that_is_only_in_the_system_is_found(tmp_path: Path) -> None:
    """A Raspberry Pi with a Hailo-8: the runner that is really there answers, against the vendor's fake."""
    fakes = ROOT / "tests" / "fakes"
    root = FakeRoot(tmp_path / "root").device_tree("Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b")
    root.pci("0001:01:00.0", "1e60:2864").file("dev/hailo0").file("usr/lib/libhailort.so.4.23.0")
    root.python("usr/bin/python3.11", fakes, fakes / "hailort", interpreter=oldest())
    done = farmd("--detect", "--root", root.path)
    assert done.returncode == 0, done.stderr
    assert f'hailort = "{root.path}/usr/bin/python3.11"   # hailort 4.' in done.stdout
    assert "Accelerator: A Hailo-8 is on PCI 0001:01:00.0 (/dev/hailo0)." in done.stderr
    assert "Missing: " not in done.stderr


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
