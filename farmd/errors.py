"""Everything the daemon refuses or fails with: one tree, and what each error tells a client in any language.

The text is one sentence or two for people: what is wrong, where, what to do. `reason` is the same for programs
(google.rpc.ErrorInfo, domain "wattfarm"); it never changes once released. farmd/status.py turns an error into a
google.rpc.Status. Codes follow AIP-193: UNAVAILABLE is the only one worth retrying unchanged.
"""

# The names say what is wrong, as in targets/errors.py, so they carry no "Error" at their end.
# ruff: noqa: N818

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import grpc


class FieldViolation(NamedTuple):
    """One wrong field of a request: its path in the request message, and what is wrong with it."""

    field: str
    description: str


class FarmdError(Exception):
    """Base of the tree.

    `metadata` holds facts for programs (strings only), `violations` the wrong fields of the request, and
    `retry_delay_s` when the same call may be tried again (None: trying again does not help).
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, object] | None = None,
        violations: Iterable[FieldViolation] = (),
        retry_delay_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = {key: str(value) for key, value in (metadata or {}).items()}
        self.violations = tuple(violations)
        self.retry_delay_s = retry_delay_s

    def reworded(self, old: str, new: str) -> FarmdError:
        """Return the same error in other words: a client knows its model's name, not a path on the board."""
        return type(self)(
            self.message.replace(old, new),
            metadata={key: value.replace(old, new) for key, value in self.metadata.items()},
            violations=[
                FieldViolation(field, description.replace(old, new)) for field, description in self.violations
            ],
            retry_delay_s=self.retry_delay_s,
        )


class ConfigInvalid(FarmdError):
    """A setting is wrong. Told on the terminal, before there is any client."""

    reason = "CONFIG_INVALID"


class StartRefused(FarmdError):
    """The daemon cannot start here: port taken, state directory unusable, damaged state, unusable certificate."""

    reason = "START_REFUSED"


class RequestInvalid(FarmdError):
    """A field of the request is wrong. Give `violations`, so that a program finds the field."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "REQUEST_INVALID"

    @classmethod
    def of_field(cls, field: str, message: str, **metadata: object) -> RequestInvalid:
        """Return the error for one wrong field."""
        return cls(message, metadata=metadata, violations=[FieldViolation(field, message)])


class InputInvalid(RequestInvalid):
    """A tensor's name, dtype, shape or size is not what the model takes."""

    reason = "INPUT_INVALID"


class FormatUnsupported(RequestInvalid):
    """The runtime does not take this model format."""

    reason = "FORMAT_UNSUPPORTED"


class OptionInvalid(RequestInvalid):
    """A runtime option is unknown, malformed or impossible for this model."""

    reason = "OPTION_INVALID"


class PrecisionUnsupported(RequestInvalid):
    """The runtime cannot give the requested precision for this model."""

    reason = "PRECISION_UNSUPPORTED"


class ModelInvalid(RequestInvalid):
    """The model file is empty, truncated, corrupt, or the runtime cannot build it."""

    reason = "MODEL_INVALID"


class HashMismatch(RequestInvalid):
    """The uploaded bytes are not those of the announced hash; they were deleted."""

    reason = "HASH_MISMATCH"


class UploadIncomplete(FarmdError):
    """The stream ended before the file was complete; what arrived is kept for the next try."""

    code = grpc.StatusCode.ABORTED
    reason = "UPLOAD_INCOMPLETE"


class NotFound(FarmdError):
    """Something the request names is not on this board."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"


class ModelNotFound(NotFound):
    """No model of that id is loaded."""

    reason = "MODEL_NOT_FOUND"


class RailNotFound(NotFound):
    """The board has no rail of that name."""

    reason = "RAIL_NOT_FOUND"


class FailedPrecondition(FarmdError):
    """The board is not in a state for this call."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "FAILED_PRECONDITION"


class BoardBusy(FailedPrecondition):
    """A benchmark runs, and this call would spoil it, or it would spoil this call."""

    reason = "BOARD_BUSY"


class RuntimeUnavailable(FailedPrecondition):
    """The vendor's runtime is missing or does not work on this board."""

    reason = "RUNTIME_UNAVAILABLE"


class RailUnreadable(FailedPrecondition):
    """The rail exists but cannot be read."""

    reason = "RAIL_UNREADABLE"


class NoRails(FailedPrecondition):
    """The board has no rail or meter at all, so there is nothing to stream; nothing is invented."""

    reason = "NO_RAILS"


class RailLost(FarmdError):
    """A rail vanished or its counter was reset while it was streamed; the samples until then are good."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "RAIL_LOST"


class LeaseRequired(FarmdError):
    """The board works only for holders of a lease, and the call carries none."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "LEASE_REQUIRED"


class LeaseInvalid(RequestInvalid):
    """The lease metadata of the call are malformed."""

    reason = "LEASE_INVALID"


class LeaseFenced(FarmdError):
    """The call's fence is lower than one the board has seen: somebody else holds the board now."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "LEASE_FENCED"


class ResourceExhausted(FarmdError):
    """A limit of the board is reached."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "RESOURCE_EXHAUSTED"


class TooManyCalls(ResourceExhausted):
    """As many calls of this kind run as the daemon serves at once."""

    reason = "TOO_MANY_CALLS"


class ModelTooLarge(ResourceExhausted):
    """The file is larger than the daemon takes; refused before any byte was sent."""

    reason = "MODEL_TOO_LARGE"


class MessageTooLarge(ResourceExhausted):
    """An answer would not fit into one message."""

    reason = "MESSAGE_TOO_LARGE"


class DiskFull(ResourceExhausted):
    """The state directory or /dev/shm has no room; what was there before is still there."""

    reason = "DISK_FULL"


class TooManyModels(ResourceExhausted):
    """As many models are loaded as the daemon allows."""

    reason = "TOO_MANY_MODELS"


class OutOfMemory(ResourceExhausted):
    """The worker could not get the memory it needs."""

    reason = "OUT_OF_MEMORY"


class BufferTooSmall(OutOfMemory):
    """The mapped tensor file cannot hold the outputs; metadata `needed_bytes` says what would."""

    reason = "BUFFER_TOO_SMALL"


class CacheFull(ResourceExhausted):
    """The cache's limit is taken by loaded models and running uploads, so nothing can be evicted."""

    reason = "CACHE_FULL"


class InferenceFailed(FarmdError):
    """The runtime failed while it ran the model; the worker lives."""

    code = grpc.StatusCode.INTERNAL
    reason = "INFERENCE_FAILED"


class WorkerFault(FarmdError):
    """The worker failed in a way that no other error names; it lives."""

    code = grpc.StatusCode.INTERNAL
    reason = "WORKER_FAULT"


class WorkerDied(FarmdError):
    """Base of the ends of a worker. The model is gone with it: load it again."""

    code = grpc.StatusCode.ABORTED
    reason = "WORKER_DIED"


class WorkerCrashed(WorkerDied):
    """The worker process ended by itself: a signal, or an exit nobody asked for."""

    reason = "WORKER_CRASHED"


class WorkerGarbage(WorkerDied):
    """The worker broke the wire protocol and was killed."""

    code = grpc.StatusCode.INTERNAL
    reason = "WORKER_GARBAGE"


class WorkerHung(WorkerDied):
    """The worker did not answer in time and was killed."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "WORKER_HUNG"


class CallOverdue(FarmdError):
    """The work took longer than the client or the daemon allows, and was stopped; the worker lives."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "OVERDUE"


class WorkerUnstartable(FarmdError):
    """The worker of a runtime cannot be started: its interpreter is missing, or lacks what the worker needs."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WORKER_UNSTARTABLE"


class Unavailable(FarmdError):
    """The board cannot take the call now; `retry_delay_s` says when it may."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"


class WorkerBackOff(Unavailable):
    """The last workers died, so the next one waits."""

    reason = "WORKER_BACK_OFF"


class WorkerBusy(Unavailable):
    """Earlier requests kept the worker for as long as a request may wait."""

    reason = "WORKER_BUSY"


class ShuttingDown(Unavailable):
    """The daemon is ending and takes no new work."""

    reason = "SHUTTING_DOWN"


class CallCancelled(FarmdError):
    """The client gave up: it cancelled, its deadline passed, or its connection broke."""

    code = grpc.StatusCode.CANCELLED
    reason = "CANCELLED"


WORKER_KINDS: Mapping[str, type[FarmdError]] = {
    "RuntimeUnavailable": RuntimeUnavailable,
    "ModelInvalid": ModelInvalid,
    "FormatUnsupported": FormatUnsupported,
    "OptionInvalid": OptionInvalid,
    "PrecisionUnsupported": PrecisionUnsupported,
    "InputInvalid": InputInvalid,
    "InferenceFailed": InferenceFailed,
    "OutOfMemory": OutOfMemory,
    "BufferTooSmall": BufferTooSmall,
    "NotLoaded": ModelNotFound,
    "Cancelled": CallCancelled,
    "ProtocolError": WorkerFault,
    "WorkerFault": WorkerFault,
}
"""The wire's error kinds (targets/errors.py) in the words of this tree."""


_FIELDS: Mapping[type[FarmdError], tuple[str, str]] = {
    OptionInvalid: ("option", "header.options.{}"),
    PrecisionUnsupported: ("precision", "header.precision"),
    FormatUnsupported: ("format", "header.format"),
    InputInvalid: ("name", "inputs.{}"),
}
"""The field of a request that an error of the worker is about: the detail that names it, and its path."""


def from_worker(error: Mapping[str, Any], **metadata: object) -> FarmdError:
    """Return the error that a worker's reply describes; an unknown kind is a WorkerFault."""
    kind = WORKER_KINDS.get(str(error.get("kind")), WorkerFault)
    message = str(error.get("message") or "The worker failed without saying why.")
    details = error.get("details")
    facts = dict(details) if isinstance(details, Mapping) else {}
    detail, path = _FIELDS.get(kind, ("", ""))
    violations = [FieldViolation(path.format(facts[detail]), message)] if detail in facts else []
    return kind(message, metadata={**facts, **metadata}, violations=violations)
