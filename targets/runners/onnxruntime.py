"""ONNX Runtime. Source: https://onnxruntime.ai/docs/api/python/ and onnxruntime_session_options_config_keys.h."""

import os
import tempfile
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from targets.errors import ModelInvalid, OptionInvalid, PrecisionUnsupported, RuntimeUnavailable
from targets.formats import onnx_file
from targets.options import LoadOptions, nearest, resolve_shapes
from targets.process import thread_ids, usable_cores
from targets.runner import Runner, one_line
from targets.tensors import ModelSpec, Tensors, TensorSpec, unique_names

_DTYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "bfloat16": "bfloat16", "bool": "bool",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64",
    "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64",
}  # fmt: skip
_CPU = "CPUExecutionProvider"
_OPTIMIZATIONS = {
    "disabled": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}  # fmt: skip
# The optimiser names the casts by which it runs float16 operators that the CPU provider lacks in float32.
_FLOAT32_CAST = "InsertedPrecisionFreeCast_"


class OnnxRuntimeRunner(Runner):
    """One InferenceSession; ``run`` is thread-safe, so every slot calls the same session from its own thread."""

    name = "onnxruntime"
    package = "onnxruntime"
    formats = ("onnx",)
    precisions = ("float32", "float16", "int8")
    options = {
        "provider": "execution provider, for example CUDAExecutionProvider; CPU otherwise",
        "inter_op_threads": "threads across operators, with execution_mode=parallel",
        "execution_mode": "sequential or parallel",
        "graph_optimization": "disabled, basic, extended or all",
        "spinning": "1 or 0: whether idle threads spin, which costs power",
    }

    def __init__(self) -> None:
        super().__init__()
        self._session: Any = None
        self._names: List[str] = []

    @classmethod
    def version(cls) -> str:
        try:
            import onnxruntime

            return str(onnxruntime.__version__)
        except Exception as error:  # a broken native library raises more than ImportError
            raise RuntimeUnavailable(
                "ONNX Runtime cannot be imported ({}) Install it for this interpreter with "
                "'pip install {}'.".format(one_line(error), cls.package),
                runtime=cls.name,
                package=cls.package,
            )

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        import onnxruntime

        facts = onnx_file.read(path)
        self._check_precision(facts.precision, options.precision)
        provider = self._provider(options, onnxruntime.get_available_providers())
        settings = self._settings(onnxruntime, options)
        before = thread_ids()
        self._session = self._create(onnxruntime, path, settings, provider)
        threads = self._threads(settings, before)
        self._names = [output.name for output in self._session.get_outputs()]
        spec = self._spec(options)
        self.effective.update(provider=self._session.get_providers()[0], threads=str(threads))
        self.effective.update(device=self.effective["provider"].replace("ExecutionProvider", "").lower())
        self._check_assignment(provider)
        self._read_back_precision(onnxruntime, path, facts.precision)
        self.optimal_in_flight = max(1, usable_cores() // threads)
        return spec

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        return partial(self._session.run, self._names, dict(inputs))

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        return {spec.name: array for spec, array in zip(self.loaded().outputs, returned)}

    def _close(self) -> None:
        self._session = None

    def _check_precision(self, of_file: str, asked: Optional[str]) -> None:
        if asked is not None and asked != of_file:
            raise PrecisionUnsupported(
                "ONNX Runtime runs a file in the precision it has: this one is {}, not {}. Convert or quantise the "
                "model first.".format(of_file, asked),
                precision=asked,
                supported=[of_file],
            )

    def _provider(self, options: LoadOptions, available: List[str]) -> str:
        device = options.text("device")
        name = options.text("provider")
        if device is not None and name is not None:
            raise OptionInvalid("Give device or provider to ONNX Runtime, not both.", option="provider")
        by_device = {entry.replace("ExecutionProvider", "").lower(): entry for entry in available}
        if device is not None:
            if device.lower() not in by_device:
                raise OptionInvalid(
                    "This ONNX Runtime has no device '{}'; it has {}.".format(
                        device, ", ".join(sorted(by_device))
                    ),
                    option="device",
                    value=device,
                )
            return by_device[device.lower()]
        if name is not None and name not in available:
            raise OptionInvalid(
                "This ONNX Runtime has no provider '{}'{} It has {}.".format(
                    name, nearest(name, available) or ".", ", ".join(available)
                ),
                option="provider",
                value=name,
            )
        return name or _CPU

    def _settings(self, ort: Any, options: LoadOptions) -> Any:
        settings = ort.SessionOptions()
        settings.log_severity_level = 3  # errors only; they also come as exceptions
        threads = options.integer("threads")
        if threads is None and options.scenario == "throughput":
            threads = 1  # requests run side by side instead; measured faster than sharing the threads of each
        if threads is not None:
            settings.intra_op_num_threads = threads
        inter = options.integer("inter_op_threads")
        if inter is not None:
            settings.inter_op_num_threads = inter
        mode = options.choice("execution_mode", ("sequential", "parallel"))
        if mode is not None:
            settings.execution_mode = getattr(ort.ExecutionMode, "ORT_" + mode.upper())
        level = options.choice("graph_optimization", sorted(_OPTIMIZATIONS))
        if level is not None:
            settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _OPTIMIZATIONS[level])
        spinning = options.flag("spinning")
        if spinning is not None:
            settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
        settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        return settings

    def _create(self, ort: Any, path: str, settings: Any, provider: str) -> Any:
        try:
            return ort.InferenceSession(path, settings, providers=[provider])
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            raise ModelInvalid(
                "ONNX Runtime cannot build the model {}: {}".format(path, one_line(error)), path=path
            )

    def _threads(self, settings: Any, before: Set[str]) -> int:
        """Return the threads that compute: what was set, else those the session started and its caller."""
        if settings.intra_op_num_threads:
            return int(settings.intra_op_num_threads)
        return len(thread_ids() - before) + 1 if before else usable_cores()

    def _spec(self, options: LoadOptions) -> ModelSpec:
        symbols: Dict[str, int] = {}
        declared = self._session.get_inputs()
        dims = [self._dims(port) for port in declared]
        shapes = resolve_shapes([(port.name, dim) for port, dim in zip(declared, dims)], options)
        for port, shape in zip(declared, shapes):
            symbols.update(
                {name: size for name, size in zip(port.shape, shape) if isinstance(name, str) and size != -1}
            )
        inputs = [TensorSpec(p.name, self._dtype(p), shape) for p, shape in zip(declared, shapes)]
        ports = self._session.get_outputs()
        outputs = [
            TensorSpec(name, self._dtype(port), self._dims(port, symbols))
            for name, port in zip(unique_names(self._names), ports)
        ]
        return ModelSpec(inputs, outputs)

    def _dims(self, port: Any, symbols: Optional[Dict[str, int]] = None) -> Tuple[int, ...]:
        known = symbols or {}
        return tuple(d if isinstance(d, int) else known.get(d, -1) for d in port.shape)

    def _dtype(self, port: Any) -> str:
        """Return the numpy name of 'tensor(float)'; anything else is passed on for TensorSpec to refuse."""
        text = str(port.type)
        inner = text[7:-1] if text.startswith("tensor(") else text
        return _DTYPES.get(inner, inner)

    def _check_assignment(self, provider: str) -> None:
        """Tell which nodes the CPU runs although another provider was asked for (it happens silently)."""
        if provider == _CPU:
            return
        if provider not in self._session.get_providers():
            self.fallbacks.append("{} requested, but it could not be started.".format(provider))
        counts: Dict[str, int] = {}
        tell = getattr(self._session, "get_provider_graph_assignment_info", None)  # since 1.23
        for part in (tell() if tell is not None else None) or []:
            counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
        if not counts:
            return
        self.effective["nodes"] = ",".join("{}:{}".format(ep, n) for ep, n in sorted(counts.items()))
        on_cpu, total = counts.get(_CPU, 0), sum(counts.values())
        if on_cpu:
            self.fallbacks.append(
                "{} requested, but {} of {} nodes run on the CPU.".format(provider, on_cpu, total)
            )
        if on_cpu and on_cpu == total:
            self.effective.update(provider=_CPU, device="cpu")

    def _read_back_precision(self, ort: Any, path: str, of_file: str) -> None:
        self.effective["precision"] = of_file
        if of_file != "float16" or self.effective["provider"] != _CPU:
            return
        casts = self._inserted_casts(ort, path)
        if casts:
            self.effective["precision"] = "float32"
            self.fallbacks.append(
                "The file is float16, but the CPU provider executes float32: it inserted {} casts.".format(
                    casts
                )
            )

    def _inserted_casts(self, ort: Any, path: str) -> int:
        """Return how many casts to float32 the optimiser inserted, from the graph it can write out."""
        with tempfile.TemporaryDirectory() as folder:
            settings = ort.SessionOptions()
            settings.log_severity_level = 3
            settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
            settings.optimized_model_filepath = os.path.join(folder, "optimized.onnx")
            ort.InferenceSession(path, settings, providers=[_CPU])
            names = onnx_file.read(settings.optimized_model_filepath).node_names
        return sum(count for name, count in names.items() if name.startswith(_FLOAT32_CAST))
