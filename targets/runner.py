"""The runner: what the worker asks of a runtime. One subclass a runtime, one file each, in targets/runners/.

A subclass fills the underscore methods; the public ones check, so that no vendor call sees a bad argument. Vendor
packages are imported inside methods, never at the top of a module.
"""

import abc
import os
import queue
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple, TypeVar

from targets.errors import (
    FormatUnsupported,
    InferenceFailed,
    ModelInvalid,
    NotLoaded,
    OutOfMemory,
    TargetsError,
)
from targets.options import SCENARIOS, LoadOptions, nearest
from targets.process import memory_of_process, monotonic_ns
from targets.tensors import ModelSpec, Tensors, check_inputs

_T = TypeVar("_T")
_MEMORY_WORDS = ("bad_alloc", "out of memory", "failed to allocate", "cannot allocate memory", "outofmemory")


class Runner(abc.ABC):
    """One loaded model on one runtime.

    Life: ``load`` once, then any number of ``infer``, ``bind`` and ``submit``, then ``close``; closing twice is
    harmless. A *slot* is a place for one request in flight, numbered from 0. Calls bound to different slots may
    run at the same time in different threads; those of one slot may not.
    """

    name = ""
    package = ""  # what to install, as a person would type it after "pip install"
    formats: Tuple[str, ...] = ()
    compiler = ""  # how its own format is made, as the end of a sentence: "compile it with 'edgetpu_compiler model.tflite'"
    precisions: Tuple[str, ...] = ()
    options: Dict[str, str] = {}  # option -> what it does; the common ones come from targets.options

    def __init__(self) -> None:
        self.spec: Optional[ModelSpec] = None
        self.requested: Dict[str, str] = {}
        self.effective: Dict[str, str] = {}
        self.fallbacks: List[str] = []
        self.optimal_in_flight = 1
        self._slots: Dict[int, _Slot] = {}
        self._finished: "queue.Queue[Tuple[int, int]]" = queue.Queue()

    # What a subclass fills.

    @classmethod
    @abc.abstractmethod
    def version(cls) -> str:
        """Return the runtime's version. RuntimeUnavailable, naming the package, if it cannot be used here."""

    @abc.abstractmethod
    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        """Load the model; set effective, fallbacks and optimal_in_flight from what the runtime reads back."""

    @abc.abstractmethod
    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        """Return a call without arguments that runs these inputs once in this slot: what the timed loop calls."""

    @abc.abstractmethod
    def _outputs(self, slot: int, returned: Any) -> Tensors:
        """Return the outputs of the last finished call of a slot, given what that call returned, as copies."""

    def known_options(self, options: LoadOptions) -> List[str]:
        """Return the option keys this runtime takes beside the common ones."""
        return list(self.options)

    def _open_slots(self, count: int) -> None:  # noqa: B027 - most runtimes need nothing
        """Prepare slots 0 to count-1; the default needs nothing."""

    def _close(self) -> None:  # noqa: B027 - most runtimes need nothing
        """Give back what the runtime holds; the default needs nothing."""

    def device_time_ns(self, slot: int) -> Optional[int]:
        """Return how long the accelerator itself took for the slot's last call; None where the runtime does not tell.

        The timed loop never asks: it is asked after calls of their own, when the window is over.
        """
        return None

    def device_bytes(self) -> Optional[int]:
        """Return the memory taken on the accelerator; None where the runtime does not tell."""
        return None

    # What the worker calls.

    def load(self, path: str, options: LoadOptions) -> ModelSpec:
        """Load a model file and return its inputs and outputs.

        RuntimeUnavailable, FormatUnsupported, ModelInvalid, OptionInvalid, PrecisionUnsupported, OutOfMemory.
        """
        if options.format not in self.formats:
            raise FormatUnsupported(
                "{} does not take the format '{}'{} It takes {}{}.".format(
                    self.name,
                    options.format,
                    nearest(options.format, self.formats) or ".",
                    ", ".join(self.formats),
                    "; " + self.compiler if self.compiler else "",
                ),
                format=options.format,
                supported=list(self.formats),
            )
        check_file(path)
        self.version()
        options.check_known(self.name, self.known_options(options))
        options.choice("scenario", SCENARIOS)
        self.requested = dict(options.values)
        if options.precision is not None:
            self.requested["precision"] = options.precision
        if options.batch is not None:
            self.requested["batch"] = str(options.batch)
        self.spec = self._guard(ModelInvalid, "could not load this model", lambda: self._load(path, options))
        self.optimal_in_flight = options.integer("in_flight") or self.optimal_in_flight
        return self.spec

    def infer(self, inputs: Tensors, are_checked: bool = False) -> Tensors:
        """Run once in slot 0 and return the outputs by name. InputInvalid, InferenceFailed, OutOfMemory."""
        call = self.bind(0, inputs, are_checked)
        returned = self._guard(InferenceFailed, "failed in the inference", call)
        return self.outputs(0, returned)

    def bind(self, slot: int, inputs: Tensors, are_checked: bool = False) -> Callable[[], Any]:
        """Check inputs unless that was done, place them in a slot and return the call that runs them once."""
        if not are_checked:
            check_inputs(self.loaded().inputs, inputs)
        return self._guard(InferenceFailed, "did not take these inputs", lambda: self._bind(slot, inputs))

    def outputs(self, slot: int, returned: Any) -> Tensors:
        """Return the outputs of a slot's last call, given what the call returned."""
        return self._guard(InferenceFailed, "did not give its outputs", lambda: self._outputs(slot, returned))

    def open_slots(self, count: int) -> None:
        """Prepare slots 0 to count-1 for requests in flight at the same time."""
        self.loaded()
        self._guard(OutOfMemory, "could not open {} slots".format(count), lambda: self._open_slots(count))

    def submit(self, slot: int, inputs: Tensors) -> None:
        """Start one request in an idle slot and return at once; InputInvalid as for infer."""
        if slot not in self._slots:
            self.open_slots(slot + 1)
            self._slots[slot] = _Slot(slot, self._finished)
        self._slots[slot].start(self.bind(slot, inputs))

    def next_finished(self, timeout_s: Optional[float] = None) -> Tuple[int, int]:
        """Wait for any slot to finish; return it and the end of its request on the monotonic clock, in ns."""
        return self._finished.get(timeout=timeout_s)

    def wait(self, slot: int) -> Tensors:
        """Wait for a slot's request and return its outputs; InferenceFailed if it failed."""
        if slot not in self._slots:
            raise NotLoaded("The slot {} has no request.".format(slot))
        returned = self._guard(InferenceFailed, "failed in the inference", self._slots[slot].result)
        return self.outputs(slot, returned)

    def memory(self) -> Dict[str, Optional[int]]:
        """Return rss_bytes and peak_rss_bytes of this process and device_bytes; None where nobody tells."""
        found = memory_of_process()
        found["device_bytes"] = self.device_bytes()
        return found

    def describe(self) -> Dict[str, Any]:
        """Return runtime, version, device, the settings asked for, those in effect, and every silent fallback."""
        return {
            "runtime": self.name,
            "version": self.version(),
            "device": self.effective.get("device", "cpu"),
            "requested": dict(self.requested),
            "effective": dict(self.effective),
            "fallbacks": list(self.fallbacks),
        }

    def close(self) -> None:
        """Stop the slots and give back what the runtime holds."""
        for slot in self._slots.values():
            slot.close()
        self._slots = {}
        if self.spec is not None:
            self.spec = None
            self._close()

    def loaded(self) -> ModelSpec:
        """Return the spec of the loaded model. NotLoaded if there is none."""
        if self.spec is None:
            raise NotLoaded("{} has no model loaded.".format(self.name))
        return self.spec

    def _guard(self, kind: Callable[..., TargetsError], what: str, call: Callable[[], _T]) -> _T:
        """Run vendor code; turn whatever it raises into one of our errors."""
        try:
            return call()
        except TargetsError:
            raise
        except MemoryError:
            raise OutOfMemory("{} {}: the memory is not enough.".format(self.name, what))
        except Exception as error:
            text = one_line(error)
            if any(word in text.lower() for word in _MEMORY_WORDS):
                raise OutOfMemory("{} {}: {}".format(self.name, what, text))
            raise kind("{} {}: {}".format(self.name, what, text))


class _Slot:
    """A thread that runs one request at a time."""

    def __init__(self, number: int, finished: "queue.Queue[Tuple[int, int]]") -> None:
        self._number = number
        self._finished = finished
        self._calls: "queue.Queue[Optional[Callable[[], Any]]]" = queue.Queue()
        self._idle = threading.Event()
        self._idle.set()
        self._returned: Any = None
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, name="slot-{}".format(number), daemon=True)
        self._thread.start()

    def start(self, call: Callable[[], Any]) -> None:
        if not self._idle.is_set():
            raise InferenceFailed("The slot {} is busy; wait for it first.".format(self._number))
        self._idle.clear()
        self._calls.put(call)

    def result(self) -> Any:
        self._idle.wait()
        if self._error is not None:
            raise self._error
        return self._returned

    def close(self) -> None:
        self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            call = self._calls.get()
            if call is None:
                return
            self._returned, self._error = None, None
            try:
                self._returned = call()
            except Exception as error:
                self._error = error
            end_ns = monotonic_ns()
            self._idle.set()
            self._finished.put((self._number, end_ns))


def one_line(error: BaseException) -> str:
    """Return a vendor's message as one line of at most 500 characters, ending in a full stop."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text if len(text) <= 500 else text[:497] + "..."
    return text if text.endswith(".") else text + "."


def check_file(path: str) -> None:
    """ModelInvalid unless the model file is there, is a file, can be read and is not empty."""
    try:
        size = os.stat(path).st_size
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ModelInvalid("The model file {} cannot be read: {}.".format(path, error.strerror), path=path)
    if size == 0:
        raise ModelInvalid("The model file {} is empty.".format(path), path=path)
