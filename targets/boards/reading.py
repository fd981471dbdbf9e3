"""How the values of a board file are read: each is what the schema says, or BoardInvalid tells board and key."""

from typing import Any, Dict, Optional, Tuple

from targets.errors import BoardInvalid
from targets.options import nearest


def check_keys(name: str, table: Dict[str, Any], known: Tuple[str, ...], where: str = "") -> None:
    """Refuse a key that is not known; ``where`` is the table's name with a dot, or nothing."""
    for key in table:
        if key not in known:
            raise BoardInvalid(
                "The board '{}' has the unknown key '{}{}'{}".format(
                    name, where, key, nearest(key, known) or "."
                ),
                board=name,
                key=key,
            )


def text_of(name: str, data: Dict[str, Any], key: str) -> Optional[str]:
    """Return a text that is not blank, or None if the key is absent."""
    value = data.get(key)
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise BoardInvalid("The board '{}' needs '{}' as text.".format(name, key), board=name, key=key)
    return value


def list_of(name: str, data: Dict[str, Any], key: str) -> Tuple[str, ...]:
    """Return a list of texts, empty if the key is absent."""
    value = data.get(key, [])
    if not (isinstance(value, list) and all(isinstance(item, str) and item for item in value)):
        raise BoardInvalid(
            "The board '{}' needs '{}' as a list of texts.".format(name, key), board=name, key=key
        )
    return tuple(value)


def positive(name: str, table: Dict[str, Any], key: str) -> float:
    """Return a finite number above zero."""
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise BoardInvalid(
            "The board '{}' needs '{}' as a positive number.".format(name, key), board=name, key=key
        )
    return float(value)


def table_of(
    name: str, data: Dict[str, Any], key: str, known: Optional[Tuple[str, ...]] = None, where: str = ""
) -> Dict[str, Any]:
    """Return a table, empty if the key is absent; ``known`` None allows any key in it."""
    table = data.get(key, {})
    if not isinstance(table, dict):
        raise BoardInvalid(
            "The board '{}' needs '{}{}' as a table.".format(name, where, key), board=name, key=key
        )
    if known is not None:
        check_keys(name, table, known, where + key + ".")
    return table
