"""The conformance command.

    python3 -m targets.conformance --runtime mine --format onnx MODEL                   # a runner of this interpreter
    python3 -m targets.conformance --runtime mine --format fmt MODEL -- /opt/my/worker  # an executable

A runner that is not in the catalogue is named by WATTFARM_RUNNERS=mine=package.module:Class. Prints a line a check; exits with 1
if one does not hold, with 2 for wrong usage.
"""

import argparse
import os
import sys
from typing import List, Optional, Sequence, Tuple

from targets.conformance import run
from targets.conformance.subject import Subject


def report(subject: Subject) -> int:
    """Run the checks, print a line for each, and return the exit code."""

    def tell(name: str, wrong: Optional[str]) -> None:
        print("{:28} {}".format(name, "holds" if wrong is None else "FAILS: " + wrong))
        sys.stdout.flush()

    return 0 if run(subject, tell) else 1


def split(arguments: Sequence[str]) -> Tuple[List[str], List[str]]:
    """Return our own arguments and the command after the first --, whose own arguments are none of ours."""
    listed = list(arguments)
    at = listed.index("--") if "--" in listed else len(listed)
    return listed[:at], listed[at + 1 :]


def add_load_options(parser: argparse.ArgumentParser) -> None:
    """Add what a load may be asked for."""
    parser.add_argument("--precision", help="as the file is, if not given")
    parser.add_argument("--batch", type=int, help="as the file is, if not given")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="load option (repeatable)"
    )


def subject_of(command: Sequence[str], given: argparse.Namespace) -> Subject:
    """Return what the arguments ask to check."""
    pairs = [option.partition("=") for option in given.option]
    load = {
        "path": os.path.abspath(given.model) if given.model else None, "runtime": given.runtime,
        "format": given.format, "precision": given.precision, "batch": given.batch,
        "options": {key: value for key, _, value in pairs},
    }  # fmt: skip
    return Subject(command, load)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit code."""
    own, command = split(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="python -m targets.conformance",
        description="Checks that a runner, or an executable, does what the daemon relies on.",
    )
    parser.add_argument("model", help="a model file of that format")
    parser.add_argument("--runtime", required=True, help="the runner's name")
    parser.add_argument("--format", required=True, help="the file's format")
    add_load_options(parser)
    given = parser.parse_args(own)
    if not os.path.isfile(given.model):
        parser.error("there is no model file {}".format(given.model))
    return report(subject_of(command or [sys.executable, "-m", "targets.worker"], given))


if __name__ == "__main__":
    sys.exit(main())
