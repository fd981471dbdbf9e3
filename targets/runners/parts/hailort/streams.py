"""What both ways into HailoRT share: settings, streams and their specs, and the base of the two engines."""

import abc
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from targets.errors import ModelInvalid, OptionInvalid
from targets.tensors import ModelSpec, Tensors, TensorSpec

IO_CHOICES = ("native", "float32", "file")
_DTYPES = {"UINT8": "uint8", "UINT16": "uint16", "FLOAT32": "float32"}
_BBOX = 5  # y_min, x_min, y_max, x_max, score
_NMS_BY_CLASS = "HAILO_NMS_BY_CLASS"
MAX_BATCH = 65535  # InferModel.set_batch_size takes a uint16


class Settings:
    """The load options of a HEF, typed. None: not asked for."""

    def __init__(self, options: Any) -> None:
        self.io: Optional[str] = options.choice("io", IO_CHOICES)
        self.timeout_ms: int = options.integer("timeout_ms") or 10000
        self.power_mode: Optional[str] = options.choice("power_mode", ("performance", "ultra_performance"))
        self.scheduler: Optional[str] = options.choice("scheduler", ("on", "off"))
        self.scheduler_settings: Dict[str, int] = {}
        for key, minimum in (("timeout_ms", 0), ("threshold", 1), ("priority", 0)):
            value = options.integer("scheduler_" + key, minimum)
            if value is not None:
                self.scheduler_settings[key] = value
        if self.scheduler_settings.get("priority", 0) > 31:
            raise OptionInvalid(
                "The option scheduler_priority='{}' must be 0 to 31.".format(
                    self.scheduler_settings["priority"]
                ),
                option="scheduler_priority",
            )
        if self.scheduler == "off" and self.scheduler_settings:
            first = "scheduler_" + sorted(self.scheduler_settings)[0]
            raise OptionInvalid("The option {} needs scheduler=on.".format(first), option=first)

    def tell_scheduler(self, network: Any) -> None:
        """Pass the settings of the scheduler to a configured model or network group, which have the same names for it."""
        setters = {"timeout_ms": "set_scheduler_timeout"}
        for key, value in sorted(self.scheduler_settings.items()):
            getattr(network, setters.get(key, "set_scheduler_" + key))(value)


class Stream:
    """One input or output of a HEF. ``shape`` is one frame's, as HailoRT gives it; ``dtype`` is what crosses the interface."""

    def __init__(
        self, name: str, form: Any, shape: Sequence[int], quantisation: Sequence[Any], nms: Any = None
    ) -> None:
        self.name = name
        self.order = _name(form.order)
        self.dtype = dtype_of(name, form.type)
        self.raw_shape = tuple(int(size) for size in shape)
        self.nms = nms
        self.scales = sorted({(float(info.qp_scale), float(info.qp_zp)) for info in quantisation})

    @property
    def shape(self) -> Tuple[int, ...]:
        """One frame's shape as the farm carries it: detections by class as [classes, 5, boxes], HailoRT's "TF format"."""
        if self.nms is None:
            return self.raw_shape
        return (int(self.nms.number_of_classes), _BBOX, int(self.nms.max_bboxes_per_class))

    @property
    def is_per_channel(self) -> bool:
        """Whether channels have scales of their own, which no spec can carry."""
        return self.dtype != "float32" and len(self.scales) > 1

    def spec(self, frames: int) -> TensorSpec:
        """Return its spec with the batch that HailoRT's streams lack; a scale only where one number tells all of it."""
        scale: Optional[float] = None
        zero: Optional[int] = None
        if (
            self.dtype != "float32"
            and len(self.scales) == 1
            and self.scales[0][1] == round(self.scales[0][1])
        ):
            scale, zero = self.scales[0][0], int(self.scales[0][1])
        return TensorSpec(self.name, self.dtype, (frames,) + self.shape, scale, zero)


def dtype_of(name: str, kind: Any) -> str:
    """Return numpy's name of a FormatType."""
    found = _DTYPES.get(_name(kind))
    if found is None:
        raise ModelInvalid(
            "The stream '{}' has the format type {}, which cannot be carried.".format(name, _name(kind))
        )
    return found


def is_nms(form: Any) -> bool:
    """Return whether a format is one of detections."""
    return "_NMS_" in _name(form.order)


def check_nms(name: str, form: Any) -> None:
    """ModelInvalid for detections that have no dense form: those by score and those with masks are of any length."""
    if _name(form.order) != _NMS_BY_CLASS:
        raise ModelInvalid(
            "The output '{}' has the format {}, whose length differs from frame to frame; compile the model with "
            "detections by class (HAILO_NMS_BY_CLASS) or without its post-processing.".format(
                name, _name(form.order)
            )
        )


def _name(member: Any) -> str:
    """Return the name of a member of one of HailoRT's enumerations."""
    return str(getattr(member, "name", member)).split(".")[-1]


class Engine(abc.ABC):
    """One model on one VDevice. Life: create, ``declared``, ``configure``, then ``bind``, calls and ``outputs``; ``close``."""

    api = ""

    def __init__(self) -> None:
        self.input_streams: List[Stream] = []
        self.output_streams: List[Stream] = []
        self.frames = 1
        self.queue_frames = 1

    @abc.abstractmethod
    def declared(self) -> List[Tuple[str, Tuple[int, ...]]]:
        """Return the inputs with -1 for the batch: known before the model is configured."""

    @abc.abstractmethod
    def configure(self, batch: Optional[int]) -> None:
        """Give the model to the device with that many frames a request; None leaves HailoRT's batch to HailoRT."""

    @abc.abstractmethod
    def bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        """Return the call that runs these inputs once."""

    @abc.abstractmethod
    def outputs(self, slot: int, returned: Any) -> Tensors:
        """Return the outputs of a slot's last call."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of everything but the VDevice, in HailoRT's order."""

    def device_time_ns(self) -> Optional[int]:
        """Return what HailoRT tells of the last call's time; None where it tells nothing."""
        return None

    @property
    def depth(self) -> int:
        """How many requests can be in flight."""
        return max(1, self.queue_frames // self.frames)

    def spec(self) -> ModelSpec:
        """Return inputs and outputs with their batch."""
        frames = self.frames
        return ModelSpec(
            [one.spec(frames) for one in self.input_streams],
            [one.spec(frames) for one in self.output_streams],
        )

    def judge_io(self, asked: Optional[str], effective: Dict[str, str], fallbacks: List[str]) -> None:
        """Record what HailoRT converts on the host's CPU, in the measured time; refuse or tell what was not asked for."""
        streams = self.input_streams + self.output_streams
        converted = [one.name for one in streams if one.dtype == "float32"]
        effective["io"] = "float32" if len(converted) == len(streams) else "mixed" if converted else "native"
        effective["host_conversion"] = ",".join(converted)
        per_channel = [one.name for one in streams if one.is_per_channel]
        if per_channel:  # the spec has one scale a tensor
            effective["per_channel_scales"] = ",".join(per_channel)
        if not converted or asked in ("float32", "file"):
            return
        if asked == "native":
            raise OptionInvalid(
                "io=native cannot be had: HailoRT makes {} on the host's CPU, in float32; give io=file, or compile the model "
                "without that post-processing.".format(", ".join(converted)),
                option="io",
                value=asked,
            )
        fallbacks.append(
            "No conversion requested, but HailoRT makes {} in float32 on the host's CPU; io=file accepts that.".format(
                ", ".join(converted)
            )
        )
