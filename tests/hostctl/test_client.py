"""The client against a real farmd."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hostctl.calls import BenchmarkOptions, duration
from hostctl.client import Board
from hostctl.errors import DeviceError, DeviceUnreachable, ModelFileError, Refused, UsageError
from hostctl.inventory import Tls
from tests.conftest import Certificates
from tests.hostctl.farm import serve_board
from tests.hostctl.proxy import breaking_proxy


@dataclass(frozen=True)
class Tag:
    id: str
    fence: int | None


def test_describes_the_board(board: str) -> None:
    with Board(board, device="bench") as client:
        info = client.info()
        assert info.device == "bench"
        assert "onnxruntime" in {runtime.name for runtime in info.runtimes if runtime.available}
        assert client.stats().monotonic_ns > 0
        assert [rail.name for rail in client.rails()] == [rail.name for rail in info.rails]


def test_loads_infers_and_unloads(board: str, model: Path) -> None:
    stages = []
    with Board(board) as client:
        loaded = client.load(
            model,
            format="onnx",
            runtime="onnxruntime",
            batch=4,
            progress=lambda stage, done, total: stages.append((stage, done, total)),
        )
        size_bytes = model.stat().st_size
        assert stages[0][0] == "receiving"
        assert max(done for _, done, _ in stages) == size_bytes
        assert {total for _, _, total in stages} == {size_bytes}
        x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
        result = client.infer(loaded.model_id, {loaded.spec.inputs[0].name: x})
        (output,) = result.outputs.values()
        assert output.shape == (4, 1)
        assert output.dtype == np.float32
        assert result.compute_ns is not None
        assert 0 < result.compute_ns < result.round_trip_ns
        assert loaded.model_id in {each.model_id for each in client.models()}
        client.unload(loaded.model_id)
        assert loaded.model_id not in {each.model_id for each in client.models()}


def test_a_known_file_is_not_sent_again(board: str, model: Path) -> None:
    with Board(board) as client:
        for _ in range(2):
            sent: list[int] = []
            loaded = client.load(
                model,
                format="onnx",
                runtime="onnxruntime",
                progress=lambda stage, done, total, sent=sent: sent.append(done),  # type: ignore[misc]
            )
            client.unload(loaded.model_id)
        assert sent[0] == model.stat().st_size


def test_benchmark_returns_every_request(board: str, model: Path) -> None:
    phases: list[str] = []
    with Board(board) as client:
        loaded = client.load(model, format="onnx", runtime="onnxruntime", batch=2)
        run = client.benchmark(
            loaded.model_id, BenchmarkOptions("latency", 0.2, 0.05, min_requests=10), phase=phases.append
        )
        client.unload(loaded.model_id)
    assert phases == ["warmup", "running", "done"]
    assert len(run.start_ns) == len(run.end_ns) == run.result.request_count >= 10
    assert np.all(run.end_ns > run.start_ns)
    assert np.all(np.diff(run.start_ns) > 0)
    assert run.result.window_start_ns <= run.start_ns[0]
    assert run.end_ns[-1] <= run.result.window_end_ns
    assert run.result.batch == 2


def test_clock_probes_keep_causality(board: str) -> None:
    with Board(board) as client:
        probes = client.probe_clock(8)
    assert len(probes) == 8
    for probe in probes:
        assert probe.t0_ns < probe.t3_ns
        assert probe.t1_ns <= probe.t2_ns
        assert probe.delay_ns >= 0


def test_a_lower_fence_is_refused(board: str) -> None:
    with Board(board, Tag("new", 7)) as client:
        client.probe_clock(1)
        client.models()
    with Board(board, Tag("old", 6)) as client, pytest.raises(Refused, match="lease") as caught:
        client.load(Path(__file__), format="onnx", runtime="onnxruntime")
    assert caught.value.exit_code == 5


def test_nobody_there_is_told_in_one_sentence() -> None:
    with Board("127.0.0.1:1", device="bench") as client, pytest.raises(DeviceUnreachable) as caught:
        client.info()
    assert caught.value.exit_code == 4
    assert "'bench' does not answer at 127.0.0.1:1 (connection refused)" in caught.value.message


def test_an_unknown_host_name_is_told() -> None:
    with Board("board.invalid:1", device="bench") as client, pytest.raises(DeviceUnreachable) as caught:
        client.info()
    assert "the name is not known here" in caught.value.message


def test_wrong_input_names_the_field(board: str, model: Path) -> None:
    with Board(board) as client:
        loaded = client.load(model, format="onnx", runtime="onnxruntime")
        name = loaded.spec.inputs[0].name
        for inputs in ({"nope": np.zeros((1, 2), np.float32)}, {name: np.zeros((1, 2), np.float64)}):
            with pytest.raises(DeviceError) as caught:
                client.infer(loaded.model_id, inputs)
            assert caught.value.reason == "INPUT_INVALID"
        with pytest.raises(UsageError, match="complex64"):
            client.infer(loaded.model_id, {name: np.zeros((1, 2), np.complex64)})
        client.unload(loaded.model_id)


def test_a_corrupt_model_is_the_devices_word(board: str, tmp_path: Path) -> None:
    path = tmp_path / "corrupt.onnx"
    path.write_bytes(b"\x08\x07nonsense" * 100)
    with Board(board) as client, pytest.raises(DeviceError) as caught:
        client.load(path, format="onnx", runtime="onnxruntime")
    assert caught.value.reason == "MODEL_INVALID"
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(("content", "word"), [(None, "does not exist"), (b"", "is empty")])
def test_a_missing_or_empty_file_never_reaches_the_board(
    tmp_path: Path, content: bytes | None, word: str
) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with Board("127.0.0.1:1") as client, pytest.raises(ModelFileError, match=word):
        client.load(path, format="onnx", runtime="onnxruntime")


def test_a_dead_worker_is_told_and_the_board_goes_on(board: str, model: Path) -> None:
    with Board(board) as client:
        loaded = client.load(model, format="onnx", runtime="faulty", options={"fault": "segv", "after": "20"})
        with pytest.raises(DeviceError, match="SIGSEGV") as caught:
            client.benchmark(loaded.model_id, BenchmarkOptions("latency", 5.0, 0.0))
        assert caught.value.reason == "WORKER_CRASHED"
        assert client.info().device == "bench"


def test_the_end_of_the_board_is_noticed_in_mid_window(tmp_path: Path, model: Path) -> None:
    with serve_board(tmp_path) as (address, process), Board(address, device="bench") as client:
        loaded = client.load(model, format="onnx", runtime="onnxruntime")

        def kill(name: str) -> None:
            if name == "running":
                process.kill()

        with pytest.raises(DeviceUnreachable):
            client.benchmark(loaded.model_id, BenchmarkOptions("latency", 30.0, 0.0), phase=kill)


def test_closing_twice_is_harmless(board: str) -> None:
    client = Board(board)
    client.info()
    client.close()
    client.close()


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1.0, 2.5, 3600.25])
def test_durations_survive_the_protocol(seconds: float) -> None:
    assert duration(seconds).ToNanoseconds() == round(seconds * 1e9)


def large_model(path: Path, megabytes: int) -> Path:
    """Return an ONNX file of that size: y = x + a constant's first element."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).integers(0, 255, megabytes << 20, np.uint8).view(np.float32)
    constant = numpy_helper.from_array(np.nan_to_num(weights), "c")
    nodes = [
        helper.make_node("ReduceMean", ["c"], ["m"], keepdims=1),
        helper.make_node("Add", ["x", "m"], ["y"]),
    ]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "large", value[:1], value[1:], [constant])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def test_an_upload_that_broke_off_is_taken_up_again(board: str, tmp_path: Path) -> None:
    path = large_model(tmp_path / "large.onnx", 16)
    cut_after = 9 << 20
    with breaking_proxy(board, cut_after) as proxy, Board(proxy.address) as client:
        loaded = client.load(path, format="onnx", runtime="onnxruntime")
        client.unload(loaded.model_id)
    assert proxy.connections == 2
    # What the board had on its disk before the break is not sent again; how much that was is a matter of its speed.
    assert proxy.forwarded[1] < path.stat().st_size


@pytest.mark.slow
def test_a_load_waits_for_a_runtime_whose_workers_died(tmp_path: Path, model: Path) -> None:
    with serve_board(tmp_path) as (address, _), Board(address) as client:
        for _ in range(2):
            loaded = client.load(model, format="onnx", runtime="faulty", options={"fault": "abort"})
            with pytest.raises(DeviceError, match="SIGABRT"):
                client.benchmark(loaded.model_id, BenchmarkOptions("latency", 0.1, 0.0))
        # The second death delays the third worker by half a second; the client waits for it by itself.
        loaded = client.load(model, format="onnx", runtime="faulty")
        assert (
            client.benchmark(loaded.model_id, BenchmarkOptions("latency", 0.05, 0.0)).result.request_count > 0
        )


@pytest.mark.slow
def test_tls_both_ways(tmp_path: Path, certificates: Certificates) -> None:
    tls = {"cert": certificates.cert, "key": certificates.key, "client_ca": certificates.ca}
    with serve_board(tmp_path / "board", tls=tls) as (address, _):
        known = Tls(certificates.ca, certificates.client_cert, certificates.client_key)
        with Board(address, tls=known) as client:
            assert client.info().device == "bench"
        named = Tls(
            certificates.ca, certificates.client_cert, certificates.client_key, server_name="localhost"
        )
        with Board(address, tls=named) as client:
            assert client.info().device == "bench"
        for stranger in (Tls(certificates.ca), None):
            with Board(address, tls=stranger, device="bench") as client, pytest.raises(DeviceUnreachable):
                client.info()


def test_a_tls_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ca\.pem cannot be read"):
        Board("127.0.0.1:1", tls=Tls(tmp_path / "ca.pem"))
