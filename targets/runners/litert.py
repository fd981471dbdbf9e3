"""LiteRT (TensorFlow Lite) through its Interpreter, on the CPU or through a delegate.

The older tflite_runtime package is taken where that is what there is. Source: https://ai.google.dev/edge/litert.
"""

from typing import Optional

from targets.errors import OptionInvalid
from targets.formats import tflite_file
from targets.formats.tflite_file import TfliteFacts
from targets.options import LoadOptions
from targets.process import usable_cores
from targets.runners.parts.tflite import delegates
from targets.runners.parts.tflite.interpreter import InterpreterRunner, Partition
from targets.runners.parts.vendor import keep_precision
from targets.tensors import ModelSpec


class LiteRtRunner(InterpreterRunner):
    """A file on the kernels for the CPU, with the operators that a delegate takes on that delegate's device."""

    name = "litert"
    title = "LiteRT"
    package = "ai-edge-litert"
    otherwise = "boards with an old Python: tflite-runtime"
    precisions = ("float32", "float16", "int8")
    options = {
        "xnnpack": "1 or 0: the XNNPACK kernels, on by default",
        "delegate": "vx, ethos-u, neutron, gpu, or the shared library of another external delegate",
        "delegate_options": "its options, key:value with commas between",
        "delegate_cache": "folder in which a delegate keeps what it compiles (vx, ethos-u)",
    }

    def __init__(self) -> None:
        super().__init__()
        self._choice: Optional[delegates.Choice] = None

    @classmethod
    def version(cls) -> str:
        return str(cls.vendor().__version__)

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        facts = tflite_file.read(path)
        choice = self._choice = delegates.choose(path, facts, options)
        if choice is None:
            tflite_file.refuse_compiled(facts)
        keep_precision(self.title, facts.precision, options.precision)
        self._check_device(options)
        threads = options.integer("threads") or 1  # 1 is the vendor's default; said aloud so that it is known
        self._arguments = {"num_threads": threads}
        self._choose_kernels(options)
        self.effective.update(device="cpu", threads=str(threads))
        if choice is not None:
            self._delegates = [
                delegates.load(self.vendor_interpreter(), choice.library, choice.options, self.name)
            ]
        spec = self._start(path, options)
        weights = sorted(facts.weight_dtypes.items())  # int8 beside float32: quantised in its weights only
        self.effective["weights"] = ",".join("{}:{}".format(dtype, count) for dtype, count in weights)
        self._tell_precision(facts)
        # Whether a device gains from more requests than one its vendor does not tell.
        self.optimal_in_flight = 1 if choice is not None else max(1, usable_cores() // threads)
        return spec

    def _check_device(self, options: LoadOptions) -> None:
        device = options.text("device", "cpu")
        if str(device).lower() != "cpu":
            raise OptionInvalid(
                "LiteRT runs on the device 'cpu'; another one is driven by its delegate, for example delegate=vx.",
                option="device",
                value=device,
            )

    def _choose_kernels(self, options: LoadOptions) -> None:
        xnnpack = options.flag("xnnpack")
        self.effective["xnnpack"] = "0" if xnnpack is False else "1"
        if xnnpack is False:
            resolver = self.vendor_interpreter().OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            self._arguments["experimental_op_resolver_type"] = resolver

    def _delegated(self, parts: Optional[Partition]) -> None:
        choice = self._choice
        if choice is None:
            return
        self.effective.update(library=choice.library, delegate="none", ops="unknown", parts="unknown")
        if parts is not None:
            self.effective.update(ops=str(parts), parts=str(parts.parts))
            self._check_cache(choice, parts)
            if parts.taken < parts.total:
                self.fallbacks.append(
                    "The delegate {} was asked for, but it took {} of the {} operators of the main graph; the CPU runs "
                    "the others.".format(choice.name, parts.taken, parts.total)
                )
        if parts is None or parts.taken:
            self.effective.update(device=choice.name, delegate=self.requested["delegate"])

    def _check_cache(self, choice: delegates.Choice, parts: Partition) -> None:
        """The vx delegate keeps one file for a model and loads it for every part (delegate_main.cc, Delegate::Init)."""
        is_cached = choice.options.get("allowed_cache_mode") in ("true", "1")
        if choice.name == "vx" and parts.parts > 1 and is_cached:
            raise OptionInvalid(
                "The delegate vx took this model in {} parts, but its cache holds one; load the model without the "
                "cache.".format(parts.parts),
                option="delegate_cache",
            )

    def _tell_precision(self, facts: TfliteFacts) -> None:
        """Set the precision in effect. No delegate tells in what it computes floats, and float16 is common."""
        of_file, choice = facts.precision, self._choice
        if choice is None or self.effective["device"] == "cpu":
            got = "float32" if of_file == "float16" else of_file
            reason = "the CPU kernels compute in float32"
        else:
            of_device = choice.known.precision if choice.known is not None else None
            got = of_device or ("int8" if of_file == "int8" else "unknown")
            reason = "the delegate {} computes in {}".format(choice.name, got)
        self.effective["precision"] = got
        if got not in (of_file, "unknown"):
            held = "float16 weights" if of_file == "float16" else of_file
            self.fallbacks.append("The file holds {}, but {}.".format(held, reason))
