"""Starts the worker of a runtime that is no Python: any executable that speaks the wire protocol (docs/worker-protocol.md).

    <interpreter> -m targets.external --fd N -- /path/to/executable [ARGUMENT ...]

looks the file over and then executes it in its own place, with ``--fd N`` appended: nothing stands between the daemon and the
executable. A file that cannot be executed here is refused in a sentence, as the answer to the daemon's first request.

    <interpreter> -m targets.external --check /path/to/executable [MODEL --format FORMAT]

drives the executable as the daemon would and prints what holds; the exit code is 1 unless everything does.
"""

import argparse
import os
import socket
import sys
from typing import Any, Dict, List, Optional

from targets.errors import ModelInvalid, RuntimeUnavailable, WireClosed, WireGarbage, error_to_json
from targets.formats import elf_file
from targets.wire import Reader, send

_UNFIT = 4  # exit code, as that of an interpreter that cannot run a worker


def refusal(path: str) -> Optional[str]:
    """Return why a file cannot be executed on this machine, as one sentence; None if it can."""
    if not os.path.isfile(path):
        return "The executable {} does not exist; mend its path under [external] in farmd.toml.".format(path)
    if not os.access(path, os.X_OK):
        return "The file {} is not executable; run 'chmod +x {}'.".format(path, path)
    try:
        if not elf_file.is_elf(path):
            return None  # a script; exec itself says what is wrong with it
        facts = elf_file.read(path)
    except ModelInvalid as error:
        return "The executable cannot run: {}".format(error.message)
    except OSError:
        return None  # what may not be read may still be executed
    machine = os.uname().machine
    if facts.runs_on(machine):
        return None
    return "The executable {} is for {}, but this machine is {}; build it for {}.".format(
        path, facts.architecture, machine, machine
    )


def _execute(fd: int, command: List[str]) -> int:
    """Become the executable. Returns only if that cannot be."""
    why = refusal(command[0])
    if why is None:
        try:
            os.set_inheritable(fd, True)
            os.execv(command[0], command + ["--fd", str(fd)])  # noqa: S606 - a shell is what must not be there
        except OSError as error:
            # ENOENT for a file that is there: what it names as its loader or its interpreter is not.
            hint = (
                "its loader or interpreter is missing"
                if isinstance(error, FileNotFoundError)
                else error.strerror
            )
            why = "The executable {} cannot be executed: {}.".format(command[0], hint)
    return _refuse(fd, why)


def _refuse(fd: int, why: str) -> int:
    """Answer what the daemon asks first with an error, so that its user reads the sentence and not an exit code."""
    sys.stderr.write("external: {}\n".format(why))
    error = error_to_json(RuntimeUnavailable(why))
    sock = socket.fromfd(fd, socket.AF_UNIX, socket.SOCK_STREAM)
    reader = Reader(sock)
    try:
        asked: List[Dict[str, Any]] = []
        while not asked:
            asked = reader.read()
        for request in asked:
            send(sock, {"id": request.get("id"), "ok": False, "error": error})
    except (WireClosed, WireGarbage, OSError):
        pass  # nobody listens any more; the sentence stands on stderr
    return _UNFIT


def main(arguments: Optional[List[str]] = None) -> int:
    """Execute or check an executable; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--" in given:
        at = given.index("--")
        own, command = given[:at], given[at + 1 :]
        parser = argparse.ArgumentParser(prog="targets.external", description="Becomes an executable worker.")
        parser.add_argument("--fd", type=int, required=True, help="the inherited end of the socket pair")
        fd = parser.parse_args(own).fd
        return _execute(fd, command) if command else parser.error("name the executable after --")
    return _check(given)


def _check(arguments: List[str]) -> int:
    # These need numpy, which a board that only executes may lack.
    from targets.conformance.__main__ import add_load_options, report, subject_of

    parser = argparse.ArgumentParser(
        prog="python -m targets.external", description="Checks an executable that speaks the worker protocol."
    )
    parser.add_argument(
        "--check", required=True, metavar="EXECUTABLE", help="what to drive as the daemon would"
    )
    parser.add_argument(
        "model", nargs="?", help="a model to load; without one only what needs none is checked"
    )
    parser.add_argument("--format", help="the format of the model")
    parser.add_argument("--runtime", default="external", help="what farmd.toml calls the runtime")
    parser.add_argument(
        "--argument", action="append", default=[], help="an argument of the executable (repeatable)"
    )
    add_load_options(parser)
    given = parser.parse_args(arguments)
    if (given.model is None) != (given.format is None):
        parser.error("give a model and its --format, or neither")
    executable = os.path.abspath(given.check)
    why = refusal(executable)
    if why is not None:
        parser.error(why)
    return report(subject_of([executable] + given.argument, given))


if __name__ == "__main__":
    sys.exit(main())
