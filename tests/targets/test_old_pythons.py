"""targets/ runs in the board vendor's own interpreter: checked statically, then really run under old ones."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.targets.helpers import ROOT, WorkerClient
from tests.targets.interpreters import VERSIONS, find_interpreter, has_numpy, with_numpy

FAKES = Path(__file__).resolve().parent / "fakes"


def test_syntax_and_library_are_those_of_python_3_6() -> None:
    vermin = Path(sys.executable).with_name("vermin")
    done = subprocess.run(
        [str(vermin), "--quiet", "--no-tips", "--violations", "--target=3.6-", "--eval-annotations",
         str(ROOT / "targets"), str(FAKES), str(ROOT / "tests" / "fakes")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.xdist_group("old-pythons")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_worker_serves_under(version: str, tmp_path: Path) -> None:
    interpreter = with_numpy(version)
    model = tmp_path / "model"
    model.write_text("3")
    x = np.arange(24, dtype="float32").reshape(3, 8)
    env = {"PYTHONPATH": str(FAKES), "WATTFARM_RUNNERS": "fake=wattfarm_fakes:FakeRunner"}
    with WorkerClient(interpreter=interpreter, env=env) as worker:
        assert worker.call("hello")["python"].startswith(version + ".")
        names = {info["name"]: info for info in worker.call("probe", runtimes=None)["runtimes"]}
        assert names["fake"]["available"]
        assert "pip install onnxruntime" in names["onnxruntime"]["reason"]
        reply = worker.load(model, "fake", "fake", batch=3)
        assert reply["spec"]["inputs"][0]["shape"] == [3, 8]
        np.testing.assert_array_equal(worker.infer({"x": x})["y"], x * 3)
        assert worker.error("load", path="x", format="fake", runtime="fake").kind == "ProtocolError"
        latency, starts, ends = worker.benchmark(duration_ns=50_000_000, warmup_count=3)
        assert latency["requests"] == len(starts) > 100
        assert (ends > starts).all()
        flying, _, _ = worker.benchmark(scenario="throughput", in_flight=3, duration_ns=20_000_000)
        assert flying["in_flight"] == 3
        number = worker.start_benchmark(duration_ns=60 * 10**9)
        while not worker.call("cancel", target=number)["cancelled"]:
            pass
        with pytest.raises(Exception, match="was cancelled"):
            worker.finish(number)
        worker.call("close")
        assert worker.process.wait(10) == 0
        assert worker.stderr_path.read_text() == ""


@pytest.mark.parametrize("version", VERSIONS)
def test_an_interpreter_without_numpy_says_so(version: str) -> None:
    interpreter = find_interpreter(version)
    if has_numpy(interpreter):
        pytest.skip(f"{interpreter} has numpy")
    with WorkerClient(interpreter=interpreter) as worker:
        assert worker.process.wait(20) == 4
        (sentence,) = worker.stderr_path.read_text().splitlines()
        assert "cannot import numpy" in sentence
        assert "-m pip install numpy" in sentence


@pytest.mark.xdist_group("old-pythons")
def test_the_same_seed_draws_the_same_inputs_under_every_python() -> None:
    """Results name only the seed, so an old numpy on a board must draw what the host's draws."""
    program = (
        "import hashlib; from targets.tensors import TensorSpec, random_inputs; "
        "specs = [TensorSpec(d, d, (4, 100)) for d in ('float32', 'float16', 'int8', 'uint8', 'int64', 'bool')]; "
        "drawn = random_inputs(specs, 11); "
        "print(hashlib.sha256(b''.join(drawn[s.name].tobytes() for s in specs)).hexdigest())"
    )

    def digest(interpreter: str) -> str:
        done = subprocess.run(
            [interpreter, "-B", "-c", program],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            timeout=60,
        )
        return done.stdout.strip()

    assert digest(with_numpy("3.6")) == digest(sys.executable)
