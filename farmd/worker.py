"""One worker process and the conversation with it: requests with deadlines, tensors through a mapped file.

Nothing here trusts the worker. It may die, hang or talk nonsense at any point; each ends in one WorkerDied error
that names runtime, model and the last lines the process printed, and the process is then gone and reaped.
The wire is described in targets/wire.py.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from farm.v1 import tensor_pb2

from farmd import errors, launch
from farmd.child import Child
from farmd.config import Config
from farmd.dialogue import Deadline, Dialogue, Event, Talk
from farmd.tensorfile import TensorFile
from farmd.tensors import TensorValue
from farmd.waiting import Cancel, FairLock
from targets import wire
from targets.errors import TargetsError, WireClosed, WireGarbage

HELLO_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 2.0
MAP_TIMEOUT_S = 30.0
# How long the process may take to be reaped once its wire is closed, before it is killed.
_END_TIMEOUT_S = 2.0
_SMALLEST_FILE_BYTES = 1 << 16


class InferOutcome(NamedTuple):
    """The outputs of one inference, and its start and end on the board's monotonic clock."""

    outputs: list[tensor_pb2.Tensor]
    data_bytes: int
    start_ns: int
    end_ns: int


class Worker:
    """A running worker. All calls but `kill` need `turn`, the lock of whoever talks to it."""

    def __init__(
        self, child: Child, sock: socket.socket, directory: Path, *, runtime: str, model: str
    ) -> None:
        self.child = child
        self.runtime = runtime
        self.model = model
        self.directory = directory
        self.turn = FairLock()
        self.stage = "start"
        self.expected_end = False
        self.dead: errors.FarmdError | None = None
        self.inference_count = 0
        self.tensor_directories: Sequence[Path] = ()
        self.output_bytes = 0
        self._last_layout: tuple[list[Any], list[dict[str, Any]], int] | None = None
        self._last_outputs: tuple[list[dict[str, Any]], int] | None = None
        self._dialogue = Dialogue(sock)
        self._file: TensorFile | None = None
        self._cause = ""
        self.on_end: Callable[[Worker], None] = lambda worker: None
        child.on_line = self._dialogue.wake
        child.watch(lambda: self.on_end(self), self._clean_up)

    @classmethod
    def start(
        cls,
        config: Config,
        *,
        runtime: str,
        model: str,
        timeout_s: float,
        on_end: Callable[[Worker], None] = lambda worker: None,
    ) -> Worker:
        """Start a worker and shake hands; `on_end` runs when its process has ended, in another thread.

        WorkerUnstartable if it does not come up, DiskFull if there is no room for its directory.
        """
        child, sock, directory = launch.start(config, runtime)
        worker = cls(child, sock, directory, runtime=runtime, model=model)
        worker.on_end = on_end
        worker.tensor_directories = launch.tensor_directories(config)
        try:
            hello = worker.request("hello", {}, timeout_s=min(timeout_s, HELLO_TIMEOUT_S))
        except errors.FarmdError as error:
            worker.kill()
            raise errors.WorkerUnstartable(
                f"The worker of the runtime '{runtime}' did not start with {config.program_of(runtime)}: "
                f"{error.message}",
                metadata=error.metadata,
            ) from None
        if hello.get("protocol") != wire.PROTOCOL:
            raise worker.ended(errors.WorkerGarbage, f"speaks protocol {hello.get('protocol')!r}")
        worker.stage = "idle"
        return worker

    # Talking.

    def request(self, op: str, members: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Send one request and return its reply, in this thread, without any hand-over. Events are dropped.

        Raises what the worker's reply says, or WorkerCrashed, WorkerHung, WorkerGarbage.
        """
        if self.dead is not None:
            raise self.dead
        try:
            return self._checked(self._dialogue.request(op, members, timeout_s))
        except TimeoutError:
            raise self._hung(op, timeout_s) from None
        except (WireClosed, OSError):
            raise self._crashed(op) from None
        except WireGarbage as error:
            raise self.ended(errors.WorkerGarbage, f"broke the protocol during {op} ({error})") from None

    def converse(
        self,
        op: str,
        members: Mapping[str, Any],
        *,
        deadline: Deadline,
        cancel: Cancel,
        grace_s: float | None,
    ) -> Generator[Event, None, dict[str, Any]]:
        """Send one request, yield its events and the lines the process prints, and return its reply.

        When the caller goes or the deadline passes, the worker is asked to stop and has `grace_s` to do so, else
        it is killed; None kills it at once. Raises as `request` does, CallCancelled, and CallOverdue for work
        that was stopped in time: the worker is then as good as before.
        """
        if self.dead is not None:
            raise self.dead
        talk = Talk(op, deadline, cancel, grace_s)
        try:
            with cancel.calling(self._dialogue.wake):
                reply = yield from self._dialogue.converse(talk, members, self._news())
            return self._told(talk, reply)
        except GeneratorExit:  # nobody reads on
            self._wind_down(talk)
            raise
        except TimeoutError:
            raise self._given_up(talk) from None
        except (WireClosed, OSError):
            raise self._crashed(op) from None
        except WireGarbage as error:
            raise self.ended(errors.WorkerGarbage, f"broke the protocol during {op} ({error})") from None

    def _news(self) -> Callable[[], list[str]]:
        count = self.child.line_count

        def news() -> list[str]:
            nonlocal count
            lines, count = self.child.lines_after(count)
            return lines

        return news

    def _told(self, talk: Talk, message: dict[str, Any]) -> dict[str, Any]:
        try:
            reply = self._checked(message)
        except errors.CallCancelled:
            if not talk.is_overdue:
                raise
            raise errors.CallOverdue(
                f"The {talk.op} of '{self.model}' did not end within {talk.deadline.timeout_s:g} s and was stopped; "
                "ask for less or allow more time.",
                metadata={"runtime": self.runtime, "model": self.model, "limit_s": talk.deadline.timeout_s},
            ) from None
        talk.cancel.check()
        return reply

    def _wind_down(self, talk: Talk) -> None:
        try:
            self._dialogue.wind_down(talk)
        except (TimeoutError, WireClosed, WireGarbage, OSError):
            self.expected_end = talk.grace_s is None
            self.kill()

    def _checked(self, reply: dict[str, Any]) -> dict[str, Any]:
        if reply["ok"] is True:
            return reply
        error = reply.get("error")
        raise errors.from_worker(
            error if isinstance(error, Mapping) else {}, runtime=self.runtime, model=self.model
        )

    # Inference.

    def infer(self, tensors: Sequence[TensorValue], *, timeout_s: float) -> InferOutcome:
        """Run one inference; the inputs have been checked against the model. Raises as `request` does."""
        refs, end = self._layout(tensors)
        self.stage = "infer"
        try:
            reply, file = self._infer(refs, end, tensors, timeout_s)
        finally:
            self.stage = "idle"
        self.inference_count += 1
        return self._outcome(reply, file)

    def _layout(self, tensors: Sequence[TensorValue]) -> tuple[list[dict[str, Any]], int]:
        """Return where tensors go in the file, and the end: mostly as for the last inference."""
        kinds = [(tensor.name, tensor.dtype, tensor.shape) for tensor in tensors]
        if self._last_layout is None or self._last_layout[0] != kinds:
            self._last_layout = (kinds, *wire.layout(kinds))
        return self._last_layout[1:]

    def _infer(
        self, refs: list[dict[str, Any]], end: int, tensors: Sequence[TensorValue], timeout_s: float
    ) -> tuple[dict[str, Any], TensorFile]:
        needed = end + self.output_bytes
        for _ in range(3):  # outputs of unknown shape may need more room than was guessed
            file = self._room_for(needed)
            self._place(file, refs, tensors)
            try:
                return self.request(
                    "infer", {"inputs": refs, "output_offset": end}, timeout_s=timeout_s
                ), file
            except errors.BufferTooSmall as error:
                needed = max(needed + 1, int(error.metadata.get("needed_bytes", 0)))
        raise self.ended(errors.WorkerGarbage, "asks for more and more room for its outputs")

    def place_inputs(self, tensors: Sequence[TensorValue]) -> list[dict[str, Any]]:
        """Write tensors into the mapped file and return their references, for a timed loop."""
        refs, end = self._layout(tensors)
        self._place(self._room_for(end + self.output_bytes), refs, tensors)
        return refs

    @staticmethod
    def _place(file: TensorFile, refs: Sequence[Mapping[str, Any]], tensors: Sequence[TensorValue]) -> None:
        for ref, tensor in zip(refs, tensors, strict=True):
            offset: int = ref["offset"]
            file.map[offset : offset + ref["nbytes"]] = tensor.data

    def _room_for(self, size_bytes: int) -> TensorFile:
        if self._file is not None and self._file.size_bytes >= size_bytes:
            return self._file
        fresh = TensorFile(self.tensor_directories, max(size_bytes, _SMALLEST_FILE_BYTES))
        try:
            members = {"path": str(fresh.path), "size_bytes": fresh.size_bytes}
            self.request("map", members, timeout_s=MAP_TIMEOUT_S)
        except errors.FarmdError:
            fresh.close()
            raise
        fresh.unlink()
        old, self._file = self._file, fresh
        if old is not None:
            old.close()
        return fresh

    def _outcome(self, reply: Mapping[str, Any], file: TensorFile) -> InferOutcome:
        try:
            refs = reply["outputs"]
            if self._last_outputs != (refs, file.size_bytes):
                for ref in refs:
                    wire.check_ref(ref, file.size_bytes)
                self._last_outputs = (refs, file.size_bytes)
            outputs, data_bytes = [], 0
            for ref in refs:
                end = ref["offset"] + ref["nbytes"]
                data = file.map[ref["offset"] : end]
                data_bytes += len(data)
                outputs.append(
                    tensor_pb2.Tensor(name=ref["name"], dtype=ref["dtype"], shape=ref["shape"], data=data)
                )
            return InferOutcome(outputs, data_bytes, int(reply["start_ns"]), int(reply["end_ns"]))
        except (KeyError, TypeError, ValueError, AttributeError, TargetsError) as error:
            raise self.ended(errors.WorkerGarbage, f"gave a reply that makes no sense ({error})") from None

    # Endings.

    def kill(self) -> None:
        """Kill the process group at once; from any thread."""
        self.child.kill()

    def close(self) -> None:
        """End the worker in good order, or kill it if it does not go; needs `turn`. Harmless twice."""
        self.expected_end = True
        how_it_died = self.dead
        if how_it_died is None:
            with contextlib.suppress(errors.FarmdError):
                self.request("close", {}, timeout_s=CLOSE_TIMEOUT_S)
                self.child.exited.wait(CLOSE_TIMEOUT_S)
        self.kill()
        self.child.exited.wait(_END_TIMEOUT_S)
        self.dead = how_it_died or errors.ModelNotFound(f"The model '{self.model}' was unloaded.")

    def _crashed(self, op: str) -> errors.FarmdError:
        if not self.child.exited.wait(_END_TIMEOUT_S):
            return self.ended(errors.WorkerGarbage, f"closed its wire during {op}")
        how, _ = self.child.how_it_ended()
        return self.ended(errors.WorkerCrashed, f"{how} during {op}")

    def _hung(self, op: str, timeout_s: float) -> errors.FarmdError:
        return self.ended(errors.WorkerHung, f"did not answer the {op} within {timeout_s:g} s and was killed")

    def _given_up(self, talk: Talk) -> errors.FarmdError:
        if talk.is_stopping or not talk.cancel.is_set:
            return self._hung(talk.op, talk.deadline.timeout_s)
        self.expected_end = True
        return self.ended(errors.CallCancelled, f"was stopped during {talk.op} because the client gave up")

    def ended(self, kind: type[errors.FarmdError], what: str) -> errors.FarmdError:
        """Kill and reap the process, and return the error that says why, with its last words."""
        self._cause = what
        self.kill()
        self.child.exited.wait(_END_TIMEOUT_S)
        self.dead = self._obituary(kind)
        return self.dead

    def _obituary(self, kind: type[errors.FarmdError]) -> errors.FarmdError:
        how, facts = self.child.how_it_ended()
        tail = self.child.tail()
        words = f" Its last words: {tail[-1]!r}." if tail else ""
        return kind(
            f"The worker of '{self.model}' on {self.runtime} {self._cause or how}.{words} Load the model again.",
            metadata={**facts, "runtime": self.runtime, "model": self.model, "output": "\n".join(tail)},
        )

    def how_it_ended(self) -> str:
        """Return one sentence about the end of the process, for callers that come later."""
        return self._obituary(errors.WorkerCrashed).message

    def _clean_up(self) -> None:
        """After the end of the process, once nobody talks to it any more: give back what it held."""
        self.turn.acquire()
        try:
            self.dead = self.dead or self._obituary(errors.WorkerCrashed)
            self._dialogue.close()
            if self._file is not None:
                self._file.close()
        finally:
            self.turn.release()
        launch.remove(self.directory)
