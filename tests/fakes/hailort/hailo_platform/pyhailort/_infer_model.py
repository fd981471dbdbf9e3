"""InferModel, from 4.18: streams without a batch, bindings of one frame, a queue with a bound, a callback from another thread."""

import collections
import threading
from typing import Any, Callable, Dict, List, Optional

import faking
import numpy as np

from hailo_platform.pyhailort import _pyhailort
from hailo_platform.pyhailort._errors import ExceptionWrapper, HailoRTNotFoundException
from hailo_platform.pyhailort._pyhailort import BBOX, Format, FormatOrder, FormatType, HailoRTException
from hailo_platform.pyhailort._vstreams import HEF

_ABORTED = 63


class InferStream:
    """Parameters of a stream, which may be changed before configure()."""

    def __init__(self, described: Dict[str, Any]) -> None:
        self._described = described
        self._type = FormatType[described["type"]]

    @property
    def name(self) -> str:
        return str(self._described["name"])

    @property
    def shape(self) -> List[int]:
        return _pyhailort.raw_shape(self._described)

    @property
    def format(self) -> Format:
        return Format(self._type, FormatOrder[self._described["order"]])

    @property
    def quant_infos(self) -> List[Any]:
        return _pyhailort.quantisation(self._described)

    @property
    def is_nms(self) -> bool:
        return "_NMS_" in str(self._described["order"])

    def set_format_type(self, type: Any) -> None:  # noqa: A002 - the vendor's name
        if not isinstance(type, FormatType):
            raise TypeError("incompatible function arguments")
        if type != FormatType.AUTO:
            self._type = type

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * int(_pyhailort.numpy_type(self._type).itemsize)


class InferModel:
    """A network and its settings before it is configured."""

    def __init__(self, model: Dict[str, Any], source: Any, vdevice: Any) -> None:
        self._model = model
        self._source = source
        self._vdevice = vdevice
        self.inputs = [InferStream(one) for one in model["inputs"]]
        self.outputs = [InferStream(one) for one in model["outputs"]]

    @property
    def hef(self) -> HEF:
        return HEF(self._source)

    @property
    def input_names(self) -> List[str]:
        return [one.name for one in self.inputs]

    @property
    def output_names(self) -> List[str]:
        return [one.name for one in self.outputs]

    def input(self, name: str = "") -> InferStream:
        return _find(self.inputs, name)

    def output(self, name: str = "") -> InferStream:
        return _find(self.outputs, name)

    def set_batch_size(self, batch_size: int) -> None:
        if not 0 <= batch_size <= 65535:
            raise TypeError("incompatible function arguments")

    def set_power_mode(self, power_mode: Any) -> None:
        if not isinstance(power_mode, _pyhailort.PowerMode):
            raise TypeError("incompatible function arguments")

    def configure(self) -> "ConfiguredInferModel":
        with ExceptionWrapper():
            _pyhailort.trip("load")
            _pyhailort.check_runs_on(self._model, self._vdevice.get_physical_devices_ids())
        native = _Native(self._model, self, bool(self._vdevice._params.scheduling_algorithm))
        self._vdevice._users.append(native)
        return ConfiguredInferModel(native, self)


def _find(streams: List[InferStream], name: str) -> InferStream:
    found = [one for one in streams if one.name == name] if name else streams
    if len(found) != 1:
        raise HailoRTNotFoundException("Item not found. See hailort.log for more information")
    return found[0]


class BindingStream:
    """One buffer of a binding."""

    def __init__(self, stream: InferStream, nms: Optional[Dict[str, int]]) -> None:
        self._stream = stream
        self._nms = nms
        self._buffer: Any = None

    def set_buffer(self, buffer: Any) -> None:
        if not buffer.flags.c_contiguous:
            raise HailoRTException("Buffer must be C_CONTIGUOUS")
        if not buffer.flags.writeable:
            raise ValueError("array is not writeable")
        self._buffer = buffer

    def get_buffer(self, tf_format: Any = False) -> Any:
        if tf_format is None or self._nms is None:
            return self._buffer
        return (
            tf_detections(self._buffer, self._nms) if tf_format else list_detections(self._buffer, self._nms)
        )


def list_detections(flat: Any, nms: Dict[str, int]) -> List[Any]:
    """Return a list over classes of boxes [n, 5]."""
    found, at = [], 0
    for _ in range(nms["classes"]):
        count = int(flat[at])
        found.append(flat[at + 1 : at + 1 + count * BBOX].reshape(count, BBOX))
        at += 1 + count * BBOX
    return found


def tf_detections(flat: Any, nms: Dict[str, int]) -> Any:
    """Return boxes as [classes, 5, boxes], padded with zeros."""
    found = np.zeros((nms["classes"], nms["max_bboxes"], BBOX), dtype="float32")
    for cls, boxes in enumerate(list_detections(flat, nms)):
        found[cls, : len(boxes)] = boxes
    return np.swapaxes(found, 1, 2)


class Bindings:
    """The buffers of one frame."""

    def __init__(self, model: InferModel) -> None:
        described = {one["name"]: one.get("nms") for one in model._model["outputs"]}
        self._inputs = {one.name: BindingStream(one, None) for one in model.inputs}
        self._outputs = {one.name: BindingStream(one, described[one.name]) for one in model.outputs}

    def input(self, name: str = "") -> BindingStream:
        return self._one(self._inputs, name)

    def output(self, name: str = "") -> BindingStream:
        return self._one(self._outputs, name)

    @staticmethod
    def _one(streams: Dict[str, BindingStream], name: str) -> BindingStream:
        if not name and len(streams) == 1:
            return next(iter(streams.values()))
        if name not in streams:
            raise HailoRTNotFoundException("Item not found. See hailort.log for more information")
        return streams[name]

    def check(self) -> None:
        """Fail with 6, as run_async does, for a buffer of another size."""
        for one in list(self._inputs.values()) + list(self._outputs.values()):
            if one._buffer is None or one._buffer.nbytes != one._stream.nbytes:
                _pyhailort.fail(6)


class AsyncInferJob:
    """A job in the queue. wait() ends well even where the inference failed: only the callback is told."""

    def __init__(self) -> None:
        self.done = threading.Event()

    def wait(self, timeout_ms: int) -> None:
        with ExceptionWrapper():
            if not self.done.wait(timeout_ms / 1e3):
                _pyhailort.fail(4)


class ConfiguredInferModel:
    """A network on the device."""

    def __init__(self, native: "_Native", model: InferModel) -> None:
        self._configured_infer_model: Any = native
        self._infer_model = model

    def __enter__(self) -> "ConfiguredInferModel":
        return self

    def __exit__(self, *args: Any) -> None:
        native, self._configured_infer_model = self._configured_infer_model, None
        if native is not None:
            native.shutdown()

    def activate(self) -> None:
        with ExceptionWrapper():
            self._configured_infer_model.activate(True)

    def deactivate(self) -> None:
        with ExceptionWrapper():
            self._configured_infer_model.activate(False)

    def create_bindings(self, input_buffers: Any = None, output_buffers: Any = None) -> Bindings:
        bindings = Bindings(self._infer_model)
        for name, buffer in (input_buffers or {}).items():
            bindings.input(name).set_buffer(buffer)
        for name, buffer in (output_buffers or {}).items():
            bindings.output(name).set_buffer(buffer)
        return bindings

    def wait_for_async_ready(self, timeout_ms: int = 1000, frames_count: int = 1) -> None:
        with ExceptionWrapper():
            self._configured_infer_model.wait_for_room(timeout_ms / 1e3, frames_count)

    def run_async(self, bindings: List[Bindings], callback: Any = None) -> AsyncInferJob:
        def told(status: int) -> None:
            error = ExceptionWrapper.create_exception_from_status(status) if status else None
            if callback:
                callback(completion_info=AsyncInferCompletionInfo(error))

        with ExceptionWrapper():
            job: AsyncInferJob = self._configured_infer_model.push(bindings, told)
            return job

    def get_async_queue_size(self) -> int:
        return int(self._configured_infer_model.size)

    def set_scheduler_timeout(self, timeout_ms: int) -> None:
        self._scheduled()

    def set_scheduler_threshold(self, threshold: int) -> None:
        self._scheduled()

    def set_scheduler_priority(self, priority: int) -> None:
        self._scheduled()

    def _scheduled(self) -> None:
        with ExceptionWrapper():
            if not self._configured_infer_model.is_scheduled:
                _pyhailort.fail(6)

    def shutdown(self) -> None:
        self._configured_infer_model.shutdown()


class AsyncInferCompletionInfo:
    """What a callback is told."""

    def __init__(self, exception: Optional[BaseException]) -> None:
        self.exception = exception


class _Native:
    """The queue and the thread that works on it."""

    def __init__(self, model: Dict[str, Any], infer_model: InferModel, is_scheduled: bool) -> None:
        self.size = int(faking.settings().get("queue", 16))
        self.is_scheduled = is_scheduled
        self.is_in_use = True
        self._model = model
        self._is_active = is_scheduled
        self._kinds = {one.name: one.format.type for one in infer_model.outputs}
        self._room = threading.Condition()
        self._waiting = 0
        self._is_aborted = False
        self._jobs: "collections.deque[Any]" = collections.deque()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def activate(self, is_active: bool) -> None:
        if self.is_scheduled:
            _pyhailort.fail(6)
        self._is_active = is_active

    def wait_for_room(self, timeout_s: float, frames: int) -> None:
        with self._room:
            if not self._room.wait_for(
                lambda: self._is_aborted or self._waiting + frames <= self.size, timeout_s
            ):
                _pyhailort.fail(4)
            if self._is_aborted:
                _pyhailort.fail(_ABORTED)

    def push(self, bindings: List[Bindings], told: Callable[[int], None]) -> AsyncInferJob:
        for one in bindings:
            one.check()
        with self._room:
            if self._is_aborted:
                _pyhailort.fail(_ABORTED)
            if not self._is_active:
                _pyhailort.fail(69)
            if self._waiting + len(bindings) > self.size:
                _pyhailort.fail(82)
            self._waiting += len(bindings)
            job = AsyncInferJob()
            self._jobs.append((bindings, told, job))
            self._room.notify_all()
        return job

    def shutdown(self) -> None:
        with self._room:
            self._is_aborted = True
            self._room.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join()
        self.is_in_use = False

    def _work(self) -> None:
        while True:
            with self._room:
                self._room.wait_for(lambda: self._jobs or self._is_aborted)
                if not self._jobs:
                    return
                bindings, told, job = self._jobs.popleft()
            self._finish(bindings, told, job)

    def _finish(self, bindings: List[Bindings], told: Callable[[int], None], job: AsyncInferJob) -> None:
        status = _ABORTED if self._is_aborted else self._run(bindings)
        if status is None:
            return  # it never ends
        with self._room:
            self._waiting -= len(bindings)
            self._is_aborted = self._is_aborted or status != 0  # an error shuts the pipeline
            self._room.notify_all()
        told(status)
        job.done.set()

    def _run(self, bindings: List[Bindings]) -> Optional[int]:
        try:
            if _pyhailort.trip("infer") == "timeout":
                return None
            faking.delay()
            for one in bindings:
                frame = {name: stream._buffer for name, stream in one._inputs.items()}
                for name, array in _pyhailort.compute(self._model, frame, self._kinds).items():
                    one._outputs[name]._buffer[...] = array
            _pyhailort.trip("callback")
        except _pyhailort.HailoRTStatusException as error:
            return int(error.args[0])
        return 0
