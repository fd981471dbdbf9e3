"""ONNX Runtime and its execution providers. Source: https://onnxruntime.ai/docs/api/python/ and the pages of its providers."""

import os
import tempfile
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

from targets.errors import OptionInvalid
from targets.formats import onnx_file
from targets.options import LoadOptions, resolve_shapes
from targets.process import thread_ids, usable_cores
from targets.runner import Runner
from targets.runners.parts.onnxruntime import plugins as ort_plugins
from targets.runners.parts.onnxruntime import precision as ort_precision
from targets.runners.parts.onnxruntime import session as ort_session
from targets.runners.parts.onnxruntime.assignment import Profile, recorded
from targets.runners.parts.onnxruntime.providers import (
    CPU,
    PREFIX,
    PROVIDERS,
    choose,
    device_name,
    provider_options,
)
from targets.runners.parts.vendor import import_vendor
from targets.tensors import ModelSpec, Tensors, TensorSpec, random_inputs, unique_names

_DTYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "bfloat16": "bfloat16", "bool": "bool",
    "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64",
    "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64",
}  # fmt: skip
_CUDA_MEMORY = ("CUDAExecutionProvider", "TensorrtExecutionProvider")
# The optimiser names the casts by which it runs float16 operators that the CPU provider lacks in float32.
_FLOAT32_CAST = "InsertedPrecisionFreeCast_"


class OnnxRuntimeRunner(Runner):
    """One InferenceSession; ``run`` is thread-safe, so every slot calls the same session from its own thread."""

    name = "onnxruntime"
    package = "onnxruntime"
    formats = ("onnx",)
    precisions = ("float32", "float16", "bfloat16", "int8")
    options = {
        "provider": "execution provider, for example CUDAExecutionProvider; CPU otherwise",
        "inter_op_threads": "threads across operators, with execution_mode=parallel",
        "execution_mode": "sequential or parallel",
        "graph_optimization": "disabled, basic, extended or all",
        "spinning": "1 or 0: whether idle threads spin, which costs power",
        "strict": "1 refuses a model of which the provider cannot run every node",
        "io_binding": "1 keeps inputs and outputs in the memory of an NVIDIA GPU, so that times are without copies",
        "tf32": "1 lets an NVIDIA GPU compute float32 in TensorFloat-32, off by default",
    }

    def __init__(self) -> None:
        super().__init__()
        self._session: Any = None
        self._names: List[str] = []
        self._on_device: Optional[Tuple[str, int]] = None  # where inputs and outputs stay
        self._bound: Dict[int, Tuple[Any, List[Any]]] = {}

    @classmethod
    def version(cls) -> str:
        return str(cls._vendor().__version__)

    @classmethod
    def _vendor(cls) -> Any:
        return import_vendor(
            cls.name,
            "ONNX Runtime",
            cls.package,
            ["onnxruntime"],
            ", or the flavour of the accelerator: onnxruntime-gpu (CUDA, TensorRT), onnxruntime-openvino, "
            "onnxruntime-qnn, onnxruntime-directml, AMD's onnxruntime-vitisai",
        )

    def known_options(self, options: LoadOptions) -> List[str]:
        """The options above, and the chosen provider's own, which provider_options checks."""
        return list(self.options) + [key for key in options.values if key.startswith(PREFIX)]

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        ort = self._vendor()
        of_file = onnx_file.read(path).precision
        available = ort.get_available_providers() + ort_plugins.found(ort)
        provider = choose(options, available, getattr(ort, "get_all_providers", list)())
        plan = ort_precision.plan(provider, of_file, options.precision, provider_options(provider, options))
        self._choose_memory(options, provider)
        tf32 = ort_session.choose_tf32(provider, options, plan.precision)
        settings = ort_session.settings_of(ort, options, provider)
        before = thread_ids()
        spec, counts = self._start(ort, path, settings, provider, plan.options, options)
        threads = ort_session.threads_of(settings, before, provider, options)
        self.effective.update(
            provider=provider, device=device_name(provider), threads=str(threads), package=_flavour()
        )
        self._judge_assignment(provider, counts, bool(options.flag("strict")))
        if self.effective["provider"] == CPU:
            self._read_back_precision(ort, path, of_file)
        else:
            self._read_back_options(provider, plan, tf32)
        self.optimal_in_flight = self._optimum(provider, threads, options)
        return spec

    def _start(
        self,
        ort: Any,
        path: str,
        settings: Any,
        provider: str,
        told: Dict[str, str],
        options: LoadOptions,
    ) -> Tuple[ModelSpec, Dict[str, int]]:
        """Start the session; return what it takes and, unless it is the CPU's, how many nodes each provider runs."""
        tells = hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")
        profile = None if provider == CPU or tells else Profile(settings)
        try:
            self._session = ort_session.start(ort, path, settings, provider, told)
            self._names = [output.name for output in self._session.get_outputs()]
            spec = self._spec(options)
            if profile is None:
                return spec, recorded(self._session) or {}
            feeds = random_inputs(spec.inputs, 0)
            return spec, profile.counts(self._session, lambda: self._session.run(self._names, feeds))
        finally:
            if profile is not None:
                profile.close()

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        if self._on_device is not None:
            return self._bind_on_device(slot, inputs, *self._on_device)
        return partial(self._session.run, self._names, dict(inputs))

    def _bind_on_device(self, slot: int, inputs: Tensors, kind: str, number: int) -> Callable[[], Any]:
        """Copy the inputs to the device now; run_with_iobinding then copies nothing, and ends when the device is done."""
        ort = self._vendor()
        binding = self._session.io_binding()
        values = [ort.OrtValue.ortvalue_from_numpy(array, kind, number) for array in inputs.values()]
        for name, value in zip(inputs, values):
            binding.bind_ortvalue_input(name, value)
        for name in self._names:
            binding.bind_output(name, kind, number)
        self._bound[slot] = (binding, values)  # the binding holds pointers into the values
        return partial(self._session.run_with_iobinding, binding)

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        arrays = returned if self._on_device is None else self._bound[slot][0].copy_outputs_to_cpu()
        return {spec.name: array for spec, array in zip(self.loaded().outputs, arrays)}

    def _close(self) -> None:
        self._bound = {}
        self._session = None

    def _choose_memory(self, options: LoadOptions, provider: str) -> None:
        self._on_device = None
        if not options.flag("io_binding"):
            return
        if provider not in _CUDA_MEMORY:
            raise OptionInvalid(
                "io_binding=1 is for {}; {} reads the inputs where they are.".format(
                    " and ".join(_CUDA_MEMORY), provider
                ),
                option="io_binding",
                value="1",
            )
        self._on_device = ("cuda", options.integer(PREFIX + "device_id", minimum=0) or 0)
        self.effective["io_binding"] = "1"

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

    def _judge_assignment(self, provider: str, counts: Dict[str, int], strict: bool) -> None:
        """Tell which nodes another provider runs than the one that was asked for (it happens silently)."""
        if provider == CPU or not counts:
            return
        self.effective["nodes"] = ",".join("{}:{}".format(ep, n) for ep, n in sorted(counts.items()))
        elsewhere, total = sum(counts.values()) - counts.get(provider, 0), sum(counts.values())
        if not elsewhere:
            return
        share = "{} of {} nodes".format(elsewhere, total)
        if strict:
            raise ort_session.strict_refused(provider, share)
        self.fallbacks.append("{} requested, but {} run on the CPU.".format(provider, share))
        if elsewhere == total:
            self.effective.update(provider=CPU, device=device_name(CPU))

    def _read_back_options(self, provider: str, plan: ort_precision.Plan, tf32: Optional[str]) -> None:
        """Record the options in effect. What the provider does not tell again is listed as unconfirmed."""
        got = ort_session.read_back(self._session, provider, plan.options)
        self.effective.update({PREFIX + key: got.get(key, value) for key, value in plan.options.items()})
        unconfirmed = sorted(PREFIX + key for key in plan.options if key not in got)
        if unconfirmed:
            self.effective["unconfirmed"] = ",".join(unconfirmed)
        self.effective["precision"] = plan.precision
        if tf32 is not None:
            self.effective["tf32"] = tf32
        self.fallbacks.extend(ort_session.differences(provider, plan.options, got))
        if plan.fallback is not None:
            self.fallbacks.append(plan.fallback)

    def _read_back_precision(self, ort: Any, path: str, of_file: str) -> None:
        self.effective["precision"] = of_file
        if of_file != "float16":
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
            ort.InferenceSession(path, settings, providers=[CPU])
            names = onnx_file.read(settings.optimized_model_filepath).node_names
        return sum(count for name, count in names.items() if name.startswith(_FLOAT32_CAST))

    def _optimum(self, provider: str, threads: int, options: LoadOptions) -> int:
        """Return how many requests in flight suit the provider; ONNX Runtime itself names no number."""
        streams = options.integer(PREFIX + "num_streams")
        if streams is not None:
            return streams
        if provider in PROVIDERS and PROVIDERS[provider].on_cpu:
            return max(1, usable_cores() // threads)
        return 2  # one computes on the device while the inputs of the next are prepared


def _flavour() -> str:
    """Return the name of the installed package; versions before 1.11 do not tell theirs."""
    try:
        from onnxruntime.capi.build_and_package_info import package_name

        return str(package_name)
    except ImportError:
        return "onnxruntime"
