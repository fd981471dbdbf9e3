"""TensorRT's log, which is the only place where TensorRT says why something failed.

Source: TensorRT Python API, ILogger. A process has one logger: TensorRT keeps the first one it is given.
"""

import sys
from collections import deque
from typing import Any, Deque, List, Tuple

_KEPT = 400
_MOST_TEXT = 400


class _Lines:
    """The last lines of the log, each with its number, its severity and its text."""

    def __init__(self) -> None:
        self._lines: Deque[Tuple[int, str, str]] = deque(maxlen=_KEPT)
        self._count = 0

    def add(self, severity: str, text: str) -> None:
        self._count += 1
        self._lines.append((self._count, severity, " ".join(text.split())))
        if severity in ("INTERNAL_ERROR", "ERROR", "WARNING"):
            sys.stderr.write("[TensorRT] {}: {}\n".format(severity, text))

    def mark(self) -> int:
        """Return a place in the log, for ``errors``."""
        return self._count

    def errors(self, mark: int) -> str:
        """Return what was logged as an error since a mark; where there was none, the warnings; else a plain remark."""
        for wanted in (("INTERNAL_ERROR", "ERROR"), ("WARNING",)):
            found = [
                text for number, severity, text in list(self._lines) if number > mark and severity in wanted
            ]
            if found:
                return _joined(found)
        return "its log says no reason"


LINES = _Lines()
_loggers: List[Any] = []


def logger(trt: Any) -> Any:
    """Return the logger of this process for a tensorrt module."""
    if not _loggers:
        _loggers.append(_make(trt))
    return _loggers[0]


def _make(trt: Any) -> Any:
    class Capture(trt.ILogger):  # type: ignore[misc]  # the vendor's package has no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            # Called from TensorRT's own threads; an exception here would end the process.
            LINES.add(str(getattr(severity, "name", severity)), str(msg))

    return Capture()


def _joined(texts: List[str]) -> str:
    unique = list(dict.fromkeys(texts))
    text = "; ".join(unique).rstrip(".")
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 3] + "..."
