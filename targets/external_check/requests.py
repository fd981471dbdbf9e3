"""The points of hello, probe, load, describe, memory and infer. Each runs on a process of its own and returns what it found."""

from typing import List

from targets.client import Client, Message
from targets.external_check.subject import (
    Failed,
    Subject,
    check_memory,
    demand,
    load_model,
    loaded_inputs,
    refused,
)
from targets.tensors import TensorSpec, check_inputs, random_inputs
from targets.wire import PROTOCOL, aligned


def hello(subject: Subject, client: Client) -> str:
    """The handshake."""
    reply = client.call("hello")
    demand(reply["protocol"] == PROTOCOL, "it speaks protocol {}, not {}", reply["protocol"], PROTOCOL)
    demand(
        reply["pid"] == client.process.pid,
        "pid {} is not that of the process, {}",
        reply["pid"],
        client.process.pid,
    )
    return "protocol {}, process {}".format(PROTOCOL, reply["pid"])


def probe(subject: Subject, client: Client) -> str:
    """It answers for the name it is asked for."""
    (info,) = client.call("probe", runtimes=[subject.runtime])["runtimes"]
    demand(
        info["name"] == subject.runtime,
        "it answers for '{}', but was asked for '{}'",
        info["name"],
        subject.runtime,
    )
    demand(type(info["available"]) is bool, "'available' is neither true nor false")
    told = info["version"] if info["available"] else info["reason"]
    demand(
        isinstance(told, str) and bool(told), "it lacks its version (available) or the reason (not available)"
    )
    demand(isinstance(info["precisions"], list), "'precisions' is no list")
    demand(isinstance(info["formats"], list) and bool(info["formats"]), "'formats' names none")
    return "{}, formats {}".format(told, ", ".join(info["formats"]))


def wrong_requests(subject: Subject, client: Client) -> str:
    """Nonsense is refused and the process goes on."""
    client.call("hello")
    refused(client, "ProtocolError", "dance")
    refused(client, "NotLoaded", "describe")
    refused(client, "NotLoaded", "unload")
    refused(client, "NotLoaded", "infer", inputs=[], output_offset=0)
    demand(client.call("cancel", target=12345)["cancelled"] is False, "it cancelled what never ran")
    client.call("hello")
    return "refused, each with its kind"


def wrong_loads(subject: Subject, client: Client) -> str:
    """What cannot be loaded is refused, and then it loads."""
    empty = client.folder / "empty"
    empty.touch()
    for kind, changes in (
        ("ModelInvalid", {"path": "/nonexistent/model"}),
        ("ModelInvalid", {"path": str(empty)}),
        ("FormatUnsupported", {"format": "no-such-format"}),
        ("OptionInvalid", {"options": dict(subject.options, no_such_option="1")}),
    ):
        refused(client, kind, "load", **subject.load_fields(**changes))
    load_model(subject, client)
    refused(client, "ProtocolError", "load", **subject.load_fields())
    return "missing and empty files, formats, options and a second model are refused"


def load(subject: Subject, client: Client) -> str:
    """The description is whole, and the same when asked for again."""
    inputs, outputs, reply = load_model(subject, client)
    described = reply["describe"]
    for member in ("runtime", "version", "device"):
        demand(isinstance(described[member], str) and bool(described[member]), "describe lacks '{}'", member)
    for member in ("device", "precision"):
        demand(bool(described["effective"].get(member)), "describe.effective lacks '{}'", member)
    demand(described["requested"] == subject.options, "describe.requested is not what was asked for")
    demand(isinstance(described["fallbacks"], list), "describe.fallbacks is no list")
    demand(type(reply["load_ns"]) is int and reply["load_ns"] >= 0, "load_ns is no whole number")
    demand(reply["optimal_in_flight"] >= 1, "optimal_in_flight is below 1")
    check_memory(reply["memory"])
    again = client.call("describe")
    for member in ("spec", "describe", "optimal_in_flight"):
        demand(again[member] == reply[member], "'{}' of describe differs from that of load", member)
    check_memory(client.call("memory")["memory"])
    return "{} -> {}, {}".format(_shown(inputs), _shown(outputs), described["effective"])


def _shown(specs: List[TensorSpec]) -> str:
    return ", ".join("{} {} {}".format(spec.name, spec.dtype, list(spec.shape)) for spec in specs)


def infer(subject: Subject, client: Client) -> str:
    """Outputs are as the spec says, the same for the same inputs, and survive another mapping."""
    specs, outputs, _ = load_model(subject, client)
    inputs = random_inputs(specs, 1)
    first = client.infer(inputs)
    demand(list(first) == [spec.name for spec in outputs], "the outputs are {}", list(first))
    check_inputs(outputs, first)  # names, types and shapes, as for inputs
    client.infer(random_inputs(specs, 2))
    client.map_anew(2 * client.map_bytes)
    for name, array in client.infer(inputs).items():
        demand(array.tobytes() == first[name].tobytes(), "'{}' differs from run to run", name)
    return "{} outputs, the same for the same inputs".format(len(first))


def wrong_inputs(subject: Subject, client: Client) -> str:
    """Tensors that do not fit never reach the model."""
    inputs = loaded_inputs(subject, client)
    name = sorted(inputs)[0]
    array = inputs[name]
    other = "int8" if array.dtype.name != "int8" else "float32"
    for changed, what in (
        ({name + "_": array}, "a wrong name"),
        ({name: array.astype(other)}, "a wrong dtype"),
        ({name: array.reshape((1,) + array.shape)}, "a wrong shape"),
    ):
        wrong = {key: value for key, value in inputs.items() if key != name}
        wrong.update(changed)
        refs = client.place(wrong)
        try:
            refused(client, "InputInvalid", "infer", inputs=refs, output_offset=_end(refs))
        except Failed as failure:
            raise Failed("{}: {}".format(what, failure))
    refs = client.place(inputs)
    for offset in (1 << 40, -64, 3):
        refused(
            client,
            "ProtocolError",
            "infer",
            inputs=[dict(refs[0], offset=offset)] + refs[1:],
            output_offset=0,
        )
    refused(client, "ProtocolError", "map", path="/nonexistent/tensors", size_bytes=4096)
    client.infer(inputs)
    return "names, dtypes, shapes and places outside of the file are refused"


def too_small(subject: Subject, client: Client) -> str:
    """Outputs that do not fit behind the inputs say how large the file must be, and then fit."""
    inputs = loaded_inputs(subject, client)
    refs = client.place(inputs)
    size = client.map_bytes
    error = refused(client, "BufferTooSmall", "infer", inputs=refs, output_offset=size)
    needed = error.details.get("needed_bytes")
    if not isinstance(needed, int) or needed <= size:
        raise Failed("details.needed_bytes is {!r}".format(needed))
    path = client.folder / "larger"
    path.write_bytes((client.folder / "tensors").read_bytes() + bytes(aligned(needed) - size))
    client.call("map", path=str(path), size_bytes=aligned(needed))
    client.call("infer", inputs=refs, output_offset=size)
    return "needed_bytes is told and is enough"


def _end(refs: List[Message]) -> int:
    return aligned(max(ref["offset"] + ref["nbytes"] for ref in refs))
