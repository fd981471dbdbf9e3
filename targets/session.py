"""The operations of a worker: what it holds (a mapped file, a runner) and what each request does to it."""

import mmap
import os
import platform
from array import array
from typing import Any, Callable, Dict, List, Optional, Tuple, Type, Union

import numpy as np

from targets import catalogue, loop
from targets.errors import (
    BufferTooSmall,
    Cancelled,
    InferenceFailed,
    InputInvalid,
    NotLoaded,
    ProtocolError,
    TargetsError,
)
from targets.marker import open_marker
from targets.options import SCENARIOS, LoadOptions
from targets.process import monotonic_ns
from targets.runner import Runner, one_line
from targets.tensors import Tensors, all_finite, check_inputs, dtype_name, random_inputs, view
from targets.wire import PROTOCOL, check_ref, layout

Request = Dict[str, Any]
Reply = Dict[str, Any]
Event = Callable[[Request, Dict[str, Any]], None]
_MAX_IN_FLIGHT = 1024  # each is a thread
_DEVICE_TIMES = 31
_DEVICE_TIMES_NS = 500000000
Kind = Union[Type[Any], Tuple[Type[Any], ...]]


class Session:
    """One mapped file and at most one loaded model. ``event(request, fields)`` tells progress."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._map: Optional[mmap.mmap] = None
        self._last_inputs: Optional[Tuple[List[Any], Tensors]] = None
        self._last_outputs: Optional[Tuple[List[Any], List[Dict[str, Any]], Tensors]] = None
        self._runner: Optional[Runner] = None
        self._first_ns: Optional[int] = None
        self.ops: Dict[str, Callable[[Request, List[Any]], Reply]] = {
            "hello": self._hello,
            "probe": self._probe,
            "map": self._do_map,
            "load": self._load,
            "infer": self._infer,
            "benchmark": self._benchmark,
            "memory": self._memory,
            "describe": self._describe,
            "unload": self._unload,
        }

    def close(self) -> None:
        """Give back the model and the mapped file; closing twice is harmless."""
        runner, self._runner = self._runner, None
        self._first_ns = None
        if runner is not None:
            runner.close()
        self._forget_views()
        self._map = None

    def _forget_views(self) -> None:
        """Let go of the arrays that look into the mapped file."""
        self._last_inputs = self._last_outputs = None

    def _hello(self, request: Request, stop: List[Any]) -> Reply:
        return {
            "protocol": PROTOCOL,
            "python": platform.python_version(),
            "pid": os.getpid(),
            "numpy": np.__version__,
        }

    def _probe(self, request: Request, stop: List[Any]) -> Reply:
        names = _member(request, "runtimes", (list, type(None)), None)
        return {"runtimes": catalogue.probe(None if names is None else [str(name) for name in names])}

    def _do_map(self, request: Request, stop: List[Any]) -> Reply:
        """Map the tensor file; an earlier map goes once no array looks into it any more."""
        path, size = _member(request, "path", str), _member(request, "size_bytes", int)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if size < 1 or os.fstat(fd).st_size < size:
                    raise ProtocolError(
                        "The file {} has {} bytes; {} cannot be mapped.".format(
                            path, os.fstat(fd).st_size, size
                        )
                    )
                self._forget_views()
                self._map = mmap.mmap(fd, size)
            finally:
                os.close(fd)
        except OSError as error:
            raise ProtocolError("The tensor file {} cannot be mapped: {}.".format(path, error.strerror))
        return {}

    def _load(self, request: Request, stop: List[Any]) -> Reply:
        if self._runner is not None:
            raise ProtocolError("This worker has a model already; unload it first.")
        options = LoadOptions(
            _member(request, "format", str),
            _member(request, "precision", (str, type(None)), None),
            _member(request, "batch", (int, type(None)), None),
            {
                str(k): str(v)
                for k, v in (_member(request, "options", (dict, type(None)), None) or {}).items()
            },
        )
        runner = catalogue.runner_class(_member(request, "runtime", str))()
        self._event(request, {"event": "progress", "phase": "building"})
        begin = monotonic_ns()
        try:
            spec = runner.load(_member(request, "path", str), options)
        except BaseException:
            _close_quietly(runner)
            raise
        load_ns = monotonic_ns() - begin
        self._runner, self._first_ns = runner, None
        return {
            "spec": spec.to_json(),
            "describe": runner.describe(),
            "load_ns": load_ns,
            "memory": runner.memory(),
            "optimal_in_flight": runner.optimal_in_flight,
        }

    def _infer(self, request: Request, stop: List[Any]) -> Reply:
        runner, mapped = self._loaded(), self._mapped()
        offset = _member(request, "output_offset", int)
        inputs = self._infer_inputs(runner, mapped, _member(request, "inputs", list))
        start_ns = monotonic_ns()
        outputs = runner.infer(inputs, are_checked=True)
        end_ns = monotonic_ns()
        if self._first_ns is None:
            self._first_ns = end_ns - start_ns
        return {"outputs": self._place(outputs, mapped, offset), "start_ns": start_ns, "end_ns": end_ns}

    def _benchmark(self, request: Request, stop: List[Any]) -> Reply:
        runner = self._loaded()
        scenario = _member(request, "scenario", str)
        in_flight = self._in_flight(runner, scenario, _member(request, "in_flight", (int, type(None)), None))
        warmup = loop.Limits(_count(request, "warmup_ns"), _count(request, "warmup_count"))
        limits = loop.Limits(
            _count(request, "duration_ns"),
            max(1, _count(request, "min_count")),
            _member(request, "max_duration_ns", (int, type(None)), None),
        )
        times_path = _member(request, "times_path", str)
        inputs = self._benchmark_inputs(runner, request)
        runner.open_slots(in_flight)
        finite = [self._first(runner, inputs)]
        calls = [runner.bind(slot, inputs) for slot in range(in_flight)]
        marker = open_marker()
        try:
            self._event(request, {"event": "progress", "phase": "warmup"})
            expected_ns = loop.warm_up(calls, warmup, stop)
            memory = runner.memory()  # before the arrays of times, which are ours and not the model's
            self._event(request, {"event": "progress", "phase": "running"})
            window = loop.measure(calls, limits, stop, expected_ns, marker)
        except (TargetsError, MemoryError):
            raise
        except Exception as error:
            raise InferenceFailed("{} failed in the benchmark: {}".format(runner.name, one_line(error)))
        finally:
            if marker is not None:
                marker.close()
        _write_times(times_path, window)
        if stop:
            raise Cancelled("The benchmark was cancelled.", requests=window.requests)
        finite.append(all_finite(runner.infer(inputs)))
        return {
            "device_time_ns": _device_time_ns(runner, calls[0]),
            "requests": window.requests,
            "batch": _batch(inputs),
            "in_flight": in_flight,
            "first_ns": self._first_ns,
            "window_start_ns": window.start_ns,
            "window_end_ns": window.end_ns,
            "outputs_finite": None if None in finite else all(finite),
            "memory": memory,
            "memory_end": runner.memory(),
            "cpu_time_ns": window.cpu_time_ns,
        }

    def _memory(self, request: Request, stop: List[Any]) -> Reply:
        return {"memory": self._loaded().memory()}

    def _describe(self, request: Request, stop: List[Any]) -> Reply:
        runner = self._loaded()
        return {
            "spec": runner.loaded().to_json(),
            "describe": runner.describe(),
            "optimal_in_flight": runner.optimal_in_flight,
        }

    def _unload(self, request: Request, stop: List[Any]) -> Reply:
        runner = self._loaded()
        self._runner, self._first_ns = None, None
        self._forget_views()
        runner.close()
        return {}

    def _loaded(self) -> Runner:
        if self._runner is None:
            raise NotLoaded("This worker has no model loaded.")
        return self._runner

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            raise NotLoaded("This worker has no tensor file mapped.")
        return self._map

    def _in_flight(self, runner: Runner, scenario: str, asked: Optional[int]) -> int:
        if scenario not in SCENARIOS:
            raise ProtocolError("The scenario '{}' is not one of {}.".format(scenario, ", ".join(SCENARIOS)))
        if scenario == "latency":
            if asked not in (None, 1):
                raise ProtocolError("The latency scenario has one request in flight, not {}.".format(asked))
            return 1
        if asked is not None and not 1 <= asked <= _MAX_IN_FLIGHT:
            raise ProtocolError("{} requests in flight are not 1 to {}.".format(asked, _MAX_IN_FLIGHT))
        return runner.optimal_in_flight if asked is None else asked

    def _infer_inputs(self, runner: Runner, mapped: mmap.mmap, refs: List[Any]) -> Tensors:
        """Return the views of these references: mostly those of the last inference, which were checked then."""
        if self._last_inputs is None or self._last_inputs[0] != refs:
            views = self._views(runner, mapped, refs)
            check_inputs(runner.loaded().inputs, views)
            self._last_inputs = (refs, views)
        return self._last_inputs[1]

    def _place(self, outputs: Tensors, mapped: mmap.mmap, offset: int) -> List[Dict[str, Any]]:
        """Copy outputs into the mapped file; BufferTooSmall tells the size the whole file would need."""
        kinds = [offset, *((name, array.dtype, array.shape) for name, array in outputs.items())]
        if self._last_outputs is None or self._last_outputs[0] != kinds:
            refs = _output_refs(outputs, mapped, offset)
            self._last_outputs = (kinds, refs, {ref["name"]: view(mapped, ref) for ref in refs})
        _, refs, views = self._last_outputs
        for name, array_ in outputs.items():
            views[name][...] = array_
        return refs

    def _views(self, runner: Runner, mapped: mmap.mmap, refs: List[Any]) -> Tensors:
        inputs: Tensors = {}
        for ref in refs:
            if not isinstance(ref, dict):
                raise ProtocolError("A tensor reference is an object.")
            check_ref(ref, len(mapped))
            if ref["name"] in inputs:
                raise InputInvalid(
                    "The input '{}' is given twice.".format(ref["name"]), field="name", name=ref["name"]
                )
            inputs[ref["name"]] = view(mapped, ref)
        return inputs

    def _benchmark_inputs(self, runner: Runner, request: Request) -> Tensors:
        refs = _member(request, "inputs", (list, type(None)), None)
        if not refs:
            return random_inputs(runner.loaded().inputs, _member(request, "seed", int, 0))
        views = self._views(runner, self._mapped(), refs)
        check_inputs(runner.loaded().inputs, views)
        return {name: array.copy() for name, array in views.items()}  # the file may change in the window

    def _first(self, runner: Runner, inputs: Tensors) -> Optional[bool]:
        """Run once before everything: the first inference of a load is recorded apart. Are its outputs finite?"""
        begin = monotonic_ns()
        outputs = runner.infer(inputs)
        if self._first_ns is None:
            self._first_ns = monotonic_ns() - begin
        return all_finite(outputs)


def _device_time_ns(runner: Runner, call: Callable[[], Any]) -> Optional[int]:
    """Return the median of what the accelerator itself takes for a request, from a few more calls; None if it does not tell."""
    times: List[int] = []
    begin = monotonic_ns()
    while len(times) < _DEVICE_TIMES and (not times or monotonic_ns() - begin < _DEVICE_TIMES_NS):
        call()
        time_ns = runner.device_time_ns(0)
        if time_ns is None:
            return None
        times.append(time_ns)
    return sorted(times)[len(times) // 2]


def _output_refs(outputs: Tensors, mapped: mmap.mmap, offset: int) -> List[Dict[str, Any]]:
    """Return places for outputs in the mapped file."""
    shapes = [(name, dtype_name(array), array.shape) for name, array in outputs.items()]
    refs, end = layout(shapes, offset)
    if offset < 0 or end > len(mapped):
        raise BufferTooSmall(
            "The outputs need a tensor file of {} bytes; it has {}.".format(end, len(mapped)),
            needed_bytes=end,
        )
    return refs


def _write_times(path: str, window: loop.Window) -> None:
    """Write all starts, then all ends, as little-endian int64."""
    try:
        with open(path, "wb") as file:
            for times in (window.starts_ns, window.ends_ns):
                array("q", times).tofile(file)
    except OSError as error:
        raise ProtocolError("The times cannot be written to {}: {}.".format(path, error.strerror))


def _batch(inputs: Tensors) -> int:
    """Return the samples of one request: the first dimension of the first input."""
    for array_ in inputs.values():
        return int(array_.shape[0]) if array_.ndim else 1
    return 1


def _member(request: Request, name: str, kind: Kind, *default: Any) -> Any:
    """Return a member of a request. ProtocolError if it is missing (without a default) or of another kind."""
    if name not in request and default:
        return default[0]
    value = request.get(name)
    if name not in request or not isinstance(value, kind) or isinstance(value, bool):
        raise ProtocolError("The operation '{}' needs '{}'.".format(request.get("op"), name))
    return value


def _count(request: Request, name: str) -> int:
    """Return a member that is a whole number from 0 up."""
    value: int = _member(request, name, int)
    if value < 0:
        raise ProtocolError("The operation '{}' needs '{}' from 0 up.".format(request.get("op"), name))
    return value


def _close_quietly(runner: Runner) -> None:
    """Close a runner whose load failed; only that failure is worth telling."""
    try:
        runner.close()
    except Exception:
        return
