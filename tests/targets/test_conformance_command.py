"""`python -m targets.conformance`: the template of docs/porting.md holds, and what is broken in a runner is named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from targets.conformance import WITH_MODEL, WITHOUT_MODEL
from tests.targets.helpers import ROOT
from tests.targets.interpreters import oldest

TEMPLATE = ROOT / "examples" / "runner"


def conform(
    *arguments: str, interpreter: str = sys.executable, **env: str
) -> tuple[int, dict[str, str], str]:
    """Run the command; return its exit code, what it says of each check, and its stderr."""
    done = subprocess.run(
        [interpreter, "-m", "targets.conformance", *arguments], capture_output=True, text=True, check=False,
        timeout=200, env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1", **env},
    )  # fmt: skip
    told = {line[:28].strip(): line[29:] for line in done.stdout.splitlines()}
    return done.returncode, told, done.stderr


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "model.mine").write_text("[[1, 2], [3, 4], [5, 6]]")
    return str(tmp_path / "model.mine")


def path_of(tmp_path: Path, *more: Path) -> str:
    """Return a PYTHONPATH with targets/ and nothing else of the repository."""
    links = tmp_path / "path"
    links.mkdir(exist_ok=True)
    if not (links / "targets").exists():
        (links / "targets").symlink_to(ROOT / "targets")
    return os.pathsep.join(map(str, [links, *more]))


@pytest.mark.slow
def test_the_template_holds_in_the_oldest_python(tmp_path: Path, model: str) -> None:
    code, told, errors = conform(
        *("--runtime", "mine", "--format", "mine", model), interpreter=oldest(),
        PYTHONPATH=path_of(tmp_path, TEMPLATE), WATTFARM_RUNNERS="mine=wattfarm_mine:MineRunner",
    )  # fmt: skip
    assert (code, errors) == (0, "")
    assert len(told) == len(WITHOUT_MODEL + WITH_MODEL)
    assert set(told.values()) == {"holds"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sound", "broken", "check", "words"),
    [
        ('return {"y": returned}', 'return {"z": returned}', "computes", "output 'y' is missing"),
        ("lambda: x @ weights", "lambda: 0 * x @ weights", "computes", "other inputs gave the same"),
        ('precision="float32", turbo', "turbo", "describes what it loaded", "lacks 'precision'"),
        ("raise ModelInvalid(", "raise OptionInvalid(", "refuses what is wrong", "and not ModelInvalid"),
        ('["numpy"]', '["nunpy"]', "tells its runtime", "Mine cannot be imported"),
        ("return lambda: x @ weights", "import os; os.abort()", "computes", "its last words"),
    ],
)  # fmt: skip
def test_a_runner_that_is_not_sound(
    tmp_path: Path, model: str, sound: str, broken: str, check: str, words: str
) -> None:
    text = (TEMPLATE / "wattfarm_mine.py").read_text()
    assert sound in text
    (tmp_path / "wattfarm_mine.py").write_text(text.replace(sound, broken))
    code, told, _ = conform(
        *("--runtime", "mine", "--format", "mine", model),
        PYTHONPATH=path_of(tmp_path, tmp_path), WATTFARM_RUNNERS="mine=wattfarm_mine:MineRunner",
    )  # fmt: skip
    assert code == 1
    assert told[check].startswith("FAILS: ")
    assert words in told[check]


@pytest.mark.slow
def test_wrong_usage(tmp_path: Path, model: str) -> None:
    environment = {"PYTHONPATH": path_of(tmp_path)}
    code, _, errors = conform("--runtime", "mine", "--format", "mine", str(tmp_path / "none"), **environment)
    assert (code, "there is no model file" in errors) == (2, True)
    code, told, _ = conform("--runtime", "nobody", "--format", "mine", model, **environment)
    assert code == 1
    assert "not known" in told["tells its runtime"]
    code, told, _ = conform(
        "--runtime", "a", "--format", "b", model, "--", "/nonexistent/worker", **environment
    )
    assert (code, "cannot be started" in told["says hello"]) == (1, True)
