"""Writes the little TOML that certificates are made of: dates, texts, numbers, lists, tables and lists of tables.

A package for it would be one more dependency of everything that measures; reading it back is the standard library's.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping

from power.calibrate.errors import CalibrationError


def dumps(document: Mapping[str, object]) -> str:
    """Return a document whose values are as above, tables not nested. Raises CalibrationError for a text no file can hold."""
    plain: list[str] = []
    tables: list[str] = []
    for key, value in document.items():
        if isinstance(value, Mapping):
            tables += ["", f"[{key}]", *_lines(value)]
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            for one in value:
                tables += ["", f"[[{key}]]", *_lines(one)]
        else:
            plain += _lines({key: value})
    return "\n".join([*plain, *tables]) + "\n"


def _lines(table: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    if isinstance(value, str):
        return _text(value)
    raise TypeError(f"a certificate holds no {type(value).__name__}")


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CalibrationError(f"{value!r} holds characters that are no text; write it anew.") from None
    # JSON's escapes are TOML's, but for DEL, which only TOML wants escaped (TOML 1.0.0, String).
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
