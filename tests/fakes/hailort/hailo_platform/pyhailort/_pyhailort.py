"""The native half of the fake: enumerations, status numbers, the chip and what it computes."""

import enum
import zlib
from typing import Any, Dict, List, Set

import faking
import numpy as np

from hailo_platform.pyhailort import _hef

BBOX = 5


class HailoRTException(Exception):  # noqa: N818 - the vendor's name
    """What the Python half raises; it has subclasses there."""


class HailoRTStatusException(Exception):  # noqa: N818 - the vendor's name
    """What the native half raises: its text is the number. Registered without a base, so it is no HailoRTException."""


class FormatType(enum.IntEnum):
    AUTO = 0
    UINT8 = 1
    UINT16 = 2
    FLOAT32 = 3


class FormatOrder(enum.IntEnum):
    AUTO = 0
    NHWC = 1
    NHW = 4
    NC = 5
    NCHW = 9
    HAILO_NMS_WITH_BYTE_MASK = 18
    HAILO_NMS_BY_CLASS = 20
    HAILO_NMS_BY_SCORE = 21


class SchedulingAlgorithm(enum.IntEnum):
    NONE = 0
    ROUND_ROBIN = 1


class PowerMode(enum.IntEnum):
    PERFORMANCE = 0
    ULTRA_PERFORMANCE = 1


class StreamInterface(enum.IntEnum):
    PCIe = 0
    ETH = 1
    INTEGRATED = 2


class Format:
    """hailo_format_t."""

    def __init__(self, kind: FormatType, order: FormatOrder) -> None:
        self.type = kind
        self.order = order


class QuantInfo:
    """hailo_quant_info_t."""

    def __init__(self, zero_point: float, scale: float) -> None:
        self.qp_zp = float(zero_point)
        self.qp_scale = float(scale)
        self.limvals_min = -scale * zero_point
        self.limvals_max = scale * (255 - zero_point)


class NmsShape:
    """hailo_nms_shape_t."""

    def __init__(self, classes: int, boxes: int) -> None:
        self.number_of_classes = classes
        self.max_bboxes_per_class = boxes


_NAMES = {
    2: "HAILO_INVALID_ARGUMENT", 3: "HAILO_OUT_OF_HOST_MEMORY", 4: "HAILO_TIMEOUT", 6: "HAILO_INVALID_OPERATION",
    16: "HAILO_UNSUPPORTED_FW_VERSION", 18: "HAILO_FW_CONTROL_FAILURE", 26: "HAILO_INVALID_HEF",
    36: "HAILO_DRIVER_OPERATION_FAILED", 61: "HAILO_NOT_FOUND", 62: "HAILO_COMMUNICATION_CLOSED", 63: "HAILO_STREAM_ABORT",
    64: "HAILO_DRIVER_NOT_INSTALLED", 69: "HAILO_NETWORK_GROUP_NOT_ACTIVATED", 73: "HAILO_DEVICE_IN_USE",
    74: "HAILO_OUT_OF_PHYSICAL_DEVICES", 75: "HAILO_INVALID_DEVICE_ARCHITECTURE", 76: "HAILO_INVALID_DRIVER_VERSION",
    77: "HAILO_RPC_FAILED", 78: "HAILO_INVALID_SERVICE_VERSION", 82: "HAILO_QUEUE_IS_FULL",
    85: "HAILO_DRIVER_INVALID_RESPONSE", 86: "HAILO_DRIVER_INVALID_IOCTL", 87: "HAILO_DRIVER_TIMEOUT",
    91: "HAILO_HEF_FILE_CORRUPTED", 92: "HAILO_HEF_NOT_SUPPORTED", 93: "HAILO_HEF_NOT_COMPATIBLE_WITH_DEVICE",
    97: "HAILO_DEVICE_TEMPORARILY_UNAVAILABLE",
}  # fmt: skip
_RUNS_ON = {"HAILO8": ("HAILO8", "HAILO8L"), "HAILO8L": ("HAILO8L",), "HAILO10H": ("HAILO10H",)}
_taken: Set[str] = set()
_weights: Dict[Any, Any] = {}


def get_status_message(status: int) -> str:
    """Return the name of a status; "" for none."""
    return _NAMES.get(status, "")


def fail(status: int) -> None:
    """Raise as the native half does."""
    raise HailoRTStatusException(str(status))


def trip(at: str) -> Any:
    """Do the fault that is due at a place."""
    fault = faking.trip(at)
    if fault == "status":
        fail(faking.settings()["status"])
    return fault


def is_version(prefix: str) -> bool:
    """Return whether this flavour's version begins so."""
    return str(faking.settings().get("version", "4.23")).startswith(prefix)


def devices() -> List[Dict[str, Any]]:
    """Return the devices of this machine."""
    usual = "HAILO10H" if is_version("5.") else "HAILO8"
    found = faking.settings().get("devices", [{"id": "0000:01:00.0"}])
    return [
        dict({"architecture": usual, "serial": "HLDDLBB234500054", "product": "HAILO-8 M.2"}, **one)
        for one in found
    ]


def take(ids: List[str], count: int) -> List[str]:
    """Take devices; with no ids, as many free ones. Status 74 where they are not to be had."""
    trip("open")
    held = set(faking.settings().get("held", ())) | _taken
    free = [one["id"] for one in devices() if one["id"] not in held]
    chosen = [one for one in ids if one in free] if ids else free[:count]
    if not chosen or len(chosen) != (len(ids) or count):
        fail(74)
    _taken.update(chosen)
    return chosen


def give_back(ids: List[str]) -> None:
    """Let go of devices."""
    _taken.difference_update(ids)


def read_hef(source: Any) -> Dict[str, Any]:
    """Return the network of a HEF, from a path or from bytes."""
    data = source
    if isinstance(source, str):
        with open(source, "rb") as file:
            data = file.read()
    try:
        return _hef.unpack(data)
    except _hef.BrokenError as error:
        fail(error.status)
        raise


def check_runs_on(model: Dict[str, Any], ids: List[str]) -> None:
    """Fail with 93 if a HEF is for another chip."""
    for one in devices():
        if one["id"] in ids and model["architecture"] not in _RUNS_ON.get(one["architecture"], ()):
            fail(93)


def quantisation(stream: Dict[str, Any]) -> List[QuantInfo]:
    """Return one info, or one a channel."""
    scales = stream["scale"] if isinstance(stream["scale"], list) else [stream["scale"]]
    return [QuantInfo(stream["zero_point"], scale) for scale in scales]


def raw_shape(stream: Dict[str, Any]) -> List[int]:
    """Return the shape of one frame's buffer: detections are a flat list."""
    nms = stream.get("nms")
    return [nms["classes"] * (1 + nms["max_bboxes"] * BBOX)] if nms else list(stream["shape"])


def numpy_type(kind: FormatType) -> Any:
    """Return numpy's type of a format type."""
    return np.dtype({FormatType.UINT8: "uint8", FormatType.UINT16: "uint16"}.get(kind, "float32"))


def compute(model: Dict[str, Any], frame: Dict[str, Any], kinds: Dict[str, FormatType]) -> Dict[str, Any]:
    """Return one frame's outputs, each in the format type of its stream: a fixed linear map of all inputs."""
    x = np.concatenate([_real(one, frame[one["name"]]).ravel() for one in model["inputs"]])
    return {one["name"]: _output(one, x, kinds[one["name"]]) for one in model["outputs"]}


def _scale(stream: Dict[str, Any]) -> Any:
    return np.asarray(stream["scale"], dtype="float64")


def _real(stream: Dict[str, Any], array: Any) -> Any:
    """Return what the chip sees: float32 from the host was quantised there first."""
    levels = array.astype("float64")
    if array.dtype.kind == "f":
        levels = np.clip(np.round(levels / _scale(stream)) + stream["zero_point"], 0, 255)
    return (levels - stream["zero_point"]) * _scale(stream)


def _output(stream: Dict[str, Any], x: Any, kind: FormatType) -> Any:
    shape = raw_shape(stream)
    y = _matrix(stream["name"], int(np.prod(shape)), len(x)).dot(x).reshape(shape)
    if stream.get("nms"):
        return _detections(stream["nms"], y)
    top = np.iinfo(numpy_type(FormatType[stream["type"]])).max if stream["type"] != "FLOAT32" else None
    if top is None:
        return y.astype("float32")
    levels = np.clip(np.round(y / _scale(stream)) + stream["zero_point"], 0, top)
    if kind == FormatType.FLOAT32:
        return ((levels - stream["zero_point"]) * _scale(stream)).astype("float32")
    return levels.astype(numpy_type(kind))


def _matrix(name: str, rows: int, columns: int) -> Any:
    key = (name, rows, columns)
    if key not in _weights:
        drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal((rows, columns))
        _weights[key] = drawn / np.sqrt(columns)
    return _weights[key]


def _detections(nms: Dict[str, int], y: Any) -> Any:
    """Return the flat list of HAILO_NMS_BY_CLASS: for each class the number of boxes, then the boxes."""
    found = np.zeros(y.shape, dtype="float32")
    at = 0
    for cls in range(nms["classes"]):
        count = int(abs(y[cls]) * 1000) % (nms["max_bboxes"] + 1)
        found[at] = count
        found[at + 1 : at + 1 + count * BBOX] = np.abs(y[: count * BBOX]) + cls
        at += 1 + count * BBOX
    return found
