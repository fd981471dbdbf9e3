"""Checks of hello, probe, load, describe, memory, map and infer."""

import os
from typing import Dict, List, Tuple

import numpy as np

from targets.client import Client, Message
from targets.conformance.subject import Subject, expect, expect_memory, expect_refusal, inputs_for
from targets.tensors import Tensors
from targets.wire import ITEM_BYTES, PROTOCOL, aligned


def says_hello(subject: Subject, client: Client) -> None:
    """It speaks this version of the protocol and says who it is."""
    hello = client.call("hello")
    expect(
        hello.get("protocol") == PROTOCOL,
        "hello tells protocol {!r}, not {}",
        hello.get("protocol"),
        PROTOCOL,
    )
    expect(isinstance(hello.get("pid"), int), "hello tells no pid")


def tells_its_runtime(subject: Subject, client: Client) -> None:
    """The probe answers for the name it is asked for, with version, formats and precisions, and it can be used here."""
    found = {entry["name"]: entry for entry in client.call("probe", runtimes=[subject.runtime])["runtimes"]}
    expect(
        list(found) == [subject.runtime],
        "the probe answers for {}, but was asked for '{}'",
        list(found),
        subject.runtime,
    )
    entry = found[subject.runtime]
    expect(entry["available"] is True, "it is not available: {}", entry.get("reason"))
    expect(bool(entry["version"]), "the probe tells no version")
    for member in ("formats", "precisions"):
        expect(isinstance(entry[member], list), "'{}' of the probe is no list", member)
    if subject.has_model:
        expect(
            subject.load["format"] in entry["formats"],
            "the probe's formats lack '{}'",
            subject.load["format"],
        )


def refuses_nonsense(subject: Subject, client: Client) -> None:
    """Unknown operations, and those that need a model, are refused, and the worker goes on."""
    expect_refusal(client, "ProtocolError", "nonsense")
    for op, members in (
        ("describe", {}),
        ("memory", {}),
        ("unload", {}),
        ("infer", {"inputs": [], "output_offset": 0}),
    ):
        expect_refusal(client, "NotLoaded", op, **members)
    expect_refusal(
        client, "ProtocolError", "map", path=os.path.join(str(client.folder), "missing"), size_bytes=4096
    )
    cancelled = client.call("cancel", target=12345).get("cancelled")
    expect(cancelled is False, "it told that it cancelled what never ran")
    client.call("hello")


def describes_what_it_loaded(subject: Subject, client: Client) -> None:
    """A load tells inputs, outputs, memory, the best number in flight, and the settings in effect; then the model goes."""
    reply = client.call("load", **subject.load)
    for side in ("inputs", "outputs"):
        expect(bool(reply["spec"][side]), "the spec has no {}", side)
        for tensor in reply["spec"][side]:
            expect(
                tensor["dtype"] in ITEM_BYTES,
                "'{}' has the unknown dtype {}",
                tensor["name"],
                tensor["dtype"],
            )
            expect(
                all(size == -1 or size > 0 for size in tensor["shape"]),
                "'{}' has a bad shape",
                tensor["name"],
            )
    told = reply["describe"]
    expect(bool(told["version"]) and bool(told["device"]), "describe lacks version or device")
    for key in ("device", "precision"):
        expect(
            bool(told["effective"].get(key)),
            "effective lacks '{}': read it back, or say what is certain",
            key,
        )
    expect(isinstance(told["requested"], dict), "requested is no object")
    expect(isinstance(told["fallbacks"], list), "fallbacks is no list")
    expect(isinstance(reply["load_ns"], int), "load_ns is no whole number")
    expect(reply["optimal_in_flight"] >= 1, "optimal_in_flight is below 1")
    expect_memory(reply["memory"])
    expect_memory(client.call("memory")["memory"])
    again = client.call("describe")
    for member in ("spec", "describe", "optimal_in_flight"):
        expect(
            again[member] == reply[member], "describe answers something else than the load as '{}'", member
        )
    client.call("unload")
    expect_refusal(client, "NotLoaded", "describe")
    client.call("load", **subject.load)


def computes(subject: Subject, client: Client) -> None:
    """Outputs have the announced names, types and shapes, depend on the inputs and on nothing else."""
    spec = subject.loaded(client)
    outputs = client.infer(inputs_for(spec, 5))
    for tensor in spec["outputs"]:
        expect(tensor["name"] in outputs, "the output '{}' is missing", tensor["name"])
        array = outputs[tensor["name"]]
        expect(array.dtype.name == tensor["dtype"], "'{}' came as {}", tensor["name"], array.dtype.name)
        fits = len(array.shape) == len(tensor["shape"]) and all(
            want in (-1, have) for want, have in zip(tensor["shape"], array.shape)
        )
        expect(fits, "'{}' came with the shape {}", tensor["name"], list(array.shape))
    other = client.infer(inputs_for(spec, 6))
    client.map_anew(2 * client.map_bytes)  # another tensor file takes the place of the first
    again = client.infer(inputs_for(spec, 5))
    expect(_same(outputs, again), "the same inputs gave other outputs")
    expect(not _same(outputs, other), "other inputs gave the same outputs")


def refuses_what_is_wrong(subject: Subject, client: Client) -> None:
    """Each wrong request gets its own kind of error, and the worker goes on."""
    load = subject.load
    wrong: List[Tuple[str, Message]] = [
        ("FormatUnsupported", dict(load, format="pickle")),
        ("OptionInvalid", dict(load, options=dict(load["options"], no_such_option="1"))),
        ("ModelInvalid", dict(load, path=os.path.join(str(client.folder), "missing"))),
        ("ModelInvalid", dict(load, path=_file(client, "empty", b""))),
        ("ModelInvalid", dict(load, path=_file(client, "garbage", b"hello world " * 40))),
    ]
    for kind, members in wrong:
        expect_refusal(client, kind, "load", **members)
    good = inputs_for(subject.loaded(client), 5)
    name = sorted(good)[0]
    other = "float64" if good[name].dtype != np.float64 else "float32"
    changes: Dict[str, Tensors] = {
        "another name": {name + "_": good[name]},
        "another dtype": {name: good[name].astype(other)},
        "another shape": {name: np.stack([good[name], good[name]])},
    }
    for what, change in sorted(changes.items()):
        rest = {key: value for key, value in good.items() if key != name}
        refs = client.place(dict(rest, **change))
        error = client.error("infer", inputs=refs, output_offset=1 << 20)
        expect(error.kind == "InputInvalid", "an input with {} gave {}", what, error.kind)
    client.infer(good)
    expect_refusal(client, "ProtocolError", "load", **load)


def keeps_to_its_file(subject: Subject, client: Client) -> None:
    """Nothing outside of the mapped file is touched; outputs that do not fit say how large the file must be, and then fit."""
    refs = client.place(inputs_for(subject.loaded(client), 5))
    size = client.map_bytes
    for offset in (1 << 40, size, -64, 3):
        misplaced = [dict(refs[0], offset=offset)] + refs[1:]
        expect_refusal(client, "ProtocolError", "infer", inputs=misplaced, output_offset=0)
    needed = expect_refusal(client, "BufferTooSmall", "infer", inputs=refs, output_offset=size).details.get(
        "needed_bytes"
    )
    if not isinstance(needed, int) or needed <= size:
        raise AssertionError("details.needed_bytes of BufferTooSmall is {!r}".format(needed))
    path = client.folder / "larger"
    path.write_bytes((client.folder / "tensors").read_bytes() + bytes(aligned(needed) - size))
    client.call("map", path=str(path), size_bytes=aligned(needed))
    client.call("infer", inputs=refs, output_offset=size)


def _same(one: Tensors, other: Tensors) -> bool:
    return sorted(one) == sorted(other) and all(np.array_equal(one[name], other[name]) for name in one)


def _file(client: Client, name: str, content: bytes) -> str:
    path = client.folder / name
    path.write_bytes(content)
    return str(path)
