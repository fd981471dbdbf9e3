"""Which runtimes the board has: asked of each interpreter once, in a worker that ends at once."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from farm.v1 import board_pb2

from farmd import errors
from farmd.config import Config
from farmd.worker import Worker

PROBE_TIMEOUT_S = 60.0

log = logging.getLogger("farmd")


class RuntimeProbe:
    """Finds the runtimes at the first question and remembers them: importing vendor packages takes seconds."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._found: list[board_pb2.RuntimeInfo] | None = None

    def runtimes(self, *, may_probe: bool = True) -> list[board_pb2.RuntimeInfo]:
        """Return the runtimes by name, those that are missing included; empty if they are unknown and may not be probed."""
        with self._lock:
            if self._found is None and may_probe:
                found, is_sure = probe_runtimes(self._config)
                if not is_sure:  # ask again at the next question
                    return found
                self._found = found
            return list(self._found or ())


def probe_runtimes(config: Config) -> tuple[list[board_pb2.RuntimeInfo], bool]:
    """Ask each distinct interpreter and each executable for its runtimes; return them, and whether all answered.

    The runtimes of one that fails are unavailable, with its failure as their reason.
    """
    own: defaultdict[Path, list[str]] = defaultdict(list)
    for runtime, interpreter in config.interpreters.items():
        own[interpreter].append(runtime)
    found: dict[str, board_pb2.RuntimeInfo] = {}
    is_sure = True
    external = [(config.program_of(runtime), [runtime]) for runtime in config.external]
    for program, runtimes in [(config.default_interpreter, None), *own.items(), *external]:
        try:
            infos = ask(config, program, runtimes)
        except errors.FarmdError as error:
            log.warning("The runtimes of %s cannot be told: %s", program, error)
            is_sure = False
            infos = [
                board_pb2.RuntimeInfo(name=name, reason=error.message, interpreter=str(program))
                for name in runtimes or ()
            ]
        found.update((info.name, info) for info in infos)
    return [found[name] for name in sorted(found)], is_sure


def ask(config: Config, program: Path, runtimes: list[str] | None = None) -> list[board_pb2.RuntimeInfo]:
    """Ask one interpreter or executable of the settings for some runtimes, or for all where it is the default interpreter.

    Raises what starting a worker and talking to it can raise.
    """
    worker = Worker.start(
        config, runtime=runtimes[0] if runtimes else "", model="probe", timeout_s=PROBE_TIMEOUT_S
    )
    try:
        reply = worker.request("probe", {"runtimes": runtimes}, timeout_s=PROBE_TIMEOUT_S)
        infos = list(_infos(reply["runtimes"], program))
        if runtimes is not None and [info.name for info in infos] != runtimes:
            raise ValueError(f"it was asked for {', '.join(runtimes)}")
        return infos
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise worker.ended(errors.WorkerGarbage, f"gave a probe that makes no sense ({error!r})") from None
    finally:
        worker.close()


def _infos(entries: Iterable[Mapping[str, Any]], program: Path) -> Iterable[board_pb2.RuntimeInfo]:
    for entry in entries:
        yield board_pb2.RuntimeInfo(
            name=entry["name"],
            available=entry["available"],
            version=entry["version"] or "",
            reason=entry["reason"] or "",
            formats=entry["formats"],
            precisions=entry["precisions"],
            conversion=entry.get("conversion") or "",
            interpreter=str(program),
        )
