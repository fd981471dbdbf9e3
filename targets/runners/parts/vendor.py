"""What runners say in the same words: the vendor's package is missing, or the file's precision is the only one."""

import importlib
from typing import Any, Optional, Sequence

from targets.errors import PrecisionUnsupported, RuntimeUnavailable
from targets.runner import one_line


def import_vendor(runtime: str, title: str, package: str, modules: Sequence[str], hint: str = "") -> Any:
    """Import and return the first of the modules that works. RuntimeUnavailable with the reason of the first.

    ``title`` is what a sentence calls the runtime, ``hint`` what to add to the advice to install ``package``.
    """
    error: Optional[Exception] = None
    for name in modules:
        try:
            return importlib.import_module(name)
        except Exception as caught:  # a broken native library raises more than ImportError
            error = error or caught
    raise RuntimeUnavailable(
        "{} cannot be imported ({}) Install it for this interpreter with 'pip install {}'{}.".format(
            title, one_line(error or ImportError("no module")), package, hint
        ),
        runtime=runtime,
        package=package,
    )


def keep_precision(title: str, of_file: str, asked: Optional[str]) -> None:
    """PrecisionUnsupported if another precision is asked for than the file has."""
    if asked is not None and asked != of_file:
        raise PrecisionUnsupported(
            "{} runs a file in the precision it has: this one is {}, not {}. Convert or quantise the model "
            "first.".format(title, of_file, asked),
            precision=asked,
            supported=[of_file],
        )
