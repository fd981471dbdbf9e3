"""What is known of one measurement so far: filled step by step, so that a run that breaks keeps what it has."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from farm.v1 import device_service_pb2 as pb
from farm.v1 import model_pb2

from hostctl.calls import BenchmarkRun
from hostctl.fidelity import Fidelity
from hostctl.inventory import Device, MeterConfig
from hostctl.rules import Inside, Ranging
from hostctl.session.plan import Configuration, Plan
from hostctl.session.windows import Span, Windows
from power.align.pattern import Pattern
from power.align.relation import Alignment
from power.clock import ClockFit, ClockProbe
from power.meter import Capabilities, Identity
from power.reduction.flags import Flag
from power.reduction.report import EnergyReport
from power.trace import Trace


@dataclass(frozen=True)
class Recording:
    """What a meter recorded besides the run itself.

    span   the part that counts, on the host's clock; None where it is `run`, a timed loop of the board
    name   of the idle state, "" for a ranging run
    """

    trace: Trace
    capabilities: Capabilities
    range_text: str | None
    span: Span | None = None
    run: BenchmarkRun | None = None
    name: str = ""


@dataclass
class Record:
    """One configuration on its way. None is what has not happened (yet).

    model         the `model` object of the result
    meter_config  what farm.toml says of the meter; None for one that needs no entry
    capabilities  what the meter says of its readings, re-read when it was stopped
    meter_flag    what the meter says of its last trace, such as that it went beyond its certificate
    alignment     how the window was placed in the trace; `unaligned`: why the spare channel could not tell
    bare          what was recorded before the model was loaded, for the idle state of that name
    ranging       the run that chose the meter's ranges; None where there was none
    shift_s       how far marks in the trace moved the window from where the clocks would have put it
    inside        the readings strictly inside the window
    conditions    the board's state as each idle window began
    own_cpu_ns    processor time of hostctl in the window, where the board is this machine; else 0
    broken        code and sentence of what broke the run; None if nothing did
    """

    plan: Plan
    configuration: Configuration
    device: Device
    info: pb.GetInfoResponse
    model: dict[str, Any]
    file: Path
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    environment: dict[str, Any] = field(default_factory=dict)
    loaded: model_pb2.LoadedModel | None = None
    probes: list[ClockProbe] = field(default_factory=list)
    clock: ClockFit | None = None
    meter_name: str | None = None
    meter_driver: str | None = None
    meter_config: MeterConfig | None = None
    identity: Identity | None = None
    range_text: str | None = None
    capabilities: Capabilities | None = None
    meter_flag: Flag | None = None
    patterns: list[Pattern] = field(default_factory=list)
    alignment: Alignment | None = None
    shift_s: float | None = None
    unaligned: str | None = None
    bare: Recording | None = None
    ranging: Recording | None = None
    ranged: Ranging | None = None
    inside: Inside | None = None
    conditions: dict[str, Any] = field(default_factory=dict)
    idle_before: Span | None = None
    idle_after: Span | None = None
    run: BenchmarkRun | None = None
    own_cpu_ns: int = 0
    trace: Trace | None = None
    windows: Windows | None = None
    report: EnergyReport | None = None
    fidelity: Fidelity | None = None
    broken: tuple[str, str] | None = None

    def break_off(self, code: str, sentence: str) -> None:
        """Note why the run broke; the first reason stands."""
        if self.broken is None:
            self.broken = (code, sentence)
