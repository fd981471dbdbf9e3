"""Runners that no vendor wrote: one that needs numpy only, and that can misbehave in every way a vendor's can.

Runs in the worker, so in Python 3.6 syntax. A test adds it with
WATTFARM_RUNNERS="fake=wattfarm_fakes:FakeRunner,broken=wattfarm_fakes:MissingRunner" and this folder on PYTHONPATH.
The model file is text: a number to multiply with. y = factor * x, x and y float32 of [batch, 8].
"""

import ctypes
import os
import sys
import time
from typing import Any, Callable, List, Optional

import numpy as np

from targets.errors import RuntimeUnavailable
from targets.options import LoadOptions, resolve_shapes
from targets.runner import Runner
from targets.tensors import ModelSpec, Tensors, TensorSpec


class FakeRunner(Runner):
    """Multiplies, and does what the option ``fault`` says when the option ``at`` says: load, infer or close."""

    name = "fake"
    package = "wattfarm-fakes"
    formats = ("fake",)
    precisions = ("float32",)
    options = {
        "fault": "segv, abort, exit, hang, raise, memory, garbage, leak or nan",
        "at": "load, infer or close",
        "after": "inferences that go well first",
        "delay_ms": "time of an inference",
        "device_us": "time of an inference that the accelerator tells",
        "gate": "a file: an inference after those touches GATE.reached, then waits until GATE exists",
    }

    def __init__(self) -> None:
        super().__init__()
        self._factor = 0.0
        self._fault = ""
        self._at = "infer"
        self._after = 0
        self._delay_s = 0.0
        self._gate = ""
        self._device_us: Optional[int] = None
        self._calls = 0
        self._leaked: List[bytearray] = []

    @classmethod
    def version(cls) -> str:
        return "1.0"

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        self._fault = options.text("fault") or ""
        self._at = options.choice("at", ("load", "infer", "close")) or "infer"
        self._after = options.integer("after", 0) or 0
        self._delay_s = (options.integer("delay_ms", 0) or 0) / 1e3
        self._gate = options.text("gate") or ""
        self._device_us = options.integer("device_us")
        with open(path) as file:
            self._factor = float(file.read())
        if self._at == "load":
            self._misbehave()
        (shape,) = resolve_shapes([("x", (-1, 8))], options)
        self.effective.update(device="numpy", precision="float32")
        self.optimal_in_flight = 2
        return ModelSpec([TensorSpec("x", "float32", shape)], [TensorSpec("y", "float32", shape)])

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        x = inputs["x"]

        def run() -> Any:
            self._calls += 1
            if self._delay_s:
                time.sleep(self._delay_s)
            if self._gate and self._calls > self._after:
                self._wait_at_gate()
            y = x * np.float32(self._factor)
            if self._at == "infer" and self._calls > self._after:
                y = self._misbehave(y)
            return y

        return run

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        return {"y": returned}

    def device_time_ns(self, slot: int) -> Optional[int]:
        return None if self._device_us is None else 1000 * self._device_us

    def _close(self) -> None:
        if self._at == "close":
            self._misbehave()

    def _wait_at_gate(self) -> None:
        """Tell that an inference runs, and let it run until the test lets it go on."""
        with open(self._gate + ".reached", "w"):
            pass
        while not os.path.exists(self._gate):
            time.sleep(0.002)

    def _misbehave(self, y: Any = None) -> Any:
        fault = self._fault
        if fault == "segv":
            ctypes.string_at(0)
        elif fault == "abort":
            sys.stderr.write("check failed: device is gone\n")
            sys.stderr.flush()
            os.abort()
        elif fault == "exit":
            os._exit(17)
        elif fault == "hang":
            time.sleep(3600)
        elif fault == "raise":
            raise ValueError("vendor error 77\nin a second line")
        elif fault == "memory":
            raise RuntimeError("std::bad_alloc")
        elif fault == "garbage":
            os.write(1, b"\x00\x00\x00\x05hello" * 100)
            os.write(2, b"\xff\xfe not utf-8\n")
        elif fault == "leak":
            self._leaked.append(bytearray(b"x" * 1000000))
        elif fault == "nan":
            y = y * np.float32("nan")
        return y


class MissingRunner(FakeRunner):
    """A runtime whose package is not installed."""

    name = "missing"

    @classmethod
    def version(cls) -> str:
        raise RuntimeUnavailable(
            "Fakes cannot be imported; install them with 'pip install wattfarm-fakes'.",
            runtime=cls.name,
            package=cls.package,
        )


NOT_A_RUNNER = 3
