"""The steps of one measurement, each a small function on a record. What they need of the outside is in `Bench`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from farm.v1 import device_service_pb2 as pb

from hostctl.calls import BenchmarkOptions, BenchmarkRun
from hostctl.client import Board
from hostctl.errors import HostctlError, UsageError
from hostctl.inventory import Inventory
from hostctl.session import environment
from hostctl.session.idlestates import measured_state
from hostctl.session.meters import SessionMeter, check_has_marker, make_meter
from hostctl.session.outputs import check, inputs_for, sendable
from hostctl.session.pattern import drive, duration_s, unit_s
from hostctl.session.progress import Progress
from hostctl.session.record import Record, Recording
from hostctl.session.reservation import Reservation
from hostctl.session.windows import Span
from power.meter import Meter
from power.trace import Trace

CLOCK_PROBES = 16
PROBE_S = 0.05
"""Length of the spell that tells how long a request takes, at least."""
SLACK, SLACK_S = 1.1, 3.0
"""A recording is planned to be so much longer than what it has to hold: calls take time, and requests end when they end."""


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
    """Record power for the length of the block; the trace is kept also when the block breaks off.

    With the rules of MLPerf a run of the same length goes first, for the meter to choose its ranges by.
    """
    with _opened(record, bench) as meter:
        if meter is None:
            yield None
            return
        if record.plan.rules == "mlperf":
            record.ranging = _ranging_run(record, bench, meter)
        with _recording(record, bench, meter, _planned_s(record, meter)) as kept:
            yield meter
        record.trace = kept.trace
        _note(record, meter.meter)


@contextmanager
def _opened(record: Record, bench: Bench) -> Iterator[SessionMeter | None]:
    name = record.plan.meter or record.device.meter
    meter = make_meter(name, record.device, bench.board, bench.inventory, record.plan.duration_s)
    if meter is None:
        yield None
        return
    if record.plan.align == "edge":
        check_has_marker(bench.inventory.meters.get(meter.meter.name), meter.meter)
    record.meter_name, record.meter_driver = meter.meter.name, meter.meter.driver
    record.meter_config = bench.inventory.meters.get(meter.meter.name)
    with meter.meter:
        _note(record, meter.meter)
        yield meter


def _note(record: Record, meter: Meter) -> None:
    """Note what the meter says of itself: most exactly once it was stopped."""
    record.capabilities, record.identity = meter.capabilities, meter.identity
    record.range_text, record.meter_flag = meter.range_text, meter.flag


@dataclass
class _Kept:
    trace: Trace | None = None


@contextmanager
def _recording(record: Record, bench: Bench, meter: SessionMeter, planned_s: float) -> Iterator[_Kept]:
    kept = _Kept()
    meter.meter.plan(planned_s + meter.tail_s)
    meter.meter.start()
    try:
        yield kept
        bench.reservation.sleep(meter.tail_s)
        kept.trace = meter.meter.stop()
    except BaseException:
        # The first failure is the one to tell; what the meter saw is kept if it can still be had.
        with contextlib.suppress(Exception):
            record.trace = meter.meter.salvage()
        raise


def _planned_s(record: Record, meter: SessionMeter) -> float:
    """Return how long the recording of a run will be at most, if the board keeps to the plan."""
    plan = record.plan
    idle_s = plan.idle_s if plan.measures_idle else 0.0
    marks_s = 2.0 * duration_s(unit_s(meter.meter.capabilities)) if plan.align == "pattern" else 0.0
    return SLACK_S + SLACK * (2.0 * (plan.rest_s + idle_s) + plan.warmup_s + plan.duration_s + marks_s)


def bare(record: Record, bench: Bench) -> None:
    """Measure an idle state that is only there before the model is loaded, if one is wanted."""
    name = measured_state(record.plan, record.device)
    if name is None:
        return
    align(record, bench)
    with _opened(record, bench) as meter:
        if meter is None:
            return
        planned_s = SLACK_S + SLACK * (record.plan.rest_s + record.plan.idle_s)
        with _recording(record, bench, meter, planned_s) as kept:
            span = _rest(record, bench, meter, name, f"idle, '{name}'")
        if kept.trace is not None:
            _note(record, meter.meter)
            found = meter.meter.capabilities
            record.bare = Recording(kept.trace, found, meter.meter.range_text, span, None, name)


def idle(record: Record, bench: Bench, meter: SessionMeter | None, when: str) -> Span | None:
    """Let the loaded model rest in view of the meter; None where there is nothing to measure it for."""
    if meter is None:
        return None
    if not record.plan.measures_idle:
        bench.reservation.sleep(record.plan.rest_s)
        return None
    return _rest(record, bench, meter, when, f"idle {when} the run")


def _rest(record: Record, bench: Bench, meter: SessionMeter, when: str, what: str) -> Span:
    idle_s = record.plan.idle_s
    bench.progress.step(f"{record.configuration}: {what}, {idle_s:g} s")
    record.conditions[when] = environment.state_facts(bench.board.stats())
    bench.reservation.sleep(record.plan.rest_s)
    meter.edge()
    start_ns = time.monotonic_ns()
    bench.reservation.sleep(idle_s)
    end_ns = time.monotonic_ns()
    meter.edge()
    return Span(start_ns, end_ns)


def mark(record: Record, bench: Bench, meter: SessionMeter | None) -> None:
    """Write a busy/idle pattern into the trace, if that is how it shall be aligned: one before and one after the run."""
    if meter is None or record.plan.align != "pattern" or record.loaded is None:
        return
    if meter.feed is not None:
        raise UsageError(
            "--align pattern needs a meter that samples by itself; the estimate needs no alignment."
        )
    which = len(record.patterns)
    bench.progress.step(f"{record.configuration}: pattern {'after' if which else 'before'} the run")
    model_id = record.loaded.model_id
    inputs = sendable(inputs_for(record.loaded, record.plan.seed, record.configuration.batch))

    def spell(busy_s: float) -> tuple[pb.BenchmarkResult, float]:
        options = BenchmarkOptions("latency", busy_s, 0.0, min_warmup=0, seed=record.plan.seed)
        found = bench.board.benchmark(model_id, options, inputs)
        return found.result, float((found.end_ns - found.start_ns).mean()) / 1e9

    # Spells have to be longer than a request, and how long one takes is known only now.
    _, request_s = spell(PROBE_S)
    unit = unit_s(meter.meter.capabilities, request_s)
    record.patterns.append(drive(spell, bench.reservation.sleep, unit, which, record.plan.seed))


def run(record: Record, bench: Bench, meter: SessionMeter | None) -> None:
    """Run the timed loop on the board. hostctl sleeps meanwhile."""
    own = _OwnCpu()
    record.run = _loop(record, bench, meter, own, "measuring")
    if record.device.address is None:
        record.own_cpu_ns = own.used_ns
    if meter is not None:
        meter.finished(record.run.result)


def _loop(record: Record, bench: Bench, meter: SessionMeter | None, own: _OwnCpu, what: str) -> BenchmarkRun:
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

    def phase(name: str) -> None:
        if meter is not None:
            meter.phase(name)
        own.phase(name)
        if name == "warmup":
            bench.progress.step(f"{configuration}: warming up")
        elif name == "running":
            bench.progress.step(f"{configuration}: {what} for {plan.duration_s:g} s")

    return bench.board.benchmark(record.loaded.model_id, options, sendable(inputs), phase)


def _ranging_run(record: Record, bench: Bench, meter: SessionMeter) -> Recording | None:
    """Run once for the meter to choose its ranges, and keep these; None where it has none."""
    if not meter.meter.begin_ranging():
        return None
    with _recording(record, bench, meter, _planned_s(record, meter)) as kept:
        bench.reservation.sleep(record.plan.rest_s)
        found = _loop(record, bench, meter, _OwnCpu(), "choosing ranges")
        meter.finished(found.result)
        bench.reservation.sleep(record.plan.rest_s)
    meter.meter.fix_ranges()
    if kept.trace is None:
        return None
    return Recording(kept.trace, meter.meter.capabilities, meter.meter.range_text, None, found)


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
    model = record.configuration.model.readable
    record.fidelity = check(model.path, model.format, record.loaded, inputs, outputs)


def unload(record: Record, bench: Bench) -> None:
    """End the model's worker; a board that is gone has ended it already."""
    if record.loaded is not None:
        # ValueError: gRPC's word for a channel that the loss of the lease has closed.
        with contextlib.suppress(HostctlError, ValueError):
            bench.board.unload(record.loaded.model_id)


def describe(record: Record, bench: Bench) -> None:
    """Note where and under which circumstances this is measured."""
    lease = bench.reservation.lease
    record.environment = {
        "host": environment.host_facts(),
        "board": environment.board_facts(record.info),
        "lease": {"id": lease.id, "fence": lease.fence, "holder": lease.holder},
        "seed": record.plan.seed,
    }
