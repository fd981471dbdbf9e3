"""A fake of cupy.cuda.runtime: plain numbers and CUDARuntimeError; see fake_gpu.py for its settings.

Source: https://docs.cupy.dev/en/stable/reference/cuda.html, "Runtime API".
"""

# The names are the vendor's.
# ruff: noqa: N802, N803

from typing import Any, Callable, Dict, Tuple

import fake_gpu


class CUDARuntimeError(RuntimeError):
    """A call failed; ``status`` is its code."""

    def __init__(self, status: int) -> None:
        super().__init__("{}: {}".format(*fake_gpu.ERRORS[status]))
        self.status = status


def _call(call: Callable[..., Any], *args: Any) -> Any:
    try:
        return call(*args)
    except fake_gpu.GpuError as error:
        raise CUDARuntimeError(error.code)


def getDeviceCount() -> int:
    return int(_call(fake_gpu.device_count))


def getDeviceProperties(device: int) -> Dict[str, Any]:
    found = dict(_call(fake_gpu.properties, device))
    found["name"] = found["name"].encode()
    return found


def setDevice(device: int) -> None:
    _call(fake_gpu.set_device, device)


def malloc(size: int) -> int:
    return int(_call(fake_gpu.malloc, size))


def free(ptr: int) -> None:
    _call(fake_gpu.free, ptr)


def hostAlloc(size: int, flags: int) -> int:
    return int(_call(fake_gpu.host_alloc, size))


def freeHost(ptr: int) -> None:
    _call(fake_gpu.host_free, ptr)


def memcpyAsync(dst: int, src: int, size: int, kind: int, stream: int) -> None:
    _call(fake_gpu.copy, dst, src, size, kind == 1, stream)


def streamCreateWithFlags(flags: int) -> int:
    return int(_call(fake_gpu.stream_create))


def streamSynchronize(stream: int) -> None:
    _call(fake_gpu.synchronize, stream)


def streamDestroy(stream: int) -> None:
    _call(fake_gpu.destroy, stream)


def streamBeginCapture(stream: int, mode: int = 2) -> None:
    _call(fake_gpu.begin_capture, stream)


def streamEndCapture(stream: int) -> int:
    return int(_call(fake_gpu.end_capture, stream))


def graphInstantiate(graph: int) -> int:
    return int(_call(fake_gpu.instantiate, graph))


def graphLaunch(graphExec: int, stream: int) -> None:
    _call(fake_gpu.launch, graphExec, stream)


def graphDestroy(graph: int) -> None:
    _call(fake_gpu.destroy, graph)


def graphExecDestroy(graphExec: int) -> None:
    _call(fake_gpu.destroy, graphExec)


def eventCreateWithFlags(flags: int) -> int:
    return int(_call(fake_gpu.event_create))


def eventRecord(event: int, stream: int) -> None:
    _call(fake_gpu.event_record, event, stream)


def eventSynchronize(event: int) -> None:
    _call(fake_gpu.event_synchronize, event)


def eventElapsedTime(start: int, end: int) -> float:
    return float(_call(fake_gpu.elapsed_ms, start, end))


def eventDestroy(event: int) -> None:
    _call(fake_gpu.destroy, event)


def memGetInfo() -> Tuple[int, int]:
    found = _call(fake_gpu.memory)
    return int(found[0]), int(found[1])
