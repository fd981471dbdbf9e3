"""Where a value is in a JSON document: a small part of JSONPath (RFC 9535) that leads to exactly one value.

    $                    the document itself
    $.power.total        members by name; letters, digits, _ and -
    $['a name: any']     members whose names hold anything else
    $.nodes[0], [-1]     elements by number, negative ones from the end
    $.nodes[?id=7]       the first element whose member `id` is 7 (or "7"): lists in no fixed order

Wildcards, slices and ranges lead to many values and are not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from power.errors import PowerError

STEP = re.compile(
    r"\.(?P<name>[\w-]+)|\['(?P<single>[^']*)'\]|\[\"(?P<double>[^\"]*)\"\]|\[(?P<index>-?\d+)\]"
    r"|\[\?(?P<key>[\w-]+)=(?P<value>[^\]]+)\]"
)


class PathError(PowerError):
    """A path is malformed, or leads nowhere in a document; the message says where it ends."""


@dataclass(frozen=True, slots=True)
class Where:
    """A step to the first element of a list whose member `key` is `value`."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path; `find` follows it."""

    text: str
    steps: tuple[str | int | Where, ...]

    @classmethod
    def parse(cls, text: str) -> JsonPath:
        """Read a path; the leading $ may be left out. Raises PathError."""
        rest = text.strip().removeprefix("$")
        if rest and rest[0] not in ".[":
            rest = "." + rest
        steps: list[str | int | Where] = []
        while rest:
            match = STEP.match(rest)
            if match is None:
                raise PathError(
                    f"'{text}' is no path to one value: '{rest}' is neither .name nor ['name'], [0] or [?name=value]"
                )
            steps.append(_step(match))
            rest = rest[match.end() :]
        return cls(text.strip(), tuple(steps))

    def find(self, document: object) -> object:
        """Return the value. Raises PathError, which names what there is instead."""
        found = document
        for step in self.steps:
            found = self._follow(found, step)
        return found

    def _follow(self, found: object, step: str | int | Where) -> object:
        if isinstance(step, str):
            if isinstance(found, dict) and step in found:
                return found[step]
            raise PathError(f"there is no '{step}' of '{self.text}', but {_shown(found)}")
        if isinstance(step, Where):
            for element in found if isinstance(found, list) else ():
                if isinstance(element, dict) and str(element.get(step.key)) == step.value:
                    return element
            raise PathError(f"nothing has {step.key}={step.value} of '{self.text}' in {_shown(found)}")
        if isinstance(found, list) and -len(found) <= step < len(found):
            return found[step]
        raise PathError(f"there is no [{step}] of '{self.text}', but {_shown(found)}")


def _step(match: re.Match[str]) -> str | int | Where:
    if match["index"] is not None:
        return int(match["index"])
    if match["key"] is not None:
        return Where(match["key"], match["value"].strip("'\""))
    return next(name for name in (match["name"], match["single"], match["double"]) if name is not None)


def _shown(found: object) -> str:
    if isinstance(found, dict):
        names = ", ".join(f"'{name}'" for name in list(found)[:8])
        return f"only {names}" if found else "an empty object"
    if isinstance(found, list):
        return f"a list of {len(found)}"
    return repr(found)[:40]
