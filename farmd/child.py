"""One child process: started without forking the daemon's state, watched, its output kept, killed as a group.

Two blocking threads serve a child, and nothing polls: one starts it and waits for its end, the other reads what
it prints. The thread that starts it lives as long as the child, because Linux sends a parent-death signal when the
*thread* that created the child ends (prctl(2), PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

TAIL_LINES = 40
MAX_LINE_BYTES = 4096
# Python's faulthandler prints some twenty lines a thread after the words that matter, so more than the tail is kept.
_KEPT_LINES = 500
_DUMP_BEGINS = "Fatal Python error:"
# As much as the reader may lag behind the child's end before its last words are given up.
_LAST_WORDS_S = 1.0
# The kernel's out-of-memory killer should take a worker before the daemon (proc_pid_oom_score_adj(5)).
_OOM_SCORE_ADJ = 500


class Child:
    """A process in a session and group of its own, its standard output and error in one pipe."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        pass_fds: Sequence[int],
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        """Start it; `stdin` is a descriptor. OSError if the program cannot be executed."""
        self._lock = threading.Lock()
        self._reaped = False
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._line_count = 0
        self._is_over = False
        self._watchers: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self.on_line: Callable[[], None] | None = None
        self.returncode: int | None = None
        self.exited = threading.Event()
        started: Future[int] = Future()
        threading.Thread(
            target=self._live,
            args=(partial(_spawn, list(argv), cwd, dict(env), list(pass_fds), stdin), started),
            name="farmd-child",
            daemon=True,
        ).start()
        self.pid = started.result()

    def _live(self, spawn: Callable[[], subprocess.Popen[bytes]], started: Future[int]) -> None:
        try:
            process = spawn()
        except (OSError, ValueError) as error:
            started.set_exception(error if isinstance(error, OSError) else OSError(str(error)))
            return
        _restrain(process.pid)
        reader = threading.Thread(target=self._read, args=(process,), name="farmd-child-output", daemon=True)
        reader.start()
        started.set_result(process.pid)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self._reap(process)
        reader.join(_LAST_WORDS_S)  # somebody outside of the group may hold the pipe open for ever
        with self._lock:
            self._is_over = True
        for at_exit, _ in self._watchers:
            at_exit()
        self.exited.set()
        for _, afterwards in self._watchers:
            afterwards()

    def watch(self, at_exit: Callable[[], None], afterwards: Callable[[], None]) -> None:
        """Call these when the process has ended and is reaped: one before `exited` is set, one after it.

        What the first does is therefore done when a waiter for `exited` goes on; it must not wait for that itself.
        They run in the thread that waits for the process, or at once in this one if the end has come already.
        """
        with self._lock:
            if not self._is_over:
                self._watchers.append((at_exit, afterwards))
                return
        at_exit()
        afterwards()

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """Kill what is left of the group while the dead leader still keeps its number taken, then reap it."""
        with self._lock:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            self.returncode = process.wait()
            self._reaped = True

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:  # for the type checker: a pipe was asked for
            return
        rest = b""
        with process.stdout as pipe:
            while data := pipe.read(65536):
                *lines, rest = (rest + data).replace(b"\r", b"\n").split(b"\n")
                if len(rest) > MAX_LINE_BYTES:
                    lines, rest = [*lines, rest], b""
                self._keep(lines)
        self._keep([rest])

    def _keep(self, lines: Sequence[bytes]) -> None:
        texts = [line[:MAX_LINE_BYTES].decode("utf-8", "replace").rstrip() for line in lines]
        texts = [text for text in texts if text]
        if not texts:
            return
        with self._lock:
            self._lines.extend(texts)
            self._line_count += len(texts)
        listener = self.on_line
        if listener is not None:
            listener()

    def tail(self) -> list[str]:
        """Return the last lines it printed itself, at most TAIL_LINES, without the stacks of faulthandler's dump."""
        with self._lock:
            lines = list(self._lines)
        dump = next((at for at, line in enumerate(lines) if line.startswith(_DUMP_BEGINS)), len(lines))
        return lines[:dump][-TAIL_LINES:] or lines[dump : dump + 1]

    def all_lines(self) -> list[str]:
        """Return all lines that are kept, for the daemon's log."""
        with self._lock:
            return list(self._lines)

    @property
    def line_count(self) -> int:
        """How many lines it has printed so far."""
        with self._lock:
            return self._line_count

    def lines_after(self, count: int) -> tuple[list[str], int]:
        """Return the lines printed after the first `count`, as far as they are kept, and how many there are now."""
        with self._lock:
            new = min(self._line_count - count, len(self._lines))
            return list(self._lines)[len(self._lines) - new :], self._line_count

    def kill(self) -> None:
        """Kill the whole group with SIGKILL; harmless after its end."""
        with self._lock:
            if not self._reaped:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)

    def how_it_ended(self) -> tuple[str, dict[str, str]]:
        """Return "was killed by SIGSEGV" or "ended with exit code 3", and the same for programs."""
        if self.returncode is None:
            return "is running", {}
        if self.returncode >= 0:
            return f"ended with exit code {self.returncode}", {"exit_code": str(self.returncode)}
        try:
            name = signal.Signals(-self.returncode).name
        except ValueError:  # a real-time signal
            name = f"signal {-self.returncode}"
        return f"was killed by {name}", {"signal": name}


def _spawn(
    argv: list[str], cwd: Path, env: dict[str, str], fds: list[int], stdin: int
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        pass_fds=fds,
        close_fds=True,
        start_new_session=True,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    )


def _restrain(pid: int) -> None:
    """No core dumps of gigabytes on a board's small disk; first choice of the out-of-memory killer."""
    with contextlib.suppress(OSError, ValueError):
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc", str(pid), "oom_score_adj").write_text(str(_OOM_SCORE_ADJ))
