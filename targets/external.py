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
from typing import Any, Dict, List, Optional, Tuple

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
    except OSError as error:
        return "The executable {} cannot be read ({}).".format(path, error.strerror)
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
    """Execute or check an executable."""
    parser = argparse.ArgumentParser(
        prog="targets.external", description="Runs or checks an executable that speaks the worker protocol."
    )
    parser.add_argument(
        "--fd", type=int, help="the inherited end of the socket pair; then -- and the command"
    )
    parser.add_argument("--check", metavar="EXECUTABLE", help="drive the executable and print what holds")
    parser.add_argument("--format", help="with --check: the format of the model")
    parser.add_argument("--runtime", default="external", help="with --check: what farmd.toml calls it")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="with --check: a load option"
    )
    parser.add_argument(
        "--argument", action="append", default=[], help="with --check: an argument of the executable"
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="with --check: a model to load")
    own, command = _split(sys.argv[1:] if arguments is None else arguments)
    given = parser.parse_args(own)
    if (given.check is None) == (given.fd is None) or bool(command) == bool(given.check):
        parser.error("give either --fd N -- EXECUTABLE, or --check EXECUTABLE")
    if command:
        return _execute(given.fd, command)
    if (given.model is None) != (given.format is None):
        parser.error("give a MODEL and its --format, or neither")
    # These need numpy, which a board that only executes may lack.
    from targets.external_check import check
    from targets.external_check.subject import Subject

    options = dict(item.partition("=")[::2] for item in given.option)
    model = os.path.abspath(given.model) if given.model else None
    return check(
        Subject([os.path.abspath(given.check)] + given.argument, given.runtime, model, given.format, options)
    )


def _split(arguments: List[str]) -> Tuple[List[str], List[str]]:
    """Return our own arguments and the command after the first --, whose own arguments are none of ours."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


if __name__ == "__main__":
    sys.exit(main())
