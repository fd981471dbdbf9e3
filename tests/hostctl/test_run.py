"""`hostctl run` as a user runs it, against real boards: the happy way, and every way it can break."""

from __future__ import annotations

import json
import math
import os
import signal
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from farm.v1 import device_service_pb2 as pb
from farm.v1 import tensor_pb2

from tests.hostctl.farm import (
    BOARD_MOODS,
    QUICK,
    Hostctl,
    codes,
    lines_of,
    processes_with,
    serve_board,
    wait_until,
)
from tests.serving import ROOT, device_service, reason_of

NUMBERS = ("inferences", "requests", "window_s", "throughput_ips", "achieved_gops")


@pytest.fixture
def farm(hostctl: Hostctl, board: str) -> Hostctl:
    """A farm with the device `bench`."""
    hostctl.add_device("bench", board)
    return hostctl


def recompute(result: dict[str, Any]) -> None:
    """Check that every derived number is what its own line says, to the last digit."""
    batch, window_s = result["config"]["batch"], result["window_s"]
    assert result["inferences"] == result["requests"] * batch
    assert result["throughput_ips"] == result["inferences"] / window_s
    ops = result["model"]["ops_per_inference"]["value"]
    assert result["achieved_gops"] == result["throughput_ips"] * ops / 1e9
    power_w, idle_w = result["power_w"]["value"], result["idle_power_w"]["value"]
    energy = result["energy_per_inference_mj"]
    assert energy["gross"]["value"] == power_w * (1e3 * window_s / result["inferences"])
    assert energy["net"]["value"] == (power_w - idle_w) * (1e3 * window_s / result["inferences"])
    assert result["gops_per_w"]["gross"]["value"] == result["achieved_gops"] / power_w
    if power_w > idle_w:
        assert result["gops_per_w"]["net"]["value"] == result["achieved_gops"] / (power_w - idle_w)
    assert result["inference_time_ms"]["count"] == result["requests"]


KEYS = [
    "schema", "id", "created", "valid", "flags", "device", "board", "model", "runtime", "config", "inferences",
    "requests", "window_s", "inference_time_ms", "throughput_ips", "achieved_gops", "peak_gops", "performance_ratio",
    "meter", "power_w", "idle_power_w", "energy_per_inference_mj", "gops_per_w", "memory_mb", "fidelity", "accuracy",
    "environment",
]  # fmt: skip


@pytest.mark.slow
def test_four_configurations_agree_with_themselves(farm: Hostctl, model: Path) -> None:
    results = farm.results(
        *("run", "--device", "bench", "--model", str(model), "--runtime", "openvino"),
        *("--batch", "1,8", "--scenario", "latency,throughput"),
        *QUICK,
    )
    found = [(result["config"]["batch"], result["config"]["scenario"]) for result in results]
    assert found == [(1, "latency"), (1, "throughput"), (8, "latency"), (8, "throughput")]
    for result in results:
        assert list(result) == KEYS
        assert result["schema"] == "wattfarm.result/1"
        assert result["idle_power_w"]["model"] == "linear"
        assert codes(result) <= BOARD_MOODS | {
            "ENERGY_ESTIMATED", "UNCERTAINTY_WIDE", "THROTTLING_UNOBSERVED", "RANDOM_WEIGHTS", "NET_NOT_POSITIVE",
            "EDGES_BLURRED",
        }  # fmt: skip
        assert result["valid"] == (not codes(result) & BOARD_MOODS)
        assert result["window_s"] >= 0.2
        assert result["meter"]["kind"] == "estimated"
        assert result["fidelity"]["within_tolerance"] is True
        assert result["model"]["ops_per_inference"] == {
            "value": 48,
            "convention": "mac2",
            "source": "counted",
        }
        recompute(result)
    assert {result["id"] for result in farm.stored()} == {result["id"] for result in results}


def test_local_needs_nothing_and_leaves_nothing(hostctl: Hostctl, model: Path) -> None:
    done = hostctl.spawn("run", "--model", str(model), "--json", *QUICK)
    (result,) = (json.loads(line) for line in done.stdout.splitlines())
    assert result["device"] == "local"
    assert result["runtime"]["name"] == "onnxruntime"
    recompute(result)
    assert done.returncode == (0 if result["valid"] else 1)
    assert list((hostctl.home / "tmp").iterdir()) == []
    assert processes_with(str(hostctl.home)) == []


@pytest.mark.slow
def test_the_raw_samples_are_kept(farm: Hostctl, model: Path) -> None:
    import pyarrow.parquet as pq

    (result,) = farm.results("run", "--device", "bench", "--model", str(model), *QUICK)
    folder = farm.home / "data" / "runs" / result["id"]
    assert json.loads((folder / "result.json").read_text()) == result
    requests = pq.read_table(folder / "requests.parquet")
    assert requests.num_rows == result["requests"]
    power = pq.read_table(folder / "power.parquet")
    windows = json.loads(power.schema.metadata[b"windows"])
    start_s, end_s = windows["run"]
    assert end_s - start_s == pytest.approx(result["window_s"])
    assert windows["idle_before"][1] <= start_s
    assert end_s <= windows["idle_after"][0]


def test_given_operations_and_no_meter(farm: Hostctl, model: Path) -> None:
    (result,) = farm.results(
        *("run", "--device", "bench", "--model", str(model), "--ops", "7.78e9", "--meter", "none"), *QUICK
    )
    assert result["model"]["ops_per_inference"] == {"value": 7.78e9, "convention": "mac2", "source": "given"}
    assert result["achieved_gops"] == result["throughput_ips"] * 7.78e9 / 1e9
    assert result["meter"] is None
    assert result["power_w"] is None
    assert "NO_METER" in codes(result)


def test_a_table_for_people(farm: Hostctl, model: Path) -> None:
    done = farm.run("run", "--device", "bench", "--model", str(model), *QUICK)
    assert "think-ch1" in done.stdout
    assert "ENERGY_ESTIMATED" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--model", "{model}", "--device", "bnch"), 2, "did you mean 'bench'"),
        (("--model", "{model}", "--device", "bench", "--runtime", "openvno"), 2, "did you mean 'openvino'"),
        (("--model", "{model}", "--device", "bench", "--meter", "estimat"), 2, "did you mean 'estimate'"),
        (("--model", "{model}", "--device", "bench", "--batch", "0"), 2, "0 is not in the range"),
        (("--model", "{model}", "--device", "bench", "--duration", "10"), 2, "write it with its unit"),
        (("--model", "{model}", "--device", "bench", "--scenario", "offline"), 2, "latency, throughput"),
        (("--model", "missing.onnx", "--device", "bench"), 1, "no model file 'missing.onnx'"),
        (("--model", "{model}", "--device", "gone"), 4, "'gone' does not answer at 127.0.0.1:1"),
        (("--device", "bench"), 2, "--model"),
    ],
)
def test_mistakes_end_in_one_sentence(
    farm: Hostctl, model: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    farm.add_device("gone", "127.0.0.1:1")
    done = farm.run("run", *(option.format(model=model) for option in options))
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert len(lines_of(done.stderr)) == 1
    assert done.stdout == ""


@pytest.mark.parametrize("damage", ["garbage", "empty", "truncated"])
def test_a_damaged_model_ends_in_one_sentence(
    farm: Hostctl, model: Path, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "damaged.onnx"
    whole = model.read_bytes()
    path.write_bytes(
        {"garbage": b"\x08\x07" + os.urandom(500), "empty": b"", "truncated": whole[: len(whole) // 2]}[
            damage
        ]
    )
    done = farm.run("run", "--device", "bench", "--model", str(path), *QUICK)
    assert done.returncode == 1
    assert len(lines_of(done.stderr)) == 1
    assert "damaged.onnx" in done.stderr
    assert farm.leases() == []


@pytest.mark.slow
def test_a_batch_the_file_does_not_have_is_kept_as_invalid(farm: Hostctl, tmp_path: Path) -> None:
    import onnx

    from hostctl.models.zoo import build

    static = onnx.load(str(build("think-ch1", tmp_path)))
    for value in (*static.graph.input, *static.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    path = tmp_path / "static.onnx"
    onnx.save(static, str(path))
    done = farm.run("run", "--device", "bench", "--model", str(path), "--batch", "8,1", "--json", *QUICK)
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 1
    assert not first["valid"]
    assert codes(first) == {"FAILED"}
    assert first["inferences"] is None
    assert "static" in first["flags"][0]["message"]
    assert second["config"]["batch"] == 1
    assert second["inferences"] > 0


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("segv", "SIGSEGV"),
        ("abort", "SIGABRT"),
        pytest.param("hang", "did not answer", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_worker_that_dies_or_hangs(farm: Hostctl, model: Path, fault: str, words: str) -> None:
    done = farm.run(
        *("run", "--device", "bench", "--model", str(model), "--runtime", "faulty", "--json"),
        *("--option", f"fault={fault}", "--option", "after=50"),
        *QUICK,
    )
    (result,) = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 1
    assert codes(result) == {"FAILED"}
    assert words in result["flags"][0]["message"] or "hung" in result["flags"][0]["message"]
    assert [kept["id"] for kept in farm.stored()] == [result["id"]]
    assert farm.leases() == []
    (after,) = farm.results(
        "run", "--device", "bench", "--model", str(model), "--runtime", "openvino", *QUICK
    )
    assert after["inferences"] > 0


@pytest.mark.parametrize(
    ("fault", "code"),
    [("nan", "OUTPUT_NOT_FINITE"), ("wrong", "FIDELITY_BEYOND_TOLERANCE")],
)
@pytest.mark.slow
def test_wrong_outputs_invalidate(farm: Hostctl, model: Path, fault: str, code: str) -> None:
    (result,) = farm.results(
        *(
            "run",
            "--device",
            "bench",
            "--model",
            str(model),
            "--runtime",
            "faulty",
            "--option",
            f"fault={fault}",
        ),
        *QUICK,
    )
    assert code in codes(result)
    assert not result["valid"]
    assert result["inferences"] > 0


@pytest.mark.slow
def test_a_device_that_is_held_is_waited_for_or_refused(farm: Hostctl, model: Path) -> None:
    run = ("run", "--device", "bench", "--model", str(model))
    first = farm.start(
        *run, "--duration", "3s", "--warmup", "0s", "--idle", "0s", "--meter", "none", "--json"
    )
    wait_until(lambda: farm.leases() != [], what="the first run's lease")
    refused = farm.run(*run, "--no-wait", *QUICK)
    assert refused.returncode == 3
    assert f":{first.pid} holds bench" in refused.stderr
    second = farm.run(*run, "--json", *QUICK)
    assert f":{first.pid} holds bench" in second.stderr
    (result,) = (json.loads(line) for line in second.stdout.splitlines())
    assert result["inferences"] > 0
    out, _ = first.communicate(timeout=30)
    (earlier,) = (json.loads(line) for line in out.splitlines())
    assert earlier["created"] < result["created"]


def test_a_reservation_of_ones_own_is_used(farm: Hostctl, model: Path) -> None:
    reserved = farm.run("reserve", "bench", "--for", "1h", "--json")
    lease = json.loads(reserved.stdout)
    run = ("run", "--device", "bench", "--model", str(model), "--no-wait", *QUICK)
    (result,) = farm.results(*run)
    assert result["environment"]["lease"]["id"] == lease["id"]
    (held,) = farm.leases()
    assert held["id"] == lease["id"]
    assert farm.run("release", "bench").returncode == 0
    assert farm.leases() == []
    over = farm.run(*run, "--lease", lease["id"])
    assert over.returncode == 5
    assert "released" in over.stderr


@pytest.mark.slow
def test_ctrl_c_keeps_an_invalid_result(farm: Hostctl, model: Path) -> None:
    process = _running(farm, model)
    process.send_signal(signal.SIGINT)
    _ended_by_a_signal(farm, process, 130)


@pytest.mark.slow
def test_sigterm_does_too(farm: Hostctl, model: Path) -> None:
    process = _running(farm, model)
    process.send_signal(signal.SIGTERM)
    _ended_by_a_signal(farm, process, 143)


def _running(farm: Hostctl, model: Path, *options: str) -> Any:
    """Start a long run and wait until the board is in its timed loop."""
    process = farm.start(
        *("run", "--device", "bench", "--model", str(model), "--duration", "60s", "--warmup", "0s"),
        *("--idle", "0s", "--json", *options),
    )
    wait_until(lambda: _is_measuring(farm), what="the benchmark")
    time.sleep(0.5)
    assert process.poll() is None, process.communicate()
    return process


def _is_measuring(farm: Hostctl) -> bool:
    """Whether the board `bench` refuses an inference for the sake of a benchmark."""
    (device,) = tomllib.loads(farm.config.read_text())["devices"].values()
    with device_service(device["address"]) as service:
        for model in service.ListModels(pb.ListModelsRequest()).models:
            (wanted,) = model.spec.inputs
            size = [max(1, length) for length in wanted.shape]
            data = bytes(4 * math.prod(size))
            tensor = tensor_pb2.Tensor(name=wanted.name, dtype=wanted.dtype, shape=size, data=data)
            try:
                service.Infer(pb.InferRequest(model_id=model.model_id, inputs=[tensor]))
            except grpc.RpcError as error:
                return reason_of(error) == "BOARD_BUSY"
    return False


def _ended_by_a_signal(farm: Hostctl, process: Any, code: int) -> None:
    begin_s = time.monotonic()
    out, errors = process.communicate(timeout=20)
    assert process.returncode == code
    assert time.monotonic() - begin_s < 19
    assert len(lines_of(errors)) == 1
    (result,) = (json.loads(line) for line in out.splitlines())
    assert codes(result) == {"INTERRUPTED"}
    assert not result["valid"]
    assert [kept["id"] for kept in farm.stored()] == [result["id"]]
    assert farm.leases() == []


@pytest.mark.slow
def test_kill_9_of_hostctl_frees_the_device_by_its_ttl(farm: Hostctl, model: Path) -> None:
    process = _running(farm, model, "--lease-ttl", "2s")
    process.kill()
    process.communicate()
    run = ("run", "--device", "bench", "--model", str(model), "--json", *QUICK)
    after = farm.run(*run)
    (result,) = (json.loads(line) for line in after.stdout.splitlines())
    assert result["inferences"] > 0, after.stderr


@pytest.mark.slow
def test_kill_9_of_hostctl_takes_the_local_farmd_with_it(hostctl: Hostctl, model: Path) -> None:
    process = hostctl.start("run", "--model", str(model), "--duration", "60s", "--idle", "0s")
    temporary = str(hostctl.home / "tmp")
    wait_until(lambda: len(processes_with(temporary)) >= 2, what="farmd and its worker")
    time.sleep(1.0)
    process.kill()
    process.communicate()
    wait_until(lambda: processes_with(temporary) == [], what="the end of farmd, worker and janitor")
    assert list(Path(temporary).iterdir()) == []


@pytest.mark.slow
def test_a_board_that_dies_in_mid_run(hostctl: Hostctl, model: Path, tmp_path: Path) -> None:
    with serve_board(tmp_path / "board") as (address, farmd):
        hostctl.add_device("bench", address)
        process = _running(hostctl, model)
        farmd.kill()
        out, errors = process.communicate(timeout=30)
    assert process.returncode == 4
    assert len(lines_of(errors)) == 1
    (result,) = (json.loads(line) for line in out.splitlines())
    assert codes(result) == {"FAILED"}
    assert hostctl.leases() == []


@pytest.mark.slow
def test_a_lease_taken_away_ends_the_run(farm: Hostctl, model: Path) -> None:
    process = _running(farm, model, "--lease-ttl", "1500ms")
    (lease,) = farm.leases()
    assert farm.run("release", lease["id"]).returncode == 0
    out, errors = process.communicate(timeout=20)
    assert process.returncode == 5, errors
    (result,) = (json.loads(line) for line in out.splitlines())
    assert codes(result) == {"LEASE_LOST"}


@pytest.fixture
def full_home(farm: Hostctl) -> Iterator[Hostctl]:
    """A home whose results cannot be written."""
    runs = farm.home / "data" / "runs"
    runs.parent.mkdir(parents=True, exist_ok=True)
    runs.write_text("in the way")
    yield farm
    runs.unlink()


def test_a_result_that_cannot_be_kept_is_printed_all_the_same(full_home: Hostctl, model: Path) -> None:
    done = full_home.run("run", "--device", "bench", "--model", str(model), "--json", *QUICK)
    (result,) = (json.loads(line) for line in done.stdout.splitlines())
    assert result["inferences"] > 0
    assert done.returncode == 1
    assert "runs" in done.stderr


@pytest.mark.slow
def test_hostctl_sleeps_through_the_window(farm: Hostctl, model: Path) -> None:
    """The measured board may be the machine hostctl runs on: its own work in the window would be in the numbers."""
    process = farm.start(
        *("run", "--device", "bench", "--model", str(model), "--duration", "4s", "--warmup", "0s"),
        *("--idle", "0s", "--meter", "none", "--json"),
    )
    wait_until(lambda: _is_measuring(farm), what="the benchmark")
    time.sleep(0.5)
    begin_s, end_s = _cpu_s(process.pid), 0.0
    time.sleep(1.5)
    end_s = _cpu_s(process.pid)
    out, errors = process.communicate(timeout=30)
    assert json.loads(out)["inferences"] > 0, errors
    assert end_s - begin_s < 0.03  # 2 % of one processor


def _cpu_s(pid: int) -> float:
    """Return the processor time of all threads; the scheduler's nanoseconds, for /proc/PID/stat has steps of 10 ms."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


@pytest.mark.parametrize("name", ["ad01_int8", "kws_ref_model", "pretrainedResnet_quant", "vww_96_int8"])
@pytest.mark.slow
def test_mlperf_tiny_on_litert(farm: Hostctl, name: str) -> None:
    path = ROOT.parent / "shared" / "models" / "mlperf_tiny" / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"the trained model {path} is not on this machine")
    (result,) = farm.results("run", "--device", "bench", "--model", str(path), *QUICK)
    assert result["runtime"]["name"] == "litert"
    assert result["runtime"]["effective"]["precision"] == "int8"
    assert result["fidelity"]["within_tolerance"] is True
    assert result["fidelity"]["top1_agreement"] == 1.0
    recompute(result)


def test_outputs_keep_the_names_of_the_file(farm: Hostctl, tmp_path: Path) -> None:
    """OpenVINO merges the Identity into the Gemm and then knows the output by both names."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a_gemm"]),
        helper.make_node("Identity", ["a_gemm"], ["scores"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 4]) for name in ("x", "scores")]
    graph = helper.make_graph(nodes, "named", ends[:1], ends[1:], [weights])
    path = tmp_path / "named.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    (result,) = farm.results(
        "run", "--device", "bench", "--model", str(path), "--runtime", "openvino", *QUICK
    )
    assert result["fidelity"]["within_tolerance"] is True
