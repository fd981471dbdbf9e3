"""The plan: what is refused before anything starts, and the cross product."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from farm.v1.board_pb2 import RuntimeInfo

from hostctl.errors import UsageError
from hostctl.session.modelchoice import ModelChoice
from hostctl.session.plan import Plan

ONNX = ModelChoice(Path("net.onnx"), "onnx")
TFLITE = ModelChoice(Path("net.tflite"), "tflite")
RUNTIMES = (
    RuntimeInfo(
        name="litert",
        available=False,
        reason="Install it with 'pip install ai-edge-litert'.",
        formats=["tflite"],
    ),
    RuntimeInfo(name="onnxruntime", available=True, formats=["onnx"]),
    RuntimeInfo(name="openvino", available=True, formats=["onnx", "tflite", "openvino"]),
)


def test_cross_product_in_the_order_given() -> None:
    plan = Plan(
        models=(ONNX,),
        runtimes=("openvino", "onnxruntime"),
        batches=(1, 8),
        scenarios=("latency", "throughput"),
    )
    found = [(c.runtime, c.batch, c.scenario) for c in plan.configurations(RUNTIMES)]
    assert found[:4] == [
        ("openvino", 1, "latency"),
        ("openvino", 1, "throughput"),
        ("openvino", 8, "latency"),
        ("openvino", 8, "throughput"),
    ]
    assert [runtime for runtime, _, _ in found[4:]] == ["onnxruntime"] * 4


def test_every_model_gets_its_own_default_runtime() -> None:
    plan = Plan(models=(ONNX, TFLITE))
    assert [c.runtime for c in plan.configurations(RUNTIMES)] == ["onnxruntime", "openvino"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"models": ()}, "--model FILE"),
        ({"duration_s": 0.0}, "--duration"),
        ({"duration_s": 1e6}, "--duration"),
        ({"warmup_s": -1.0}, "--warmup"),
        ({"idle_s": -0.1}, "--idle"),
        ({"duration_s": float("nan")}, "--duration"),
        ({"scenarios": ("offline",)}, "latency, throughput"),
        ({"scenarios": ()}, "--scenario"),
        ({"precisions": ("fp16",)}, "float16"),
        ({"in_flight": 4}, "throughput"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object], words: str) -> None:
    plan = Plan(models=(ONNX,))
    with pytest.raises(UsageError, match=words):
        replace(plan, **wrong)  # type: ignore[arg-type]


def test_options_reach_the_runtime_by_their_names() -> None:
    plan = Plan(
        models=(ONNX,),
        scenarios=("latency", "throughput"),
        threads=2,
        streams=3,
        in_flight=4,
        options={"provider": "CPUExecutionProvider"},
        shapes={"image": "1,3,224,224"},
    )
    latency, throughput = (plan.load_options(c) for c in plan.configurations(RUNTIMES))
    assert latency == {
        "threads": "2",
        "streams": "3",
        "scenario": "latency",
        "shape.image": "1,3,224,224",
        "provider": "CPUExecutionProvider",
    }
    assert throughput == {**latency, "scenario": "throughput", "in_flight": "4"}
