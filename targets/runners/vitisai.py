"""Vitis AI: xmodels on AMD's DPUs, by VART's Runner, or by GraphRunner where parts on the CPU belong to the model.

VART ends the process over nearly every mistake (glog's CHECK), so everything is checked before it is called. Source: Vitis AI 3.5
UG1414; Xilinx/Vitis-AI 3.5, src/vai_runtime/vart/runner/python/runner_py_module.cpp and src/vai_library/graph_runner.
"""

import os
from typing import Any, Callable, List, Optional

import numpy as np

from targets.errors import InferenceFailed, ModelInvalid, OptionInvalid
from targets.formats import xmodel_file
from targets.options import LoadOptions, resolve_shapes
from targets.process import monotonic_ns
from targets.runner import Runner
from targets.runners.parts.vendor import keep_precision
from targets.runners.parts.vitisai import dpu as vitis_dpu
from targets.runners.parts.vitisai.graph import Parts, specs_of
from targets.tensors import ModelSpec, Tensors, TensorSpec

_DEVICE = "dpu"
_RUNNERS = ("auto", "dpu", "graph")
_RUNNERS_A_CORE = 2  # one prepares while the other computes
_MAX_RUNNERS = 8
_TIMEOUT_MS = "10000"  # XLNX_DPU_TIMEOUT's default


class VitisAiRunner(Runner):
    """One VART runner a slot, because a runner serves one thread."""

    name = "vitisai"
    package = vitis_dpu.PACKAGE
    formats = ("xmodel",)
    compiler = "quantise the model with Vitis AI and compile it with 'vai_c_xir -x quantised.xmodel -a arch.json -o out'"
    precisions = ("int8",)
    options = {"runner": "auto, dpu (the one part on the DPU) or graph (with the parts on the CPU)"}

    def __init__(self) -> None:
        super().__init__()
        self._graph: Any = None
        self._parts: Optional[Parts] = None
        self._uses_graph = False
        self._slots_of_dpu: List["_Slot"] = []

    @classmethod
    def version(cls) -> str:
        vitis_dpu.import_vendor("xir")
        vitis_dpu.import_vendor("vart")
        vitis_dpu.find_dpu()
        return vitis_dpu.version()

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        keep_precision("Vitis AI", "int8", options.precision)
        self._refuse(options)
        xmodel_file.check(path)
        try:
            return self._load_graph(path, options)
        except Exception:
            self._close()  # the base class closes only what was loaded
            raise

    def _load_graph(self, path: str, options: LoadOptions) -> ModelSpec:
        self._graph = vitis_dpu.import_vendor("xir").Graph.deserialize(path)
        self._parts = Parts(self._graph)
        self._choose(self._parts, options.choice("runner", _RUNNERS) or "auto")
        self.effective.update(vitis_dpu.describe(), device=_DEVICE, precision="int8")
        self._check_fingerprint(path, self._parts)
        begin_ns = monotonic_ns()
        first = self._create()
        # The first runner loads the firmware into the fabric; the first execution is another matter and told as first_ns.
        self.effective["configure_ms"] = "{:.1f}".format((monotonic_ns() - begin_ns) / 1e6)
        self._slots_of_dpu = [first]
        self.effective["batch"] = str(first.batch)
        self.effective["dpu_timeout_ms"] = os.environ.get("XLNX_DPU_TIMEOUT", _TIMEOUT_MS)
        self._check_batch(first, options)
        cores = int(self.effective.get("dpu_cores", "2"))
        self.optimal_in_flight = min(_RUNNERS_A_CORE * cores, _MAX_RUNNERS)
        return ModelSpec(first.inputs, first.outputs)

    def _refuse(self, options: LoadOptions) -> None:
        """Refuse what VART has no way to give."""
        if options.text("threads") is not None:
            raise OptionInvalid(
                "VART computes on the DPU; in_flight says how many runners work at once.", option="threads"
            )
        device = options.text("device")
        if device not in (None, _DEVICE):
            raise OptionInvalid(
                "Vitis AI's device is called '{}', not '{}'; which of its cores a process uses is set by "
                "XLNX_DPU_DEVICE_CORES in the worker's environment.".format(_DEVICE, device),
                option="device",
                value=device,
            )

    def _choose(self, parts: Parts, asked: str) -> None:
        """Take Runner for one part on the DPU and nothing that matters beside it, else GraphRunner; say what that means."""
        several = len(parts.dpu) > 1
        if asked == "dpu" and several:
            raise OptionInvalid(
                "runner=dpu takes an xmodel with one part on the DPU; this one has {}. Use runner=graph.".format(
                    len(parts.dpu)
                ),
                option="runner",
                value=asked,
            )
        self._uses_graph = asked == "graph" or (asked == "auto" and (several or bool(parts.cpu_ops)))
        self.effective["runner"] = "graph" if self._uses_graph else "dpu"
        self.effective["dpu_subgraphs"] = str(len(parts.dpu))
        if parts.cpu_ops:
            self.effective["cpu_ops" if self._uses_graph else "left_out"] = parts.cpu
        if asked == "auto" and parts.cpu_ops:
            self.fallbacks.append(
                "The DPU requested, but {} of this xmodel run on the CPU; runner=graph accepts that, runner=dpu leaves them "
                "out.".format(parts.cpu)
            )

    def _check_fingerprint(self, path: str, parts: Parts) -> None:
        """ModelInvalid if the DPU is another one than the xmodel's: VART would end the process in the first execution."""
        ours, theirs = self.effective.get("fingerprint"), parts.fingerprint
        if theirs is not None:
            self.effective["xmodel_fingerprint"] = hex(theirs)
        if ours is None or theirs is None or os.environ.get("XLNX_ENABLE_FINGERPRINT_CHECK", "1") == "0":
            return
        if int(ours, 16) not in (0, theirs):
            raise ModelInvalid(
                "The xmodel {} was compiled for the DPU {}, but this board has {} ({}); compile it with the arch.json of that "
                "fingerprint.".format(path, hex(theirs), ours, self.effective.get("dpu", "of unknown name")),
                path=path,
            )

    def _check_batch(self, first: "_Slot", options: LoadOptions) -> None:
        if options.batch not in (None, first.batch):
            raise OptionInvalid(
                "The batch {} is impossible: this DPU computes {} at once; ask for that, or leave the batch out.".format(
                    options.batch, first.batch
                ),
                option="batch",
                value=str(options.batch),
            )
        declared = [(one.name, one.shape) for one in first.inputs]
        resolve_shapes(declared, LoadOptions(options.format, values=options.values))

    def _create(self) -> "_Slot":
        assert self._parts is not None
        if self._uses_graph:
            library = vitis_dpu.import_vendor("vitis_ai_library")
            return _GraphSlot(library.GraphRunner.create_graph_runner(self._graph), self._graph)
        vart = vitis_dpu.import_vendor("vart")
        return _DpuSlot(vart.Runner.create_runner(self._parts.dpu[0], "run"), self._graph)

    def _open_slots(self, count: int) -> None:
        while len(self._slots_of_dpu) < count:
            self._slots_of_dpu.append(self._create())

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        self._open_slots(slot + 1)
        one = self._slots_of_dpu[slot]
        one.fill(inputs)
        return one.run

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        return self._slots_of_dpu[slot].read()

    def _close(self) -> None:
        """Runners before the graph, whose memory they use."""
        self._slots_of_dpu = []
        self._parts = None
        self._graph = None


class _Slot:
    """A runner with buffers of its own: of the right type, in C order, writable and whole, which VART would not check."""

    def __init__(self, runner: Any, graph: Any) -> None:
        self._runner = runner
        self._graph = graph  # must live as long as the runner does
        self.inputs: List[TensorSpec] = []
        self.outputs: List[TensorSpec] = []
        self._ins: List[Any] = []  # what execute_async takes
        self._outs: List[Any] = []
        self._in_arrays: List[Any] = []  # the same memory as arrays
        self._out_arrays: List[Any] = []

    @property
    def batch(self) -> int:
        """The batch that the DPU fixes: its engines, not the xmodel's own first dimension."""
        return self.inputs[0].shape[0]

    def fill(self, inputs: Tensors) -> None:
        """Copy the inputs in."""
        for spec, array in zip(self.inputs, self._in_arrays):
            np.copyto(array, inputs[spec.name], casting="no")

    def run(self) -> None:
        """Execute once. VART works inside execute_async without the GIL; wait only fetches the status."""
        status = self._runner.wait(self._runner.execute_async(self._ins, self._outs))
        if status != 0:
            raise InferenceFailed(
                "The DPU ended with the status {}; see 'dmesg'.".format(status), status=int(status)
            )

    def read(self) -> Tensors:
        """Return copies of the outputs."""
        return {spec.name: array.copy() for spec, array in zip(self.outputs, self._out_arrays)}


class _DpuSlot(_Slot):
    """VART's Runner for one subgraph: takes arrays."""

    def __init__(self, runner: Any, graph: Any) -> None:
        super().__init__(runner, graph)
        self.inputs = specs_of(runner.get_input_tensors())
        self.outputs = specs_of(runner.get_output_tensors())
        self._ins = self._in_arrays = [np.zeros(one.shape, dtype=one.dtype, order="C") for one in self.inputs]
        self._outs = self._out_arrays = [
            np.zeros(one.shape, dtype=one.dtype, order="C") for one in self.outputs
        ]


class _GraphSlot(_Slot):
    """GraphRunner for the whole xmodel: brings buffers, seen here as arrays."""

    def __init__(self, runner: Any, graph: Any) -> None:
        super().__init__(runner, graph)
        self._ins, self._outs = list(runner.get_inputs()), list(runner.get_outputs())
        self.inputs = specs_of([one.get_tensor() for one in self._ins])
        self.outputs = specs_of([one.get_tensor() for one in self._outs])
        self._in_arrays = self._views(self._ins, self.inputs)
        self._out_arrays = self._views(self._outs, self.outputs)

    @staticmethod
    def _views(buffers: List[Any], specs: List[TensorSpec]) -> List[Any]:
        found = [np.asarray(one) for one in buffers]
        for spec, array in zip(specs, found):
            if (str(array.dtype), array.shape) != (spec.dtype, spec.shape) or not array.flags.writeable:
                raise ModelInvalid(
                    "GraphRunner's buffer of '{}' is not what its tensor says.".format(spec.name)
                )
        return found
