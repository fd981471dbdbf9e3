"""Checks that a runner, or any executable that speaks the wire protocol, does what the daemon relies on.

docs/worker-protocol.md says what that is; `python -m targets.conformance` and `python -m targets.external --check` run it.
"""

import subprocess
from typing import Callable, List, Optional, Tuple

from targets.client import Client
from targets.conformance import loops, requests
from targets.conformance.subject import Subject
from targets.errors import TargetsError, WireClosed

Check = Callable[[Subject, Client], None]
_ENDING_S = 10.0

WITHOUT_MODEL: List[Tuple[str, Check]] = [
    ("says hello", requests.says_hello),
    ("tells its runtime", requests.tells_its_runtime),
    ("refuses nonsense", requests.refuses_nonsense),
    ("ends in good order", loops.ends_in_good_order),
]
WITH_MODEL: List[Tuple[str, Check]] = [
    ("describes what it loaded", requests.describes_what_it_loaded),
    ("computes", requests.computes),
    ("refuses what is wrong", requests.refuses_what_is_wrong),
    ("keeps to its file", requests.keeps_to_its_file),
    ("times itself", loops.times_itself),
    ("stops when asked", loops.stops_when_asked),
    ("ends with its wire", loops.ends_with_its_wire),
]


def run(subject: Subject, tell: Callable[[str, Optional[str]], None]) -> bool:
    """Run every check in a worker of its own; ``tell`` gets its name and what is wrong (None: nothing). Did all hold?

    Without a model only what needs none is checked.
    """
    holds = True
    for name, check in WITHOUT_MODEL + (WITH_MODEL if subject.has_model else []):
        wrong = _outcome(subject, check)
        tell(name, wrong)
        holds = holds and wrong is None
    return holds


def _outcome(subject: Subject, check: Check) -> Optional[str]:
    try:
        with subject.client() as client:
            try:
                check(subject, client)
            except (
                AssertionError,
                TargetsError,
                KeyError,
                TypeError,
                ValueError,
                AttributeError,
                OSError,
            ) as error:
                return _sentence(error, client)
    except OSError as error:
        return "{} cannot be started: {}".format(subject.command[0], error)
    return None


def _sentence(error: BaseException, client: Client) -> str:
    """Return what is wrong, with the worker's last words if it died."""
    text = (
        "{}: {}".format(type(error).__name__, error) if not isinstance(error, AssertionError) else str(error)
    )
    try:  # a process that closes its wire may still be about to end
        client.process.wait(_ENDING_S if isinstance(error, WireClosed) else 0)
    except subprocess.TimeoutExpired:
        return text
    words = client.stderr_path.read_text(errors="replace").strip().splitlines()
    return "{} (the worker ended with {}{})".format(
        text, client.process.returncode, "; its last words: " + words[-1] if words else ""
    )
