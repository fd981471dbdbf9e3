"""A fake of BrainChip's akida package with a chip: the names, types and refusals of akida 2.19 that a runner meets.

Its files are Snappy streams of JSON: ``layers`` (names), ``input_shape``, ``units``, ``software`` (layers the chip cannot take).
Settings of its own in WATTFARM_FAKE: ``devices`` (how many chips, 1), ``clock_stuck`` (clock modes cannot be changed),
``no_clk`` (the chip counts no clocks), ``no_soc`` (the device is none with a system on chip). Faults of its own: ``timeout`` (the
driver gives up: RuntimeError).
"""

import enum
import json
from typing import Any, Dict, List, Optional

import faking
import numpy as np

from akida import soc

__version__ = "2.19.3"
_CLOCKS = 24000


class BackendType(enum.Enum):
    """Where a sequence runs."""

    Software = 0
    Hardware = 1
    Hybrid = 2


class MapMode(enum.Enum):
    """How layers are spread."""

    AllNps = 1
    HwPr = 2
    Minimal = 3


class _Soc:
    def __init__(self) -> None:
        self._mode = soc.ClockMode.Performance

    @property
    def clock_mode(self) -> soc.ClockMode:
        return self._mode

    @clock_mode.setter
    def clock_mode(self, mode: soc.ClockMode) -> None:
        if not isinstance(mode, soc.ClockMode):
            raise TypeError("incompatible function arguments.")
        if not faking.settings().get("clock_stuck"):
            self._mode = mode


class HardwareDevice:
    """A chip on the bus."""

    def __init__(self, index: int) -> None:
        self.desc = "PCIe/NSoC_v2/{}".format(index)
        self.version = "BC.00.000.002"
        self.soc = None if faking.settings().get("no_soc") else _Soc()
        self.memory = (81920, 102400)


def devices() -> List[HardwareDevice]:
    """Return the chips."""
    return [HardwareDevice(index) for index in range(faking.settings().get("devices", 1))]


class _Parameters:
    weights_bits = 4


class _InputParameters:
    @property
    def weights_bits(self) -> int:
        raise ValueError("Key weights_bits not found")


class _Layer:
    def __init__(self, name: str, parameters: Any) -> None:
        self.name = name
        self.parameters = parameters
        self.input_bits = 8


class _Pass:
    def __init__(self, layers: List[_Layer]) -> None:
        self.layers = layers


class _Sequence:
    def __init__(self, backend: BackendType, layers: List[_Layer]) -> None:
        self.backend = backend
        self.passes = [_Pass(layers)]


class _Metrics:
    def __init__(self, found: Dict[str, int]) -> None:
        self._found = found
        self.names = list(found)

    def __getitem__(self, name: str) -> int:
        if name not in self._found:
            raise ValueError(name + " : no such metrics")
        return self._found[name]


class Model:
    """A model: a real linear map of its input, so that outputs depend on it."""

    def __init__(self, filename: str) -> None:
        faking.trip("load")
        with open(filename, "rb") as file:
            told = json.loads(_unpack(file.read()).decode("utf-8"))
        if told.get("fake") != "fbz":
            raise ValueError("Unable to parse model.")
        self._software = told.get("software", [])
        self.layers = [_Layer("input", _InputParameters())]
        self.layers += [_Layer(name, _Parameters()) for name in told["layers"]]
        self.input_shape = list(told["input_shape"])
        self.output_shape = [1, 1, told["units"]]
        shape = (int(np.prod(self.input_shape)), told["units"])
        self._weights = np.random.RandomState(3).randint(-3, 4, size=shape)
        self._device: Optional[HardwareDevice] = None
        self._clocks = 0

    @property
    def sequences(self) -> List[_Sequence]:
        """Return what runs where, in the order of the layers; the input layer is in none."""
        found: List[_Sequence] = []
        for layer in self.layers[1:]:
            on_chip = self._device is not None and layer.name not in self._software
            found.append(_Sequence(BackendType.Hardware if on_chip else BackendType.Software, [layer]))
        return found

    @property
    def metrics(self) -> _Metrics:
        """Return the counters of the last inference."""
        if self._device is None or faking.settings().get("no_clk"):
            return _Metrics({"inference_frames": 1})
        return _Metrics({"inference_frames": 1, "inference_clk": self._clocks})

    def map(self, device: Any, hw_only: bool = False, mode: MapMode = MapMode.AllNps) -> None:
        """Place the layers."""
        if not isinstance(mode, MapMode):
            raise TypeError("incompatible function arguments.")
        if hw_only and self._software:
            raise RuntimeError("Cannot map the model in a single hardware sequence")
        self._device = device

    def forward(self, inputs: Any, batch_size: int = 0) -> Any:
        """Compute."""
        if list(inputs.shape[1:]) != self.input_shape:
            raise ValueError("Input shape must be (N,...)")
        if inputs.dtype != np.uint8:
            raise ValueError("Unsupported input type {}. Input type should be uint8.".format(inputs.dtype))
        if self._device is not None:
            if faking.trip("infer") == "timeout":
                raise RuntimeError("Timeout: hardware inference did not end")
            faking.delay()
        self._clocks = _CLOCKS * len(inputs)
        made = inputs.reshape(len(inputs), -1).astype(np.int32) @ self._weights
        return made.astype(np.int32).reshape([len(inputs)] + self.output_shape)


def _unpack(data: bytes) -> bytes:
    """Read a Snappy stream of literals."""
    length = shift = at = 0
    while True:
        byte = data[at]
        length, shift, at = length | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            break
    made = b""
    while len(made) < length:
        size = data[at + 1] + 1
        made += data[at + 2 : at + 2 + size]
        at += 2 + size
    return made


faking.trip("import")
