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
from hostctl.inventory import Device
from hostctl.session.plan import Configuration, Plan
from hostctl.session.windows import Span, Windows
from power.clock import ClockFit, ClockProbe
from power.meter import Capabilities
from power.report import EnergyReport
from power.trace import Trace


@dataclass
class Record:
    """One configuration on its way. None is what has not happened (yet).

    model         the `model` object of the result
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
    capabilities: Capabilities | None = None
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
