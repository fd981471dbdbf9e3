"""A line of the board that is high during the timed loop, for an instrument that records it beside the power.

``WATTFARM_MARKER`` in the worker's environment names the file that a ``1`` or ``0`` written to it sets the line by, such as
``/sys/class/gpio/gpio17/value`` or ``/sys/class/leds/user1/brightness`` (kernel: Documentation/admin-guide/gpio/sysfs.rst,
Documentation/leds/leds-class.rst). Without it nothing is done.
"""

import os
from typing import Dict, Optional

from targets.errors import OptionInvalid

VARIABLE = "WATTFARM_MARKER"


class Marker:
    """The line, low to begin with. Raises OptionInvalid if the file cannot be written."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_WRONLY)
        except OSError as error:
            raise self._refused(error)
        self.low()

    def high(self) -> None:
        """Raise the line: the timed loop begins."""
        self._write(b"1")

    def low(self) -> None:
        """Lower the line: it is over."""
        self._write(b"0")

    def close(self) -> None:
        """Let go of the line."""
        os.close(self._fd)

    def _write(self, level: bytes) -> None:
        try:
            os.pwrite(self._fd, level, 0)
        except OSError as error:
            raise self._refused(error)

    def _refused(self, error: OSError) -> OptionInvalid:
        return OptionInvalid(
            "The marker line {} cannot be set ({}); let farmd's user write it, or take {} out of worker_env.".format(
                self._path, error.strerror, VARIABLE
            ),
            option=VARIABLE,
            value=self._path,
        )


def open_marker(environ: Optional[Dict[str, str]] = None) -> Optional[Marker]:
    """Return the board's marker line; None where the environment names none."""
    path = (os.environ if environ is None else environ).get(VARIABLE)
    return Marker(path) if path else None
