"""The processes that publish what accelerator modules measure of themselves: targets/sensors.py, where farmd.toml asks for it.

The daemon imports no vendor's package, and a module's own measurement belongs into another process than its inference. Unlike
a worker such a process is not killed with the daemon: it sees its standard input close, and stops the measurement first.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from farmd import launch, tensorfile
from farmd.child import Child
from farmd.config import Config

STOP_S = 5.0
_log = logging.getLogger("farmd")


class Sensors:
    """All of them. One that ends by itself stays away until the daemon starts anew."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._publishers: list[_Publisher] = []

    def start(self) -> None:
        """Start what the settings ask for; one that cannot be started is a warning."""
        for runtime, measured in self._config.sensors.items():
            try:
                self._publishers.append(_Publisher(self._config, runtime, measured))
            except OSError as error:
                _log.warning(
                    "The sensors of '%s' cannot be started with %s (%s); mend [interpreters] or [sensors] in farmd.toml.",
                    runtime, self._config.interpreter_of(runtime), error.strerror or error,
                )  # fmt: skip

    def roots(self) -> Sequence[Path]:
        """Return the directories below which modules are shown like a board's own sensors."""
        return [publisher.root for publisher in self._publishers if not publisher.has_ended]

    def stop(self) -> None:
        """Let all end their measurements, and wait for that."""
        for publisher in self._publishers:
            publisher.hang_up()
        for publisher in self._publishers:
            publisher.wait()
        self._publishers.clear()


class _Publisher:
    """One process and its directory, in memory where that can be: it writes every second."""

    def __init__(self, config: Config, runtime: str, measured: str) -> None:
        self._runtime = runtime
        self._is_stopping = False
        self._told = 0
        self._telling = threading.Lock()
        self.root = _directory(config)
        power = ["--power"] if measured == "power" else []
        theirs, self._ours = os.pipe()
        try:
            self._child = Child(
                [
                    str(config.interpreter_of(runtime)),
                    "-m",
                    "targets.sensors",
                    runtime,
                    str(self.root),
                    *power,
                ],
                cwd=self.root,
                env=launch.environment(config),
                pass_fds=[],
                stdin=theirs,
            )
        except OSError:
            os.close(self._ours)
            launch.remove(self.root)
            raise
        finally:
            os.close(theirs)
        self._child.on_line = self._tell
        self._tell()
        self._child.watch(self._ended, lambda: None)

    @property
    def has_ended(self) -> bool:
        """Whether its directory is gone, or about to go."""
        return self._child.exited.is_set()

    def _tell(self) -> None:
        with self._telling:
            lines, self._told = self._child.lines_after(self._told)
        for line in lines:
            _log.info("Sensors of '%s': %s", self._runtime, line)

    def _ended(self) -> None:
        launch.remove(self.root)
        if not self._is_stopping:
            how, _ = self._child.how_it_ended()
            last = " ".join(self._child.tail()[-1:]) or "It said nothing."
            _log.warning("The sensors of '%s' are gone: their process %s. %s", self._runtime, how, last)

    def hang_up(self) -> None:
        """Close its standard input, which it ends by."""
        self._is_stopping = True
        os.close(self._ours)

    def wait(self) -> None:
        """Wait for its end, and kill it where that does not come."""
        if self._child.exited.wait(STOP_S):
            return
        _log.warning(
            "The sensors of '%s' did not end within %g s and are killed: a module may go on measuring.", self._runtime, STOP_S
        )  # fmt: skip
        self._child.kill()
        self._child.exited.wait(STOP_S)


def _directory(config: Config) -> Path:
    memory, disk = launch.tensor_directories(config)
    parent = memory if os.access(memory, os.W_OK | os.X_OK) else disk
    return Path(tempfile.mkdtemp(prefix=f"{tensorfile.PREFIX}{os.getpid()}-", dir=parent))
