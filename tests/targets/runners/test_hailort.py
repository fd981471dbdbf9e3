"""HailoRT in three versions, on a fake: values, formats, devices, scheduler, and what is in flight."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from targets import errors
from tests.targets.helpers import Array
from tests.targets.runners.cases import inputs_for
from tests.targets.runners.hailo_case import CASE, load, refusal, run_once
from tests.targets.runners.hef_models import network, pack, stream, write

TWO = [{"id": "0000:01:00.0"}, {"id": "0000:02:00.0"}]
DETECTIONS = stream(
    "net/nms", [0], order="HAILO_NMS_BY_CLASS", type="FLOAT32", nms={"classes": 3, "max_bboxes": 4}
)


def expected(model: dict[str, Any], frames: dict[str, Array]) -> dict[str, Array]:
    """What the fake's chip gives for quantised frames: each output is a fixed linear map of all inputs, quantised."""
    real = [
        (frames[one["name"]].astype("float64") - one["zero_point"]) * one["scale"] for one in model["inputs"]
    ]
    x = np.concatenate([one.reshape(len(one), -1) for one in real], axis=1)
    found = {}
    for one in model["outputs"]:
        shape = (int(np.prod(one["shape"])), x.shape[1])
        matrix = np.random.RandomState(zlib.crc32(one["name"].encode())).standard_normal(shape)
        y = (x @ (matrix / np.sqrt(x.shape[1])).T).reshape(-1, *one["shape"])
        levels = np.round(y / np.asarray(one["scale"])) + one["zero_point"]
        found[one["name"]] = np.clip(levels, 0, 65535 if one["type"] == "UINT16" else 255)
    return found


def test_every_frame_of_a_request_is_computed_and_specs_carry_its_scales(tmp_path: Path) -> None:
    model = network(
        inputs=[
            stream("net/a", [4, 4, 3], scale=1 / 255),
            stream("net/b", [2, 8], order="NHW", scale=0.5, zero_point=7),
        ],
        outputs=[
            stream("net/wide", [5], order="NC", type="UINT16", scale=0.001, zero_point=30000),
            stream("net/map", [2, 2, 3], scale=[0.05, 0.06, 0.07], zero_point=128),
        ],
    )
    path = write(tmp_path, **model)
    with CASE.worker() as worker:
        reply = load(worker, path, batch=3)
        assert reply["spec"] == {
            "inputs": [
                {"name": "net/a", "dtype": "uint8", "shape": [3, 4, 4, 3], "scale": 1 / 255, "zero_point": 0},
                {"name": "net/b", "dtype": "uint8", "shape": [3, 2, 8], "scale": 0.5, "zero_point": 7},
            ],
            "outputs": [
                {
                    "name": "net/wide",
                    "dtype": "uint16",
                    "shape": [3, 5],
                    "scale": 0.001,
                    "zero_point": 30000,
                },
                {
                    "name": "net/map",
                    "dtype": "uint8",
                    "shape": [3, 2, 2, 3],
                    "scale": None,
                    "zero_point": None,
                },
            ],
        }
        effective = reply["describe"]["effective"]
        assert effective["per_channel_scales"] == "net/map"
        inputs = inputs_for(reply["spec"])
        for name, wanted in expected(model, inputs).items():
            np.testing.assert_array_equal(worker.infer(inputs)[name], wanted)
        worker.call("unload")
        one_frame = load(worker, path)["spec"]["inputs"][0]["shape"]
        assert one_frame == [1, 4, 4, 3]
        worker.call("unload")
        shape = {"shape.net/a": "2,4,4,3"}
        error = refusal(worker, path, options=shape)
        assert "same batch" in error.message
        shape["shape.net/b"] = "2,2,8"
        assert load(worker, path, options=shape)["spec"]["outputs"][0]["shape"] == [2, 5]


def test_conversion_on_the_host_is_told_and_refused_where_it_cannot_be_avoided(tmp_path: Path) -> None:
    plain = write(tmp_path)
    softmax = tmp_path / "softmax.hef"
    softmax.write_bytes(
        pack(network(outputs=[stream("net/softmax", [10], order="NC", type="FLOAT32", scale=1.0)]))
    )
    with CASE.worker() as worker:
        native = run_once(worker, plain)["net/fc1"]
        worker.call("unload")
        reply = load(worker, plain, options={"io": "float32"})
        assert {one["dtype"] for one in reply["spec"]["inputs"] + reply["spec"]["outputs"]} == {"float32"}
        assert reply["spec"]["outputs"][0]["scale"] is None
        described = reply["describe"]
        assert described["effective"]["io"] == "float32"
        assert described["effective"]["host_conversion"] == "net/input_layer1,net/fc1"
        assert described["fallbacks"] == []
        quantised = inputs_for(load_spec_of_uint8())
        as_float = {name: (array / 255).astype("float32") for name, array in quantised.items()}
        found = worker.infer(as_float)["net/fc1"]
        np.testing.assert_allclose(found, (native.astype("float32") - 128) * 0.02, atol=1e-6)
        worker.call("unload")

        described = load(worker, softmax)["describe"]
        (fallback,) = described["fallbacks"]
        assert fallback.startswith("No conversion requested, but HailoRT makes net/softmax in float32")
        assert described["effective"]["io"] == "mixed"
        worker.call("unload")
        assert load(worker, softmax, options={"io": "file"})["describe"]["fallbacks"] == []
        worker.call("unload")
        error = refusal(worker, softmax, options={"io": "native"})
        assert error.kind == "OptionInvalid"
        assert "net/softmax" in error.message
        assert load(worker, plain, options={"io": "native"})["describe"]["effective"]["io"] == "native"


def load_spec_of_uint8() -> dict[str, Any]:
    return {"inputs": [{"name": "net/input_layer1", "dtype": "uint8", "shape": [1, 6, 6, 3]}]}


@pytest.mark.parametrize("version", ["4.17", "4.23"])
def test_detections_by_class_come_dense_and_others_are_refused(tmp_path: Path, version: str) -> None:
    path = write(tmp_path, outputs=[DETECTIONS])
    by_score = tmp_path / "score.hef"
    by_score.write_bytes(pack(network(outputs=[{**DETECTIONS, "order": "HAILO_NMS_BY_SCORE"}])))
    with CASE.worker(version=version) as worker:
        reply = load(worker, path, batch=2, options={"io": "file"})
        assert reply["spec"]["outputs"] == [
            {"name": "net/nms", "dtype": "float32", "shape": [2, 3, 5, 4], "scale": None, "zero_point": None}
        ]
        found = worker.infer(inputs_for(reply["spec"]))["net/nms"]
        assert found.shape == (2, 3, 5, 4)
        scores = found[:, :, 4, :]
        counts = (scores > 0).sum(axis=-1)
        assert counts.max() > 0
        for cls in range(3):  # filled from the front, then empty boxes
            assert (np.sort(scores[:, cls] > 0, axis=-1)[:, ::-1] == (scores[:, cls] > 0)).all()
        worker.call("unload")
        error = refusal(worker, by_score)
        assert error.kind == "ModelInvalid"
        assert "HAILO_NMS_BY_SCORE" in error.message
        assert run_once(worker, write(tmp_path))  # the refused one gave the device back


def test_the_device_says_who_it_is(tmp_path: Path) -> None:
    with CASE.worker() as worker:
        described = load(worker, write(tmp_path))["describe"]
    assert described["version"] == "4.23.0"
    effective = described["effective"]
    assert effective["architecture"] == "HAILO8"
    assert effective["serial"] == "HLDDLBB234500054"
    assert effective["product"] == "HAILO-8 M.2"
    assert effective["firmware"] == "4.23.0"
    assert effective["core_clock_mhz"] == "400"
    assert effective["hef_architecture"] == "HAILO8"
    assert effective["hef_compiler"] == "3.31.0"
    assert effective["scheduler"] == "on"
    with CASE.worker(version="5.2", devices=[{"id": "0000:01:00.0", "architecture": "HAILO12L"}]) as worker:
        # 5.2 raises ValueError when a Hailo-12L is asked who it is; the fake's table has no HEF for it either.
        error = refusal(worker, write(tmp_path))
    assert "HAILO8" in error.message


def test_several_devices_are_named_checked_and_told(tmp_path: Path) -> None:
    path = write(tmp_path)
    with CASE.worker(devices=TWO) as worker:
        assert load(worker, path)["describe"]["effective"]["device"] == "0000:01:00.0"
        worker.call("unload")
        for device in ("0000:02:00.0", "0000:02:00.0,0000:01:00.0"):
            effective = load(worker, path, options={"device": device})["describe"]["effective"]
            assert effective["device"] == device
            assert (
                effective["scheduler"] == "on"
            )  # the vendor's own argument device_ids would have dropped it
            worker.call("unload")
        twice = refusal(worker, path, options={"device": "0000:01:00.0,0000:01:00.0"})
        assert "twice" in twice.message
        near = refusal(worker, path, options={"device": "0000:01:00.1"})
        assert "did you mean '0000:01:00.0'" in near.message
    with CASE.worker(devices=TWO, version="4.17") as worker:
        effective = load(worker, path, options={"device": "0000:01:00.0,0000:02:00.0"})["describe"][
            "effective"
        ]
        assert effective["device"] == "0000:01:00.0,0000:02:00.0"


def test_version_5_on_its_own_chip(tmp_path: Path) -> None:
    with CASE.worker(version="5.2") as worker:
        reply = load(worker, write(tmp_path, architecture="HAILO10H"), batch=4)
        assert reply["describe"]["version"] == "5.2.0"
        assert reply["describe"]["effective"]["architecture"] == "HAILO10H"
        assert worker.infer(inputs_for(reply["spec"]))["net/fc1"].shape == (4, 10)
        worker.call("unload")
        assert worker.call("hello")["pid"] == worker.process.pid


def test_the_scheduler_and_its_settings(tmp_path: Path) -> None:
    path = write(tmp_path)
    with CASE.worker() as worker:
        effective = load(worker, path, options={"scheduler": "off"})["describe"]["effective"]
        assert effective["scheduler"] == "off"
        assert worker.infer(inputs_for(load_spec_of_uint8()))  # was activated, else status 69
        worker.call("unload")
        settings = {"scheduler_timeout_ms": "10", "scheduler_threshold": "4", "scheduler_priority": "20"}
        effective = load(worker, path, options={**settings, "power_mode": "ultra_performance"})["describe"][
            "effective"
        ]
        assert settings.items() <= effective.items()
        assert effective["power_mode"] == "ultra_performance"
        worker.call("unload")
        for wrong, word in (
            ({"scheduler": "off", "scheduler_threshold": "2"}, "needs scheduler=on"),
            ({"scheduler_priority": "32"}, "0 to 31"),
            ({"scheduler": "maybe"}, "on, off"),
            ({"power_mode": "low"}, "performance"),
            ({"threads": "4"}, "no option threads"),
            ({"io": "int8"}, "native"),
            ({"timeout_ms": "0"}, "from 1 up"),
        ):
            error = refusal(worker, path, options=wrong)
            assert error.kind == "OptionInvalid"
            assert word in error.message


def test_the_queue_bounds_what_is_in_flight(tmp_path: Path) -> None:
    path = write(tmp_path)
    with CASE.worker(queue=6, latency_ms=2) as worker:
        reply = load(worker, path, batch=2)
        assert reply["optimal_in_flight"] == 3
        assert reply["describe"]["effective"]["queue_frames"] == "6"
        flying, starts, _ = worker.benchmark(
            scenario="throughput", in_flight=3, duration_ns=30_000_000, min_count=30
        )
        assert flying["in_flight"] == 3
        assert len(starts) == flying["requests"] >= 30
        with pytest.raises(errors.OptionInvalid, match="queue of this model holds 6 frames"):
            worker.benchmark(scenario="throughput", in_flight=4, duration_ns=1)
        worker.call("unload")
        assert "holds 6 frames" in refusal(worker, path, batch=7).message
        assert "too many" in refusal(worker, path, options={"in_flight": "7"}).message
        assert load(worker, path, batch=6, options={"in_flight": "1"})["optimal_in_flight"] == 1


def test_before_4_18_there_are_only_vstreams(tmp_path: Path) -> None:
    path = write(tmp_path)
    with CASE.worker() as worker:
        newer = run_once(worker, path, batch=2)
    with CASE.worker(version="4.17") as worker:
        reply = load(worker, path, batch=2)
        effective = reply["describe"]["effective"]
        assert reply["describe"]["version"] == "4.17.1"
        assert effective["api"] == "vstreams"
        assert effective["scheduler"] == "off"
        assert reply["optimal_in_flight"] == 1
        inputs = inputs_for(reply["spec"])
        np.testing.assert_array_equal(worker.infer(inputs)["net/fc1"], newer["net/fc1"])
        result, _, _ = worker.benchmark(duration_ns=10_000_000, min_count=3)
        assert result["device_time_ns"] > 0
        with pytest.raises(errors.OptionInvalid, match="no asynchronous inference"):
            worker.benchmark(scenario="throughput", in_flight=2, duration_ns=1)
        worker.call("unload")
        options = {"scheduler": "on", "scheduler_priority": "3", "power_mode": "performance", "io": "float32"}
        reply = load(worker, path, options=options)
        assert reply["spec"]["inputs"][0]["dtype"] == "float32"
        assert worker.infer(inputs_for(reply["spec"]))["net/fc1"].dtype == np.float32
        worker.call("unload")
        several = tmp_path / "several.hef"
        several.write_bytes(pack(network(groups=2)))
        assert "2 network groups" in refusal(worker, several).message
        assert run_once(worker, path)
