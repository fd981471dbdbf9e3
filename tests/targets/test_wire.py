"""The wire: frames in any pieces, tensors laid out and checked, errors that survive the trip."""

import json
import socket
import struct
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets import errors, wire

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=5)
TENSORS = st.lists(
    st.tuples(
        st.text(max_size=8), st.sampled_from(sorted(wire.ITEM_BYTES)), st.lists(st.integers(0, 9), max_size=4)
    ),
    max_size=6,
)


@given(st.lists(OBJECTS, max_size=4), st.integers(1, 64))
def test_decoder_restores_objects_from_any_pieces(objects: list[dict[str, Any]], piece: int) -> None:
    stream = b"".join(wire.encode(obj) for obj in objects)
    decoder = wire.Decoder()
    found = [obj for at in range(0, len(stream), piece) for obj in decoder.feed(stream[at : at + piece])]
    assert found == objects
    assert decoder.pending_bytes == 0


@given(st.binary(min_size=1, max_size=200))
def test_decoder_never_invents_an_object(data: bytes) -> None:
    """Random bytes either wait for more, or are refused, or really are frames."""
    decoder = wire.Decoder()
    try:
        found = decoder.feed(data)
    except errors.WireGarbage:
        return
    if found:
        (length,) = struct.unpack(">I", data[:4])
        assert json.loads(data[4 : 4 + length]) == found[0]


def test_send_and_read_over_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        big = {"text": "ä" * 500_000, "numbers": list(range(1000))}
        writer = threading.Thread(target=wire.send, args=(ours, big))
        writer.start()
        reader = wire.Reader(theirs)
        assert read_until_found(reader) == [big]
        writer.join()
        wire.send(ours, {"a": 1})
        wire.send(ours, {"b": 2})
        assert reader.read() == [{"a": 1}, {"b": 2}]
        ours.close()
        with pytest.raises(errors.WireClosed, match=r"closed the wire\."):
            reader.read()


def read_until_found(reader: wire.Reader) -> list[dict[str, Any]]:
    """Read until an object is complete."""
    found: list[dict[str, Any]] = []
    while not found:
        found = reader.read()
    return found


def test_a_frame_that_is_cut_says_so() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(wire.encode({"a": 1})[:-1])
        ours.close()
        reader = wire.Reader(theirs)
        assert reader.read() == []
        with pytest.raises(errors.WireClosed, match="inside a frame"):
            reader.read()


def test_sending_to_nobody_is_wire_closed() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(errors.WireClosed):
        wire.send(ours, {"a": 1})


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", wire.MAX_FRAME_BYTES + 1),
        struct.pack(">I", 0),
        struct.pack(">I", 1) + b"1",
        struct.pack(">I", 2) + b"[]",
        struct.pack(">I", 4) + b"nope",
        struct.pack(">I", 2) + b"\xff\xfe",
        struct.pack(">I", 200_000) + b"[" * 200_000,
        b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n",
    ],
)
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(errors.WireGarbage):
        wire.Decoder().feed(data)


@pytest.mark.parametrize("obj", [{"x": float("nan")}, {"x": b"bytes"}, {"x": "a" * wire.MAX_FRAME_BYTES}])
def test_what_is_no_frame_is_not_sent(obj: dict[str, Any]) -> None:
    with pytest.raises(errors.ProtocolError):
        wire.encode(obj)


@given(TENSORS, st.integers(0, 1000))
def test_layout_is_aligned_disjoint_and_complete(
    tensors: list[tuple[str, str, list[int]]], start: int
) -> None:
    refs, end = wire.layout(tensors, start)
    assert [(r["name"], r["dtype"], r["shape"]) for r in refs] == tensors
    at = start
    for ref in refs:
        wire.check_ref(json.loads(json.dumps(ref)), end)
        assert ref["offset"] % wire.ALIGNMENT == 0
        assert ref["offset"] >= at
        at = ref["offset"] + ref["nbytes"]
    assert end % wire.ALIGNMENT == 0
    assert end >= at


GOOD = {"name": "x", "dtype": "float32", "shape": [2, 3], "offset": 64, "nbytes": 24}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"nbytes": 23}, errors.InputInvalid),
        ({"dtype": "float33"}, errors.InputInvalid),
        ({"shape": [2, -3]}, errors.InputInvalid),
        ({"shape": [2, 1.5]}, errors.InputInvalid),
        ({"shape": [True, 6]}, errors.InputInvalid),
        ({"offset": 65}, errors.ProtocolError),
        ({"offset": -64}, errors.ProtocolError),
        ({"offset": 128}, errors.ProtocolError),
        ({"offset": None}, errors.ProtocolError),
        ({"offset": False}, errors.ProtocolError),
        ({"name": 7}, errors.ProtocolError),
        ({"shape": "2,3"}, errors.ProtocolError),
    ],
)
def test_bad_references_are_refused(change: dict[str, Any], kind: type[errors.TargetsError]) -> None:
    wire.check_ref(GOOD, 128)
    with pytest.raises(kind):
        wire.check_ref({**GOOD, **change}, 128)


@pytest.mark.parametrize("kind", sorted(errors.KINDS))
def test_every_error_survives_the_wire(kind: str) -> None:
    error = errors.KINDS[kind]("What is wrong.", field="x", size=3)
    back = errors.error_from_json(json.loads(json.dumps(errors.error_to_json(error))))
    assert type(back) is errors.KINDS[kind]
    assert str(back) == "What is wrong."
    assert back.details == {"field": "x", "size": 3}


def test_an_unknown_kind_stays_an_error() -> None:
    assert type(errors.error_from_json({"kind": "FromTheFuture", "message": "m"})) is errors.TargetsError
