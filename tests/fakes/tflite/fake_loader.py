"""Stands in for the dynamic loader: libraries of delegates that this machine does not have, as ctypes would give them.

``install`` puts it before ctypes.CDLL, so that who opens libedgetpu.so.1 by ctypes gets the fake. It fails as libedgetpu does
(google-coral/libedgetpu, tflite/edgetpu_delegate_for_custom_op_tflite_plugin.cc): NULL without a word for a device that is
absent, in use or misspelt; every option but ``device`` dropped unless the device has an index.

Settings (WATTFARM_FAKE): ``devices`` ([[type, path], ...]; one on USB unless told), ``busy`` (indices that another process
has), ``lock_folder`` (a device that is open here is busy for other workers with the same folder), ``missing`` and ``wrong``
(names of libraries that are not there, or are another library), ``version`` (what edgetpu_version says), ``takes`` ({library:
names of operators it takes}).
"""

import ctypes
import fcntl
import os
import re
import sys
from typing import IO, Any, Callable, Dict, List, Optional

import faking

_real = ctypes.CDLL
_USB = [["usb", "/sys/bus/usb/devices/2-1"]]
_TYPES = {"pci": 0, "usb": 1}
_VERSION = "BuildLabel(COMPILER=6.3.0 20170516,DATE=redacted,TIME=redacted), RuntimeVersion(14)"
_TAKES = {
    "libvx_delegate.so": [
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "ADD",
        "AVERAGE_POOL_2D",
        "RESHAPE",
        "SOFTMAX",
    ],
    "libethosu_delegate.so": ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "ethos-u"],
    "libneutron_delegate.so": ["NeutronGraph"],
    "libtensorflowlite_gpu_delegate.so": ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "SOFTMAX"],
}
_delegates: Dict[int, "NativeDelegate"] = {}


class Record(ctypes.Structure):
    """struct edgetpu_device of edgetpu_c.h."""

    _fields_ = [("type", ctypes.c_int), ("path", ctypes.c_char_p)]


class NativeDelegate:
    """What a TfLiteDelegate pointer points to."""

    def __init__(self, takes: List[str], lock: Optional[IO[str]] = None) -> None:
        self.takes = takes
        self.lock = lock
        self.interpreters = 0


class Function:
    """A function of a library; like ctypes' it lets its types be set."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self.argtypes: Any = None
        self.restype: Any = None

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)


class Library:
    """A shared library with these functions, and no other."""

    def __init__(self, name: str, functions: Dict[str, Callable[..., Any]]) -> None:
        self._name = name
        for key, call in functions.items():
            setattr(self, key, Function(call))

    def __getattr__(self, key: str) -> Any:
        raise AttributeError("{}: undefined symbol: {}".format(self._name, key))


def install() -> None:
    """Put the fake libraries before ctypes.CDLL."""
    setattr(ctypes, "CDLL", load)  # noqa: B010 - a type cannot be assigned to


def load(name: Any, *arguments: Any, **options: Any) -> Any:
    """Open a library as ctypes.CDLL does."""
    base = os.path.basename(str(name or ""))
    if base in faking.settings().get("missing", []):
        raise OSError("{}: cannot open shared object file: No such file or directory".format(name))
    if base in faking.settings().get("wrong", []):
        return Library(str(name), {})
    if base == "libedgetpu.so.1":
        return Library(str(name), {**_EDGE_TPU, **_plugin(base)})
    if base in _TAKES:
        return Library(str(name), _plugin(base))
    return _real(name, *arguments, **options)


def native(pointer: int) -> NativeDelegate:
    """Return what a pointer points to; a freed one ends the process, as it does on a board."""
    if pointer not in _delegates:
        ctypes.string_at(0)
    return _delegates[pointer]


def _plugin(library: str) -> Dict[str, Callable[..., Any]]:
    def create(keys: Any, values: Any, count: int, report: Any) -> Optional[int]:
        options = {keys[at].decode(): values[at].decode() for at in range(count)}
        found = _open(options) if library == "libedgetpu.so.1" else _accelerate(library)
        if found is None:
            return None
        _delegates[id(found)] = found
        return id(found)

    def destroy(pointer: Optional[int]) -> None:
        found = _delegates.pop(pointer or 0, None)
        if found is None:
            return
        if found.interpreters:
            os.abort()  # the interpreter calls into it while it goes
        if found.lock is not None:
            found.lock.close()

    return {"tflite_plugin_create_delegate": create, "tflite_plugin_destroy_delegate": destroy}


def _accelerate(library: str) -> Optional[NativeDelegate]:
    if faking.trip("open") is not None:
        return None
    return NativeDelegate(faking.settings().get("takes", {}).get(library, _TAKES[library]))


def _devices() -> List[List[str]]:
    found: List[List[str]] = faking.settings().get("devices", _USB)
    return found


def _open(options: Dict[str, str]) -> Optional[NativeDelegate]:
    match = re.match(r"(usb|pci)?(?::(\d+))?$", options.get("device", ""))
    if match is None or faking.trip("open") is not None:
        return None
    kind, index = match.groups()
    matching = [at for at, device in enumerate(_devices()) if kind in (None, device[0])]
    matching = matching[:1] if index is None else matching[int(index) : int(index) + 1]
    performance = options.get("Performance", "Max") if index is not None else "Max"
    if not matching or performance not in ("Low", "Medium", "High", "Max"):
        return None
    lock = _lock(matching[0])
    if lock is None:
        return None
    path = _devices()[matching[0]][1]
    sys.stderr.write("I driver/package_registry.cc opened {} Performance={}\n".format(path, performance))
    sys.stderr.flush()
    return NativeDelegate(["edgetpu-custom-op"], lock)


def _lock(device: int) -> Optional[IO[str]]:
    """Take a device; None if it is taken. The lock of another open file is another's, in this process too."""
    if device in faking.settings().get("busy", []):
        return None
    folder = faking.settings().get("lock_folder")
    lock = open(os.devnull if folder is None else os.path.join(folder, str(device)), "w")  # noqa: SIM115 - kept
    if folder is not None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return None
    return lock


def _list_devices(count: Any) -> Any:
    found = _devices()
    count._obj.value = len(found)
    if not found:
        return ctypes.POINTER(Record)()
    records = (Record * len(found))(*[Record(_TYPES.get(kind, 2), path.encode()) for kind, path in found])
    return ctypes.cast(records, ctypes.POINTER(Record))


def _free_devices(records: Any) -> None:
    if not records:
        os.abort()


def _version() -> bytes:
    return str(faking.settings().get("version", _VERSION)).encode()


_EDGE_TPU: Dict[str, Callable[..., Any]] = {
    "edgetpu_list_devices": _list_devices,
    "edgetpu_free_devices": _free_devices,
    "edgetpu_version": _version,
}
