"""The conformance check of an executable worker: what docs/worker-protocol.md asks for, tried point by point.

    python -m targets.external --check EXECUTABLE [MODEL --format FORMAT]

Standard library and numpy only, so that it runs on the board.
"""

import socket
import subprocess
import sys
from typing import Callable, List, Tuple

from targets.client import Client
from targets.errors import TargetsError, WireClosed
from targets.external import refusal
from targets.external_check import loops, requests
from targets.external_check.subject import Failed, Subject

Point = Callable[[Subject, Client], str]
_TIMEOUT_S = 30.0
_END_S = 10.0

_ALWAYS: List[Tuple[str, Point]] = [
    ("hello", requests.hello),
    ("probe", requests.probe),
    ("wrong requests", requests.wrong_requests),
    ("close", loops.close),
    ("loss of the wire", loops.wire_closed),
]
_WITH_MODEL: List[Tuple[str, Point]] = [
    ("wrong loads", requests.wrong_loads),
    ("load, describe, memory", requests.load),
    ("infer", requests.infer),
    ("wrong inputs", requests.wrong_inputs),
    ("outputs that do not fit", requests.too_small),
    ("benchmark, latency", loops.latency),
    ("benchmark, throughput", loops.throughput),
    ("cancel", loops.cancel),
    ("unload", loops.unload),
    ("loss of the wire in a benchmark", loops.wire_closed_in_a_benchmark),
]


def check(subject: Subject) -> int:
    """Try every point, print the table, and return the exit code: 0 if all hold, else 1."""
    why = refusal(subject.command[0])
    if why is not None:
        sys.stdout.write("FAILS  start: {}\n".format(why))
        return 1
    failures = 0
    for name, point in _ALWAYS + (_WITH_MODEL if subject.model else []):
        holds, told = _try(subject, point)
        failures += not holds
        sys.stdout.write("{}  {}: {}\n".format("ok   " if holds else "FAILS", name, told))
        sys.stdout.flush()
    if not subject.model:
        sys.stdout.write("Give a MODEL and its --format to check load, infer and benchmark too.\n")
    sys.stdout.write("{} points fail.\n".format(failures) if failures else "Everything holds.\n")
    return 1 if failures else 0


def _try(subject: Subject, point: Point) -> Tuple[bool, str]:
    """Run one point on a fresh process; return whether it holds, and what it told."""
    try:
        client = Client(subject.command, timeout_s=_TIMEOUT_S)
    except OSError as error:
        return False, "{} cannot be started ({})".format(subject.command[0], error.strerror)
    with client:
        try:
            return True, point(subject, client)
        except socket.timeout:
            told = "no answer within {:g} s".format(_TIMEOUT_S)
        except (Failed, AssertionError) as error:
            told = str(error)
        except WireClosed as error:
            told = "{} {}".format(error, _last_words(client))
        except TargetsError as error:
            told = "{}: {}".format(error.kind, error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            told = "an answer lacks something, or is of another type than it should be ({!r})".format(error)
        return False, told


def _last_words(client: Client) -> str:
    """Say how the process ended and what it printed last."""
    try:
        code = client.process.wait(_END_S)
    except subprocess.TimeoutExpired:
        return "The process still runs."
    lines = client.stderr_path.read_text(errors="replace").split("\n")
    words = [line for line in lines if line.strip()]
    return "It ended with exit code {}{}".format(code, ": {}".format(words[-1]) if words else ".")
