"""Runs command lines and scripts on a board over the system's ssh client, and streams files there.

All commands of one deployment share one connection (ControlMaster, ssh_config(5)), so a password or a passphrase is asked
for once. Instead of ssh any command may stand that takes a host and a command line, hands its standard streams on, and
exits as the command line did, or with 255 if there is no connection.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hostctl.errors import DeviceUnreachable, UsageError

NO_CONNECTION = 255
"""What ssh exits with when it has no connection (ssh(1), EXIT STATUS)."""
STEP_TIMEOUT_S = 1800.0
"""Longest step: an installation on a slow card. A connection that is dead is noticed long before, by ssh itself."""
_SSH_OPTIONS = ("ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=4")


@dataclass(frozen=True)
class Answer:
    """How a command on the board ended and what it said."""

    code: int
    output: str
    errors: str

    @property
    def last_words(self) -> str:
        """The last line of stderr, else of stdout; "no message" for neither."""
        lines = [line.strip() for line in (self.errors or self.output).splitlines() if line.strip()]
        return lines[-1] if lines else "no message"


class Remote:
    """One board, reached as `target` (user@host). `prefix` is the command with its options, up to the host.

    Every call raises DeviceUnreachable where there is no connection, UsageError where there is no such command here.
    """

    def __init__(self, prefix: Sequence[str], target: str) -> None:
        self.target = target
        self._prefix = tuple(prefix)

    def script(self, text: str, *, sudo: bool = False, timeout_s: float = STEP_TIMEOUT_S) -> Answer:
        """Run a POSIX shell script. It travels on stdin: no login shell gets to interpret it."""
        process = self.start(f"{'sudo -n ' if sudo else ''}sh -s")
        with self._ended(process):
            output, errors = process.communicate(text.encode(), timeout_s)
        return self._answer(process.returncode, output, errors)

    def send(
        self, files: Iterable[Path], directory: str, *, sudo: bool, sent: Callable[[Path], None]
    ) -> Answer:
        """Stream files into a directory on the board as one tar; `sent` is called after each."""
        line = f"{'sudo -n ' if sudo else ''}tar -xof - -C {shlex.quote(directory)}"
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = self.start(line, output, errors)
            assert process.stdin is not None
            with self._ended(process):
                with contextlib.suppress(BrokenPipeError), process.stdin:
                    _write_tar(files, process.stdin, sent)
                process.wait(STEP_TIMEOUT_S)
            said = [_content(output), _content(errors)]
        return self._answer(process.returncode, *said)

    def start(
        self, line: str, output: IO[bytes] | int = subprocess.PIPE, errors: IO[bytes] | int = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        """Start a command line on the board; its standard input is a pipe."""
        try:
            return subprocess.Popen(
                [*self._prefix, self.target, line], stdin=subprocess.PIPE, stdout=output, stderr=errors
            )
        except OSError as error:
            raise UsageError(
                f"'{self._prefix[0]}' cannot be run here ({error.strerror}); install the OpenSSH client, or name another "
                "command with --ssh-command."
            ) from None

    @contextmanager
    def _ended(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """End the local client if the block is left by an exception: Ctrl-C, a signal, a time limit."""
        try:
            yield
        except BaseException as error:
            process.kill()
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise DeviceUnreachable(
                    f"{self.target} did not finish a step within {error.timeout:g} s; look at its load, then deploy again."
                ) from None
            raise

    def _answer(self, code: int, output: bytes, errors: bytes) -> Answer:
        answer = Answer(code, output.decode(errors="replace"), errors.decode(errors="replace"))
        if code == NO_CONNECTION:
            raise self.unreachable(answer.last_words)
        return answer

    def unreachable(self, why: str) -> DeviceUnreachable:
        """Return the error for a connection that is not there, or no longer."""
        return DeviceUnreachable(
            f"{self.target} cannot be reached over ssh ({why.rstrip('.')}); try 'ssh {self.target} true', then deploy again."
        )


@contextmanager
def connect(target: str, command: str | None, options: Sequence[str]) -> Iterator[Remote]:
    """Yield the board `target`. `command` None: ssh, with one connection for all calls; `options` are ssh's -o."""
    if not target or target.startswith("-") or any(letter.isspace() for letter in target):
        raise UsageError(f"'{target}' is no ssh destination; write --ssh user@host.")
    given = [part for option in options for part in ("-o", option)]
    if command is not None:
        words = shlex.split(command)
        if not words:
            raise UsageError("--ssh-command is empty; name the command that takes a host and a command line.")
        yield Remote([*words, *given], target)
        return
    # A socket's path has room for 104 bytes on some systems, of which ssh takes 17 for itself while it makes one.
    short = None if len(tempfile.gettempdir()) < 60 else "/tmp"  # noqa: S108 (mkdtemp makes it ours alone)
    directory = Path(tempfile.mkdtemp(prefix="wattfarm-", dir=short))
    shared = ["ControlMaster=auto", f"ControlPath={directory}/ssh", "ControlPersist=60", *_SSH_OPTIONS]
    # The user's options first: ssh takes the first value that it meets.
    prefix = ["ssh", *given, *(part for option in shared for part in ("-o", option))]
    try:
        yield Remote(prefix, target)
    finally:
        if shutil.which("ssh"):
            subprocess.run([*prefix, "-O", "exit", target], capture_output=True, timeout=20, check=False)
        shutil.rmtree(directory, ignore_errors=True)


def _write_tar(files: Iterable[Path], stream: IO[bytes], sent: Callable[[Path], None]) -> None:
    with tarfile.open(fileobj=stream, mode="w|", bufsize=1 << 16) as archive:
        for file in files:
            entry = tarfile.TarInfo(file.name)
            entry.size, entry.mode = file.stat().st_size, 0o644
            with file.open("rb") as content:
                archive.addfile(entry, content)
            sent(file)


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
