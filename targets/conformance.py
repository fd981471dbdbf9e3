"""Checks that a runner, or any executable that speaks the wire protocol, does what the daemon relies on.

    python3 -m targets.conformance --runtime mine --format onnx MODEL                   # a runner of this interpreter
    python3 -m targets.conformance --runtime mine --format fmt MODEL -- /opt/my/worker  # an executable

A runner that is not in the catalogue is named by WATTFARM_RUNNERS=mine=package.module:Class. Prints a line a check; exits with 1
if one does not hold, with 2 for wrong usage.
"""

import argparse
import os
import subprocess
import sys
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from targets.client import Client, Message
from targets.errors import TargetsError
from targets.tensors import Tensors
from targets.wire import ITEM_BYTES, PROTOCOL

_END_TIMEOUT_S = 30.0


class Subject:
    """What is checked: how its worker is started, and what it loads."""

    def __init__(self, command: Sequence[str], load: Message) -> None:
        self.command = list(command)
        self.load = load
        self.spec: Message = {}

    @property
    def runtime(self) -> str:
        """The name by which requests call it."""
        return str(self.load["runtime"])

    def client(self) -> Client:
        """Start a worker."""
        return Client(self.command)

    def loaded(self, client: Client) -> Message:
        """Load the model; keep and return its spec."""
        self.spec = client.call("load", **self.load)["spec"]
        return self.spec


def run(subject: Subject, tell: Callable[[str, Optional[str]], None]) -> bool:
    """Run every check in a worker of its own; ``tell`` gets its name and what is wrong (None: nothing). Did all hold?"""
    holds = True
    for name, check in CHECKS:
        wrong = _outcome(subject, check)
        tell(name, wrong)
        holds = holds and wrong is None
    return holds


def _outcome(subject: Subject, check: Callable[[Subject, Client], None]) -> Optional[str]:
    try:
        with subject.client() as client:
            try:
                check(subject, client)
            except (AssertionError, TargetsError, KeyError, TypeError, ValueError, OSError) as error:
                return _sentence(error, client)
    except OSError as error:
        return "{} cannot be started: {}".format(subject.command[0], error)
    return None


def _sentence(error: BaseException, client: Client) -> str:
    """Return what is wrong, with the worker's last words if it died."""
    text = (
        "{}: {}".format(type(error).__name__, error) if not isinstance(error, AssertionError) else str(error)
    )
    if client.process.poll() is None:
        return text
    words = client.stderr_path.read_text(errors="replace").strip().splitlines()
    return "{} (the worker ended with {}{})".format(
        text, client.process.returncode, "; its last words: " + words[-1] if words else ""
    )


def _expect(condition: bool, wrong: str) -> None:
    if not condition:
        raise AssertionError(wrong)


def says_hello(subject: Subject, client: Client) -> None:
    """It speaks this version of the protocol and says who it is."""
    hello = client.call("hello")
    _expect(
        hello.get("protocol") == PROTOCOL,
        "hello tells protocol {!r}, not {}".format(hello.get("protocol"), PROTOCOL),
    )
    _expect(isinstance(hello.get("pid"), int), "hello tells no pid")


def tells_its_runtime(subject: Subject, client: Client) -> None:
    """The probe names the runtime with its version, formats and precisions, and it can be used here."""
    found = {entry["name"]: entry for entry in client.call("probe", runtimes=[subject.runtime])["runtimes"]}
    _expect(subject.runtime in found, "the probe does not name '{}'".format(subject.runtime))
    entry = found[subject.runtime]
    _expect(entry["available"] is True, "it is not available: {}".format(entry.get("reason")))
    _expect(bool(entry["version"]), "the probe tells no version")
    for member in ("formats", "precisions"):
        _expect(isinstance(entry[member], list), "'{}' of the probe is no list".format(member))
    _expect(
        subject.load["format"] in entry["formats"],
        "the probe's formats lack '{}'".format(subject.load["format"]),
    )


def describes_what_it_loaded(subject: Subject, client: Client) -> None:
    """A load tells inputs, outputs, memory, the best number in flight, and the settings in effect."""
    reply = client.call("load", **subject.load)
    for side in ("inputs", "outputs"):
        _expect(bool(reply["spec"][side]), "the spec has no {}".format(side))
        for tensor in reply["spec"][side]:
            _expect(
                tensor["dtype"] in ITEM_BYTES,
                "'{}' has the unknown dtype {}".format(tensor["name"], tensor["dtype"]),
            )
            _expect(
                all(size == -1 or size > 0 for size in tensor["shape"]),
                "'{}' has a bad shape".format(tensor["name"]),
            )
    told = reply["describe"]
    _expect(bool(told["version"]) and bool(told["device"]), "describe lacks version or device")
    for key in ("device", "precision"):
        _expect(
            bool(told["effective"].get(key)),
            "effective lacks '{}': read it back, or say what is certain".format(key),
        )
    _expect(isinstance(told["fallbacks"], list), "fallbacks is no list")
    _expect(reply["memory"]["rss_bytes"] > 0, "memory lacks rss_bytes")
    _expect(reply["optimal_in_flight"] >= 1, "optimal_in_flight is below 1")
    _expect(client.call("describe")["describe"] == told, "describe answers something else than the load")


def computes(subject: Subject, client: Client) -> None:
    """Outputs have the announced names, types and shapes, depend on the inputs and on nothing else."""
    spec = subject.loaded(client)
    outputs = client.infer(inputs_for(spec, 5))
    for tensor in spec["outputs"]:
        _expect(tensor["name"] in outputs, "the output '{}' is missing".format(tensor["name"]))
        array = outputs[tensor["name"]]
        _expect(
            array.dtype.name == tensor["dtype"], "'{}' came as {}".format(tensor["name"], array.dtype.name)
        )
        fits = len(array.shape) == len(tensor["shape"]) and all(
            want in (-1, have) for want, have in zip(tensor["shape"], array.shape)
        )
        _expect(fits, "'{}' came with the shape {}".format(tensor["name"], list(array.shape)))
    again, other = client.infer(inputs_for(spec, 5)), client.infer(inputs_for(spec, 6))
    _expect(_same(outputs, again), "the same inputs gave other outputs")
    _expect(not _same(outputs, other), "other inputs gave the same outputs")


def refuses_what_is_wrong(subject: Subject, client: Client) -> None:
    """Each wrong request gets its own kind of error, and the worker goes on."""
    load = subject.load
    wrong: List[Tuple[str, str, Message]] = [
        ("ProtocolError", "nonsense", {}),
        ("NotLoaded", "describe", {}),
        ("FormatUnsupported", "load", dict(load, format="pickle")),
        ("OptionInvalid", "load", dict(load, options=dict(load["options"], no_such_option="1"))),
        ("ModelInvalid", "load", dict(load, path=os.path.join(str(client.folder), "missing"))),
        ("ModelInvalid", "load", dict(load, path=_file(client, "empty", b""))),
        ("ModelInvalid", "load", dict(load, path=_file(client, "garbage", b"hello world " * 40))),
    ]
    for kind, op, members in wrong:
        error = client.error(op, **members)
        _expect(
            error.kind == kind, "{} {} gave {} and not {}: {}".format(op, members, error.kind, kind, error)
        )
        _expect("\n" not in error.message, "an error has more than one line: {!r}".format(error.message))
    _refuses_wrong_inputs(subject, client)
    error = client.error("load", **load)
    _expect(error.kind == "ProtocolError", "a second load gave {}".format(error.kind))


def _refuses_wrong_inputs(subject: Subject, client: Client) -> None:
    good = inputs_for(subject.loaded(client), 5)
    name = sorted(good)[0]
    changes: Dict[str, Tensors] = {
        "another name": {name + "_": good[name]},
        "another dtype": {
            name: good[name].astype("float64" if good[name].dtype != np.float64 else "float32")
        },
        "another shape": {name: np.stack([good[name], good[name]])},
    }
    for what, change in sorted(changes.items()):
        rest = {key: value for key, value in good.items() if key != name}
        refs = client.place(dict(rest, **change))
        error = client.error("infer", inputs=refs, output_offset=1 << 20)
        _expect(error.kind == "InputInvalid", "an input with {} gave {}".format(what, error.kind))
    client.infer(good)


def times_itself(subject: Subject, client: Client) -> None:
    """Both scenarios keep to their limits, and the file of times holds a start and an end for each request."""
    inputs = inputs_for(subject.loaded(client), 5)
    for scenario, in_flight in (("latency", None), ("throughput", 2)):
        reply, starts, ends = client.benchmark(
            scenario=scenario,
            in_flight=in_flight,
            duration_ns=100000000,
            min_count=4,
            inputs=client.place(inputs),
        )
        what = "the {} benchmark".format(scenario)
        _expect(
            reply["requests"] == len(starts) == len(ends) >= 4, what + " tells another number of requests"
        )
        _expect(bool((ends > starts).all()), what + " has a request that ends before it begins")
        _expect(bool((np.diff(starts) >= 0).all()), what + " has starts out of order")
        _expect(
            reply["window_start_ns"] <= starts[0] and reply["window_end_ns"] == max(ends),
            what + " has a wrong window",
        )
        _expect(reply["window_end_ns"] - reply["window_start_ns"] >= 100000000, what + " is too short")
        _expect(reply["in_flight"] == (in_flight or 1), what + " had another number in flight")
    phases = [event.get("phase") for event in client.events if event.get("event") == "progress"]
    _expect("running" in phases, "no progress event told the phase 'running'")


def stops_when_asked(subject: Subject, client: Client) -> None:
    """A cancelled benchmark ends, keeps the times it has, and leaves the model loaded."""
    inputs = inputs_for(subject.loaded(client), 5)
    number = client.start_benchmark(duration_ns=600 * 10**9, inputs=client.place(inputs))
    reply = client.call("cancel", target=number)
    _expect(reply.get("cancelled") is True, "cancel did not tell that there was something to cancel")
    try:
        client.finish(number)
        raise AssertionError("a cancelled benchmark gave a result")
    except TargetsError as error:
        _expect(error.kind == "Cancelled", "a cancelled benchmark gave {}".format(error.kind))
    client.infer(inputs)


def leaves_in_good_order(subject: Subject, client: Client) -> None:
    """Unload and load again, close, and end by itself with 0."""
    subject.loaded(client)
    client.call("memory")
    client.call("unload")
    _expect(client.error("describe").kind == "NotLoaded", "after an unload there is still a model")
    subject.loaded(client)
    client.call("close")
    _expect(_end_of(client) == 0, "after close it ended with {}".format(client.process.returncode))


def ends_with_its_wire(subject: Subject, client: Client) -> None:
    """Without a daemon there must be no worker, even in the middle of a benchmark."""
    subject.loaded(client)
    client.start_benchmark(duration_ns=600 * 10**9)
    client.sock.close()
    _expect(
        _end_of(client) is not None, "it lives on {:g} s after its wire was closed".format(_END_TIMEOUT_S)
    )


CHECKS = [
    ("says hello", says_hello),
    ("tells its runtime", tells_its_runtime),
    ("describes what it loaded", describes_what_it_loaded),
    ("computes", computes),
    ("refuses what is wrong", refuses_what_is_wrong),
    ("times itself", times_itself),
    ("stops when asked", stops_when_asked),
    ("leaves in good order", leaves_in_good_order),
    ("ends with its wire", ends_with_its_wire),
]


def inputs_for(spec: Message, seed: int) -> Tensors:
    """Return random inputs for a spec; open dimensions are 1."""
    rng = np.random.RandomState(seed)
    found = {}
    for tensor in spec["inputs"]:
        shape, kind = [max(1, size) for size in tensor["shape"]], np.dtype(tensor["dtype"])
        if kind.kind in "iub":
            low, high = (0, 2) if kind.kind == "b" else (0, 256) if kind.kind == "u" else (-128, 128)
            found[tensor["name"]] = rng.randint(low, high, shape).astype(kind)
        else:
            found[tensor["name"]] = rng.standard_normal(shape).astype(kind)
    return found


def _same(one: Tensors, other: Tensors) -> bool:
    return sorted(one) == sorted(other) and all(np.array_equal(one[name], other[name]) for name in one)


def _file(client: Client, name: str, content: bytes) -> str:
    path = client.folder / name
    path.write_bytes(content)
    return str(path)


def _end_of(client: Client) -> Optional[int]:
    try:
        return client.process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None


def _parsed(arguments: Sequence[str]) -> Subject:
    own, _, command = _split(list(arguments))
    parser = argparse.ArgumentParser(
        prog="python -m targets.conformance", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("model", help="a model file of that format")
    parser.add_argument("--runtime", required=True, help="the runner's name")
    parser.add_argument("--format", required=True, help="the file's format")
    parser.add_argument("--precision", help="as the file is, if not given")
    parser.add_argument("--batch", type=int, help="as the file is, if not given")
    parser.add_argument(
        "--option", action="append", default=[], metavar="KEY=VALUE", help="load option (repeatable)"
    )
    given = parser.parse_args(own)
    if not os.path.isfile(given.model):
        parser.error("there is no model file {}".format(given.model))
    pairs = [option.partition("=") for option in given.option]
    load = {
        "path": os.path.abspath(given.model), "runtime": given.runtime, "format": given.format,
        "precision": given.precision, "batch": given.batch, "options": {key: value for key, _, value in pairs},
    }  # fmt: skip
    return Subject(command or [sys.executable, "-m", "targets.worker"], load)


def _split(arguments: List[str]) -> Tuple[List[str], str, List[str]]:
    if "--" not in arguments:
        return arguments, "", []
    at = arguments.index("--")
    return arguments[:at], "--", arguments[at + 1 :]


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; return its exit code."""
    subject = _parsed(sys.argv[1:] if arguments is None else arguments)

    def tell(name: str, wrong: Optional[str]) -> None:
        print("{:28} {}".format(name, "holds" if wrong is None else "FAILS: " + wrong))
        sys.stdout.flush()

    return 0 if run(subject, tell) else 1


if __name__ == "__main__":
    sys.exit(main())
