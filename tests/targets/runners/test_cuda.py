"""CUDA through each of its Python bindings: one interface, the same answers, one sentence for what fails; on fakes."""

import json
import os
import subprocess
from typing import Any

import pytest

from tests.targets.helpers import ROOT
from tests.targets.interpreters import oldest

FAKES = ROOT / "tests" / "fakes"
BINDINGS = {
    "new_binding": "cuda.bindings.runtime",
    "old_binding": "cuda.cudart",
    "with_cupy": "cupy.cuda.runtime",
    "with_pycuda": "pycuda.driver",
}
each_binding = pytest.mark.parametrize("binding", sorted(BINDINGS))


def answers(program: str, *folders: str, **settings: Any) -> dict[str, Any]:
    """Run a program under the oldest interpreter with these fakes; return what it printed as JSON."""
    path = os.pathsep.join(
        map(str, [ROOT, FAKES, FAKES / "cuda/shared", *(FAKES / f"cuda/{f}" for f in folders)])
    )
    done = subprocess.run(
        [oldest(), "-B", "-c", PRELUDE + program],
        env={"PATH": os.defpath, "PYTHONPATH": path, "WATTFARM_FAKE": json.dumps(settings)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


PRELUDE = """
import json, threading
from targets.runners.parts.cuda import CudaError, CudaMissingError, open_cuda
def failure(call, *args):
    try:
        call(*args)
    except CudaError as error:
        return [str(error), error.code, error.is_sticky]
"""

ROUND_TRIP = """
cuda = open_cuda()
found = {"name": cuda.name, "count": cuda.device_count(), "graphs": cuda.has_graphs}
device = cuda.device(1)
found["device"] = [device.name, device.capability_text, device.memory_bytes]
cuda.use(1)
with cuda.current():
    free, total = cuda.memory()
    host, back, pointer, stream = cuda.host_buffer(64), cuda.host_buffer(64), cuda.malloc(64), cuda.stream()
    found["taken"] = free - cuda.memory()[0]
    back.array[:] = 0
    host.typed("float32", (2, 3))[...] = [[1, 2, 3], [4, 5, 6]]
    start, end = cuda.event(), cuda.event()
    cuda.record(start, stream)
    cuda.copy_to_device(pointer, host, 24, stream)
    cuda.copy_to_host(back, pointer, 24, stream)
    found["early"] = back.typed("float32", (6,)).tolist()
    cuda.record(end, stream)
    cuda.synchronize(stream)
    found["late"] = back.typed("float32", (6,)).tolist()
    found["elapsed"] = cuda.elapsed_ns(start, end)
    found["handle"] = cuda.stream_handle(stream)
    if cuda.has_graphs:
        graph = cuda.capture(stream, lambda: cuda.copy_to_host(back, pointer, 24, stream))
        back.array[:] = 0
        cuda.synchronize(stream)
        found["captured"] = back.typed("float32", (6,)).tolist()
        cuda.launch(graph, stream)
        cuda.synchronize(stream)
        found["launched"] = back.typed("float32", (6,)).tolist()
        cuda.free_graph(graph)
def elsewhere():
    with cuda.current():
        cuda.copy_to_host(back, pointer, 24, stream)
        cuda.synchronize(stream)
    found["thread"] = True
thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
with cuda.current():
    for event in (start, end):
        cuda.free_event(event)
    cuda.free_host(host)
    cuda.free_host(back)
    cuda.free(pointer)
    cuda.free_stream(stream)
    found["left"] = free - cuda.memory()[0]
cuda.close()
print(json.dumps(found))
"""


@each_binding
def test_a_round_trip_through_the_second_device(binding: str) -> None:
    found = answers(ROUND_TRIP, binding, gpus=2, gpu_name="Orin", capability=[8, 7])
    assert found["name"] == BINDINGS[binding]
    assert found["count"] == 2
    assert found["device"] == ["Orin", "8.7", 8 << 30]
    assert (found["taken"], found["left"]) == (64, 0)
    assert found["early"] == [0] * 6  # nothing has run before the stream is waited for
    assert found["late"] == [1, 2, 3, 4, 5, 6]
    assert found["elapsed"] > 0
    assert found["handle"] > 0
    assert found["thread"]
    assert found["graphs"] == (binding != "with_pycuda")
    if found["graphs"]:
        assert (found["captured"], found["launched"]) == ([0] * 6, [1, 2, 3, 4, 5, 6])


FAILURES = """
cuda = open_cuda()
found = {"count": failure(cuda.device_count)}
if found["count"] is None:
    cuda.use(0)
    with cuda.current():
        stream, host = cuda.stream(), cuda.host_buffer(8)
        found["memory"] = failure(cuda.malloc, 1 << 60)
        def work():
            raise CudaError("work", "it is odd")
        found["capture"] = failure(cuda.capture, stream, work) if cuda.has_graphs else None
        cuda.copy_to_device(1234, host, 8, stream)
        found["illegal"] = failure(cuda.synchronize, stream)
        found["after"] = failure(cuda.malloc, 8)
print(json.dumps(found))
"""


@each_binding
@pytest.mark.slow
def test_failures_are_one_sentence_each(binding: str) -> None:
    found = answers(FAILURES, binding)
    hidden = binding == "with_pycuda"  # PyCUDA tells the text only
    sentence, code, sticky = found["memory"]
    assert "out of memory" in sentence
    assert sentence.endswith(".")
    assert (code, sticky) == (None if hidden else 2, False)
    if not hidden:
        assert found["capture"][0] == "work failed: it is odd."
    for where in ("illegal", "after"):
        sentence, code, sticky = found[where]
        assert "an illegal memory access was encountered" in sentence
        assert (code, sticky) == ((None, False) if hidden else (700, True))
        assert hidden or "load the model again" in sentence
    missing = answers(FAILURES, binding, fault="no_driver", at="cuda")["count"]
    assert "driver version is insufficient" in missing[0]


def test_bindings_are_taken_in_order_and_their_absence_is_explained() -> None:
    program = "print(json.dumps({'name': open_cuda().name}))"
    for folders, taken in (
        (("with_pycuda", "with_cupy", "new_binding"), "cuda.bindings.runtime"),
        (("with_pycuda", "with_cupy"), "cupy.cuda.runtime"),
        (("with_pycuda", "old_binding"), "cuda.cudart"),
    ):
        assert answers(program, *folders)["name"] == taken
    program = "try:\n    open_cuda()\nexcept CudaMissingError as error:\n    print(json.dumps({'text': str(error)}))"
    text = answers(program)["text"]
    assert all(f"{module}: " in text for module in BINDINGS.values())
