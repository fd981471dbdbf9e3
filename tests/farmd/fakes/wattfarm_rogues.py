"""Runners that break the worker itself, not only its model. Runs in the worker.

WATTFARM_RUNNERS="rogue=wattfarm_rogues:RogueRunner", this folder and tests/targets/fakes on its path.
"""

import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from targets.options import LoadOptions
from targets.tensors import ModelSpec, Tensors, TensorSpec

if TYPE_CHECKING:
    from tests.targets.fakes.wattfarm_fakes import FakeRunner
else:
    from wattfarm_fakes import FakeRunner


class RogueRunner(FakeRunner):
    """Faults: wire (nonsense on the wire), stuck (hangs with the interpreter's lock), orphan (a child that keeps the
    pipe), talk (prints while it loads), big (outputs larger than announced)."""

    name = "rogue"

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        spec = super()._load(path, options)
        if self._fault == "big":
            return ModelSpec(spec.inputs, [TensorSpec("y", "float32", (-1, 8))])
        return spec

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        run = super()._bind(slot, inputs)
        if self._fault != "big":
            return run
        return lambda: np.tile(run(), (20000, 1))

    def _misbehave(self, y: Any = None) -> Any:
        if self._fault == "wire":
            for fd in range(3, 64):
                try:
                    with socket.fromfd(fd, socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                        sock.sendall(b"\x00\x00\x00\x07garbage")
                except OSError:
                    continue
        elif self._fault == "stuck":
            ctypes.PyDLL(None).sleep(3600)
        elif self._fault == "orphan":
            subprocess.Popen(["sleep", "30"], start_new_session=True)
            os.abort()
        elif self._fault == "talk":
            for number in range(3):
                sys.stderr.write(f"layer {number + 1} of 3\n")
                sys.stderr.flush()
                time.sleep(0.05)
        else:
            return super()._misbehave(y)
        return y
