"""BrainChip Akida through the akida package of MetaTF: on a chip, or in the package's own software.

Source: Akida Execution Engine API reference, https://doc.brainchipinc.com/api_reference/akida_apis.html, and the package's
docstrings (2.19): Model, HardwareDevice, Statistics, MapMode, soc.ClockMode.
"""

import threading
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from targets.errors import InputInvalid, ModelInvalid, OptionInvalid, PrecisionUnsupported, RuntimeUnavailable
from targets.formats import akida_file
from targets.options import LoadOptions, resolve_shapes
from targets.process import thread_ids
from targets.runner import Runner, one_line
from targets.tensors import Array, ModelSpec, Tensors, TensorSpec, unique_names

_SOFTWARE = "software"
_MAP_MODES = {"all-nps": "AllNps", "hw-pr": "HwPr", "minimal": "Minimal"}
_CLOCK_MODES = {"performance": "Performance", "economy": "Economy", "low-power": "LowPower"}
_ON_CHIP = ("hw_only", "map_mode", "clock_mode", "clock_mhz")
_INPUT_DTYPES = ("uint8", "int8", "int16", "float32")


class AkidaRunner(Runner):
    """One Model, one request at a time: a chip holds one program, and the package computes with Python's lock held."""

    name = "akida"
    package = "akida"
    formats = ("akida",)
    compiler = "make it of a quantised Keras model with 'cnn2snn convert -m model.h5', or of ONNX with cnn2snn.convert()"
    precisions = ("int8",)
    options = {
        "hw_only": "1: the model must run on the chip in one sequence, else the load fails",
        "map_mode": "all-nps, hw-pr or minimal: how layers are spread over the chip",
        "clock_mode": "performance, economy or low-power",
        "clock_mhz": "clock of the chip in MHz, to tell its own time from the clocks it counts",
    }

    def __init__(self) -> None:
        super().__init__()
        self._model: Any = None
        self._device: Any = None  # None: software
        self._clock_mhz: Optional[int] = None
        self._largest: Optional[int] = None
        self._turn = threading.Lock()

    @classmethod
    def version(cls) -> str:
        try:
            return str(_vendor().__version__)
        except Exception as error:  # a broken native library raises more than ImportError
            raise RuntimeUnavailable(
                "Akida cannot be imported ({}) Install it for this interpreter, Python 3.12 or older, with "
                "'pip install akida'.".format(one_line(error)),
                runtime=cls.name,
                package=cls.package,
            )

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        akida_file.check(path)
        self._check_precision(options.precision)
        if options.integer("threads") is not None:
            raise OptionInvalid("Akida chooses its threads by itself; leave threads out.", option="threads")
        self._device = self._choose_device(options)
        input_dtype, output_dtype, threads = self._try_out(path)
        self._model = self._open(path)
        self.effective["precision"] = "int8"
        self._tell_weights()
        if self._device is None:
            self.effective.update(device=_SOFTWARE, threads=str(threads))
        else:
            self._map(path, options)
        return self._spec(options, input_dtype, output_dtype)

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        (array,) = inputs.values()
        if self._largest is not None and int(array.max()) > self._largest:
            raise InputInvalid(
                "The input '{}' holds {}, but this model takes values from 0 to {}; quantise the data to that.".format(
                    self.loaded().inputs[0].name, int(array.max()), self._largest
                ),
                field="data",
                name=self.loaded().inputs[0].name,
            )
        return partial(self._forward, array)

    def _forward(self, array: Array) -> Any:
        with self._turn:
            return self._model.forward(array)

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        return {self.loaded().outputs[0].name: returned}

    def _close(self) -> None:
        self._model = self._device = None

    def device_bytes(self) -> Optional[int]:
        return None if self._device is None else int(self._device.memory[0])  # in use now, most ever

    def device_time_ns(self, slot: int) -> Optional[int]:
        """The chip counts its clocks but does not tell their rate, which the option clock_mhz has to."""
        if self._device is None or self._clock_mhz is None or self._model is None:
            return None
        metrics = self._model.metrics
        if "inference_clk" not in metrics.names:
            return None
        return int(metrics["inference_clk"] * 1000 // self._clock_mhz)

    def _check_precision(self, asked: Optional[str]) -> None:
        if asked not in (None, "int8"):
            raise PrecisionUnsupported(
                "Akida computes in integers of 8 bits and fewer, so {} cannot be had; ask for int8 and quantise the "
                "model with quantizeml.".format(asked),
                precision=asked,
                supported=["int8"],
            )

    def _choose_device(self, options: LoadOptions) -> Any:
        """Return the chip asked for, else the first there is; None for software."""
        devices = list(_vendor().devices())
        asked = str(options.text("device", "0" if devices else _SOFTWARE))
        if asked == _SOFTWARE:
            for key in _ON_CHIP:
                if options.text(key) is not None:
                    raise OptionInvalid(
                        "The option {} is for a chip, but the model runs in software; leave it out, or set "
                        "device=0.".format(key),
                        option=key,
                    )
            return None
        if not asked.isdigit() or int(asked) >= len(devices):
            raise OptionInvalid(
                "There is no Akida device '{}' here; use one of {}. (Virtual devices only map, they cannot "
                "run.)".format(asked, ", ".join([_SOFTWARE, *map(str, range(len(devices)))])),
                option="device",
                value=asked,
            )
        return devices[int(asked)]

    def _open(self, path: str) -> Any:
        try:
            return _vendor().Model(path)
        except Exception as error:
            raise ModelInvalid("Akida cannot read the model {}: {}".format(path, one_line(error)), path=path)

    def _try_out(self, path: str) -> Tuple[str, str, int]:
        """Return the types of input and output, and the threads that compute: nothing but a run in software tells them.

        A model of its own is run, so that the first inference of the loaded one is still its first.
        """
        import numpy as np

        model, before = self._open(path), thread_ids()
        error: Optional[Exception] = None
        for dtype in _INPUT_DTYPES:
            try:
                returned = model.forward(np.zeros([1, *model.input_shape], dtype))
                return dtype, str(returned.dtype.name), len(thread_ids() - before) + 1
            except ValueError as refusal:  # "Unsupported input type"
                error = error or refusal
        raise ModelInvalid(
            "Akida cannot run the model {}: {}".format(path, one_line(error or ValueError("no input fits"))),
            path=path,
        )

    def _tell_weights(self) -> None:
        """Say how many layers have weights of how many bits: 'int8' is the family, 1 to 8 bits are what is stored."""
        counts: Dict[int, int] = {}
        for layer in self._model.layers:
            bits = _parameter(layer, "weights_bits")
            if bits is not None:
                counts[bits] = counts.get(bits, 0) + 1
        self.effective["weights"] = ",".join("int{}:{}".format(bits, n) for bits, n in sorted(counts.items()))

    def _map(self, path: str, options: LoadOptions) -> None:
        """Place the model on the chip, and tell which layers stayed behind."""
        akida = _vendor()
        mode = options.choice("map_mode", sorted(_MAP_MODES)) or "all-nps"
        hw_only = options.flag("hw_only") is True
        self._clock_mhz = options.integer("clock_mhz")
        self._set_clock(options)
        try:
            self._model.map(self._device, hw_only=hw_only, mode=getattr(akida.MapMode, _MAP_MODES[mode]))
        except Exception as error:
            raise ModelInvalid(
                "Akida cannot map the model {} onto {}: {}".format(path, self._device.desc, one_line(error)),
                path=path,
            )
        self.effective.update(
            device=str(options.text("device", "0")), device_name=str(self._device.desc), map_mode=mode
        )
        self._tell_layers(akida.BackendType.Hardware)

    def _set_clock(self, options: LoadOptions) -> None:
        mode = options.choice("clock_mode", sorted(_CLOCK_MODES))
        soc = self._device.soc
        if soc is None:
            if mode is not None:
                raise OptionInvalid(
                    "The device {} has no clock modes; leave clock_mode out.".format(self._device.desc),
                    option="clock_mode",
                    value=mode,
                )
            return
        if mode is not None:
            soc.clock_mode = getattr(_vendor().soc.ClockMode, _CLOCK_MODES[mode])
        names = {name: word for word, name in _CLOCK_MODES.items()}
        now = str(soc.clock_mode).rpartition(".")[2]
        self.effective["clock_mode"] = names.get(now, now)
        if mode not in (None, self.effective["clock_mode"]):
            self.fallbacks.append(
                "clock_mode={} requested, but the chip runs in {}.".format(mode, self.effective["clock_mode"])
            )

    def _tell_layers(self, hardware: Any) -> None:
        sequences = self._model.sequences
        on_chip = _layer_names([sequence for sequence in sequences if sequence.backend == hardware])
        behind = _layer_names([sequence for sequence in sequences if sequence.backend != hardware])
        self.effective["layers"] = "hardware:{},software:{}".format(len(on_chip), len(behind))
        if not behind:
            return
        self.fallbacks.append(
            "device={} requested, but {} of {} layers run in software: {}.".format(
                self.effective["device"], len(behind), len(on_chip) + len(behind), ", ".join(behind)
            )
        )
        if not on_chip:
            self.effective["device"] = _SOFTWARE

    def _spec(self, options: LoadOptions, input_dtype: str, output_dtype: str) -> ModelSpec:
        first, last = self._model.layers[0], self._model.layers[-1]
        name, out = unique_names([str(first.name), str(last.name)])
        (shape,) = resolve_shapes([(name, [-1, *self._model.input_shape])], options)
        bits = int(first.input_bits)
        self._largest = 2**bits - 1 if input_dtype == "uint8" and bits < 8 else None
        return ModelSpec(
            [TensorSpec(name, input_dtype, shape)],
            [TensorSpec(out, output_dtype, [shape[0], *self._model.output_shape])],
        )


def _vendor() -> Any:
    import akida

    return akida


def _parameter(layer: Any, name: str) -> Optional[int]:
    """Return a parameter of a layer, None where it has no such; the package raises ValueError then."""
    try:
        return int(getattr(layer.parameters, name))
    except (AttributeError, ValueError):
        return None


def _layer_names(sequences: Sequence[Any]) -> List[str]:
    return [
        str(layer.name)
        for sequence in sequences
        for each_pass in sequence.passes
        for layer in each_pass.layers
    ]
