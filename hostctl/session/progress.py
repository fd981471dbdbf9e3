"""What a person sees while a run goes on: one line on stderr, silent when stderr is no terminal.

Nothing is drawn in the measured window: a line is printed as a part begins, and the process sleeps until it ends.
"""

from __future__ import annotations

import sys
from typing import Protocol, TextIO


class Progress(Protocol):
    """Where a session tells what it is doing."""

    def step(self, text: str) -> None:
        """Say what begins now."""

    def upload(self, stage: str, done_bytes: int, total_bytes: int) -> None:
        """Say how far an upload is."""

    def note(self, text: str) -> None:
        """Say something that should stay readable."""

    def clear(self) -> None:
        """Take away what was not meant to stay."""


class Silent:
    """Tells nobody."""

    def step(self, text: str) -> None:
        """Tell nobody."""

    def upload(self, stage: str, done_bytes: int, total_bytes: int) -> None:
        """Tell nobody."""

    def note(self, text: str) -> None:
        """Tell nobody."""

    def clear(self) -> None:
        """Nothing was drawn."""


class TerminalProgress:
    """One line that is written over. `prefix` names the configuration, such as "2/4"."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = False

    def step(self, text: str) -> None:
        """Write over the line."""
        self._stream.write(f"\r\x1b[K{text}")
        self._stream.flush()
        self._drawn = True

    def upload(self, stage: str, done_bytes: int, total_bytes: int) -> None:
        """Show megabytes."""
        if stage == "receiving":
            self.step(f"sending the model: {done_bytes / 1e6:.1f} of {total_bytes / 1e6:.1f} MB")
        else:
            self.step(f"the board is {stage} the model")

    def note(self, text: str) -> None:
        """Write a line that stays."""
        self.clear()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def clear(self) -> None:
        """Leave an empty line."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False


class Notes(Silent):
    """For logs and pipes: no progress, but what a user has to know (for whom we wait) is told."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def note(self, text: str) -> None:
        """Write a line."""
        self._stream.write(f"{text}\n")
        self._stream.flush()


def progress_on(stream: TextIO | None = None) -> Progress:
    """Return progress for a stream, stderr if none is given."""
    stream = stream or sys.stderr
    return TerminalProgress(stream) if stream.isatty() else Notes(stream)
