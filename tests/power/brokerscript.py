"""A scripted broker: the exact questions that a driver publishes, in order, and what comes back. It must be used up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from power.transports.mqtt import Broker, Message, MqttLine


@dataclass(frozen=True)
class Question:
    """What is published, and the topics and payloads that come then. {src} stands for what the asker calls itself."""

    topic: str
    payload: str
    answers: Sequence[tuple[str, str]] = ()
    is_retained: bool = False


class Script(MqttLine):
    """A line to a broker over a script."""

    def __init__(self, steps: Sequence[Question], src: str = "") -> None:
        self._steps, self._src = deque(steps), src
        self.broker = Broker("script")
        self._come: deque[Message] = deque()
        self.is_closed = False

    def receive(self, timeout_s: float) -> Message | None:
        """Return what is there."""
        return self._come.popleft() if self._come else None

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """Expect a question and give its answers."""
        assert self._steps, f"the script is over, but {payload!r} was sent to {topic}"
        step = self._steps.popleft()
        assert (topic, payload) == (step.topic, step.payload.replace("{src}", self._src))
        for name, text in step.answers:
            self.comes(name.replace("{src}", self._src), text, is_retained=step.is_retained)

    def comes(self, topic: str, text: str, **settings: Any) -> None:
        """Let a message come."""
        self._come.append(Message(topic, text.encode(), time.monotonic_ns(), **settings))

    def listen(self, timeout_s: float) -> Iterator[Message]:
        """Yield what is there."""
        while self._come:
            yield self._come.popleft()

    def close(self) -> None:
        """Note that it was closed."""
        self.is_closed = True

    def check_used_up(self) -> None:
        """Fail unless every question was asked."""
        assert not self._steps, f"left over: {list(self._steps)}"
