"""Keeps the loaded models and their workers: starts, finds, ends and mourns them.

One worker process a loaded model. Locks: `_lock` guards the table and is never held while anybody waits for a worker.
"""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager

from farm.v1 import board_pb2

from farmd import errors, launch, memory, probe, tensors
from farmd.activity import Activity
from farmd.cache import CachedModel
from farmd.config import Config
from farmd.deaths import Deaths
from farmd.dialogue import Deadline, Event
from farmd.models import Graveyard, LoadPlan, Model, loaded_message
from farmd.stats import WorkerView
from farmd.waiting import Cancel
from farmd.worker import InferOutcome, Worker

KILL_TIMEOUT_S = 2.0

log = logging.getLogger("farmd")


class Supervisor:
    """The models of one daemon. Call `start` before anything else and `stop` at the end."""

    def __init__(self, config: Config, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.activity = Activity()
        self.on_health_change: Callable[[bool], None] = lambda healthy: None
        self._config = config
        self._deaths = Deaths(clock)
        self._lock = threading.Lock()
        self._models: dict[str, Model] = {}
        self._starting = 0
        self._building: set[Worker] = set()
        self.health_sources: list[Callable[[], str | None]] = []
        """Each returns a sentence while something else of the board is not to be trusted."""
        self._numbers = itertools.count(1)
        self._graveyard = Graveyard()
        self._probe = probe.RuntimeProbe(config)
        self._was_healthy = True

    def start(self) -> None:
        """Make the workers' directories and the process ready. OSError if the state directory cannot be used."""
        memory.keep_freed_memory()
        launch.prepare(self._config)

    def stop(self, drain_s: float = 0.0) -> None:
        """Take no new work, let what runs end within `drain_s`, then end all workers. Harmless twice."""
        self.activity.stop(drain_s)
        with self._lock:
            models, building = list(self._models.values()), list(self._building)
            self._models.clear()
        for worker in building:
            worker.expected_end = True
            worker.kill()
        for model in models:
            self._end(model)

    # What others ask.

    def models(self) -> list[Model]:
        """Return the loaded models by id."""
        with self._lock:
            return sorted(self._models.values(), key=lambda model: model.model_id)

    def get(self, model_id: str) -> Model:
        """Return one model. ModelNotFound says why it is gone, where that is known."""
        model = self._models.get(model_id)
        if model is None:
            raise self._graveyard.not_found(model_id)
        return model

    def workers(self) -> list[WorkerView]:
        """Return the workers alive, for the board's statistics."""
        return [
            WorkerView(model.model_id, model.worker.child.pid, model.worker.inference_count)
            for model in self.models()
        ]

    def health(self) -> tuple[bool, list[str]]:
        """Return whether the board may be trusted with work, and a sentence for each reason it may not."""
        others = [sentence for source in self.health_sources if (sentence := source())]
        complaints = self._deaths.complaints() + others
        return not complaints, complaints

    def runtimes(self) -> list[board_pb2.RuntimeInfo]:
        """Return the runtimes; found out at the first call, but not while a benchmark would suffer from it."""
        return self._probe.runtimes(may_probe=self.activity.benchmark is None)

    # Loading.

    def check_capacity(self, plan: LoadPlan) -> None:
        """Refuse a load that cannot begin now: TooManyModels, WorkerBackOff, ShuttingDown, BoardBusy."""
        with self._lock:
            self._check_count()
        self._deaths.check(plan.runtime)

    def _check_count(self) -> None:
        count = len(self._models) + self._starting
        if count >= self._config.max_loaded_models:
            raise errors.TooManyModels(
                f"{count} models are loaded, as many as this board allows; unload one first.",
                metadata={"loaded": count, "limit": self._config.max_loaded_models},
            )

    def load(self, plan: LoadPlan, file: CachedModel, cancel: Cancel) -> Generator[Event, None, Model]:
        """Start a worker and load the model; yields log lines and progress, returns the model.

        Takes over `file`: it is released when the load fails or the model ends. Raises what the worker says,
        WorkerDied and its kinds, WorkerUnstartable, CallCancelled.
        """
        try:
            with self._starting_slot():
                model = yield from self._load(plan, file, cancel)
                with self._lock:
                    if model.worker.child.returncode is None:
                        self._models[model.model_id] = model
        except BaseException:
            file.release()
            raise
        if model.worker.child.returncode is not None:  # died between its answer and now
            file.release()
            raise model.worker.ended(errors.WorkerCrashed, "")
        self.succeeded(model.worker, "load")
        log.info("Loaded %s (%s) as %s.", plan.name, plan.runtime, model.model_id)
        return model

    @contextmanager
    def _starting_slot(self) -> Iterator[None]:
        with self._lock:
            self._check_count()
            self._starting += 1
        try:
            yield
        finally:
            with self._lock:
                self._starting -= 1

    def _load(self, plan: LoadPlan, file: CachedModel, cancel: Cancel) -> Generator[Event, None, Model]:
        self._deaths.check(plan.runtime)
        deadline = Deadline(plan.timeout_s)
        worker = Worker.start(
            self._config,
            runtime=plan.runtime,
            model=plan.name,
            timeout_s=plan.timeout_s,
            on_end=self._worker_ended,
        )
        worker.turn.acquire()
        with self._lock:
            self._building.add(worker)
        try:
            cancel.check()
            self.activity.check_running()
            worker.stage = "load"
            members = {
                "path": str(file.path),
                "format": plan.format,
                "runtime": plan.runtime,
                "precision": plan.precision,
                "batch": plan.batch,
                "options": dict(plan.options),
            }
            try:
                reply = yield from worker.converse(
                    "load", members, deadline=deadline, cancel=cancel, grace_s=None
                )
            except errors.RequestInvalid as error:
                raise error.reworded(str(file.path), f"'{plan.name}'") from None
            model_id = f"m{next(self._numbers):06d}-{secrets.token_hex(4)}"
            try:
                message = loaded_message(model_id, plan, reply)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise worker.ended(
                    errors.WorkerGarbage, f"answered the load with what makes no sense ({error!r})"
                ) from None
            worker.output_bytes = tensors.output_bytes(message.spec)
            worker.stage = "idle"
            return Model(model_id, message, worker, file, plan.fence)
        except BaseException:
            worker.expected_end = worker.expected_end or worker.dead is None
            worker.kill()
            raise
        finally:
            with self._lock:
                self._building.discard(worker)
            worker.turn.release()

    def unload(self, model_id: str, cancel: Cancel) -> None:
        """End a model once its running request is done. ModelNotFound, BoardBusy, CallCancelled."""
        model = self.get(model_id)
        with self.activity.load(model.name), model.turn(cancel, self._config.infer_timeout_s):
            with self._lock:
                if self._models.pop(model_id, None) is None:
                    raise self._graveyard.not_found(model_id)
            self._graveyard.bury(model_id, f"'{model.name}' was unloaded.")
            model.worker.close()
        model.file.release()
        log.info("Unloaded %s.", model_id)

    def end_before(self, fence: int) -> None:
        """End the models of leases with a lower fence: their holders have gone, perhaps without a word, and left them."""
        with self._lock:
            past = [m for m in self._models.values() if m.fence is not None and m.fence < fence]
            for model in past:
                del self._models[model.model_id]
                why = f"The lease '{model.name}' was loaded under is over: the board has a new holder (fence {fence})."
                self._graveyard.bury(model.model_id, why)
        for model in past:
            self._end(model)
            log.info("Unloaded %s, whose lease is over.", model.model_id)

    @staticmethod
    def _end(model: Model) -> None:
        worker = model.worker
        worker.expected_end = True
        if worker.turn.acquire(timeout_s=0.0):
            try:
                worker.close()
            finally:
                worker.turn.release()
        else:
            worker.kill()
            worker.child.exited.wait(KILL_TIMEOUT_S)
        model.file.release()

    # Working.

    def infer(
        self, model: Model, inputs: Sequence[tensors.TensorValue], cancel: Cancel
    ) -> tuple[InferOutcome, int]:
        """Run one checked inference; returns its outcome and when the worker took it (monotonic ns)."""
        timeout_s = self._config.infer_timeout_s
        worker = model.take_turn(cancel, timeout_s)
        try:
            taken_ns = time.monotonic_ns()
            outcome = worker.infer(inputs, timeout_s=timeout_s)
        finally:
            worker.turn.release()
        self.succeeded(worker, "infer")
        return outcome, taken_ns

    def succeeded(self, worker: Worker, stage: str) -> None:
        """Forgive earlier deaths of the runtime up to this stage."""
        if self._deaths.succeeded(worker.runtime, stage):
            self._tell_health()

    # Dying.

    def _worker_ended(self, worker: Worker) -> None:
        """In the thread that reaped the process, before anybody learns of its end."""
        how = worker.how_it_ended()
        with self._lock:
            gone = [model for model in self._models.values() if model.worker is worker]
            for model in gone:
                del self._models[model.model_id]
                self._graveyard.bury(model.model_id, how)
        for model in gone:
            model.file.release()
        if not worker.expected_end:
            log.warning("%s", "\n  ".join([how, *worker.child.all_lines()]))
            self._deaths.died(worker.runtime, worker.stage, how)
            self._tell_health()

    def _tell_health(self) -> None:
        healthy, _ = self.health()
        if healthy != self._was_healthy:
            self._was_healthy = healthy
            self.on_health_change(healthy)
