"""The steps of one measurement, each a small function on a record. What they need of the outside is in `Bench`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hostctl.calls import BenchmarkOptions
from hostctl.client import Board
from hostctl.errors import HostctlError
from hostctl.inventory import Inventory
from hostctl.session import environment
from hostctl.session.meters import SessionMeter, make_meter
from hostctl.session.outputs import check, inputs_for, sendable
from hostctl.session.progress import Progress
from hostctl.session.record import Record
from hostctl.session.reservation import Reservation
from hostctl.session.windows import Span, place
from power.clock import fit
from power.report import energy_report

CLOCK_PROBES = 16
LONGEST_SETTLE_S = 1.0
SETTLE_FRACTION = 0.2
"""Of an idle window's length, spent before it for caches and clocks to come to rest."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What the steps work with: a connected board that is ours, the farm's instruments, and who is told."""

    board: Board
    reservation: Reservation
    inventory: Inventory
    progress: Progress


def load(record: Record, bench: Bench) -> None:
    """Send the model and let the board build it."""
    configuration, plan = record.configuration, record.plan
    bench.progress.step(f"{configuration}: loading")
    record.loaded = bench.board.load(
        record.file,
        name=configuration.model.name,
        format=configuration.model.format,
        runtime=configuration.runtime,
        precision=configuration.precision,
        batch=configuration.batch,
        options=plan.load_options(configuration),
        progress=bench.progress.upload,
    )


def align(record: Record, bench: Bench) -> None:
    """Compare the clocks; once before and once after the run."""
    record.probes += bench.board.probe_clock(CLOCK_PROBES)


@contextmanager
def metering(record: Record, bench: Bench) -> Iterator[SessionMeter | None]:
    """Record power for the length of the block; the trace is kept also when the block breaks off."""
    name = record.plan.meter or record.device.meter
    meter = make_meter(name, record.device, bench.board, bench.inventory, record.plan.duration_s)
    if meter is None:
        yield None
        return
    record.meter_name, record.meter_driver = meter.meter.name, meter.meter.driver
    with meter.meter:
        record.capabilities = meter.meter.capabilities
        meter.meter.start()
        try:
            yield meter
        except BaseException:
            # The first failure is the one to tell; the trace is kept if the meter can still give it.
            with contextlib.suppress(Exception):
                record.trace = meter.meter.stop()
            raise
        bench.reservation.sleep(meter.tail_s)
        record.trace = meter.meter.stop()


def idle(record: Record, bench: Bench, meter: SessionMeter | None, when: str) -> Span | None:
    """Let the loaded model rest in view of the meter; None where there is nothing to measure it for."""
    idle_s = record.plan.idle_s
    if meter is None or idle_s == 0:
        return None
    bench.progress.step(f"{record.configuration}: idle {when} the run, {idle_s:g} s")
    bench.reservation.sleep(min(LONGEST_SETTLE_S, SETTLE_FRACTION * idle_s))
    meter.edge()
    start_ns = time.monotonic_ns()
    bench.reservation.sleep(idle_s)
    end_ns = time.monotonic_ns()
    meter.edge()
    return Span(start_ns, end_ns)


def run(record: Record, bench: Bench, meter: SessionMeter | None) -> None:
    """Run the timed loop on the board. hostctl sleeps meanwhile."""
    if record.loaded is None:
        raise HostctlError("The model was not loaded, so nothing can run; this is a mistake in hostctl.")
    plan, configuration = record.plan, record.configuration
    inputs = inputs_for(record.loaded, plan.seed, configuration.batch)
    options = BenchmarkOptions(
        scenario=configuration.scenario,
        duration_s=plan.duration_s,
        warmup_s=plan.warmup_s,
        min_requests=plan.min_requests,
        in_flight=plan.in_flight if configuration.scenario == "throughput" else None,
        seed=plan.seed,
    )
    own = _OwnCpu()

    def phase(name: str) -> None:
        if meter is not None:
            meter.phase(name)
        own.phase(name)
        if name == "warmup":
            bench.progress.step(f"{configuration}: warming up")
        elif name == "running":
            bench.progress.step(f"{configuration}: measuring for {plan.duration_s:g} s")

    record.run = bench.board.benchmark(record.loaded.model_id, options, sendable(inputs), phase)
    if record.device.address is None:
        record.own_cpu_ns = own.used_ns
    if meter is not None:
        meter.finished(record.run.result)


class _OwnCpu:
    """Processor time of this process from the call to the window's end, for boards that are this very machine."""

    def __init__(self) -> None:
        self._start_ns = time.process_time_ns()
        self.used_ns = 0

    def phase(self, name: str) -> None:
        """Note the time where the window ends: what comes after it (reading the samples) disturbs nobody."""
        if name == "done":
            self.used_ns = time.process_time_ns() - self._start_ns


def verify(record: Record, bench: Bench) -> None:
    """Compare one inference on the board with the reference on this host."""
    if record.loaded is None:
        return
    bench.progress.step(f"{record.configuration}: comparing with the reference")
    inputs = inputs_for(record.loaded, record.plan.seed, record.configuration.batch)
    outputs = bench.board.infer(record.loaded.model_id, inputs).outputs
    model = record.configuration.model
    record.fidelity = check(model.path, model.format, record.loaded, inputs, outputs)


def unload(record: Record, bench: Bench) -> None:
    """End the model's worker; a board that is gone has ended it already."""
    if record.loaded is not None:
        # ValueError: gRPC's word for a channel that the loss of the lease has closed.
        with contextlib.suppress(HostctlError, ValueError):
            bench.board.unload(record.loaded.model_id)


def reduce(record: Record) -> None:
    """Turn windows and trace into energies with their uncertainties."""
    record.clock = fit(record.probes)
    capabilities = record.capabilities
    if record.run is None or record.trace is None or capabilities is None:
        return
    result = record.run.result
    record.windows = windows = place(
        record.clock,
        capabilities.clock,
        result.window_start_ns,
        result.window_end_ns,
        record.idle_before,
        record.idle_after,
    )
    record.report = energy_report(
        record.trace,
        windows.run,
        accuracy=capabilities.accuracy,
        clock_bound_s=windows.bound_s,
        idle_before=windows.before,
        idle_after=windows.after,
        idle_model="linear" if windows.before and windows.after else None,
        kind=capabilities.kind,
    )


def describe(record: Record, bench: Bench) -> None:
    """Note where and under which circumstances this is measured."""
    lease = bench.reservation.lease
    record.environment = {
        "host": environment.host_facts(),
        "board": environment.board_facts(record.info),
        "lease": {"id": lease.id, "fence": lease.fence, "holder": lease.holder},
        "seed": record.plan.seed,
    }
