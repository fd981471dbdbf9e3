"""What is to be measured: the options of `hostctl run`, checked before anything starts, and their cross product."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from farm.v1 import board_pb2

from hostctl.errors import UsageError
from hostctl.rules import MLPERF, RULE_SETS
from hostctl.session.modelchoice import ModelChoice, default_runtime, named_runtime
from power.reduction.idle import IdleModel

SCENARIOS = ("latency", "throughput")
PRECISIONS = ("float32", "float16", "bfloat16", "int8")
ALIGNMENTS = ("auto", "clock", "edge", "pattern")
IDLE_MODELS = ("before", "after", "linear", "fixed")
LOADED = "loaded"
"""The idle state that net energy is above: the model is loaded and nothing runs."""
LEAST_DURATION_S = 0.01
LONGEST_DURATION_S = 24 * 3600.0
LONGEST_SETTLE_S = 1.0
SETTLE_FRACTION = 0.2
"""Of an idle window's length, spent before it for caches and clocks to come to rest."""


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


@dataclass(frozen=True, slots=True)
class StateChoice:
    """An idle state that net energy is held against besides "loaded". Without a power it is the one that farm.toml states
    for the device, else it is measured before the model is loaded. `u_w` is expanded (k = 2), None: unknown."""

    name: str
    power_w: float | None = None
    u_w: float | None = None


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
    align         how the window is placed in the trace: "clock" by comparing clocks, "edge" by the spare channel, "pattern" by
                  busy spells before and after; "auto" is edge where the meter has such a channel, else clock
    idle_model    what the idle power during the run is taken to be; "fixed" takes idle_w and measures none
    idle_u_w      expanded uncertainty (k = 2) of idle_w; None: unknown
    settle_s      rest before each idle window; None takes a fifth of it, at most 1 s, or what the rules ask for
    rules         rule set that is looked at besides the rules of validity
    accepts_fallback  a runtime that does something else than was asked for, or than the file says, does not make a result invalid
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
    align: str = "auto"
    idle_model: IdleModel = "linear"
    idle_w: float | None = None
    idle_u_w: float | None = None
    idle_states: tuple[StateChoice, ...] = ()
    settle_s: float | None = None
    rules: str = "default"
    accepts_fallback: bool = False

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
        _check_words("--align", [self.align], ALIGNMENTS)
        _check_words("--rules", [self.rules], RULE_SETS)
        if self.settle_s is not None:
            _check_span("--settle", self.settle_s, 0.0)
        self._check_idle()

    def _check_idle(self) -> None:
        _check_words("--idle-model", [self.idle_model], IDLE_MODELS)
        if (self.idle_model == "fixed") != (self.idle_w is not None):
            raise UsageError("--idle-model fixed and --idle-w WATTS belong together; give both or neither.")
        if self.idle_u_w is not None and self.idle_w is None:
            raise UsageError("--idle-u is the uncertainty of --idle-w, which is not given.")
        if self.idle_model in ("before", "after") and self.idle_s == 0.0:
            raise UsageError(
                f"--idle-model {self.idle_model} needs an idle window; give --idle longer than 0s."
            )
        names = [state.name for state in self.idle_states]
        if LOADED in names or len(set(names)) < len(names):
            raise UsageError(
                f"Idle states need names of their own, none twice, and '{LOADED}' is the one that is measured anyway."
            )

    @property
    def measures_idle(self) -> bool:
        """Whether there are idle windows."""
        return self.idle_s > 0.0 and self.idle_model != "fixed"

    @property
    def rest_s(self) -> float:
        """Rest before each idle window, or before and after the run where there is none."""
        if self.settle_s is not None:
            return self.settle_s
        return (
            MLPERF.settle_s
            if self.rules == "mlperf"
            else min(LONGEST_SETTLE_S, SETTLE_FRACTION * self.idle_s)
        )

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
