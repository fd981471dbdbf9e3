"""The Edge TPU: its devices, what is refused, how it dies; on a fake, and its library's C interface in a real Interpreter."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from targets.errors import InferenceFailed, OptionInvalid, WireClosed
from targets.runners.edgetpu import candidates
from targets.runners.parts.tflite.libedgetpu import Device
from tests.targets.helpers import MODELS, WorkerClient
from tests.targets.runners.cases import CASES, edgetpu_model, inputs_for
from tests.targets.runners.delegate_library import worker_with

COMPILED = MODELS / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
PLAIN = MODELS / "coral" / "mobilenet_v1_0.25_128_quant.tflite"
CASE = next(case for case in CASES if case.runtime == "edgetpu")
BOTH = [["usb", "/sys/bus/usb/devices/2-1"], ["pci", "/dev/apex_0"], ["usb", "/sys/bus/usb/devices/3-2"]]

pytestmark = pytest.mark.skipif(not COMPILED.exists(), reason=f"needs the trained models at {MODELS}")


@pytest.fixture
def three() -> Iterator[WorkerClient]:
    """A worker that sees three devices."""
    with CASE.worker(devices=BOTH) as client:
        yield client


def load(worker: WorkerClient, path: Path = COMPILED, /, **options: str) -> dict[str, Any]:
    reply: dict[str, Any] = worker.load(path, "edgetpu", "tflite", options=options)["describe"]
    return reply


def refusal(worker: WorkerClient, path: Path = COMPILED, /, **options: str) -> tuple[str, str]:
    request = CASE.request(path, "tflite", options=options)
    error = worker.error("load", **request)
    assert "\n" not in error.message
    return error.kind, error.message


def opened(worker: WorkerClient) -> list[str]:
    """What the fake says it opened: path and performance."""
    lines = worker.stderr_path.read_text().splitlines()
    return [line.partition("opened ")[2] for line in lines if "opened " in line]


def mixed_model(folder: Path) -> Path:
    """The compiled model with a logistic function behind it that the compiler left to the CPU."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    model = schema.ModelT.InitFromPackedBuf(COMPILED.read_bytes(), 0)
    graph = model.subgraphs[0]
    scores = schema.TensorT()
    scores.shape, scores.type, scores.name, scores.buffer = [1, 1001], schema.TensorType.UINT8, b"scores", 0
    scores.quantization = schema.QuantizationParametersT()
    scores.quantization.scale, scores.quantization.zeroPoint = [1 / 256], [0]
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.LOGISTIC
    code.version = 1
    operator.opcodeIndex, operator.inputs, operator.outputs = (
        len(model.operatorCodes),
        [1],
        [len(graph.tensors)],
    )
    graph.outputs = operator.outputs
    graph.tensors.append(scores)
    graph.operators.append(operator)
    model.operatorCodes.append(code)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = folder / "mixed_edgetpu.tflite"
    path.write_bytes(bytes(builder.Output()))
    return path


def test_in_a_real_interpreter_the_librarys_c_interface_is_driven_right() -> None:
    """libedgetpu's C interface and the vendor's own Delegate and Interpreter, with a device that only computes."""
    with worker_with("libedgetpu.so.1", "-DEDGE_TPU", FAKE_DEVICES="pu") as worker:
        (info,) = worker.call("probe", runtimes=["edgetpu"])["runtimes"]
        assert info["available"]
        assert info["version"].startswith("14 (")
        reply = worker.load(COMPILED, "edgetpu", "tflite", options={"device": "usb", "performance": "Low"})
        described, spec = reply["describe"], reply["spec"]
        assert described["effective"] == {
            "device": "usb", "device_path": "/sys/bus/usb/devices/2-1", "ops": "1/1", "performance": "Low",
            "precision": "int8", "threads": "1",
        }  # fmt: skip
        assert (spec["inputs"][0]["scale"], spec["inputs"][0]["zero_point"]) == (0.0078125, 128)
        assert (spec["outputs"][0]["scale"], spec["outputs"][0]["zero_point"]) == (0.00390625, 0)
        first, second = (next(iter(worker.infer(inputs_for(spec, seed=seed)).values())) for seed in (1, 2))
        assert first.dtype == np.uint8
        assert not np.array_equal(first, second)
        worker.benchmark(scenario="throughput", in_flight=3, duration_ns=20_000_000)
        worker.call("unload")  # the fake aborts if its interpreters are still there
        assert load(worker)["effective"]["device"] == "pci:0"  # PCIe first, as the vendor chooses
        worker.call("close")
        assert worker.process.wait(30) == 0
        log = worker.stderr_path.read_text()
    assert "device=usb:0" in log
    assert "Performance=Low" in log
    assert "Exception ignored" not in log


def test_operators_left_to_the_cpu_are_told(tmp_path: Path) -> None:
    path = mixed_model(tmp_path)
    with worker_with("libedgetpu.so.1", "-DEDGE_TPU") as worker:
        described = load(worker, path)
        assert described["effective"]["ops"] == "1/2"
        (sentence,) = described["fallbacks"]
        assert "1 of the 2 operators of this model were not compiled for it" in sentence
        spec = worker.call("describe")["spec"]
        (scores,) = worker.infer(inputs_for(spec)).values()
        assert scores.sum() > 0


@pytest.mark.parametrize(
    ("flags", "options", "effective", "fallbacks"),
    [
        (("-DEDGE_TPU", "-DTHROTTLED"), {}, "High", 0),
        (("-DEDGE_TPU", "-DTHROTTLED"), {"performance": "Max"}, "High", 1),
        (("-DEDGE_TPU", "-DTHROTTLED"), {"performance": "Medium"}, "Medium", 0),
        (("-DEDGE_TPU",), {"performance": "Max"}, "Max", 0),
    ],
)
def test_the_throttled_build_is_known(
    flags: tuple[str, ...], options: dict[str, str], effective: str, fallbacks: int
) -> None:
    """It turns Max into High on USB without a word."""
    with worker_with("libedgetpu.so.1", *flags) as worker:
        described = load(worker, COMPILED, **options)
        assert described["effective"]["performance"] == effective
        assert len(described["fallbacks"]) == fallbacks


def test_a_delegate_that_refuses_leaves_no_traceback() -> None:
    with worker_with("libedgetpu.so.1", "-DEDGE_TPU", FAKE_REFUSES="1") as worker:
        kind, message = refusal(worker)
        log = worker.stderr_path.read_text()
    assert kind == "RuntimeUnavailable"
    assert "does not say why" in message
    assert "Exception ignored" not in log


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", ["pci:0", "usb:0", "usb:1"]), ("usb", ["usb:0", "usb:1"]), ("pci", ["pci:0"]), (":0", ["usb:0"]),
        (":1", ["pci:0"]), (":2", ["usb:1"]), ("usb:1", ["usb:1"]), ("pci:0", ["pci:0"]),
    ],
)  # fmt: skip
def test_device_choice(asked: str, found: list[str]) -> None:
    three = [Device("usb:0", "2-1"), Device("pci:0", "/dev/apex_0"), Device("usb:1", "3-2")]
    assert [device.name for device in candidates(asked, three, [])] == found


@pytest.mark.parametrize(
    "asked", ["usb:2", "pci:1", ":3", "npu", "usb:", "usb:x", ":-1", "usb0", "0", "usb,pci", "PCI"]
)
def test_impossible_devices_are_refused_with_those_there_are(asked: str) -> None:
    two = [Device("usb:0", "2-1"), Device("pci:0", "/dev/apex_0")]
    with pytest.raises(OptionInvalid, match=r"There are usb:0 \(2-1\), pci:0 \(/dev/apex_0\)\."):
        candidates(asked, two, [])
    with pytest.raises(OptionInvalid, match="not named already"):
        candidates("usb", two, [two[0]])


def test_devices_are_opened_by_index_with_their_performance(three: WorkerClient) -> None:
    """Without an index the vendor drops the performance in silence; so the runner gives one."""
    effective = load(three, performance="Low")["effective"]
    assert (effective["device"], effective["performance"]) == ("pci:0", "Low")
    assert opened(three) == ["/dev/apex_0 Performance=Low"]
    three.call("unload")
    effective = load(three, device=":0, usb:1", performance="Medium")["effective"]
    assert effective["device"] == ":0, usb:1"
    assert effective["device_path"] == "/sys/bus/usb/devices/2-1,/sys/bus/usb/devices/3-2"
    assert opened(three)[1:] == [
        "/sys/bus/usb/devices/2-1 Performance=Medium", "/sys/bus/usb/devices/3-2 Performance=Medium",
    ]  # fmt: skip
    described = three.call("describe")
    assert described["optimal_in_flight"] == 2  # slots take the devices in turn
    three.benchmark(scenario="throughput", duration_ns=20_000_000)
    three.call("unload")
    kind, message = refusal(three, performance="max")
    assert (kind, "did you mean 'Max'" in message) == ("OptionInvalid", True)
    assert refusal(three, device="usb:0,:0")[0] == "OptionInvalid"


def test_one_process_has_a_device(tmp_path: Path) -> None:
    """The second is refused in a sentence, though the vendor's error has no text; it gets the device when the first lets go."""
    devices = {"devices": BOTH[:1], "lock_folder": str(tmp_path)}
    with CASE.worker(**devices) as first, CASE.worker(**devices) as second:
        assert first.error("load", **CASE.request(COMPILED, "tflite", options={"shape.no": "1"}))
        load(first)  # the load that failed holds nothing
        kind, message = refusal(second)
        assert kind == "RuntimeUnavailable"
        for words in ("usb:0 at /sys/bus/usb/devices/2-1", "Is another process using it", "group plugdev"):
            assert words in message
        assert (first.call("unload"), load(second)["effective"]["device"])[1] == "usb:0"
        log = second.stderr_path.read_text()
    assert "Exception ignored" not in log


def test_the_next_device_is_taken_where_any_will_do() -> None:
    with CASE.worker(devices=BOTH, busy=[0, 1]) as worker:
        assert load(worker, device="")["effective"]["device"] == "usb:1"
        worker.call("unload")
        assert refusal(worker, device="usb:0")[0] == "RuntimeUnavailable"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"missing": ["libedgetpu.so.1"]}, ["cannot open shared object file", "apt install libedgetpu1-std"]),
        ({"wrong": ["libedgetpu.so.1"]}, ["undefined symbol: edgetpu_version", "a build that fits"]),
        ({"devices": []}, ["No Edge TPU is there", "1a6e:089a", "/dev/apex_*"]),
        ({"devices": [["reference", "sim"]]}, ["No Edge TPU is there"]),
    ],
)
def test_show_tells_what_is_missing(settings: dict[str, Any], words: list[str]) -> None:
    with CASE.worker(**settings) as worker:
        (info,) = worker.call("probe", runtimes=["edgetpu"])["runtimes"]
        assert not info["available"]
        kind, message = refusal(worker)
        log = worker.stderr_path.read_text()
    assert kind == "RuntimeUnavailable"
    assert info["reason"] == message
    assert all(word in message for word in words)
    assert log == ""


def test_files_that_are_not_for_it_are_refused(three: WorkerClient, tmp_path: Path) -> None:
    kind, message = refusal(three, PLAIN)
    assert kind == "ModelInvalid"
    assert "edgetpu_compiler model.tflite" in message
    assert str(PLAIN) in message
    error = three.error("load", **CASE.request(COMPILED, "onnx"))
    assert error.kind == "FormatUnsupported"
    assert "edgetpu_compiler model.tflite" in error.message


def test_its_failures_have_a_sentence(tmp_path: Path) -> None:
    with CASE.worker(fault="raise", at="load") as worker:
        kind, message = refusal(worker)
        assert (kind, "Failed to prepare for TPU" in message) == ("ModelInvalid", True)
    with CASE.worker(fault="raise", at="infer", after=1) as worker:
        spec = worker.call("load", **CASE.request(*edgetpu_model(tmp_path)))["spec"]
        assert worker.infer(inputs_for(spec))
        with pytest.raises(InferenceFailed, match="USB transfer error"):
            worker.infer(inputs_for(spec))
        worker.call("unload")


def test_a_library_of_another_tensorflow_lite_kills_the_worker_alone() -> None:
    """tensorflow/tensorflow#62371, google-coral/edgetpu#821: it happens where the Interpreter takes the delegate."""
    with CASE.worker(fault="segv", at="load") as worker:
        with pytest.raises(WireClosed):
            load(worker)
        assert worker.process.wait(30) == -signal.SIGSEGV
