"""A scripted vendor module: the exact calls that a driver makes, in order, and what each returns. It must be used up."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

Step = tuple[str, tuple[Any, ...], Mapping[str, Any], Any]


class Script:
    """Steps are (function, arguments, keywords, what it returns); an exception is raised instead."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = list(steps)
        self._next = 0

    def call(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        """Expect a call and give its answer."""
        assert self._next < len(self._steps), f"the script is over, but {name} was called"
        due, wanted, named, answer = self._steps[self._next]
        assert (name, arguments, keywords) == (due, wanted, dict(named)), (
            f"step {self._next}: called {name}{arguments}{keywords}, due is {due}{wanted}{named}"
        )
        self._next += 1
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a function of the script."""
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments, **keywords: self.call(name, *arguments, **keywords)

    @contextmanager
    def module(self, name: str, **contents: Any) -> Iterator[types.ModuleType]:
        """Put a module in place whose functions are the script's, apart from `contents`."""
        module = types.ModuleType(name)
        vars(module).update(contents)
        module.__getattr__ = self.__getattr__  # type: ignore[method-assign]
        sys.modules[name] = module
        try:
            yield module
        finally:
            del sys.modules[name]

    def check_used_up(self) -> None:
        """Fail unless every step was taken."""
        assert self._next == len(self._steps), f"left over: {self._steps[self._next :]}"
