"""Akida: the real package in software, and a fake of it with a chip."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from targets.errors import InferenceFailed, InputInvalid, TargetsError
from tests.targets.helpers import WorkerClient
from tests.targets.interpreters import oldest
from tests.targets.runners.akida_models import dense_model, fake_model, image_model, snappy
from tests.targets.runners.cases import CASES, inputs_for

CHIP = next(case for case in CASES if case.runtime == "akida" and case.is_fake)


def chip(**settings: Any) -> WorkerClient:
    """A worker that finds one chip."""
    return WorkerClient(interpreter=oldest(), env=CHIP.environment(**settings))


@pytest.fixture
def worker() -> Iterator[WorkerClient]:
    pytest.importorskip("akida")
    with WorkerClient() as client:
        yield client


def refused(worker: WorkerClient, path: Path, options: dict[str, str]) -> TargetsError:
    return worker.error(
        "load", path=str(path), runtime="akida", format="akida", precision=None, batch=None, options=options
    )


def test_software_computes_what_the_package_computes(worker: WorkerClient, tmp_path: Path) -> None:
    model, path = image_model(), tmp_path / "m"
    model.save(str(path))
    reply = worker.load(path, "akida", "akida", batch=3, precision="int8")
    (tensor,) = reply["spec"]["inputs"]
    assert (tensor["name"], tensor["dtype"], tensor["shape"]) == ("image", "uint8", [3, 8, 8, 3])
    assert (
        reply["describe"]["effective"].items()
        >= {"device": "software", "weights": "int8:2", "precision": "int8"}.items()
    )
    assert int(reply["describe"]["effective"]["threads"]) >= 1
    inputs = inputs_for(reply["spec"])
    np.testing.assert_array_equal(worker.infer(inputs)["scores"], model.forward(inputs["image"]))
    assert worker.benchmark()[0]["device_time_ns"] is None


def test_inputs_of_few_bits_are_held_to_their_range(worker: WorkerClient, tmp_path: Path) -> None:
    model, path = dense_model(), tmp_path / "m"
    model.save(str(path))
    reply = worker.load(path, "akida", "akida")
    assert reply["spec"]["outputs"][0]["dtype"] == "int32"
    assert reply["describe"]["effective"]["weights"] == "int4:1"
    x = np.arange(16, dtype="uint8").reshape(2, 1, 1, 8)
    weights = model.layers[1].get_variable("weights").astype("int32").reshape(8, 4)
    got = worker.infer({"x": x})["y"]
    np.testing.assert_array_equal(got.reshape(2, 4), x.reshape(2, 8).astype("int32") @ weights)
    with pytest.raises(InputInvalid, match="holds 16, but this model takes values from 0 to 15"):
        worker.infer({"x": x + 1})
    worker.call("unload")
    dense_model(bits=2).save(str(path))
    worker.load(path, "akida", "akida")
    with pytest.raises(InputInvalid, match="from 0 to 3"):
        worker.infer({"x": x})


def test_what_software_cannot_do_is_refused(worker: WorkerClient, tmp_path: Path) -> None:
    path = tmp_path / "m"
    image_model().save(str(path))
    for options, words in (
        ({"device": "0"}, "no Akida device '0' here; use one of software"),
        ({"device": "AKD1000"}, "Virtual devices only map"),
        ({"threads": "2"}, "chooses its threads by itself"),
        ({"hw_only": "1"}, "is for a chip"),
        ({"clock_mhz": "300"}, "is for a chip"),
    ):
        error = refused(worker, path, options)
        assert error.kind == "OptionInvalid"
        assert words in error.message


def test_files_that_would_kill_the_vendors_reader_never_reach_it(
    worker: WorkerClient, tmp_path: Path
) -> None:
    path, bad = tmp_path / "m", tmp_path / "bad"
    dense_model().save(str(path))
    whole = path.read_bytes()
    for content, words in (
        (whole[:111], "ends inside a part"),  # SIGSEGV in akida 2.19
        (whole[:2], "ends too soon"),
        (b"\xff" * 9, "begins with no length"),
        (b"\x40\x01\x01", "refers to what is not there"),
        (b"\x0a\xf8\x01", "ends inside a tag"),
        (b"\x09\x2c" + bytes(12), "unpacks to 12 bytes instead of 9"),
        (snappy(b"no flatbuffer at all"), "Akida cannot read the model"),
    ):
        bad.write_bytes(content)
        error = refused(worker, bad, {})
        assert error.kind == "ModelInvalid", content
        assert words in error.message
        assert str(bad) in error.message
    worker.load(path, "akida", "akida")


def test_a_chip_is_used_where_there_is_one_and_told_in_full(tmp_path: Path) -> None:
    path, _ = fake_model(tmp_path)
    options = {"clock_mode": "economy", "clock_mhz": "120", "map_mode": "minimal", "hw_only": "1"}
    with chip(devices=2) as worker:
        reply = worker.load(path, "akida", "akida", options=options)
        assert reply["describe"]["effective"] == {
            "device": "0", "device_name": "PCIe/NSoC_v2/0", "precision": "int8", "weights": "int4:2",
            "clock_mode": "economy", "map_mode": "minimal", "layers": "hardware:2,software:0",
        }  # fmt: skip
        assert reply["describe"]["fallbacks"] == []
        assert reply["memory"]["device_bytes"] == 81920
        assert worker.benchmark()[0]["device_time_ns"] == 200_000  # 24000 clocks at 120 MHz
        worker.call("unload")
        assert worker.load(path, "akida", "akida", options={"device": "1"})["describe"]["device"] == "1"
        assert worker.benchmark()[0]["device_time_ns"] is None  # the rate of the clock was not told
        worker.call("unload")
        assert "use one of software, 0, 1" in refused(worker, path, {"device": "2"}).message
        software = worker.load(path, "akida", "akida", options={"device": "software"})
        assert software["describe"]["device"] == "software"


def test_layers_that_stay_in_software_are_a_fallback(tmp_path: Path) -> None:
    path, _ = fake_model(tmp_path, software=["classes"])
    with chip() as worker:
        described = worker.load(path, "akida", "akida")["describe"]
        assert described["effective"]["layers"] == "hardware:1,software:1"
        assert described["fallbacks"] == ["device=0 requested, but 1 of 2 layers run in software: classes."]
        assert described["device"] == "0"
        worker.call("unload")
        error = refused(worker, path, {"hw_only": "1"})
        assert error.kind == "ModelInvalid"
        assert "single hardware sequence" in error.message
        path, _ = fake_model(tmp_path, software=["features", "classes"])
        described = worker.load(path, "akida", "akida", options={"device": "0"})["describe"]
        assert described["device"] == "software"
        assert "2 of 2 layers run in software" in described["fallbacks"][0]


def test_a_clock_that_does_not_follow_is_told(tmp_path: Path) -> None:
    path, _ = fake_model(tmp_path)
    with chip(clock_stuck=True) as worker:
        described = worker.load(path, "akida", "akida", options={"clock_mode": "low-power"})["describe"]
        assert described["effective"]["clock_mode"] == "performance"
        assert described["fallbacks"] == ["clock_mode=low-power requested, but the chip runs in performance."]
    with chip(no_soc=True, no_clk=True) as worker:
        assert "has no clock modes" in refused(worker, path, {"clock_mode": "economy"}).message
        worker.load(path, "akida", "akida", options={"clock_mhz": "300"})
        assert worker.benchmark()[0]["device_time_ns"] is None


def test_a_driver_that_gives_up_fails_the_inference_and_no_more(tmp_path: Path) -> None:
    path, _ = fake_model(tmp_path)
    with chip(fault="timeout", after=1) as worker:
        spec = worker.load(path, "akida", "akida")["spec"]
        worker.infer(inputs_for(spec))
        with pytest.raises(InferenceFailed, match="hardware inference did not end"):
            worker.infer(inputs_for(spec))
        assert worker.call("describe")
