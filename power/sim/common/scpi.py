"""Simulated SCPI instruments: commands by their short and long forms, compound messages, error queues, binary blocks.

A subclass declares what it understands:

    @command("CHANnel<n>:SCALe")
    def set_scale(self, argument: str, channel: int) -> None: ...

    @command("WAVeform:DATA?")
    def data(self, argument: str) -> bytes: ...

Source: IEEE Std 488.2-1992; SCPI-1999 volume 1, chapter 6 (short form: the upper-case letters; compound headers).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, Unpack

import numpy as np

from power.sim.common.base import Settings, Simulator
from power.sim.common.load import Load
from power.sim.common.tcp import TcpServer
from power.transports import block

Handler = TypeVar("Handler", bound=Callable[..., Any])
QUEUE_LENGTH = 30


class ScpiError(Exception):
    """What an instrument reports: a number and a text (SCPI-1999 volume 2, 21.8)."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f'{number},"{text}"')
        self.number, self.text = number, text


def command(*patterns: str) -> Callable[[Handler], Handler]:
    """Mark a method as what a header does. Headers that end in ? return text or bytes; `<n>` is a number, passed as int.

    A part in brackets, `[:DC]`, may be left out. A number that is left out is 1.
    """

    def mark(handler: Handler) -> Handler:
        handler.__dict__["patterns"] = patterns
        return handler

    return mark


class ScpiSettings(Settings, total=False):
    """What SCPI instruments can be made with."""

    port: int


class ScpiSimulator(Simulator):
    """Serves SCPI on a TCP socket. `idn` is the answer to *IDN? with {serial} where the serial number belongs.

    Subclasses report errors by raising ScpiError; `errors` is the queue. `accepted` are headers of settings that the simulation
    always has: they are taken without effect.
    """

    takes_port = True
    idn: ClassVar[str]
    accepted: ClassVar[tuple[str, ...]] = ()
    blocks_of_digits: ClassVar[int] = 9
    _handlers: ClassVar[list[tuple[re.Pattern[str], str]]] = []

    def __init_subclass__(cls) -> None:
        """Collect what this class understands; a subclass's handlers come before those of its bases."""
        super().__init_subclass__()
        found = []
        for base in cls.__mro__:
            for name, handler in vars(base).items():
                for pattern in getattr(handler, "__dict__", {}).get("patterns", ()):
                    found.append((_compiled(pattern), name))
        found += [(_compiled(pattern), "accept") for pattern in cls.accepted]
        cls._handlers = found

    def __init__(self, load: Load, *, port: int = 0, **settings: Unpack[Settings]) -> None:
        super().__init__(load, **settings)
        self.errors: deque[ScpiError] = deque(maxlen=QUEUE_LENGTH)
        self.received: list[str] = []
        self._commands = 0
        self._late_answer = b""
        self._server = TcpServer(self._serve, port)

    def start(self) -> None:
        """Begin to serve."""
        self._server.start()

    def stop(self) -> None:
        """Serve no more: as if somebody had switched it off."""
        self._server.stop()

    @property
    def options(self) -> dict[str, object]:
        """The VISA address."""
        return {"resource": f"TCPIP::127.0.0.1::{self._server.port}::SOCKET"}

    def accept(self, argument: str, *numbers: int) -> None:
        """Take a setting without effect."""

    @command("*IDN?")
    def identify(self, argument: str) -> str:
        """Tell maker, model, serial number and firmware."""
        return self.idn.format(serial=self.serial)

    @command("*CLS")
    def clear_errors(self, argument: str) -> None:
        """Empty the error queue."""
        self.errors.clear()

    @command("*RST")
    def reset(self, argument: str) -> None:
        """Go to the factory settings."""

    @command("*OPC?")
    def completed(self, argument: str) -> str:
        """Answer when everything before is done."""
        return "1"

    @command("*ESR?")
    def event_status(self, argument: str) -> str:
        """Tell (in bit 5, 4) whether there were command or execution errors."""
        return str(32 if self.errors else 0)

    @command("SYSTem:ERRor[:NEXT]?")
    def next_error(self, argument: str) -> str:
        """Return and remove the oldest error."""
        return str(self.errors.popleft()) if self.errors else '0,"No error"'

    def block(self, payload: bytes) -> bytes:
        """Return a definite block, its count wrong if that is wanted."""
        made = block.encode(payload, self.blocks_of_digits)
        if self.faults.wrong_length:
            made = block.encode(payload + b"\0", self.blocks_of_digits)[:-1]
        return made

    def _serve(self, message: bytes) -> bytes | None:
        self._commands += 1
        faults = self.faults
        if faults.is_cut(self._commands):
            return None
        answer = self._answer(message.decode("latin-1"))
        if faults.error:
            self.errors.append(ScpiError(-300, faults.error))
        if faults.delay_s:
            self.timebase.sleep(faults.delay_s)
        return self._spoiled(answer)

    def _spoiled(self, answer: bytes) -> bytes:
        faults = self.faults
        if faults.is_silent(self._commands):
            return b""
        if faults.is_garbage(self._commands) and answer:
            return np.random.default_rng(self._commands).bytes(max(4, min(len(answer), 64))) + b"\n"
        if faults.is_stale and answer:
            answer, self._late_answer = self._late_answer, answer
        return faults.cut_short(answer)

    def _answer(self, message: str) -> bytes:
        answers: list[bytes] = []
        path = ""
        for part in _split(message):
            header, _, argument = part.strip().partition(" ")
            if not header:
                continue
            self.received.append(part.strip())
            try:
                full, returned = self._run(header, argument.strip(), path)
            except ScpiError as error:
                self.errors.append(error)
                continue
            if not header.startswith("*"):
                path = full.rpartition(":")[0]
            if returned is not None:
                answers.append(returned if isinstance(returned, bytes) else returned.encode("latin-1"))
        return b";".join(answers) + b"\n" if answers else b""

    def _run(self, header: str, argument: str, path: str) -> tuple[str, str | bytes | None]:
        bare = header.removeprefix(":")
        tries = [bare] if header.startswith((":", "*")) or not path else [f"{path}:{bare}", bare]
        for full in tries:
            for pattern, name in self._handlers:
                match = pattern.fullmatch(full)
                if match:
                    numbers = [int(group or 1) for group in match.groups()]
                    returned: str | bytes | None = getattr(self, name)(argument, *numbers)
                    return full, returned
        raise ScpiError(-113, f"Undefined header; {header}")


def number(argument: str, low: float, high: float) -> float:
    """Read a numeric argument, units ignored. Raises ScpiError as instruments do."""
    match = re.match(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", argument.strip())
    if not match:
        raise ScpiError(-104, f"Data type error; {argument}")
    value = float(match[0])
    if not low <= value <= high:
        raise ScpiError(-222, f"Data out of range; {argument}")
    return value


def word(argument: str, *words: str) -> str:
    """Read a word in short or long form; return it in upper-case short form. Raises ScpiError."""
    for known in words:
        short = "".join(letter for letter in known if not letter.islower())
        if argument.strip().upper() in (short, known.upper()):
            return short
    raise ScpiError(-224, f"Illegal parameter value; {argument}")


def on_off(argument: str) -> bool:
    """Read ON, OFF, 1 or 0. Raises ScpiError."""
    text = argument.strip().upper()
    if text not in ("ON", "OFF", "1", "0"):
        raise ScpiError(-224, f"Illegal parameter value; {argument}")
    return text in ("ON", "1")


def _split(message: str) -> list[str]:
    """Cut a message at semicolons that are not quoted."""
    return re.findall(r'(?:[^;"]|"[^"]*")+', message)


def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.findall(r"\[[^\]]*\]|<n>|[^\[<]+", pattern.removeprefix(":"))
    return re.compile("".join(_part(part) for part in parts), re.IGNORECASE)


def _part(part: str) -> str:
    if part == "<n>":
        return r"(\d*)"
    if part.startswith("["):
        return f"(?:{_part(part[1:-1])})?"
    return re.sub(r"[A-Za-z]+", _mnemonic, part.replace("*", r"\*").replace("?", r"\?"))


def _mnemonic(match: re.Match[str]) -> str:
    long = match[0]
    short = re.match(r"[A-Z]*", long)
    length = len(short[0]) if short else 0
    if length in (0, len(long)):
        return long
    return f"{long[:length]}(?:{long[length:]})?"
