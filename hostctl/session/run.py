"""The way of one measurement, and of many: reserve, then for each configuration load, align, idle, run, idle, reduce, check,
keep. Whatever breaks, and whenever: the lease is given back, the meter is off, and what was measured is kept, marked invalid.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm.v1 import device_service_pb2 as pb

from hostctl.errors import DeviceUnreachable, HostctlError, Refused, StoreError
from hostctl.inventory import Inventory
from hostctl.leases.model import LeaseLost
from hostctl.session import steps
from hostctl.session.connect import candidates, connected
from hostctl.session.idlestates import measured_state
from hostctl.session.keep import Keeper
from hostctl.session.meters import check_meter_name, instruments
from hostctl.session.modelchoice import ModelChoice
from hostctl.session.modelfile import sendable_file
from hostctl.session.modelobject import model_object
from hostctl.session.plan import Configuration, Plan
from hostctl.session.progress import Progress
from hostctl.session.record import Record
from hostctl.session.reduction import reduce
from hostctl.session.reservation import RUN_TTL_S, Wanted, reserved
from power.errors import PowerError

Result = dict[str, Any]
OnResult = Callable[[Result, Path | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A plan and where it is to be carried out. `lease_id`: a lease the user holds, None takes one for the run."""

    plan: Plan
    inventory: Inventory
    selector: str
    wait: bool = True
    lease_id: str | None = None
    lease_ttl_s: float = RUN_TTL_S


def run_plan(request: Request, progress: Progress, on_result: OnResult) -> None:
    """Carry out a plan; `on_result` gets every result and its folder, invalid ones included.

    A configuration that fails on a healthy board is kept as invalid and the next one follows. Raises HostctlError where
    nothing more can be done (board gone, lease lost, nothing free), after keeping what was measured.
    """
    plan = request.plan
    check_meter_name(plan.meter, request.inventory)
    devices = candidates(request.inventory, request.selector)
    for device in devices:
        measured_state(plan, device)
    objects = {model: model_object(model, plan) for model in plan.models}
    meters = {device.name: instruments(plan.meter, device, request.inventory) for device in devices}
    wanted = Wanted(devices, meters, request.wait, request.lease_ttl_s, request.lease_id)
    with ExitStack() as stack:
        stack.callback(progress.clear)
        keeper = stack.enter_context(Keeper(on_result))
        files = {model: stack.enter_context(sendable_file(model)) for model in plan.models}
        reservation = stack.enter_context(reserved(wanted, progress))
        board = stack.enter_context(connected(reservation.device, reservation.lease))
        reservation.on_lost.append(board.close)
        bench = steps.Bench(board, reservation, request.inventory, progress)
        info = board.info()
        for configuration in plan.configurations(info.runtimes):
            record = _record(plan, configuration, bench, info, objects, files)
            measure(record, bench, keeper)


def _record(
    plan: Plan,
    configuration: Configuration,
    bench: steps.Bench,
    info: pb.GetInfoResponse,
    objects: dict[ModelChoice, Result],
    files: dict[ModelChoice, Path],
) -> Record:
    model = configuration.model
    return Record(plan, configuration, bench.reservation.device, info, objects[model], files[model])


def measure(record: Record, bench: steps.Bench, keeper: Keeper) -> None:
    """Measure one configuration and keep the result. Raises what ends the whole plan, after keeping."""
    fatal: BaseException | None = None
    try:
        _steps(record, bench)
    except BaseException as error:
        fatal = _broken(record, bench, error)
    steps.unload(record, bench)
    bench.progress.clear()
    try:
        keeper.keep(record)
    except StoreError:
        if fatal is None:
            raise
    if fatal is not None:
        raise fatal


def _steps(record: Record, bench: steps.Bench) -> None:
    steps.describe(record, bench)
    steps.bare(record, bench)
    steps.load(record, bench)
    steps.align(record, bench)
    with steps.metering(record, bench) as meter:
        steps.mark(record, bench, meter)
        record.idle_before = steps.idle(record, bench, meter, "before")
        steps.run(record, bench, meter)
        record.idle_after = steps.idle(record, bench, meter, "after")
        steps.mark(record, bench, meter)
    steps.align(record, bench)
    reduce(record)
    steps.verify(record, bench)


def _broken(record: Record, bench: steps.Bench, error: BaseException) -> BaseException | None:
    """Note why a run broke; return what ends the whole plan, or None if the next configuration may follow."""
    try:
        bench.reservation.check()
    except LeaseLost as lost:
        # The loss closes the connection, so what was raised first is only its echo.
        if isinstance(error, Exception):
            error = lost
    if isinstance(error, LeaseLost):
        record.break_off("LEASE_LOST", error.message)
        return error
    if isinstance(error, HostctlError):
        record.break_off("FAILED", error.message)
        return error if isinstance(error, DeviceUnreachable | Refused) else None
    if isinstance(error, PowerError):
        record.break_off("FAILED", str(error))
        return None
    if isinstance(error, Exception):
        record.break_off("FAILED", f"Unexpected {type(error).__name__}: {' '.join(str(error).split())}")
        return error
    record.break_off("INTERRUPTED", "The run was ended by the user or by a signal.")
    return error
