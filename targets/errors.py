"""Every error that a worker or a runner can give, and how an error crosses the wire.

A user error is one sentence that says what is wrong, where, and what to do. ``details`` carries the same
facts for programs; its keys are written at each class.
"""

# The names of the classes are the names on the wire, so they carry no "Error" at their end.
# ruff: noqa: N818

from typing import Any, Dict, Type


class TargetsError(Exception):
    """Base of all errors of this package. ``kind`` is what the wire calls it: the name of the class."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: Dict[str, Any] = details

    @property
    def kind(self) -> str:
        """The name of the error on the wire."""
        return type(self).__name__


class RuntimeUnavailable(TargetsError):
    """The vendor's runtime is missing or does not work here. Details: runtime, package (or None)."""


class ModelInvalid(TargetsError):
    """The model file is missing, empty, truncated, corrupt, or the runtime cannot build it. Details: path."""


class FormatUnsupported(TargetsError):
    """The runtime does not take this model format. Details: format, supported."""


class OptionInvalid(TargetsError):
    """An option is unknown, malformed or impossible for this model. Details: option, value."""


class PrecisionUnsupported(TargetsError):
    """The runtime cannot give the requested precision for this model. Details: precision, supported."""


class InputInvalid(TargetsError):
    """A tensor's name, dtype, shape or size is not what the model takes. Details: field."""


class InferenceFailed(TargetsError):
    """The runtime failed while it ran the model."""


class OutOfMemory(TargetsError):
    """The worker could not get the memory it needs."""


class BufferTooSmall(TargetsError):
    """The mapped tensor file cannot hold the outputs. Details: needed_bytes (of the whole file)."""


class NotLoaded(TargetsError):
    """The operation needs a loaded model (or a mapped tensor file), and there is none."""


class Cancelled(TargetsError):
    """The operation was cancelled."""


class ProtocolError(TargetsError):
    """A request is malformed or unknown: the two ends do not speak the same protocol."""


class WorkerFault(TargetsError):
    """Something in the worker itself failed that none of the other errors names. Details: traceback."""


class BoardUnknown(TargetsError):
    """The catalogue has no board of that name. Details: board."""


class BoardInvalid(TargetsError):
    """A board file breaks the schema. Details: board, and key where one is to blame."""


class WireClosed(TargetsError):
    """The other end of the wire is gone."""


class WireGarbage(TargetsError):
    """What arrived is not a frame: the stream cannot be trusted any more and must be closed."""


def _tree(root: Type[TargetsError]) -> Dict[str, Type[TargetsError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


KINDS = _tree(TargetsError)


def error_to_json(error: TargetsError) -> Dict[str, Any]:
    """Return the wire's form of an error: kind, message, details."""
    return {"kind": error.kind, "message": error.message, "details": error.details}


def error_from_json(obj: Dict[str, Any]) -> TargetsError:
    """Return the error that the wire's form describes; an unknown kind becomes a TargetsError."""
    kind = KINDS.get(str(obj.get("kind")), TargetsError)
    details = obj.get("details")
    error = kind(str(obj.get("message", "")))
    error.details = dict(details) if isinstance(details, dict) else {}
    return error
