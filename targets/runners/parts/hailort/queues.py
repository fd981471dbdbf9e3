"""HailoRT's InferModel, its asynchronous way, there from 4.18.

A binding is one frame, so a request of N frames is N bindings in one run_async. Source: hailo-ai/hailort 4.23.0 and 5.2.0,
bindings/python/platform/hailo_platform/pyhailort/pyhailort.py and src/infer_model_api.cpp.
"""

import mmap
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from targets.errors import InferenceFailed, OptionInvalid
from targets.runners.parts.hailort.errors import is_vendors, translate
from targets.runners.parts.hailort.streams import Engine, Settings, Stream, check_nms, is_nms
from targets.tensors import Array, Tensors


class InferModelEngine(Engine):
    """Requests of all slots go into HailoRT's one queue of the model."""

    api = "infer_model"

    def __init__(self, vendor: Any, vdevice: Any, path: str, settings: Settings, is_scheduled: bool) -> None:
        super().__init__()
        self._vendor = vendor
        self._settings = settings
        self._is_scheduled = is_scheduled
        self._model: Any = vdevice.create_infer_model(path)
        self._configured: Any = None
        self._slots: Dict[int, _Slot] = {}
        # Ready and run belong together: two threads that both see one free place would overflow the queue (status 82).
        self._submitting = threading.Lock()

    def declared(self) -> List[Tuple[str, Tuple[int, ...]]]:
        return [(str(one.name), (-1,) + tuple(int(size) for size in one.shape)) for one in self._model.inputs]

    def configure(self, batch: Optional[int]) -> None:
        settings = self._settings
        self.frames = batch or 1
        if batch is not None:
            self._model.set_batch_size(batch)
        if settings.power_mode is not None:
            self._model.set_power_mode(getattr(self._vendor.HailoPowerMode, settings.power_mode.upper()))
        self.input_streams = [self._stream(one, is_output=False) for one in self._model.inputs]
        self.output_streams = [self._stream(one, is_output=True) for one in self._model.outputs]
        self._configured = self._model.configure()
        settings.tell_scheduler(self._configured)
        if not self._is_scheduled:
            self._configured.activate()
        self.queue_frames = int(self._configured.get_async_queue_size())
        if self.frames > self.queue_frames:
            raise OptionInvalid(
                "The batch {} is impossible: HailoRT's queue of this model holds {} frames.".format(
                    self.frames, self.queue_frames
                ),
                option="batch",
                value=str(self.frames),
            )

    def _stream(self, one: Any, is_output: bool) -> Stream:
        """Set a stream's format, then read it back."""
        name, form = str(one.name), one.format
        detects = is_output and is_nms(form)
        if detects:
            check_nms(name, form)
        if detects or self._settings.io == "float32":
            one.set_format_type(self._vendor.FormatType.FLOAT32)
        nms = None
        if detects:
            infos = self._model.hef.get_output_vstream_infos()
            nms = next(info.nms_shape for info in infos if info.name == name)
        return Stream(name, one.format, one.shape, one.quant_infos, nms)

    def bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        if slot not in self._slots:
            self._slots[slot] = _Slot(self._configured, self.frames, self.input_streams, self.output_streams)
        return self._slots[slot].fill(inputs, self._submitting, self._settings.timeout_ms)

    def outputs(self, slot: int, returned: Any) -> Tensors:
        return self._slots[slot].read()

    def close(self) -> None:
        """Bindings, configured model, model: in this order, for a VDevice released before them ends in a SIGSEGV."""
        configured, self._configured = self._configured, None
        self._slots = {}
        self._model = None
        if configured is None:
            return
        try:
            if not self._is_scheduled:
                configured.deactivate()
        finally:
            configured.__exit__(None, None, None)


class _Slot:
    """The buffers and bindings of one request in flight: ours, so writable, in C order and of the exact size."""

    def __init__(self, configured: Any, frames: int, inputs: List[Stream], outputs: List[Stream]) -> None:
        self._configured = configured
        self._outputs = outputs
        self._arrays = [
            {one.name: page_aligned(one.raw_shape, one.dtype) for one in inputs} for _ in range(frames)
        ]
        self._results = [
            {one.name: page_aligned(one.raw_shape, one.dtype) for one in outputs} for _ in range(frames)
        ]
        self._bindings = [
            configured.create_bindings(input_buffers=ins, output_buffers=outs)
            for ins, outs in zip(self._arrays, self._results)
        ]

    def fill(self, inputs: Tensors, submitting: Any, timeout_ms: int) -> Callable[[], Any]:
        """Copy the frames in and return the call that runs them."""
        for frame, arrays in enumerate(self._arrays):
            for name, array in arrays.items():
                np.copyto(array, inputs[name][frame], casting="no")
        configured, bindings, completion = self._configured, self._bindings, _Completion()
        frames = len(bindings)

        def run() -> None:
            completion.exception = None
            try:
                with submitting:
                    configured.wait_for_async_ready(timeout_ms=timeout_ms, frames_count=frames)
                    job = configured.run_async(bindings, completion)
                job.wait(timeout_ms)  # ends well even where the inference failed: only the callback knows
            except Exception as error:
                if is_vendors(error):
                    raise translate(error, "run the inference", InferenceFailed)
                raise
            if completion.exception is not None:
                raise translate(completion.exception, "run the inference", InferenceFailed)

        return run

    def read(self) -> Tensors:
        """Return copies of the results, frames stacked."""
        return {
            one.name: np.stack([self._result(at, one) for at in range(len(self._bindings))])
            for one in self._outputs
        }

    def _result(self, frame: int, stream: Stream) -> Array:
        if stream.nms is None:
            return self._results[frame][stream.name]
        found: Array = self._bindings[frame].output(stream.name).get_buffer(tf_format=True)
        return found


class _Completion:
    """Called by HailoRT's thread when a job is done, for good or bad."""

    def __init__(self) -> None:
        self.exception: Optional[BaseException] = None

    def __call__(self, completion_info: Any) -> None:
        self.exception = completion_info.exception


def page_aligned(shape: Tuple[int, ...], dtype: str) -> Array:
    """Return zeros that begin at a page: HailoRT copies a buffer that does not (infer_model.hpp, Bindings::set_buffer)."""
    kind = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    room = np.zeros(-(-nbytes // mmap.PAGESIZE) * mmap.PAGESIZE + mmap.PAGESIZE, dtype=np.uint8)
    begin = -room.ctypes.data % mmap.PAGESIZE
    found: Array = room[begin : begin + nbytes].view(kind).reshape(shape)
    return found
