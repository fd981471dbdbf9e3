"""The command `farmd`.

Exit codes: 0 ended in order, 1 could not start or serve (--detect: no runtime works here), 2 wrong settings or usage,
128 + n ended at once by a second signal n.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from farmd import config as settings
from farmd import host
from farmd.config import Config
from farmd.errors import ConfigInvalid, StartRefused

if TYPE_CHECKING:
    from farmd.server import Daemon

EXIT_FAILED = 1
EXIT_USAGE = 2
LONGEST_END_S = 20.0
"""After the drain: what still hangs then is left behind. Workers end by themselves, their wire closes with farmd."""
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class Ending:
    """Why and how the daemon ends: the first signal drains, the second ends at once, a lost parent does not drain.

    A thread of its own reads the signals from a pipe. Python runs handlers in the main thread only, and the kernel may
    give a signal to any thread: one that came to another would be noticed when the main thread next wakes, which
    waits for just that.
    """

    def __init__(self) -> None:
        self._requested = threading.Event()
        self.drains = True

    def listen(self) -> None:
        """Take over SIGTERM and SIGINT. Call it once, from the main thread."""
        received, sent = os.pipe()
        os.set_blocking(sent, False)
        signal.set_wakeup_fd(sent, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)  # what matters is the byte in the pipe
        threading.Thread(target=self._read, args=(received,), name="signals", daemon=True).start()

    def _read(self, received: int) -> None:
        while number := os.read(received, 1):
            if self._requested.is_set():
                os._exit(128 + number[0])
            self._requested.set()

    def on_parent_exit(self) -> None:
        """Nobody is left who could want an answer."""
        self.drains = False
        self._requested.set()

    def wait(self) -> None:
        """Sleep until the end is asked for."""
        self._requested.wait()


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="Settings file [default: ./farmd.toml, then /etc/wattfarm/farmd.toml].",
)
@click.option("--listen", metavar="HOST:PORT", help="Where to serve; port 0 lets the kernel choose.")
@click.option("--state-dir", metavar="DIR", help="Where models and the lease fence are kept.")
@click.option("--device", metavar="NAME", help="Name of this board in the farm.")
@click.option("--board", metavar="NAME", help="Entry of the board catalogue.")
@click.option(
    "--address-file", type=click.Path(path_type=Path), help="Write the bound address here once it serves."
)
@click.option("--exit-with-parent", is_flag=True, help="End when the process that started farmd ends.")
@click.option(
    "--check-config", is_flag=True, help="Check the settings, print them or what is wrong, and exit."
)
@click.option(
    "--detect",
    is_flag=True,
    help="Look at this machine, propose a farmd.toml, say what is missing, and exit.",
)
@click.option(
    "--write", type=click.Path(path_type=Path), help="With --detect: write the proposal into a new file."
)
@click.option(
    "--interpreter",
    "interpreters",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="With --detect: a Python or virtual environment to ask for runtimes too.",
)
@click.option("--json", "as_json", is_flag=True, help="With --detect: everything as one JSON object.")
@click.option("--root", type=click.Path(path_type=Path), hidden=True)  # another machine's file system
@click.version_option(package_name="wattfarm", prog_name="farmd")
def command(
    path: Path | None,
    address_file: Path | None,
    exit_with_parent: bool,
    check_config: bool,
    detect: bool,
    write: Path | None,
    interpreters: tuple[Path, ...],
    as_json: bool,
    root: Path | None,
    **given: str | None,
) -> None:
    """Serve this board to the farm."""
    parent = os.getppid()
    if detect:
        _detect(path, write, interpreters, as_json, root, given)
    if write or interpreters or as_json or root:
        _end("--write, --interpreter and --json go with --detect.", EXIT_USAGE)
    try:
        config = settings.override(settings.find(path), given)
    except ConfigInvalid as error:
        _end(error.message, EXIT_USAGE)
    if check_config:
        _check(config)
        return
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stderr)
    try:
        _serve(config, address_file, parent if exit_with_parent else None)
    except StartRefused as error:
        _end(error.message, EXIT_FAILED)


def _end(message: str, code: int) -> NoReturn:
    click.echo(f"farmd: {message}", err=True)
    sys.exit(code)


def _detect(
    path: Path | None,
    write: Path | None,
    interpreters: tuple[Path, ...],
    as_json: bool,
    root: Path | None,
    given: Mapping[str, str | None],
) -> NoReturn:
    """Propose settings for this machine; always exits."""
    from farmd.detect import command as detection  # the daemon itself never needs it

    if path is not None:
        _end("--detect proposes a new file and reads none; leave --config out.", EXIT_USAGE)
    said = {name: value for name, value in given.items() if value is not None}
    root = Path("/") if root is None else root.absolute()
    try:
        _check_sound(settings.override(Config(), said))
        code = detection.run(detection.Request(root, write, as_json, interpreters, said))
    except ConfigInvalid as error:
        _end(error.message, EXIT_USAGE)
    except StartRefused as error:
        _end(error.message, EXIT_FAILED)
    sys.exit(code)


def _check(config: Config) -> None:
    _check_sound(config)
    click.echo(settings.summary(config))


def _check_sound(config: Config) -> None:
    from farmd import server

    try:
        server.check(config)
    except StartRefused as error:
        _end(error.message, EXIT_USAGE)


def _serve(config: Config, address_file: Path | None, parent: int | None) -> None:
    ending = Ending()
    ending.listen()
    from farmd.server import Daemon

    with host.state_directory(config.state_dir):
        daemon = Daemon(config)
        try:
            if parent is not None:
                host.on_parent_exit(parent, ending.on_parent_exit)
            _announce(daemon, address_file)
            ending.wait()
            host.notify("STOPPING=1")
        finally:
            drain_s = config.drain_s if ending.drains else 0.0
            _insist(drain_s + LONGEST_END_S)
            daemon.stop(drain_s)
            if address_file is not None:
                address_file.unlink(missing_ok=True)


def _insist(limit_s: float) -> None:
    """End the process even if a thread of some call never comes back: the interpreter would wait for it."""
    insisting = threading.Timer(limit_s, os._exit, [EXIT_FAILED])
    insisting.daemon = True
    insisting.start()


def _announce(daemon: Daemon, address_file: Path | None) -> None:
    address = daemon.start()
    if address_file is not None:
        host.write_whole(address_file, f"{address}\n")
    with contextlib.suppress(OSError):  # nobody may be reading
        print(f"listening {address}", flush=True)
    host.notify("READY=1")
    logging.getLogger("farmd").info(
        "Serving '%s' on %s, instance %s.", daemon.config.device, address, daemon.instance_id
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; always exits."""
    command.main(args=arguments, prog_name="farmd")
