"""LiteRT's delegates: in a real Interpreter with a library that only computes; every wrong library and option."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.targets.helpers import MODELS, WorkerClient
from tests.targets.runners.cases import CASES, inputs_for
from tests.targets.runners.delegate_library import worker_with

TINY = MODELS / "mlperf_tiny"
RESNET = (
    TINY / "pretrainedResnet_quant.tflite"
)  # 16 operators: 9 convolutions, a dense layer, 3 additions and 3 others
FLOATS = TINY / "pretrainedResnet.tflite"
PARTS = "3,9"  # convolutions and the dense layer: four parts
EVERYTHING = ",".join(map(str, range(130)))
CASE = next(case for case in CASES if case.label == "vx")

pytestmark = pytest.mark.skipif(not TINY.is_dir(), reason=f"needs the trained models at {MODELS}")


@pytest.fixture
def plain() -> Iterator[WorkerClient]:
    """A worker without any of the vendors' libraries."""
    with worker_with("libunused.so") as client:
        yield client


def describe(worker: WorkerClient, path: Path = RESNET, /, **options: str) -> dict[str, Any]:
    reply: dict[str, Any] = worker.load(path, "litert", "tflite", options=options)["describe"]
    return reply


def refusal(worker: WorkerClient, path: Path = RESNET, /, **options: str) -> tuple[str, str]:
    request = {"path": str(path), "runtime": "litert", "format": "tflite", "precision": None, "batch": None}
    error = worker.error("load", **request, options=options)
    assert "\n" not in error.message
    return error.kind, error.message


def test_what_the_delegate_took_is_read_back() -> None:
    with worker_with("libvx_delegate.so", FAKE_TAKES=PARTS) as worker:
        described = describe(worker, delegate="vx", delegate_options="device_id:0")
        assert described["device"] == "vx"
        effective = described["effective"]
        assert (effective["delegate"], effective["library"]) == ("vx", "libvx_delegate.so")
        assert (effective["ops"], effective["parts"]) == ("10/16", "4")
        assert effective["precision"] == "int8"
        assert described["fallbacks"] == [
            "The delegate vx was asked for, but it took 10 of the 16 operators of the main graph; the CPU runs the others."
        ]
        spec = worker.call("describe")["spec"]
        outputs = [next(iter(worker.infer(inputs_for(spec, seed=seed)).values())) for seed in (1, 1, 2)]
        np.testing.assert_array_equal(outputs[0], outputs[1])
        assert not np.array_equal(outputs[0], outputs[2])
        flying, _, _ = worker.benchmark(scenario="throughput", in_flight=2, duration_ns=20_000_000)
        assert flying["in_flight"] == 2
        worker.call("unload")  # the fake aborts if its interpreters are still there
        assert worker.load(RESNET, "litert", "tflite", options={"delegate": "vx"})["optimal_in_flight"] == 1
        worker.call("close")
        assert worker.process.wait(30) == 0
        assert "fake delegate: device_id=0" in worker.stderr_path.read_text()


def test_a_delegate_that_takes_all_is_no_fallback_and_its_path_is_known_by_its_name() -> None:
    with worker_with("libvx_delegate.so", FAKE_TAKES=EVERYTHING) as worker:
        for asked in ("vx", "libvx_delegate.so"):
            described = describe(worker, delegate=asked)
            assert (described["device"], described["fallbacks"]) == ("vx", [])
            assert described["effective"]["delegate"] == asked
            assert described["effective"]["ops"] == "16/16"
            worker.call("unload")


def test_a_delegate_that_takes_nothing_is_a_fallback_to_the_cpu() -> None:
    with worker_with("libvx_delegate.so") as worker:
        described = describe(worker, delegate="vx")
        assert described["device"] == "cpu"
        assert (described["effective"]["delegate"], described["effective"]["ops"]) == ("none", "0/16")
        (sentence,) = described["fallbacks"]
        assert sentence.startswith("The delegate vx was asked for, but it took 0 of the 16 operators")
        inputs = inputs_for(worker.call("describe")["spec"])
        (delegated,) = worker.infer(inputs).values()
        worker.call("unload")
        describe(worker)
        (own,) = worker.infer(inputs).values()
        np.testing.assert_array_equal(delegated, own)


def test_a_package_that_cannot_tell_says_unknown() -> None:
    with CASE.worker(no_details=True) as worker:
        effective = describe(worker, delegate="vx")["effective"]
        assert (effective["device"], effective["ops"], effective["parts"]) == ("vx", "unknown", "unknown")


@pytest.mark.parametrize(
    ("library", "delegate", "path", "precision", "fallback"),
    [
        (
            "libtensorflowlite_gpu_delegate.so",
            "gpu",
            RESNET,
            "float32",
            "The file holds int8, but the delegate gpu",
        ),
        ("libtensorflowlite_gpu_delegate.so", "gpu", FLOATS, "float32", None),
        ("libvx_delegate.so", "vx", FLOATS, "unknown", None),
        ("libother.so", "libother.so", RESNET, "int8", None),
    ],
)
@pytest.mark.slow
def test_the_precision_of_a_delegate(
    library: str, delegate: str, path: Path, precision: str, fallback: str | None
) -> None:
    """No delegate tells: what is known of it is said, and of floats on an NPU that is nothing."""
    with worker_with(library, FAKE_TAKES=EVERYTHING) as worker:
        described = describe(worker, path, delegate=delegate)
        assert described["device"] == delegate
        assert described["effective"]["precision"] == precision
        assert [sentence.startswith(str(fallback)) for sentence in described["fallbacks"]] == [True] * bool(
            fallback
        )


def test_what_a_delegate_compiles_is_kept_for_each_model_apart(tmp_path: Path) -> None:
    """A delegate loads whatever lies at the place it is given, be it another model's."""
    cache = str(tmp_path / "cache")
    with worker_with("libvx_delegate.so", FAKE_TAKES=EVERYTHING) as worker:
        for path, batch in ((RESNET, None), (RESNET, 1), (FLOATS, None), (RESNET, None)):
            options = {"delegate": "vx", "delegate_cache": cache}
            worker.load(path, "litert", "tflite", batch=batch, options=options)
            worker.call("unload")
        log = worker.stderr_path.read_text().splitlines()
        assert log.count("fake delegate: allowed_cache_mode=true") == 4
        places = [line.partition("cache_file_path=")[2] for line in log if "cache_file_path=" in line]
        assert len(set(places)) == 3
        assert places[0] == places[3]
        Path(
            places[0]
        ).touch()  # what a load leaves that dies in the compilation; it would be taken for a model
        describe(worker, delegate="vx", delegate_cache=cache)
        assert not Path(places[0]).exists()
    with worker_with("libethosu_delegate.so", FAKE_TAKES=EVERYTHING) as worker:
        describe(worker, delegate="ethos-u", delegate_cache=cache)
        (folder,) = (tmp_path / "cache" / "ethos-u").iterdir()
        assert f"cache_file_path={folder}" in worker.stderr_path.read_text()


def test_a_cache_for_one_part_is_refused_to_a_model_in_several(tmp_path: Path) -> None:
    with worker_with("libvx_delegate.so", FAKE_TAKES=PARTS) as worker:
        kind, message = refusal(worker, delegate="vx", delegate_cache=str(tmp_path))
        assert (kind, "in 4 parts" in message) == ("OptionInvalid", True)
        assert describe(worker, delegate="vx")["effective"]["parts"] == "4"


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"delegate": "vx"}, "RuntimeUnavailable", "The delegate libvx_delegate.so cannot be used: libvx_delegate.so: cannot"),
        ({"delegate": "ethos-u"}, "RuntimeUnavailable", "libethosu_delegate.so cannot be used"),
        ({"delegate": "gpu"}, "RuntimeUnavailable", "libtensorflowlite_gpu_delegate.so cannot be used"),
        ({"delegate": "libm.so.6"}, "RuntimeUnavailable", "it lacks tflite_plugin_create_delegate"),
        ({"delegate": "etos-u"}, "OptionInvalid", "did you mean 'ethos-u'"),
        ({"delegate": "neutron"}, "ModelInvalid", "neutron-converter --input"),
        ({"delegate": "vx", "delegate_options": "cache_path:/x"}, "OptionInvalid", "did you mean 'cache_file_path'"),
        ({"delegate": "gpu", "delegate_options": "inference_priority1:2"}, "OptionInvalid", "It takes none."),
        ({"delegate": "gpu", "delegate_cache": "/tmp"}, "OptionInvalid", "keeps nothing"),
        ({"delegate": "libx.so", "delegate_cache": "/tmp"}, "OptionInvalid", "keeps nothing"),
        ({"delegate": "vx", "delegate_cache": "/proc/none"}, "OptionInvalid", "/proc/none cannot be used"),
        ({"delegate_cache": "/tmp"}, "OptionInvalid", "needs the option delegate"),
        ({"device": "vx"}, "OptionInvalid", "delegate=vx"),
    ],
)  # fmt: skip
def test_refusals(plain: WorkerClient, options: dict[str, str], kind: str, words: str) -> None:
    found, message = refusal(plain, RESNET, **options)
    assert found == kind
    assert words in message
    assert plain.stderr_path.read_text() == ""  # no "Exception ignored" of a half-made Delegate


def test_a_delegate_that_refuses_is_told_in_a_sentence() -> None:
    with worker_with("libvx_delegate.so", FAKE_REFUSES="1") as worker:
        kind, message = refusal(worker, delegate="vx")
    assert kind == "RuntimeUnavailable"
    assert message.startswith(
        "The delegate libvx_delegate.so cannot be used: it refuses, and does not say why."
    )
