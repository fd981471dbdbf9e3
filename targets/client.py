"""Drives one worker process over the wire, as the daemon does: for the conformance command and for tests."""

import mmap
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, TypeVar

import numpy as np

from targets.errors import TargetsError, WireClosed, error_from_json
from targets.tensors import Tensors
from targets.wire import Decoder, layout, send

Message = Dict[str, Any]
_C = TypeVar("_C", bound="Client")


class Client:
    """One worker process: ``command`` with ``--fd N`` appended. Errors come back as the exceptions of targets.errors.

    Its output goes to the files ``stdout`` and ``stderr`` of its own folder, which is removed with it.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Optional[Dict[str, str]] = None,
        map_bytes: int = 1 << 22,
        timeout_s: float = 60.0,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.stdout_path, self.stderr_path = self.folder / "stdout", self.folder / "stderr"
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(timeout_s)
        try:
            with self.stdout_path.open("wb") as out, self.stderr_path.open("wb") as err:
                self.process = subprocess.Popen(
                    list(command) + ["--fd", str(theirs.fileno())], pass_fds=[theirs.fileno()], cwd=str(self.folder),
                    stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env,
                )  # fmt: skip
        finally:
            theirs.close()
        self.events: List[Message] = []
        self._replies: Dict[int, Message] = {}
        self._id = 0
        self._map: Optional[mmap.mmap] = None
        self.map_bytes = map_bytes

    def __enter__(self: _C) -> _C:
        return self

    def __exit__(self, *_error: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process, whatever it does, and remove its files."""
        self.sock.close()
        self.process.kill()
        self.process.wait()
        self._folder.cleanup()

    def start(self, op: str, **fields: Any) -> int:
        """Send a request and return its number."""
        self._id += 1
        send(self.sock, dict(fields, id=self._id, op=op))
        return self._id

    def finish(self, number: int) -> Message:
        """Read until the reply of a request; events and replies to others are kept.

        A cancelled request may be answered before the ``cancel`` is: two threads of the worker write.
        """
        while number not in self._replies:
            self.listen()
        message = self._replies.pop(number)
        if not message["ok"]:
            raise error_from_json(message["error"])
        return message

    def listen(self) -> None:
        """Wait for one message and keep it."""
        message = receive(self.sock)
        if "event" in message:
            self.events.append(message)
        else:
            self._replies[message["id"]] = message

    def call(self, op: str, **fields: Any) -> Message:
        """Send a request and wait for its reply."""
        return self.finish(self.start(op, **fields))

    def error(self, op: str, **fields: Any) -> TargetsError:
        """Send a request that must fail and return its error. AssertionError if it succeeds."""
        try:
            reply = self.call(op, **fields)
        except WireClosed:
            raise
        except TargetsError as error:
            return error
        raise AssertionError("{} succeeded: {}".format(op, reply))

    def place(self, inputs: Tensors) -> List[Message]:
        """Write tensors into the mapped file and return their references."""
        mapped = self._mapped()
        refs, _ = layout([(name, array.dtype.name, array.shape) for name, array in inputs.items()])
        for ref in refs:
            mapped[ref["offset"] : ref["offset"] + ref["nbytes"]] = inputs[ref["name"]].tobytes()
        return refs

    def infer(self, inputs: Tensors) -> Tensors:
        """Run one inference through the mapped file."""
        refs = self.place(inputs)
        end = max([ref["offset"] + ref["nbytes"] for ref in refs] or [0])
        reply = self.call("infer", inputs=refs, output_offset=-(-end // 64) * 64)
        if reply["end_ns"] < reply["start_ns"]:
            raise AssertionError("the inference ended before it began: {}".format(reply))
        return {ref["name"]: self.read(ref) for ref in reply["outputs"]}

    def read(self, ref: Message) -> Any:
        """Return a tensor from the mapped file."""
        data = self._mapped()[ref["offset"] : ref["offset"] + ref["nbytes"]]
        return np.frombuffer(data, dtype=ref["dtype"]).reshape(ref["shape"])

    def start_benchmark(self, **fields: Any) -> int:
        """Send a benchmark request with defaults for whatever is not given."""
        request: Message = {
            "scenario": "latency", "in_flight": None, "duration_ns": 50000000, "min_count": 1, "warmup_ns": 0,
            "warmup_count": 0, "inputs": None, "seed": 7, "times_path": str(self.folder / "times"),
        }  # fmt: skip
        request.update(fields)
        return self.start("benchmark", **request)

    def benchmark(self, **fields: Any) -> Tuple[Message, Any, Any]:
        """Run a short benchmark; return the reply, the starts and the ends."""
        reply = self.finish(self.start_benchmark(**fields))
        starts, ends = self.times()
        return reply, starts, ends

    def times(self) -> Tuple[Any, Any]:
        """Return the starts and ends that the last benchmark wrote."""
        times = np.fromfile(str(self.folder / "times"), dtype="<i8")
        return times[: len(times) // 2], times[len(times) // 2 :]

    def map_anew(self, map_bytes: int) -> None:
        """Use another tensor file of that size from the next tensors on."""
        self._map, self.map_bytes = None, map_bytes

    def _mapped(self) -> mmap.mmap:
        """Return the tensor file, made and told to the worker at the first need."""
        if self._map is None:
            path = self.folder / "tensors"
            if path.exists():
                path.unlink()  # the worker has it mapped: truncating it would take that away
            with path.open("w+b") as file:
                file.truncate(self.map_bytes)
                self._map = mmap.mmap(file.fileno(), self.map_bytes)
            self.call("map", path=str(path), size_bytes=self.map_bytes)
        return self._map


def receive(sock: socket.socket) -> Message:
    """Receive exactly one object, and leave what follows it. WireClosed."""
    try:
        prefix = sock.recv(4, socket.MSG_WAITALL)
    except ConnectionError:
        prefix = b""
    if len(prefix) < 4:
        raise WireClosed("The other end closed the wire.")
    body = sock.recv(int.from_bytes(prefix, "big"), socket.MSG_WAITALL)
    (found,) = Decoder().feed(prefix + body)
    return found
