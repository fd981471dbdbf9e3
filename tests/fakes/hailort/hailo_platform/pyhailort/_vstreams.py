"""HEF and InferVStreams: the blocking way, the only one before 4.18."""

import sys
import time
from typing import Any, Dict, List

import faking
import numpy as np

from hailo_platform.pyhailort import _pyhailort
from hailo_platform.pyhailort._errors import ExceptionWrapper
from hailo_platform.pyhailort._pyhailort import (
    BBOX,
    Format,
    FormatOrder,
    FormatType,
    HailoRTException,
    NmsShape,
)


class VStreamInfo:
    """hailo_vstream_info_t."""

    def __init__(self, described: Dict[str, Any]) -> None:
        self.name = described["name"]
        self.format = Format(FormatType[described["type"]], FormatOrder[described["order"]])
        self.quant_info = _pyhailort.quantisation(described)[0]
        nms = described.get("nms")
        self.nms_shape = NmsShape(nms["classes"], nms["max_bboxes"]) if nms else None
        self.shape = (nms["classes"], BBOX, nms["max_bboxes"]) if nms else tuple(described["shape"])


class HEF:
    """A HEF that was read."""

    def __init__(self, hef_source: Any) -> None:
        if not isinstance(hef_source, (str, bytes)):
            raise ValueError("HEF can only be created from a file path (str) or a buffer (bytes)")
        with ExceptionWrapper():
            self.model = _pyhailort.read_hef(hef_source)

    def get_input_vstream_infos(self, name: Any = None) -> List[VStreamInfo]:
        return [VStreamInfo(one) for one in self.model["inputs"]]

    def get_output_vstream_infos(self, name: Any = None) -> List[VStreamInfo]:
        return [VStreamInfo(one) for one in self.model["outputs"]]

    def get_network_group_names(self) -> List[str]:
        return ["net"]


class ConfigureParams:
    """Settings of a network group."""

    def __init__(self) -> None:
        self.batch_size = 0
        self.power_mode = _pyhailort.PowerMode.PERFORMANCE

    @staticmethod
    def create_from_hef(hef: HEF, interface: Any) -> Dict[str, "ConfigureParams"]:
        if not isinstance(interface, _pyhailort.StreamInterface):
            raise TypeError("incompatible function arguments")
        return {"net": ConfigureParams()}


class ConfiguredNetwork:
    """A network group on the device."""

    def __init__(self, model: Dict[str, Any], is_scheduled: bool) -> None:
        self.model = model
        self.name = "net"
        self.is_scheduled = is_scheduled
        self.is_active = is_scheduled
        self.is_in_use = False

    def activate(self, network_group_params: Any = None) -> "_Activation":
        return _Activation(self)

    @staticmethod
    def create_params() -> Any:
        return object()

    def set_scheduler_timeout(self, timeout_ms: int, network_name: Any = None) -> None:
        self._check_scheduled()

    def set_scheduler_threshold(self, threshold: int) -> None:
        self._check_scheduled()

    def set_scheduler_priority(self, priority: int) -> None:
        self._check_scheduled()

    def _check_scheduled(self) -> None:
        with ExceptionWrapper():
            if not self.is_scheduled:
                _pyhailort.fail(6)


class _Activation:
    def __init__(self, group: ConfiguredNetwork) -> None:
        self._group = group

    def __enter__(self) -> "_Activation":
        self._group.is_active = True
        return self

    def __exit__(self, *args: Any) -> None:
        self._group.is_active = self._group.is_scheduled


class VStreamParams:
    """hailo_vstream_params_t."""

    def __init__(self, described: Dict[str, Any], kind: Any, timeout_ms: Any) -> None:
        own = FormatType[described["type"]]
        self.user_buffer_format = Format(
            own if kind in (None, FormatType.AUTO) else kind, FormatOrder[described["order"]]
        )
        self.timeout_ms = 10000 if timeout_ms is None else timeout_ms


class InputVStreamParams:
    @staticmethod
    def make(
        configured_network: ConfiguredNetwork, quantized: Any = None, format_type: Any = None, timeout_ms: Any = None,
        queue_size: Any = None, network_name: Any = None,
    ) -> Dict[str, VStreamParams]:  # fmt: skip
        return {
            one["name"]: VStreamParams(one, format_type, timeout_ms)
            for one in configured_network.model["inputs"]
        }


class OutputVStreamParams:
    @staticmethod
    def make(
        configured_network: ConfiguredNetwork, quantized: Any = None, format_type: Any = None, timeout_ms: Any = None,
        queue_size: Any = None, network_name: Any = None,
    ) -> Dict[str, VStreamParams]:  # fmt: skip
        return {
            one["name"]: VStreamParams(one, format_type, timeout_ms)
            for one in configured_network.model["outputs"]
        }


class InferVStreams:
    """The pipeline, used as a context manager."""

    def __init__(
        self, configured_net_group: ConfiguredNetwork, input_vstreams_params: Dict[str, VStreamParams],
        output_vstreams_params: Dict[str, VStreamParams], tf_nms_format: bool = False,
    ) -> None:  # fmt: skip
        self._group = configured_net_group
        self._inputs = input_vstreams_params
        self._kinds = {name: one.user_buffer_format.type for name, one in output_vstreams_params.items()}
        self._tf_nms_format = tf_nms_format
        self._hw_time: Any = None

    def __enter__(self) -> "InferVStreams":
        self._group.is_in_use = True
        return self

    def __exit__(self, *args: Any) -> None:
        self._group.is_in_use = False

    def infer(self, input_data: Dict[str, Any]) -> Dict[str, Any]:
        counts = {len(array) for array in input_data.values()}
        if len(counts) != 1:
            raise ValueError(
                "The number of frames on all input_tensors should be equal! different sizes detected"
            )
        for name in input_data:
            self._fit(name, input_data)
        begin = time.perf_counter()
        with ExceptionWrapper():
            if not self._group.is_active:
                _pyhailort.fail(69)
            if _pyhailort.trip("infer") == "timeout":
                time.sleep(next(iter(self._inputs.values())).timeout_ms / 1e3)
                _pyhailort.fail(4)
            faking.delay()
            frames = [
                _pyhailort.compute(
                    self._group.model, {name: a[at] for name, a in input_data.items()}, self._kinds
                )
                for at in range(counts.pop())
            ]
        self._hw_time = time.perf_counter() - begin
        return {one["name"]: self._stacked(one, frames) for one in self._group.model["outputs"]}

    def _fit(self, name: str, input_data: Dict[str, Any]) -> None:
        """Cast with a warning, as the vendor does."""
        wanted = _pyhailort.numpy_type(self._inputs[name].user_buffer_format.type)
        if input_data[name].dtype != wanted:
            sys.stderr.write("Given input data dtype is different than inferred dtype.\n")
            input_data[name] = input_data[name].astype(wanted)
        described = next(one for one in self._group.model["inputs"] if one["name"] == name)
        if list(input_data[name].shape[1:]) != list(described["shape"]):
            raise HailoRTException("{} numpy array has another size".format(name))

    def _stacked(self, described: Dict[str, Any], frames: List[Dict[str, Any]]) -> Any:
        from hailo_platform.pyhailort._infer_model import list_detections, tf_detections

        found = [frame[described["name"]] for frame in frames]
        nms = described.get("nms")
        if nms is None:
            return np.stack(found)
        if self._tf_nms_format:
            return np.stack([tf_detections(one, nms) for one in found])
        return [list_detections(one, nms) for one in found]

    def get_hw_time(self) -> Any:
        return self._hw_time

    def get_total_time(self) -> Any:
        return self._hw_time
