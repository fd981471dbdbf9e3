"""InferenceSession: the Python half with its two fallbacks to the CPU, over a native half that computes for real."""

import itertools
import json
import os
import shutil
import sys
import warnings
from typing import Any, Dict, List, Optional

import faking
import numpy as np
import onnx_net

from . import _providers
from ._options import SessionOptions
from ._providers import CPU, Started
from .capi.onnxruntime_pybind11_state import (
    EPFail,
    Fail,
    InvalidArgument,
    InvalidProtobuf,
    NoSuchFile,
    RuntimeException,
)

VERSION = str(faking.settings().get("version", "1.31.1"))
_NUMBERS = tuple(int(part) for part in VERSION.split(".")[:2])
OLDEST = _NUMBERS < (1, 11)
HAS_PLUGINS = _NUMBERS >= (1, 23)
_TELLS_NODES = _NUMBERS >= (1, 24)
_TYPES = {"float32": "float", "float16": "float16", "int8": "int8", "uint8": "uint8", "int64": "int64"}
_NO_CPU = "session.disable_cpu_ep_fallback"
_sessions = itertools.count(1)


class NodeArg:
    """An input or output of a session."""

    def __init__(self, port: onnx_net.Port) -> None:
        self.name = port.name
        self.shape = list(port.shape)
        self.type = "tensor({})".format(_TYPES[port.dtype])


class InferenceSession:
    """A session. ``enable_fallback`` is one of its undocumented keywords."""

    def __init__(
        self,
        path_or_bytes: str,
        sess_options: Optional[SessionOptions] = None,
        providers: Any = None,
        provider_options: Any = None,
        **kwargs: Any,
    ) -> None:
        if not os.path.exists(path_or_bytes):
            raise NoSuchFile(
                "[ONNXRuntimeError] : 3 : NO_SUCHFILE : Load model from {} failed".format(path_or_bytes)
            )
        self._path = path_or_bytes
        self._profiled = False
        self._options = sess_options or SessionOptions()
        self._enable_fallback = OLDEST or int(kwargs.get("enable_fallback", 1)) == 1
        wanted = [entry if isinstance(entry, tuple) else (entry, {}) for entry in providers or []]
        if not wanted and not self._options.plugins:
            raise ValueError("This ORT build has {} enabled.".format(_providers.get_available_providers()))
        try:
            self._create(wanted)
        except (ValueError, RuntimeError) as error:
            if not self._enable_fallback:
                raise
            print("*************** EP Error ***************")
            print("EP Error {} when using {}".format(error, wanted))
            print("Falling back to ['CPUExecutionProvider'] and retrying.")
            self._create([(CPU, {})])
            self.disable_fallback()

    def _create(self, wanted: List[Any]) -> None:
        self._started: List[Started] = (
            [] if wanted else [Started(*plugin) for plugin in self._options.plugins]
        )
        for name, options in wanted:
            if name not in _providers.get_available_providers():
                warnings.warn(
                    "Specified provider '{}' is not in available provider names.".format(name), stacklevel=3
                )
            elif name != CPU:
                self._started += _providers.start(name, options)
        self._die_at_load()
        self._net = _read(self._path)
        if self._options.optimized_model_filepath:  # this CPU has float16: it inserts no casts
            shutil.copyfile(self._path, self._options.optimized_model_filepath)
        on_cpu = [node for node in self._net.nodes if self._assigned(node.op) == CPU]
        if on_cpu and self._options.entries.get(_NO_CPU) == "1" and not OLDEST:
            raise Fail(
                "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the default CPU "
                "EP, but fallback to CPU EP has been explicitly disabled by the user."
            )

    def _die_at_load(self) -> None:
        number, fault = next(_sessions), faking.trip("load")
        if fault == "engine_build" and self._started:
            raise EPFail(
                "[ONNXRuntimeError] : 11 : EP_FAIL : TensorRT EP failed to create engine from network."
            )
        if fault == "second_session" and number > 1 and self._started:
            sys.stderr.write("F0000 xrt_device.cpp: Check failed: the device is in use\n")
            sys.stderr.flush()
            os.abort()

    def _assigned(self, op: str) -> str:
        return next((provider.name for provider in self._started if provider.takes(op)), CPU)

    def __del__(self) -> None:
        faking.trip("close")

    def get_inputs(self) -> List[NodeArg]:
        """Return the inputs."""
        return [NodeArg(port) for port in self._net.inputs]

    def get_outputs(self) -> List[NodeArg]:
        """Return the outputs."""
        return [NodeArg(port) for port in self._net.outputs]

    def get_providers(self) -> List[str]:
        """Return the providers that started; the CPU's is always there."""
        return [provider.name for provider in self._started] + [CPU]

    def get_provider_options(self) -> Dict[str, Dict[str, str]]:
        """Return what each provider tells of its options."""
        found = {provider.name: provider.told() for provider in self._started}
        found[CPU] = {}
        return found

    def disable_fallback(self) -> None:
        """Let run() fail where the provider does."""
        self._enable_fallback = False

    def run(
        self, output_names: Optional[List[str]], input_feed: Dict[str, Any], run_options: Any = None
    ) -> List[Any]:
        """Compute. After an EPFail the session goes over to the CPU for good, unless that is disabled."""
        missing = [port.name for port in self._net.inputs if port.name not in input_feed]
        if missing:
            raise ValueError("Required inputs ({}) are missing from input feed.".format(missing))
        try:
            outputs = self._run(input_feed)
        except EPFail as error:
            if not self._enable_fallback:
                raise
            print("EP Error: {} using {}".format(error, self.get_providers()))
            print("Falling back to ['CPUExecutionProvider'] and retrying.")
            self._started = []
            self.disable_fallback()
            outputs = self._compute(input_feed)
        return [outputs[name] for name in output_names or [port.name for port in self._net.outputs]]

    def _run(self, feed: Dict[str, Any]) -> Dict[str, Any]:
        faking.delay()
        fault = faking.trip("profile" if self._options.enable_profiling and not self._profiled else "infer")
        if fault == "engine_build" and self._started:
            raise EPFail(
                "[ONNXRuntimeError] : 11 : EP_FAIL : TensorRT EP failed to create engine from network."
            )
        if fault == "out_of_memory":
            raise RuntimeException("[ONNXRuntimeError] : 6 : CUDA failure 2: out of memory ; GPU=0")
        if fault == "device_gone":
            raise Fail("[ONNXRuntimeError] : 1 : FAIL : CUDA failure 100: no CUDA-capable device is detected")
        return self._compute(feed)

    def _compute(self, feed: Dict[str, Any]) -> Dict[str, Any]:
        for port in self._net.inputs:
            self._check(port, feed[port.name])
        precision = self._started[0].precision(self._net.precision) if self._started else self._net.precision
        return self._net.run(feed, precision)

    def _check(self, port: onnx_net.Port, array: Any) -> None:
        if array.dtype != np.dtype(port.dtype):
            raise InvalidArgument("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Unexpected input data type.")
        fits = len(port.shape) == array.ndim and all(
            want == have for want, have in zip(port.shape, array.shape) if isinstance(want, int)
        )
        if not fits:
            raise InvalidArgument(
                "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input."
            )

    def io_binding(self) -> "IOBinding":
        """Return an empty binding."""
        return IOBinding(self)

    def run_with_iobinding(self, iobinding: "IOBinding", run_options: Any = None) -> None:
        """Compute from and to what is bound; this one has no fallback."""
        if not iobinding.inputs or not iobinding.names:
            raise RuntimeError("Error in execution: at least one input and output should be bound.")
        iobinding.results = self._run({name: value.array for name, value in iobinding.inputs.items()})

    def end_profiling(self) -> str:
        """Write what the profiler saw, one event a node, and return the file's name."""
        if not self._options.enable_profiling:
            return ""
        self._profiled = True
        path = self._options.profile_file_prefix + "_1.json"
        events = [
            {
                "cat": "Node",
                "name": node.name + "_kernel_time",
                "dur": 1,
                "args": {"provider": self._assigned(node.op)},
            }
            for node in self._net.nodes
        ]
        with open(path, "w") as file:
            json.dump([{"cat": "Session", "name": "model_run", "dur": 9, "args": {}}, *events], file)
        return path


class Assignment:
    """The nodes that a provider was given."""

    def __init__(self, ep_name: str, nodes: List[Any]) -> None:
        self.ep_name = ep_name
        self._nodes = nodes

    def get_nodes(self) -> List[Any]:
        """Return the nodes."""
        return self._nodes


def _assignment(session: Any) -> List[Assignment]:
    parts: Dict[str, List[Any]] = {}
    if session._options.entries.get("session.record_ep_graph_assignment_info") == "1":
        for node in session._net.nodes:
            parts.setdefault(session._assigned(node.op), []).append(node)
    return [Assignment(name, nodes) for name, nodes in parts.items()]


if _TELLS_NODES:
    InferenceSession.get_provider_graph_assignment_info = _assignment  # type: ignore[attr-defined]


class OrtValue:
    """A tensor in the memory of a device."""

    def __init__(self, array: Any) -> None:
        self.array = array

    @staticmethod
    def ortvalue_from_numpy(array: Any, device_type: str = "cpu", device_id: int = 0) -> "OrtValue":
        """Copy an array to a device."""
        if device_type == "cuda" and "CUDAExecutionProvider" not in _providers.get_available_providers():
            raise RuntimeError("Can't allocate memory on the CUDA device using this package of OnnxRuntime.")
        if not (isinstance(device_type, str) and isinstance(device_id, int)):
            raise TypeError("ortvalue_from_numpy(): incompatible function arguments.")
        return OrtValue(array.copy())


class IOBinding:
    """Where a session reads and writes."""

    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        self.inputs: Dict[str, OrtValue] = {}
        self.names: List[str] = []
        self.results: Dict[str, Any] = {}

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """Read an input from a device's memory."""
        self.inputs[name] = ortvalue

    def bind_output(self, name: str, device_type: str = "cpu", device_id: int = 0) -> None:
        """Let the session allocate an output on a device."""
        self.names.append(name)

    def copy_outputs_to_cpu(self) -> List[Any]:
        """Return the outputs in the order they were bound."""
        return [self.results[name].copy() for name in self.names]


def _read(path: str) -> onnx_net.Net:
    with open(path, "rb") as file:
        data = file.read()
    try:
        return onnx_net.read(data)
    except ValueError:
        raise InvalidProtobuf(
            "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from {} failed:Protobuf parsing failed.".format(
                path
            )
        )
