"""What every runtime must do, as functions of a worker and a case: for fakes and real packages, and for real hardware."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from targets import errors
from tests.targets.helpers import WorkerClient
from tests.targets.runners.cases import Case, inputs_for


def conforms(worker: WorkerClient, tmp_path: Path, case: Case) -> None:
    path, fmt = case.make(tmp_path)
    reply = worker.call("load", **case.request(path, fmt, batch=case.batch))
    spec, described = reply["spec"], reply["describe"]
    assert all(size > 0 for tensor in spec["inputs"] for size in tensor["shape"])
    batch = spec["inputs"][0]["shape"][0]
    assert batch == (case.batch or batch)
    _check_description(case, described)
    assert worker.call("describe")["describe"] == described
    assert reply["memory"]["rss_bytes"] > 0
    assert reply["optimal_in_flight"] >= 1

    inputs = inputs_for(spec)
    outputs = worker.infer(inputs)
    assert [(name, array.dtype.name, list(array.shape)) for name, array in outputs.items()] == [
        (tensor["name"], tensor["dtype"], tensor["shape"]) for tensor in spec["outputs"]
    ]
    again = worker.infer(inputs)
    other = worker.infer(inputs_for(spec, seed=6))
    for name, array in outputs.items():
        np.testing.assert_array_equal(again[name], array)
        assert not np.array_equal(other[name], array)  # outputs depend on inputs

    _check_benchmark(worker, inputs, batch)
    for name, array in outputs.items():
        np.testing.assert_array_equal(worker.infer(inputs)[name], array)  # the benchmark left nothing behind

    worker.call("unload")
    assert worker.error("describe").kind == "NotLoaded"
    worker.call("load", **case.request(path, fmt))
    worker.call("close")
    assert worker.process.wait(30) == 0


def _check_description(case: Case, described: dict[str, Any]) -> None:
    assert described["runtime"] == case.runtime
    assert described["version"]
    asked = {} if case.batch is None else {"batch": str(case.batch)}
    assert described["requested"] == {**case.options, **asked}
    assert described["effective"]["precision"] == case.precision
    assert described["effective"]["device"].lower() == case.device or case.device is None
    assert case.effective.items() <= described["effective"].items()
    assert described["fallbacks"] == []


def _check_benchmark(worker: WorkerClient, inputs: dict[str, Any], batch: int) -> None:
    latency, starts, ends = worker.benchmark(duration_ns=30_000_000, min_count=5, inputs=worker.place(inputs))
    assert latency["requests"] >= 5
    assert latency["batch"] == batch
    assert latency["outputs_finite"] in (True, None)  # None: integers
    assert (starts[1:] >= ends[:-1]).all()
    device_ns = latency["device_time_ns"]
    assert device_ns is None or 0 < device_ns <= max(ends - starts) + 1_000_000
    flying, starts, ends = worker.benchmark(
        scenario="throughput", in_flight=3, duration_ns=30_000_000, min_count=6
    )
    assert flying["in_flight"] == 3
    assert (ends > starts).all()


def keeps_wrong_inputs_from_the_runtime(worker: WorkerClient, tmp_path: Path, case: Case) -> None:
    path, fmt = case.make(tmp_path)
    spec = worker.call("load", **case.request(path, fmt))["spec"]
    good = inputs_for(spec)
    (name, array) = next(iter(good.items()))
    for wrong, field in (
        ({name + "s": array}, "name"),
        ({name: array.astype("float64")}, "dtype"),
        ({name: np.concatenate([array, array], axis=-1)}, "shape"),
        ({name: array[..., :-1].copy()}, "shape"),
    ):
        with pytest.raises(errors.InputInvalid) as caught:
            worker.infer(wrong)
        assert caught.value.details["field"] == field
    assert worker.infer(good)


def calls_broken_files_invalid(worker: WorkerClient, tmp_path: Path, case: Case) -> None:
    path, fmt = case.make(tmp_path)
    whole = path.read_bytes()
    bad = tmp_path / "bad"
    for content in (b"", b"hello world " * 40, whole[: len(whole) // 2], whole[:40], bytes(len(whole))):
        bad.write_bytes(content)
        error = worker.error("load", **case.request(bad, fmt))
        assert error.kind == "ModelInvalid", (content[:20], error)
        assert "\n" not in error.message
        assert str(bad) in error.message
    worker.call("load", **case.request(path, fmt))


def survives_damage_anywhere(worker: WorkerClient, tmp_path: Path, case: Case) -> None:
    """Bytes turned over in the middle: the load succeeds (weights) or is refused, and the worker goes on."""
    path, fmt = case.make(tmp_path)
    whole = path.read_bytes()
    bad = tmp_path / "bad"
    for at in np.linspace(0, len(whole) - 9, 25).astype(int):
        bad.write_bytes(whole[:at] + bytes(b ^ 0x5A for b in whole[at : at + 8]) + whole[at + 8 :])
        try:
            worker.call("load", **case.request(bad, fmt))
            worker.call("unload")
        except (errors.ModelInvalid, errors.OptionInvalid, errors.WireClosed) as error:
            if isinstance(error, errors.WireClosed):
                pytest.skip(f"{case.runtime} dies on a damaged file: that is what the worker is for")


def refuses_wrong_options(worker: WorkerClient, tmp_path: Path, case: Case) -> None:
    path, fmt = case.make(tmp_path)
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"options": {"thread": "1"}}, "OptionInvalid", "did you mean 'threads'"),
        ({"options": {"in_flight": "many"}}, "OptionInvalid", "whole number"),
        ({"options": {"scenario": "both"}}, "OptionInvalid", "latency, throughput"),
        ({"options": {"shape.nope": "1"}}, "OptionInvalid", "names no input"),
        ({"format": "pickle"}, "FormatUnsupported", "It takes"),
    ]
    if case.bad_device is not None:
        wrong.append(({"options": {"device": case.bad_device[0]}}, "OptionInvalid", case.bad_device[1]))
    if case.refused is not None:
        wrong.append(({"precision": case.refused[0]}, "PrecisionUnsupported", case.refused[1]))
    for change, kind, message in wrong:
        error = worker.error("load", **case.request(path, fmt, **change))
        assert error.kind == kind, (change, error)
        assert message.lower() in error.message.lower()
    reply = worker.call(
        "load", **case.request(path, fmt, precision=case.precision, options={"in_flight": "5"})
    )
    assert reply["optimal_in_flight"] == 5
    assert reply["describe"]["effective"]["precision"] == case.precision
    assert reply["describe"]["requested"] == {
        **case.options, "precision": case.precision, "in_flight": "5",
    }  # fmt: skip


def dies_alone(tmp_path: Path, case: Case) -> None:
    """What no try can catch ends the wire, with the signal for the daemon to tell."""
    path, fmt = case.make(tmp_path)
    for fault, code in (("segv", -signal.SIGSEGV), ("abort", -signal.SIGABRT), ("exit", 17)):
        with case.worker(fault=fault, at="infer", after=1) as worker:
            spec = worker.call("load", **case.request(path, fmt))["spec"]
            assert worker.infer(inputs_for(spec))
            with pytest.raises(errors.WireClosed):
                worker.infer(inputs_for(spec))
            assert worker.process.wait(30) == code


Check = Callable[[WorkerClient, Path, Case], None]
CHECKS: list[tuple[str, Check]] = [
    ("conforms", conforms),
    ("keeps wrong inputs from the runtime", keeps_wrong_inputs_from_the_runtime),
    ("calls broken files invalid", calls_broken_files_invalid),
    ("refuses wrong options", refuses_wrong_options),
]
"""What a single worker can be asked."""
