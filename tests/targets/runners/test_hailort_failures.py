"""How HailoRT fails, and what is said: versions that do not fit, busy devices, foreign files, errors in the queue; on a fake."""

import signal
import subprocess
from pathlib import Path

import pytest

from targets import errors
from targets.formats import hef_file
from targets.runners.parts.hailort.errors import status_of, translate
from tests.targets.helpers import WorkerClient
from tests.targets.interpreters import oldest
from tests.targets.runners.cases import inputs_for
from tests.targets.runners.hailo_case import CASE, load, refusal, run_once
from tests.targets.runners.hef_models import network, pack, write


def test_a_busy_device_a_missing_one_and_its_driver_are_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path)
    with CASE.worker(held=["0000:01:00.0"]) as worker:
        error = refusal(worker, path)
        assert error.kind == "RuntimeUnavailable"
        assert "another process holds it" in error.message
        assert error.details["status"] == 74
        assert error.details["retry"] is True
    with CASE.worker(devices=[]) as worker:
        (info,) = worker.call("probe", runtimes=["hailort"])["runtimes"]
        assert not info["available"]
        assert "finds no device" in info["reason"]
        assert "hailortcli scan" in info["reason"]
    with CASE.worker(fault="status", status=64, at="scan") as worker:
        (info,) = worker.call("probe", runtimes=["hailort"])["runtimes"]
        assert "the driver is not loaded" in info["reason"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("version", ["does not match", "install one wheel"]),
        ("library", ["libhailort.so.4.23.0", "install the package hailort"]),
        ("missing_lib", ["_pyhailort library", "another Python or machine"]),
    ],
)
def test_versions_that_do_not_fit_are_one_sentence(fault: str, words: list[str]) -> None:
    with CASE.worker(fault=fault, at="import") as worker:
        (info,) = worker.call("probe", runtimes=["hailort"])["runtimes"]
    assert not info["available"]
    assert all(word in info["reason"] for word in words)
    assert "\n" not in info["reason"]


def test_a_missing_package_says_what_to_install() -> None:
    with WorkerClient(interpreter=oldest()) as worker:
        (info,) = worker.call("probe", runtimes=["hailort"])["runtimes"]
    assert "developer zone" in info["reason"]


def vendor_error(name: str, text: str) -> Exception:
    return type(name, (Exception,), {})(text)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (3, errors.OutOfMemory, "memory"),
        (16, errors.RuntimeUnavailable, "same version"),
        (64, errors.RuntimeUnavailable, "driver is not loaded"),
        (73, errors.RuntimeUnavailable, "another process"),
        (75, errors.RuntimeUnavailable, "does not drive this chip"),
        (76, errors.RuntimeUnavailable, "same version"),
        (77, errors.RuntimeUnavailable, "restart"),
        (78, errors.RuntimeUnavailable, "same version"),
        (85, errors.RuntimeUnavailable, "same version"),
        (86, errors.RuntimeUnavailable, "same version"),
        (87, errors.RuntimeUnavailable, "reset the device"),
        (91, errors.ModelInvalid, "cut short"),
        (92, errors.ModelInvalid, "another version"),
        (97, errors.RuntimeUnavailable, "another process"),
        (11, errors.OptionInvalid, "(HAILO_SOMETHING)"),
    ],
)
def test_status_numbers_become_sentences(status: int, kind: type[Exception], words: str) -> None:
    for error in (
        vendor_error("HailoRTException", f"libhailort failed with error: {status} (HAILO_SOMETHING)"),
        vendor_error("HailoRTStatusException", str(status)),
    ):
        assert status_of(error) == status
        found = translate(error, "do it", errors.OptionInvalid)
        assert type(found) is kind
        if status != 11 or "libhailort" in str(error):
            assert words in found.message
        assert found.details["retry"] is (status in (73, 74, 97))


def test_errors_whose_class_is_the_status(tmp_path: Path) -> None:
    error = vendor_error("HailoRTDriverOperationFailedException", "Failure in hailort driver ioctl.")
    assert "reset the device" in translate(error, "run", errors.InferenceFailed).message
    assert status_of(vendor_error("ValueError", "no number")) is None


def test_a_hef_of_another_chip_names_both(tmp_path: Path) -> None:
    """And the device is free again after each refused load."""
    good = write(tmp_path)
    other = tmp_path / "other.hef"
    for architecture, name in (("HAILO15M", "HAILO15M"), ("HAILO10H", "HAILO15H or HAILO10H")):
        other.write_bytes(pack(network(architecture=architecture)))
        assert hef_file.read(str(other)).architecture == name
        with CASE.worker() as worker:
            error = refusal(worker, other)
            assert error.kind == "ModelInvalid"
            assert f"compiled for {name}, but this device is a HAILO8" in error.message
            assert error.details["status"] == 93
            assert run_once(worker, good)
    light = tmp_path / "light.hef"
    light.write_bytes(pack(network(architecture="HAILO8L")))
    with CASE.worker() as worker:  # slower there, but it runs
        assert load(worker, light)["describe"]["effective"]["hef_architecture"] == "HAILO8L"


def test_what_fails_in_the_callback_reaches_the_caller(tmp_path: Path) -> None:
    """job.wait() ends well even then; and an error shuts HailoRT's pipeline for all that follow."""
    path = write(tmp_path)
    with CASE.worker(fault="status", status=62, at="callback", after=2) as worker:
        inputs = inputs_for(load(worker, path)["spec"])
        assert worker.infer(inputs)
        assert worker.infer(inputs)
        with pytest.raises(errors.InferenceFailed, match=r"connection to the device is closed \(status 62\)"):
            worker.infer(inputs)
        with pytest.raises(
            errors.InferenceFailed, match=r"shut down by an earlier error .* load the model again"
        ):
            worker.infer(inputs)
        worker.call("unload")
        assert load(worker, path)  # and the device is free
    with CASE.worker(fault="status", status=62, at="callback", after=8) as worker:
        load(worker, path)
        with pytest.raises(errors.InferenceFailed, match="status"):
            worker.benchmark(scenario="throughput", in_flight=4, duration_ns=10**9, min_count=100)
        worker.call("unload")


@pytest.mark.parametrize("version", ["4.17", "4.23"])
def test_an_inference_that_does_not_end_fails_after_timeout_ms(tmp_path: Path, version: str) -> None:
    with CASE.worker(version=version, fault="timeout") as worker:
        inputs = inputs_for(load(worker, write(tmp_path), options={"timeout_ms": "50"})["spec"])
        with pytest.raises(
            errors.InferenceFailed, match=r"did not answer in time .* raise the option timeout_ms"
        ):
            worker.infer(inputs)
        worker.call("unload")


def test_a_reset_is_asked_for_where_the_driver_failed(tmp_path: Path) -> None:
    with CASE.worker(fault="status", status=36, at="load") as worker:
        error = refusal(worker, write(tmp_path))
        assert error.kind == "RuntimeUnavailable"
        assert "reset the device" in error.message
    with CASE.worker(fault="status", status=87, at="close") as worker:
        load(worker, write(tmp_path))
        assert "give back the device" in worker.error("unload").message


VENDOR_CHECKS = """
import os, sys
import numpy as np
import hailo_platform as h
from hailo_platform.pyhailort import pyhailort as p

def fails(kind, call, *args, **named):
    try:
        call(*args, **named)
    except kind as error:
        return str(error)
    raise AssertionError("it does not fail")

vd = h.VDevice()
assert "74 (HAILO_OUT_OF_PHYSICAL_DEVICES)" in fails(h.HailoRTException, h.VDevice)
pid = os.fork()
if pid == 0:
    os._exit(7 if "process" in fails(h.HailoRTException, vd.create_infer_model, sys.argv[1]) else 8)
assert os.waitpid(pid, 0)[1] >> 8 == 7
im = vd.create_infer_model(sys.argv[1])
assert im.input().shape == [6, 6, 3]
fails(p.HailoRTNotFoundException, im.input, "nope")
cim = im.configure()
x = np.zeros((6, 6, 3), "uint8")
b = cim.create_bindings()
fails(h.HailoRTException, b.input().set_buffer, np.zeros((6, 6, 6), "uint8")[..., ::2])
fails(ValueError, b.input().set_buffer, np.frombuffer(bytes(108), "uint8"))
b.input().set_buffer(np.zeros(5, "uint8"))
b.output().set_buffer(np.zeros(10, "uint8"))
fails(p.HailoRTInvalidOperationException, cim.run_async, [b])
b.input().set_buffer(x)
fails(p.HailoRTNetworkGroupNotActivatedException, cim.run_async, [b])
fails(p.HailoRTInvalidOperationException, cim.set_scheduler_priority, 3)
cim.activate()
size = cim.get_async_queue_size()
fails(p.HailoRTTimeout, cim.wait_for_async_ready, timeout_ms=10, frames_count=size + 1)
for _ in range(size):
    cim.run_async([b])
assert "82 (HAILO_QUEUE_IS_FULL)" in fails(h.HailoRTException, cim.run_async, [b])
fails(AttributeError, getattr, h, "InferModel")
sys.stderr.write("all as the vendor\\n")
sys.stderr.flush()
vd.release()
"""


def test_the_fake_fails_as_the_vendor_does(tmp_path: Path) -> None:
    """Busy, another process, wrong buffers, not activated, queue overflow; and released while in use: SIGSEGV."""
    env = CASE.environment(latency_ms=3600000)
    done = subprocess.run(
        [oldest(), "-c", VENDOR_CHECKS, str(write(tmp_path))],
        env={**env, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr.endswith("all as the vendor\n"), done.stderr
    assert done.returncode == -signal.SIGSEGV
