"""What is to be measured: the options of `hostctl run`, checked before anything starts, and their cross product."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from farm.v1 import board_pb2

from hostctl.errors import DeviceError, UsageError
from hostctl.models.count import detect_format

SCENARIOS = ("latency", "throughput")
PRECISIONS = ("float32", "float16", "bfloat16", "int8")
RUNTIME_ORDER: Mapping[str, tuple[str, ...]] = {
    "onnx": ("onnxruntime", "openvino"),
    "tflite": ("litert", "openvino"),
    "openvino": ("openvino",),
}
"""Which runtime a format is run with where the user names none: the first of these that the board has."""
LEAST_DURATION_S = 0.01
LONGEST_DURATION_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model file on this machine and its format in the protocol's words."""

    path: Path
    format: str

    @property
    def name(self) -> str:
        """The name it gets in results."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Configuration:
    """One line of a result table. `precision` "" runs the file as it is, `batch` None with the file's own batch."""

    model: ModelChoice
    runtime: str
    precision: str
    batch: int | None
    scenario: str

    def __str__(self) -> str:
        """Name it for people."""
        parts = [self.model.name, self.runtime, self.precision, self.scenario]
        if self.batch is not None:
            parts.append(f"batch {self.batch}")
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything `hostctl run` was asked for. Raises UsageError for what cannot be measured.

    runtimes      () takes the default of each model's format
    batches       (None,) leaves the files' own
    idle_s        length of each idle window, before and after; 0 measures no idle power
    meter         name of a meter; None takes the device's
    ops_per_inference  given by hand, None counts them
    in_flight     for throughput, None takes the runtime's optimum
    options       further options of the runtime, as they are
    shapes        input name → sizes, for inputs with open dimensions
    """

    models: tuple[ModelChoice, ...]
    runtimes: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("",)
    batches: tuple[int | None, ...] = (None,)
    scenarios: tuple[str, ...] = ("latency",)
    duration_s: float = 10.0
    warmup_s: float = 1.0
    idle_s: float = 5.0
    min_requests: int = 10
    meter: str | None = None
    ops_per_inference: float | None = None
    threads: int | None = None
    streams: int | None = None
    in_flight: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.models:
            raise UsageError("There is no model to measure; name one with --model FILE.")
        _check_span("--duration", self.duration_s, LEAST_DURATION_S)
        _check_span("--warmup", self.warmup_s, 0.0)
        _check_span("--idle", self.idle_s, 0.0)
        _check_words("--scenario", self.scenarios, SCENARIOS)
        _check_words("--precision", [word for word in self.precisions if word], PRECISIONS)
        if self.in_flight is not None and "throughput" not in self.scenarios:
            raise UsageError("--in-flight is for --scenario throughput; latency has one request in flight.")

    def load_options(self, configuration: Configuration) -> dict[str, str]:
        """Return the runtime's options for one configuration, as LoadModel takes them."""
        named = {"threads": self.threads, "streams": self.streams}
        if configuration.scenario == "throughput":
            named["in_flight"] = self.in_flight
        return {
            **{key: str(value) for key, value in named.items() if value is not None},
            "scenario": configuration.scenario,
            **{f"shape.{name}": sizes for name, sizes in self.shapes.items()},
            **self.options,
        }

    def configurations(self, runtimes: Sequence[board_pb2.RuntimeInfo]) -> list[Configuration]:
        """Return the cross product, for a board with these runtimes.

        Raises UsageError for a runtime the board does not know and DeviceError for one it cannot run.
        """
        found = []
        for model in self.models:
            chosen = [named_runtime(name, model, runtimes) for name in self.runtimes]
            for runtime, precision, batch, scenario in itertools.product(
                chosen or [default_runtime(model, runtimes)], self.precisions, self.batches, self.scenarios
            ):
                found.append(Configuration(model, runtime, precision, batch, scenario))
        return found


def model_choice(path: Path) -> ModelChoice:
    """Return a model file with its format. Raises ModelFileError if it is missing, empty or of no known format."""
    suffix = path.suffix.lower()
    if suffix in (".xml", ".zip") and path.is_file():
        return ModelChoice(path, "openvino")
    found = detect_format(path)
    if found is None:
        raise UsageError(
            f"The format of '{path}' is not known; give an ONNX (.onnx), a TFLite (.tflite) or an OpenVINO file "
            "(.xml beside its .bin)."
        )
    return ModelChoice(path, found)


def default_runtime(model: ModelChoice, runtimes: Iterable[board_pb2.RuntimeInfo]) -> str:
    """Return the runtime for a format. Raises DeviceError with the reasons if the board has none."""
    known = {runtime.name: runtime for runtime in runtimes}
    order = [*RUNTIME_ORDER.get(model.format, ()), *sorted(known)]
    able = [name for name in order if name in known and model.format in known[name].formats]
    for name in able:
        if known[name].available:
            return name
    reasons = " ".join(dict.fromkeys(f"{name}: {known[name].reason}" for name in able))
    raise DeviceError(
        f"The device has no runtime for '{model.path}' ({model.format}). {reasons or 'None of its runtimes takes it.'}",
        reason="RUNTIME_UNAVAILABLE",
    )


def named_runtime(name: str, model: ModelChoice, runtimes: Iterable[board_pb2.RuntimeInfo]) -> str:
    """Return the runtime the user asked for, if the board can run this model with it."""
    known = {runtime.name: runtime for runtime in runtimes}
    if name not in known:
        raise UsageError(f"The device has no runtime '{name}'; {nearest(name, known)}")
    runtime = known[name]
    if not runtime.available:
        raise DeviceError(f"The device cannot run {name}: {runtime.reason}", reason="RUNTIME_UNAVAILABLE")
    if model.format not in runtime.formats:
        raise UsageError(
            f"{name} does not take {model.format} files such as '{model.path}'; it takes "
            f"{', '.join(runtime.formats)}."
        )
    return name


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?", or the list of what there is."""
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.7)
    return f"did you mean '{close[0]}'?" if close else f"it has {', '.join(names) or 'none'}."


def _check_span(option: str, seconds: float, least_s: float) -> None:
    if not least_s <= seconds <= LONGEST_DURATION_S:
        raise UsageError(
            f"{option} must be from {least_s:g} s to {LONGEST_DURATION_S / 3600:g} h, not {seconds:g} s."
        )


def _check_words(option: str, words: Sequence[str], known: Sequence[str]) -> None:
    if not words and option == "--scenario":
        raise UsageError(f"{option} names nothing; use {' or '.join(known)}.")
    for word in words:
        if word not in known:
            raise UsageError(f"{option} '{word}' is not known; use {', '.join(known)}.")
