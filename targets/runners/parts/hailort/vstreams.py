"""HailoRT's InferVStreams: the one way before 4.18. It blocks, and one request is in flight.

Source: hailo-ai/hailort 4.17.1, bindings/python/platform/hailo_platform/pyhailort/pyhailort.py.
"""

import contextlib
from typing import Any, Callable, List, Optional, Tuple

from targets.errors import InferenceFailed, ModelInvalid
from targets.runners.parts.hailort.errors import is_vendors, translate
from targets.runners.parts.hailort.streams import Engine, Settings, Stream, check_nms, is_nms
from targets.tensors import Tensors


class VStreamsEngine(Engine):
    """One pipeline; ``infer`` takes and returns arrays with a batch."""

    api = "vstreams"

    def __init__(
        self, vendor: Any, vdevice: Any, path: str, settings: Settings, is_scheduled: bool, device: str
    ) -> None:
        super().__init__()
        self._vendor = vendor
        self._vdevice = vdevice
        self._settings = settings
        self._is_scheduled = is_scheduled
        self._interface = _interface(vendor, device)
        self._hef: Any = vendor.HEF(path)
        self._group: Any = None
        self._pipeline: Any = None
        self._stack = contextlib.ExitStack()

    def declared(self) -> List[Tuple[str, Tuple[int, ...]]]:
        return [
            (str(one.name), (-1,) + tuple(int(s) for s in one.shape))
            for one in self._hef.get_input_vstream_infos()
        ]

    def configure(self, batch: Optional[int]) -> None:
        vendor, settings = self._vendor, self._settings
        self.frames = self.queue_frames = batch or 1
        params = vendor.ConfigureParams.create_from_hef(self._hef, interface=self._interface)
        for one in params.values():
            if batch is not None:
                one.batch_size = batch
            if settings.power_mode is not None:
                one.power_mode = getattr(vendor.HailoPowerMode, settings.power_mode.upper())
        groups = self._vdevice.configure(self._hef, params)
        if len(groups) != 1:
            raise ModelInvalid(
                "The HEF holds {} network groups; compile one model into a HEF.".format(len(groups))
            )
        self._group = groups[0]
        settings.tell_scheduler(self._group)
        self._open_pipeline()

    def _open_pipeline(self) -> None:
        """Set the formats, read them back and start the pipeline."""
        vendor, group = self._vendor, self._group
        kind = vendor.FormatType.FLOAT32 if self._settings.io == "float32" else None
        wanted = {"format_type": kind, "timeout_ms": self._settings.timeout_ms}
        ins = vendor.InputVStreamParams.make(group, **wanted)
        outs = vendor.OutputVStreamParams.make(group, **wanted)
        self.input_streams = [_stream(info, kind) for info in self._hef.get_input_vstream_infos()]
        self.output_streams = []
        for info in self._hef.get_output_vstream_infos():
            if is_nms(info.format):
                check_nms(info.name, info.format)
                outs[info.name].user_buffer_format.type = vendor.FormatType.FLOAT32
                info_kind = vendor.FormatType.FLOAT32
            else:
                info_kind = kind
            self.output_streams.append(_stream(info, info_kind))
        pipeline = vendor.InferVStreams(group, ins, outs, tf_nms_format=True)
        self._pipeline = self._stack.enter_context(pipeline)
        if not self._is_scheduled:
            self._stack.enter_context(group.activate(group.create_params()))

    def bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        pipeline = self._pipeline
        frames = {name: array.copy() for name, array in inputs.items()}

        def run() -> Any:
            try:
                return pipeline.infer(frames)
            except Exception as error:
                if is_vendors(error):
                    raise translate(error, "run the inference", InferenceFailed)
                raise

        return run

    def outputs(self, slot: int, returned: Any) -> Tensors:
        return {
            one.name: returned[one.name].astype(one.dtype, order="C", copy=True)
            for one in self.output_streams
        }

    def device_time_ns(self) -> Optional[int]:
        """Hailo calls it the device's time; it is that of the native call, so the transfers are in it."""
        seconds = self._pipeline.get_hw_time()
        return None if seconds is None else round(seconds * 1e9)

    def close(self) -> None:
        """Activation, pipeline, network group, HEF: what came last goes first."""
        try:
            self._stack.close()
        finally:
            self._pipeline = self._group = self._hef = self._vdevice = None


def _stream(info: Any, kind: Any) -> Stream:
    nms = info.nms_shape if is_nms(info.format) else None
    form = info.format if kind is None else _Form(kind, info.format.order)
    return Stream(str(info.name), form, () if nms is not None else info.shape, [info.quant_info], nms)


class _Form:
    """A stream's format with the type that was set."""

    def __init__(self, kind: Any, order: Any) -> None:
        self.type = kind
        self.order = order


def _interface(vendor: Any, device: str) -> Any:
    """Return the stream interface of a device by its id: "Integrated" (Hailo-15), an IP address, else a PCIe address."""
    interfaces = vendor.HailoStreamInterface
    if device.lower() == "integrated":
        return interfaces.INTEGRATED
    return interfaces.PCIe if ":" in device else interfaces.ETH
