"""Protocol messages as JSON: field names as they are, numbers as numbers, what was not sent as null.

protobuf's own JSON writes 64-bit integers as text and leaves out what is not set, which programs then have to undo.
"""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp


def to_json(message: Message) -> Any:
    """Return a message as a JSON value. Bytes are left out; NaN, the protocol's unreadable sample, becomes null."""
    if isinstance(message, Timestamp):
        return message.ToJsonString()
    fields = message.DESCRIPTOR.fields
    return {
        field.name: _field(message, field) for field in fields if field.type != FieldDescriptor.TYPE_BYTES
    }


def _field(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_value(each, field) for each in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _value(value, field)


def _value(value: Any, field: Any) -> Any:
    if isinstance(value, Message):
        return to_json(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
