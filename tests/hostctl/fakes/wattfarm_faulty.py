"""ONNX Runtime with faults, for tests of what hostctl makes of them. Runs in the worker.

WATTFARM_RUNNERS="faulty=wattfarm_faulty:FaultyRunner" and this folder on the worker's path.
"""

import ctypes
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from targets.options import LoadOptions
from targets.runners.onnxruntime import OnnxRuntimeRunner
from targets.tensors import ModelSpec, Tensors


class FaultyRunner(OnnxRuntimeRunner):
    """Does what the option ``fault`` says after as many inferences as ``after`` says."""

    name = "faulty"
    options = {  # noqa: RUF012 - as in targets/
        **OnnxRuntimeRunner.options,
        "fault": "segv, abort, hang, nan, wrong, float16 or device",
        "after": "inferences that go well first",
    }

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        self._fault = options.text("fault") or ""
        self._after = options.integer("after", 0) or 0
        self._calls = 0
        values = {
            key: value for key, value in options.values.items() if key not in ("fault", "after", "device")
        }
        spec = super()._load(path, LoadOptions(options.format, None, options.batch, values))
        if self._fault == "float16":
            self.effective["precision"] = "float16"
            self.fallbacks.append("float32 requested, float16 executed")
        return spec

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        run = super()._bind(slot, inputs)

        def call() -> Any:
            self._calls += 1
            outputs = run()
            return self._misbehave(outputs) if self._calls > self._after else outputs

        return call

    def _misbehave(self, outputs: Any) -> Any:
        if self._fault == "segv":
            ctypes.string_at(0)
        elif self._fault == "abort":
            os.abort()
        elif self._fault == "hang":
            time.sleep(3600)
        elif self._fault == "nan":
            return [np.full_like(output, np.nan) for output in outputs]
        elif self._fault == "wrong":
            return [output + 1.0 for output in outputs]
        return outputs
