"""A scripted SCPI line: the exact commands a driver sends, in order, and what the instrument answers. It must be used up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

Step = str | tuple[str, str | bytes | Exception]


class Dialogue:
    """A ScpiLink over a script. A step is a command that gets no answer, or (command, answer); an exception is raised."""

    address = "SCRIPT::INSTR"

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = list(steps)
        self._next = 0
        self.is_closed = False

    def write(self, command: str) -> None:
        """Expect a command without an answer."""
        assert self._expected() == command, (
            f"step {self._next}: sent {command!r}, due is {self._expected()!r}"
        )
        self._next += 1

    def query(self, command: str) -> str:
        """Expect a query and give its answer."""
        answer = self._answer(command)
        assert isinstance(answer, str)
        return answer

    def query_block(self, command: str) -> bytes:
        """Expect a query and give the payload of its block."""
        answer = self._answer(command)
        assert isinstance(answer, bytes)
        return answer

    @contextmanager
    def patience(self, timeout_s: float) -> Iterator[None]:
        """Scripts answer at once."""
        yield

    def clear(self) -> None:
        """Nothing is on the line."""

    def close(self) -> None:
        """Note that it was closed."""
        self.is_closed = True

    def check_used_up(self) -> None:
        """Fail unless every step was taken."""
        assert self._next == len(self._steps), f"left over: {self._steps[self._next :]}"

    def _expected(self) -> Step:
        assert self._next < len(self._steps), "the script is over"
        return self._steps[self._next]

    def _answer(self, command: str) -> str | bytes:
        step = self._expected()
        assert isinstance(step, tuple), f"step {self._next}: asked {command!r}, due is {step!r}"
        assert step[0] == command, f"step {self._next}: asked {command!r}, due is {step[0]!r}"
        self._next += 1
        if isinstance(step[1], Exception):
            raise step[1]
        return step[1]
