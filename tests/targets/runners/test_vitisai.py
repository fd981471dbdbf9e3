"""Vitis AI on a fake: which runner, fix points, fingerprints, what is refused before VART would die of it, and how it dies."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from targets import errors
from targets.runners.parts.vitisai import dpu as vitis_dpu
from tests.targets.helpers import WorkerClient
from tests.targets.interpreters import oldest
from tests.targets.runners.cases import CASES, inputs_for
from tests.targets.runners.xmodel_models import FINGERPRINT, graph, part, tensor, with_softmax, write

CASE = next(case for case in CASES if case.runtime == "vitisai")
QUERY = {
    "DPU IP Spec": {"DPU Core Count": 2},
    "kernels": [
        {
            "DPU Arch": "DPUCZDX8G_ISA1_B4096",
            "DPU Frequency (MHz)": 300,
            "fingerprint": hex(FINGERPRINT),
        },
        {
            "DPU Arch": "DPUCZDX8G_ISA1_B4096",
            "DPU Frequency (MHz)": 300,
            "fingerprint": hex(FINGERPRINT),
        },
    ],
}


def load(worker: WorkerClient, path: Path, **fields: Any) -> dict[str, Any]:
    return worker.call("load", **CASE.request(path, "xmodel", **fields))


def refusal(worker: WorkerClient, path: Path, **fields: Any) -> errors.TargetsError:
    error = worker.error("load", **CASE.request(path, "xmodel", **fields))
    assert "\n" not in error.message
    assert error.message.endswith(".")
    return error


def xdputil(folder: Path, answer: str) -> dict[str, str]:
    """Write a tool that prints an answer after glog's warning; return the PATH that finds it."""
    tool = folder / "bin" / "xdputil"
    tool.parent.mkdir()
    tool.write_text(
        f"#!/bin/sh\necho 'WARNING: Logging before InitGoogleLogging()' \ncat <<'END'\n{answer}\nEND\n"
    )
    tool.chmod(0o755)
    return {"PATH": f"{tool.parent}:{os.defpath}"}


def worker_with(env: dict[str, str], **settings: Any) -> WorkerClient:
    return WorkerClient(interpreter=oldest(), env={**CASE.environment(**settings), **env})


def test_the_dpu_fixes_the_batch_and_fix_points_become_scales(tmp_path: Path) -> None:
    path = write(tmp_path)
    with CASE.worker(engines=3) as worker:
        reply = load(worker, path)
        assert reply["spec"] == {
            "inputs": [
                {"name": "image", "dtype": "int8", "shape": [3, 6, 6, 3], "scale": 2**-4, "zero_point": 0}
            ],
            "outputs": [
                {"name": "fc_fix", "dtype": "int8", "shape": [3, 10], "scale": 2**-3, "zero_point": 0}
            ],
        }
        described = reply["describe"]
        assert described["version"] == "3.5.0"
        assert described["fallbacks"] == []
        effective = described["effective"]
        assert effective["runner"] == "dpu"
        assert effective["batch"] == "3"
        assert float(effective["configure_ms"]) >= 0
        assert effective["dpu_timeout_ms"] == "10000"
        assert effective["xmodel_fingerprint"] == hex(FINGERPRINT)
        assert "left_out" not in effective
        inputs = inputs_for(reply["spec"])
        three = worker.infer(inputs)["fc_fix"]
        assert three.std() > 0
        worker.call("unload")
        error = refusal(worker, path, batch=1)
        assert error.kind == "OptionInvalid"
        assert "this DPU computes 3 at once" in error.message
        assert load(worker, path, batch=3)
    with CASE.worker(engines=1) as worker:
        load(worker, path)
        for at in range(3):
            one = worker.infer({"image": np.ascontiguousarray(inputs["image"][at : at + 1])})["fc_fix"]
            np.testing.assert_array_equal(one[0], three[at])


def test_which_runner_and_what_the_cpu_does(tmp_path: Path) -> None:
    plain, softmax, several = (tmp_path / name for name in ("plain", "softmax", "several"))
    for folder in (plain, softmax, several):
        folder.mkdir()
    middle = tensor([1, 4, 4, 2])
    parts = [
        part("USER", ["data-fix"]),
        part("DPU", ["conv2d-fix"], outputs=["middle"], dpu_fingerprint=FINGERPRINT),
        part("CPU", ["upload"], inputs=["middle"], outputs=["middle"]),
        part("DPU", ["conv2d-fix"], inputs=["middle"], dpu_fingerprint=FINGERPRINT),
    ]
    two = graph(tensors={**graph()["tensors"], "middle": middle}, children=parts)
    with CASE.worker() as worker:
        described = load(worker, write(softmax, with_softmax()))["describe"]
        assert described["effective"]["runner"] == "graph"
        assert described["effective"]["cpu_ops"] == "softmax:1"
        (fallback,) = described["fallbacks"]
        assert fallback.startswith("The DPU requested, but softmax:1 of this xmodel run on the CPU")
        worker.call("unload")

        reply = load(worker, softmax / "model.xmodel", options={"runner": "graph"})
        assert reply["describe"]["fallbacks"] == []
        (output,) = reply["spec"]["outputs"]
        assert output == {
            "name": "softmax",
            "dtype": "float32",
            "shape": [2, 10],
            "scale": None,
            "zero_point": None,
        }
        found = worker.infer(inputs_for(reply["spec"]))["softmax"]
        other = worker.infer(inputs_for(reply["spec"], seed=9))["softmax"]
        assert found.dtype == np.float32
        assert not np.array_equal(found, other)
        flying, _, _ = worker.benchmark(
            scenario="throughput", in_flight=2, duration_ns=10_000_000, min_count=4
        )
        assert flying["outputs_finite"] is True
        worker.call("unload")

        reply = load(worker, softmax / "model.xmodel", options={"runner": "dpu"})
        assert reply["describe"]["effective"]["left_out"] == "softmax:1"
        assert reply["describe"]["fallbacks"] == []
        assert [one["name"] for one in reply["spec"]["outputs"]] == ["fc_fix"]
        worker.call("unload")

        described = load(worker, write(several, two))["describe"]
        assert described["effective"]["runner"] == "graph"
        assert described["effective"]["dpu_subgraphs"] == "2"
        assert described["fallbacks"] == []
        worker.call("unload")
        error = refusal(worker, several / "model.xmodel", options={"runner": "dpu"})
        assert error.kind == "OptionInvalid"
        assert "this one has 2" in error.message
        assert load(worker, write(plain), options={"runner": "graph"})["describe"]["fallbacks"] == []


def test_what_vart_would_die_of_is_refused_before(tmp_path: Path) -> None:
    """One worker takes all refusals: it lives on, and loads a good model in the end."""
    usual = graph()["tensors"]
    with CASE.worker() as worker:
        for name, kind in (("image", "xuint8"), ("fc_fix", "int32")):
            tensors = {**usual, name: {**usual[name], "dtype": kind}}
            error = refusal(worker, write(tmp_path, graph(tensors=tensors)))
            assert error.kind == "ModelInvalid"
            assert f"'{name}' has the type {kind}" in error.message
        for children in ([], [part("USER", ["data"]), part("CPU", ["conv2d"])]):
            error = refusal(worker, write(tmp_path, graph(children=children)))
            assert error.kind == "ModelInvalid"
            assert "no part for the DPU" in error.message
            assert "vai_c_xir" in error.message
        good = write(tmp_path)
        for options, word in (
            ({"threads": "2"}, "in_flight"),
            ({"device": "0"}, "XLNX_DPU_DEVICE_CORES"),
            ({"runner": "cpu"}, "auto, dpu, graph"),
            ({"shape.image": "2,6,6,4"}, "cannot take"),
        ):
            error = refusal(worker, good, options=options)
            assert error.kind == "OptionInvalid"
            assert word in error.message
        assert "vai_c_xir" in refusal(worker, good, format="onnx").message
        assert load(worker, good, options={"shape.image": "2,6,6,3", "device": "dpu"})


def test_xdputil_tells_which_dpu_and_a_foreign_xmodel_is_refused(tmp_path: Path) -> None:
    good = write(tmp_path)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    children = [part("DPU", ["conv2d-fix"], dpu_fingerprint=0x101000016010406)]
    tool = xdputil(tmp_path, json.dumps(QUERY))
    with worker_with(tool) as worker:
        reply = load(worker, good)
        effective = reply["describe"]["effective"]
        assert effective["dpu"] == "DPUCZDX8G_ISA1_B4096"
        assert effective["fingerprint"] == hex(FINGERPRINT)
        assert effective["dpu_mhz"] == "300"
        assert effective["dpu_cores"] == "2"
        assert reply["optimal_in_flight"] == 4
        worker.call("unload")
        error = refusal(worker, write(foreign, graph(children=children)))
        assert error.kind == "ModelInvalid"
        assert hex(0x101000016010406) in error.message
        assert hex(FINGERPRINT) in error.message
    with worker_with({**tool, "XLNX_ENABLE_FINGERPRINT_CHECK": "0"}) as worker:
        spec = load(worker, foreign / "model.xmodel")["spec"]
        assert worker.infer(inputs_for(spec))


@pytest.mark.parametrize("answer", ["no json at all", "[1, 2]", '{"kernels": 5}', '{"kernels": [{}, 1]}'])
def test_a_tool_that_tells_nothing_is_no_obstacle(
    tmp_path: Path, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", xdputil(tmp_path, answer)["PATH"])
    monkeypatch.setattr(vitis_dpu, "_query", [])
    assert "dpu" not in vitis_dpu.describe()


def test_without_a_dpu_the_runtime_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these ends the process if VART gets to see it."""
    config = tmp_path / "vart.conf"
    monkeypatch.setattr(vitis_dpu, "_CONFIG", str(config))
    monkeypatch.delenv("XLNX_VART_FIRMWARE", raising=False)
    if not list(Path("/dev").glob("dpu*")):
        with pytest.raises(errors.RuntimeUnavailable, match="There is no DPU"):
            vitis_dpu.find_dpu()
    config.write_text(f"firmware: {tmp_path}/dpu.xclbin\n")
    with pytest.raises(errors.RuntimeUnavailable, match=r"dpu\.xclbin is not there; load the overlay"):
        vitis_dpu.find_dpu()
    (tmp_path / "dpu.xclbin").touch()
    assert vitis_dpu.find_dpu() == f"{tmp_path}/dpu.xclbin"
    with WorkerClient(interpreter=oldest()) as worker:
        (info,) = worker.call("probe", runtimes=["vitisai"])["runtimes"]
    assert "'xir' cannot be imported" in info["reason"]
    with worker_with({"XLNX_VART_FIRMWARE": "/nowhere/dpu.xclbin"}) as worker:
        (info,) = worker.call("probe", runtimes=["vitisai"])["runtimes"]
    assert "/nowhere/dpu.xclbin is not there" in info["reason"]


def test_each_slot_has_a_runner_of_its_own(tmp_path: Path) -> None:
    """The fake ends the process where two threads use one runner."""
    with CASE.worker(latency_ms=1) as worker:
        spec = load(worker, write(tmp_path))["spec"]
        before = worker.infer(inputs_for(spec))["fc_fix"]
        flying, _, _ = worker.benchmark(
            scenario="throughput", in_flight=6, duration_ns=30_000_000, min_count=60
        )
        assert flying["requests"] >= 60
        np.testing.assert_array_equal(worker.infer(inputs_for(spec))["fc_fix"], before)


def test_a_status_is_an_error_and_the_worker_lives_on(tmp_path: Path) -> None:
    with CASE.worker(fault="status", status=3, after=1) as worker:
        spec = load(worker, write(tmp_path))["spec"]
        assert worker.infer(inputs_for(spec))
        with pytest.raises(errors.InferenceFailed, match="ended with the status 3"):
            worker.infer(inputs_for(spec))
        worker.call("unload")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"fault": "no_device", "at": "load"}, "no device is available"),
        ({"fault": "timeout"}, "dpu timeout! core_idx = 0"),
        ({"fingerprint": 1}, "fingerprint check failure"),
    ],
)
def test_where_it_aborts_its_last_line_is_left(tmp_path: Path, settings: dict[str, Any], line: str) -> None:
    """No check of ours can see these: VART ends the process, and the daemon shows what it wrote last."""
    with worker_with({"XLNX_DPU_TIMEOUT": "20"}, **settings) as worker:
        with pytest.raises(errors.WireClosed):
            worker.infer(inputs_for(load(worker, write(tmp_path))["spec"]))
        assert worker.process.wait(30) == -signal.SIGABRT
        assert line in worker.stderr_path.read_text()


VENDOR_DEATH = """
import sys
import numpy as np
import vart, xir
graph = xir.Graph.deserialize(sys.argv[1])
child = [one for one in graph.get_root_subgraph().toposort_child_subgraph() if one.get_attr("device") == "DPU"][0]
runner = vart.Runner.create_runner(child, "run")
good, out = np.zeros((1, 6, 6, 3), "int8"), [np.zeros((1, 10), "int8")]
try:
    runner.execute_async([np.frombuffer(bytes(108), "int8")], out)
except ValueError as error:
    assert "read-only" in str(error)
assert runner.wait(runner.execute_async([good], out)) == 0
wrong = {
    "dtype": lambda: runner.execute_async([good.astype("uint8")], out),
    "short": lambda: runner.execute_async([good[:, :3].copy()], out),
    "strides": lambda: runner.execute_async([np.zeros((1, 6, 6, 6), "int8")[..., ::2]], out),
    "file": lambda: xir.Graph.deserialize("/nowhere"),
}
wrong[sys.argv[2]]()
"""


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ("dtype", "unsupported data type"),
        ("short", "read past the end of a short array"),
        ("strides", "as if it were in C order"),
        ("file", "[XIR_READ_PB_FAILURE] file = /nowhere"),
    ],
)
def test_the_fake_ends_the_process_as_the_vendor_does(tmp_path: Path, wrong: str, line: str) -> None:
    done = subprocess.run(
        [oldest(), "-B", "-c", VENDOR_DEATH, str(write(tmp_path)), wrong],
        env=CASE.environment(engines=1),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGABRT
    assert line in done.stderr
