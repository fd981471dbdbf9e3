"""Lines that a program prints, for meters that are a vendor's command: started, read, and ended with what it had started."""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Sequence

from power.errors import LinkLost, MeterUnavailable
from power.timebase import HOST_TIME, Timebase

END_S = 2.0
"""How long a program may take to end when it is asked to, before it is killed."""
TAIL_BYTES = 300
LONGEST_LINE = 1 << 16


class LineProcess:
    """A running program, in a process group of its own.

    Raises MeterUnavailable from `__init__` if it cannot be started, LinkLost from `read_lines` when it has ended: with its exit
    status and the end of what it said on stderr.
    """

    def __init__(self, command: Sequence[str], *, timebase: Timebase = HOST_TIME) -> None:
        self.command = tuple(command)
        self._timebase = timebase
        self._rest = b""
        # A file and not a pipe: nobody has to read it for the program to go on.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open for as long as the program runs
        try:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as error:
            self._errors.close()
            raise MeterUnavailable(_why_not(self.command, error)) from None
        assert self._process.stdout is not None
        self._out = self._process.stdout.fileno()

    @property
    def text(self) -> str:
        """The command as a person would type it."""
        return shlex.join(self.command)

    def read_lines(self, timeout_s: float) -> list[tuple[str, int]]:
        """Return the lines that came, and when (timebase, ns), waiting at most `timeout_s` of real time for the first."""
        lines: list[tuple[str, int]] = []
        if self._process.stdout is None or self._process.stdout.closed:
            raise LinkLost(f"'{self.text}' was ended.")
        while select.select([self._out], [], [], 0.0 if lines else timeout_s)[0]:
            arrival_ns = self._timebase.now_ns()  # before it is read: whoever sent it may go on from then
            data = os.read(self._out, LONGEST_LINE)
            if not data:
                if lines:
                    return lines
                raise self._ended()
            *whole, self._rest = (self._rest + data).split(b"\n")
            lines += [(line.decode("utf-8", "replace").rstrip("\r"), arrival_ns) for line in whole]
            if not whole and len(self._rest) > LONGEST_LINE:
                raise LinkLost(
                    f"'{self.text}' prints no lines but {len(self._rest)} bytes in one; is it the right command?"
                )
            if not whole:
                return lines
        return lines

    def close(self) -> None:
        """End the program and what it started. Never raises; harmless twice."""
        if self._process.stdout is not None:
            # Also the end of what may not be signalled, such as a program under sudo: its next line finds no reader.
            self._process.stdout.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
        self._errors.close()

    def _ended(self) -> LinkLost:
        try:
            status = self._process.wait(END_S)
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        except subprocess.TimeoutExpired:
            how = "closed its output"
        said = self._said()
        return LinkLost(
            f"'{self.text}' {how}{f', saying: {said}' if said else ''}; run it by hand to see why."
        )

    def _said(self) -> str:
        """Return the end of what it said on stderr."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - TAIL_BYTES))
        return " ".join(self._errors.read().decode("utf-8", "replace").split()).rstrip(".;")


def _why_not(command: Sequence[str], error: OSError) -> str:
    program = command[0]
    if isinstance(error, FileNotFoundError):
        return (
            f"There is no program '{program}' on this machine; install it, or correct command in farm.toml."
        )
    if isinstance(error, PermissionError):
        return f"This user may not run '{program}'; run 'chmod +x' on it, or correct command in farm.toml."
    return f"'{program}' cannot be started ({os.strerror(error.errno or 0)}); correct command in farm.toml."
