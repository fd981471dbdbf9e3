"""Enumerations, the logger, and what stands for a pybind11 object around a null pointer."""

import ctypes
import enum
from typing import Any, Dict, List, Optional

import fake_gpu
import faking


class Severity(enum.IntEnum):
    """Of a line of the log."""

    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class DataType(enum.IntEnum):
    """Of a tensor."""

    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    FP8 = 6
    BF16 = 7
    INT64 = 8
    INT4 = 9


class TensorFormat(enum.IntEnum):
    """Of a tensor in memory."""

    LINEAR = 0
    CHW32 = 5


class TensorIOMode(enum.IntEnum):
    """Whether a tensor goes in or out."""

    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorLocation(enum.IntEnum):
    """Where a tensor is."""

    DEVICE = 0
    HOST = 1


class DeviceType(enum.IntEnum):
    """What executes a layer."""

    GPU = 0
    DLA = 1


class LayerType(enum.IntEnum):
    """Kinds of layers."""

    ACTIVATION = 1
    ELEMENTWISE = 7
    MATRIX_MULTIPLY = 15
    SHUFFLE = 17
    CONSTANT = 19
    QUANTIZE = 37
    DEQUANTIZE = 38
    NON_ZERO = 42


class MemoryPoolType(enum.IntEnum):
    """What a limit is for."""

    WORKSPACE = 0
    DLA_MANAGED_SRAM = 1


class ProfilingVerbosity(enum.IntEnum):
    """What an engine keeps about its layers."""

    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class LayerInformationFormat(enum.IntEnum):
    """How the inspector writes."""

    ONELINE = 0
    JSON = 1


DTYPES = {
    "float32": DataType.FLOAT, "float16": DataType.HALF, "int8": DataType.INT8, "int32": DataType.INT32, "bool": DataType.BOOL,
    "uint8": DataType.UINT8, "int64": DataType.INT64,
}  # fmt: skip


class ILogger:
    """The base of loggers; a subclass has to call this __init__."""

    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING
    INFO, VERBOSE = Severity.INFO, Severity.VERBOSE

    def __init__(self) -> None:
        self._is_made = True

    def log(self, severity: Any, msg: str) -> None:
        raise RuntimeError('Tried to call pure virtual function "ILogger::log"')


class Logger(ILogger):
    """Writes to the standard error."""

    def __init__(self, min_severity: Severity = Severity.WARNING) -> None:
        super().__init__()
        self.min_severity = min_severity

    def log(self, severity: Any, msg: str) -> None:
        if severity <= self.min_severity:
            print("[TRT] [{}] {}".format(severity.name[0], msg))


def check_logger(logger: Any) -> ILogger:
    """TypeError for what is no logger, as pybind11 has it."""
    if not isinstance(logger, ILogger):
        raise TypeError(
            "incompatible function arguments. The following argument types are supported: (logger: ILogger)"
        )
    if not hasattr(logger, "_is_made"):
        raise TypeError("{}.__init__() must be called when overriding __init__".format(type(logger).__name__))
    return logger


def load_fault() -> Optional[str]:
    """Return the fault that is set for the load and that these fakes do themselves."""
    found = fake_gpu.fault_at("load")
    return None if found is None else str(found)


class NullPointer:
    """An object around a null pointer: whatever is done with it is a segmentation fault."""

    def __getattribute__(self, name: str) -> Any:
        ctypes.string_at(0)

    def __setattr__(self, name: str, value: Any) -> None:
        ctypes.string_at(0)


def need_driver(logger: ILogger, is_null_without: bool) -> bool:
    """Return whether there is a driver; if not, log it, and raise what older bindings raise."""
    code = fake_gpu.driver_error()
    if not code:
        return True
    logger.log(Severity.ERROR, "CUDA initialization failure with error: {}".format(code))
    if not is_null_without:
        raise TypeError("pybind11::init(): factory function returned nullptr")
    return False


class IHostMemory(bytes):
    """Memory of TensorRT's own, seen through the buffer protocol."""

    @property
    def nbytes(self) -> int:
        return len(self)


def make_enum(name: str, members: List[str]) -> Any:
    """Return an enumeration with the members that a version has."""
    found: Dict[str, int] = {member: at for at, member in enumerate(members)}
    return enum.IntEnum(name, found)


def version(own: str) -> str:
    """Return the version that a package says it has."""
    return str(faking.settings().get("tensorrt", own))
