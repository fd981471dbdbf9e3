"""What an accelerator module measures of itself, published as the kernel publishes a sensor: a process beside the workers.

``python -m targets.sensors RUNTIME DIRECTORY [--power]`` shows each module as a chip ``DIRECTORY/sys/class/hwmon/hwmon<N>``
(Linux kernel, Documentation/hwmon/sysfs-interface.rst). What a module does not tell has no file. It runs until its standard input
closes, as it does when the daemon that holds the other end dies, or until SIGTERM; the modules are then as they were before.
"""

import argparse
import contextlib
import faulthandler
import importlib
import os
import select
import shutil
import signal
import sys
import threading
from typing import Any, Callable, Dict, List, Optional

from targets.errors import TargetsError

SOURCES = {"hailort": "targets.runners.parts.hailort.sensors"}
"""What offers ``open_modules(measures_power, say)``; a module has name, interval_s, begin, read and end."""
LIMIT_S = 10.0
"""A value must not be shown for longer after the call for the next one hangs."""
GIVE_UP_S = 2.0
"""How long the watchdog tries to end the measurement itself."""
HARD_LIMIT_S = 15
START_LIMIT_S = 60
EXIT_FAILED = 1
_STATIC = ("name", "update_interval")


class Ending:
    """Standard input closing, or SIGTERM or SIGINT, none of which cuts a call of the vendor's short."""

    def __init__(self) -> None:
        received, sent = os.pipe()
        os.set_blocking(sent, False)
        signal.set_wakeup_fd(sent)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)  # what matters is the byte in the pipe
        self._watched = [sys.stdin.fileno(), received]

    def wait(self, timeout_s: float) -> bool:
        """Return whether the end was asked for within this time."""
        return bool(select.select(self._watched, [], [], timeout_s)[0])


class Place:
    """Where chips are published. Each file is replaced in one step, so a reader never sees half a number."""

    def __init__(self, directory: str) -> None:
        self._base = os.path.join(directory, "sys", "class", "hwmon")
        self._shown: Dict[str, Dict[str, str]] = {}

    def publish(self, chip: str, files: Dict[str, str]) -> None:
        """Show a chip with these files and no others. OSError if that cannot be, or if somebody else's is in its place."""
        folder = os.path.join(self._base, chip)
        if chip not in self._shown:
            os.makedirs(folder)
            self._shown[chip] = {}
        shown = self._shown[chip]
        for name in sorted(set(shown) - set(files)):
            os.unlink(os.path.join(folder, name))
            del shown[name]
        for name in sorted(files, key=_is_value):  # a value is not to be seen before its label
            if shown.get(name) != files[name]:
                _replace(os.path.join(folder, name), files[name])
                shown[name] = files[name]

    def withdraw(self, chip: str) -> None:
        """Show this chip no longer."""
        self._shown.pop(chip, None)
        shutil.rmtree(os.path.join(self._base, chip), ignore_errors=True)

    def clear(self) -> None:
        """Show nothing any longer."""
        for chip in list(self._shown):
            self.withdraw(chip)


def _is_value(name: str) -> bool:
    return name not in _STATIC and not name.endswith("_label")


def _replace(path: str, text: str) -> None:
    fresh = os.path.join(os.path.dirname(path), ".fresh")
    with open(fresh, "w") as file:
        file.write(text + "\n")
    os.replace(fresh, path)


class Watchdog:
    """Ends the process when it was not fed for LIMIT_S: a call of the vendor's hangs, and what is shown is no longer so."""

    def __init__(self, last_act: Callable[[], None]) -> None:
        self._last_act = last_act
        self._fed = threading.Event()
        self.feed()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def feed(self) -> None:
        """Tell that all is well. Where the hanging call holds the interpreter's lock, faulthandler's own thread ends it."""
        self._fed.set()
        faulthandler.dump_traceback_later(HARD_LIMIT_S, exit=True)

    def _watch(self) -> None:
        while self._fed.wait(LIMIT_S):
            self._fed.clear()
        last = threading.Thread(target=self._last_act, daemon=True)
        last.start()
        last.join(GIVE_UP_S)
        os._exit(EXIT_FAILED)


class Publisher:
    """Publishes modules until the end is asked for, or until none is left."""

    def __init__(self, place: Place, ending: Ending) -> None:
        self._place, self._ending = place, ending
        self._modules: Dict[str, Any] = {}

    def run(self, modules: List[Any]) -> int:
        """Return the exit code. Whatever happens, nothing is shown afterwards and every module has ended its measurement."""
        self._modules = {"hwmon{}".format(at): module for at, module in enumerate(modules)}
        watchdog = Watchdog(self._hung)
        try:
            self._each(lambda chip, module: module.begin())
            while self._modules and not self._ending.wait(
                max(one.interval_s for one in self._modules.values())
            ):
                self._each(self._show)
                watchdog.feed()
            return 0 if self._modules else EXIT_FAILED
        finally:
            watchdog.feed()
            self._end()

    def _each(self, act: Callable[[str, Any], None]) -> None:
        """Do something with each module; one that fails is told, ended, and shown no longer."""
        for chip, module in list(self._modules.items()):
            try:
                act(chip, module)
            except TargetsError as error:
                say(error.message)
                self._place.withdraw(chip)
                del self._modules[chip]
                _end(module)

    def _show(self, chip: str, module: Any) -> None:
        described = {"name": module.name, "update_interval": "{:.0f}".format(module.interval_s * 1e3)}
        self._place.publish(chip, dict(described, **module.read()))

    def _end(self) -> None:
        self._place.clear()
        for module in self._modules.values():
            _end(module)

    def _hung(self) -> None:
        say("A call of the vendor's library hangs; its sensors are given up, see 'dmesg' and restart farmd.")
        self._end()


def _end(module: Any) -> None:
    try:
        module.end()
    except TargetsError as error:
        say(error.message)


def say(sentence: str) -> None:
    """Tell the daemon, if it is still there."""
    with contextlib.suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)


def main(arguments: Optional[List[str]] = None) -> int:
    """Publish until the end; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="targets.sensors", description="Publish what modules measure of themselves."
    )
    parser.add_argument("runtime", choices=sorted(SOURCES))
    parser.add_argument("directory")
    parser.add_argument("--power", action="store_true", help="let the modules measure their power too")
    asked = parser.parse_args(arguments)
    ending = Ending()
    faulthandler.dump_traceback_later(START_LIMIT_S, exit=True)
    try:
        modules = importlib.import_module(SOURCES[asked.runtime]).open_modules(asked.power, say)
        return Publisher(Place(asked.directory), ending).run(modules)
    except TargetsError as error:
        say(error.message)
    except OSError as error:
        say("The sensors cannot be published in {} ({}).".format(asked.directory, error.strerror or error))
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
