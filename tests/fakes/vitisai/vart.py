"""A fake of Vitis AI's vart: Runner, RunnerExt and TensorBuffer, which trust their caller and end the process over errors.

Source: Xilinx/Vitis-AI 3.5, src/vai_runtime/vart/runner/python/runner_py_module.cpp and vart/dpu-runner/src.
"""

import itertools
import mmap
import os
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

import fake_dpu
import faking
import numpy as np
import xir

faking.trip("import")
with open(
    os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib", "libvart-runner.so.3.5.0"), "rb"
) as _file:
    _library = mmap.mmap(
        _file.fileno(), 0, prot=mmap.PROT_READ
    )  # seen in /proc/self/maps, as the vendor's is
_TYPES = {"xint8": "int8", "xint16": "int16", "float32": "float32"}


class TensorBuffer:
    """Memory with a tensor; numpy sees it through the buffer protocol."""

    def __init__(self, tensor: xir.Tensor) -> None:
        self._tensor = tensor
        self._array = np.zeros(tensor.dims, dtype=_TYPES[tensor.dtype])
        self.__array_interface__ = self._array.__array_interface__

    def get_tensor(self) -> xir.Tensor:
        return self._tensor


class Runner:
    """One DPU part of an xmodel on the DPU. It serves one thread."""

    def __init__(self, inputs: List[xir.Tensor], outputs: List[xir.Tensor], model_fingerprint: int) -> None:
        self._inputs = inputs
        self._outputs = outputs
        self._model_fingerprint = model_fingerprint
        self._jobs: Dict[int, int] = {}
        self._numbers = itertools.count()
        self._busy = threading.Lock()

    @staticmethod
    def create_runner(subgraph: xir.Subgraph, mode: str = "") -> "Runner":
        """Create a runner; without a DPU this ends the process."""
        start_session()
        described = subgraph.described
        if described is None or described["device"] != "DPU":
            fake_dpu.fatal("runner.cpp:90", 'Check failed: subgraph->has_attr("runner") not a DPU subgraph')
            raise AssertionError
        tensors = subgraph.graph.model["tensors"]
        batch = fake_dpu.engines()
        return Runner(
            [xir.Tensor(name, tensors[name], batch) for name in described["inputs"]],
            [xir.Tensor(name, tensors[name], batch) for name in described["outputs"]],
            int(described.get("dpu_fingerprint", 0)),
        )

    def get_input_tensors(self) -> List[xir.Tensor]:
        return self._inputs

    def get_output_tensors(self) -> List[xir.Tensor]:
        return self._outputs

    def execute_async(
        self, inputs: List[Any], outputs: List[Any], enable_dynamic_array: bool = False
    ) -> Tuple[int, int]:
        """Work here and now; what is told of shapes is not looked at."""
        ins = [memory_of(one, tensor) for one, tensor in zip(inputs, self._inputs)]
        outs = [memory_of(one, tensor) for one, tensor in zip(outputs, self._outputs)]
        if not self._busy.acquire(False):
            fake_dpu.fatal("dpu_session_imp.cpp:1", "two threads use one runner")
        try:
            status = self._execute(ins, outs)
        finally:
            self._busy.release()
        number = next(self._numbers)
        self._jobs[number] = status
        return number, 0

    def _execute(self, ins: List[Any], outs: List[Any]) -> int:
        is_checked = os.environ.get("XLNX_ENABLE_FINGERPRINT_CHECK", "1") != "0"
        if is_checked and self._model_fingerprint not in (0, fake_dpu.fingerprint()):
            fake_dpu.fatal("dpu_runner_base_imp.cpp:678", "fingerprint check failure.")
        fault = faking.trip("infer")
        if fault == "timeout":
            time.sleep(float(os.environ.get("XLNX_DPU_TIMEOUT", "10000")) / 1e3)
            fake_dpu.fatal("dpu_control_xrt_edge.cpp:186", "dpu timeout! core_idx = 0")
        faking.delay()
        values = [fake_dpu.real(array, fix(tensor)) for array, tensor in zip(ins, self._inputs)]
        for array, tensor in zip(outs, self._outputs):
            found = fake_dpu.compute(values, tensor.name, tensor.dims)
            array[...] = fake_dpu.levels(found, fix(tensor), array.dtype)
        return int(faking.settings()["status"]) if fault == "status" else 0

    def wait(self, job_id: Tuple[int, int]) -> int:
        """Return the status of a job; there is no timeout."""
        return self._jobs.pop(job_id[0], 0)


class RunnerExt(Runner):
    """A runner that brings its buffers."""

    def get_inputs(self) -> List[TensorBuffer]:
        return [TensorBuffer(one) for one in self._inputs]

    def get_outputs(self) -> List[TensorBuffer]:
        return [TensorBuffer(one) for one in self._outputs]


def start_session() -> None:
    """Take the DPU."""
    fault: Optional[str] = faking.trip("load")
    if fault == "no_device":
        fake_dpu.fatal(
            "dpu_session_base_imp.cpp:60", "cannot create a dpu controller, no device is available"
        )


def fix(tensor: xir.Tensor) -> Any:
    """Return a tensor's fix point; None without one."""
    return tensor.get_attr("fix_point") if tensor.has_attr("fix_point") else None


def memory_of(given: Any, tensor: xir.Tensor) -> Any:
    """Return the memory that the native half would read: its type is looked at, its shape and strides are not."""
    array = np.asarray(given)
    if not array.flags.writeable:
        raise ValueError("buffer source array is read-only")
    if array.dtype.name not in ("int8", "int16", "float32"):
        fake_dpu.fatal(
            "runner_py_module.cpp:156",
            "Check failed: ret.type != xir::DataType::UNKNOWN unsupported data type",
        )
    if array.size < tensor.get_element_num():
        fake_dpu.fatal(
            "fake", "out of bounds: '{}' is read past the end of a short array".format(tensor.name)
        )
    if not array.flags.c_contiguous:
        fake_dpu.fatal("fake", "out of bounds: '{}' is read as if it were in C order".format(tensor.name))
    return array.reshape(-1)[: tensor.get_element_num()].reshape(tensor.dims)
