"""The runtime, which makes engines of plans, and the inspector, which tells what became of the layers."""

import json
from typing import Any, Dict, Optional

import fake_gpu
import faking
import onnx_net

from fake_trt.base import ILogger, NullPointer, Severity, check_logger, load_fault, need_driver
from fake_trt.building import unpack


class RuntimeCore:
    """Makes engines of plans; None, and a line in the log, where it cannot."""

    engine_class: Any = None
    version = ""
    is_null_without_driver = False

    def __new__(cls, logger: ILogger) -> Any:
        if not need_driver(check_logger(logger), cls.is_null_without_driver):
            return NullPointer()
        return super().__new__(cls)

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger
        self.DLA_core = -1
        faking.trip("load")

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        problem = self._problem(bytes(serialized_engine))
        if problem is not None:
            self._logger.log(Severity.ERROR, problem)
            return None
        head, data = unpack(bytes(serialized_engine))
        return type(self).engine_class(self._logger, head, data)

    def _problem(self, plan: bytes) -> Optional[str]:
        found = unpack(plan)
        if found is None:
            return (
                "1: [stdArchiveReader.cpp::StdArchiveReader::32] Error Code 1: Serialization (Serialization assertion "
                "magicTagRead == kMAGIC_TAG failed.Magic tag does not match)"
            )
        if load_fault() == "deserialize":
            return "4: [runtime.cpp::deserializeCudaEngine::66] Error Code 4: Internal Error (Engine deserialization failed.)"
        head = found[0]
        may_differ = head["is_compatible"] and getattr(self, "engine_host_code_allowed", False)
        if head["version"] != self.version and not may_differ:
            return (
                "6: The engine plan file is not compatible with this version of TensorRT, expecting library version {} got "
                "{}, please rebuild.".format(self.version, head["version"])
            )
        gpu = fake_gpu.properties(fake_gpu.current_device())
        if head["capability"] != [gpu["major"], gpu["minor"]]:
            return (
                "6: The engine plan file is generated on an incompatible device, expecting compute {}.{} got compute "
                "{}.{}, please rebuild.".format(gpu["major"], gpu["minor"], *head["capability"])
            )
        return None


class Inspector:
    """Tells what the layers are; without details only their names."""

    def __init__(self, head: Dict[str, Any], net: onnx_net.Net, is_open: bool) -> None:
        self._head = head
        self._net = net
        self._is_open = is_open
        self.execution_context: Any = None

    def get_engine_information(self, format: Any) -> str:  # noqa: A002 - the vendor's name
        if not self._head["is_detailed"] or faking.settings().get("inspector") == "names":
            return json.dumps({"Layers": [node.name or node.op for node in self._net.nodes], "Bindings": []})
        return json.dumps({"Layers": [self._layer(node) for node in self._net.nodes], "Bindings": []})

    def _layer(self, node: onnx_net.Node) -> Dict[str, Any]:
        precision = self._head["precision"]
        is_product = node.op in ("MatMul", "Gemm")
        kind = {"float32": "Float", "float16": "Half", "bfloat16": "BF16", "int8": "Int8"}[precision]
        layout = "Row major linear {} format".format({"Float": "FP32", "Half": "FP16"}.get(kind, kind))
        if self._is_open and self.execution_context is None:
            layout = "N/A due to dynamic shapes"
        found: Dict[str, Any] = {
            "Name": node.name or node.op,
            "LayerType": "MatrixMultiply" if is_product else "PointWiseV2",
            "Inputs": [{"Name": node.inputs[0], "Location": "Device", "Format/Datatype": layout}],
            "TacticValue": "0x0000000000000003",
        }
        if is_product and precision == "int8":  # takes its input from a layer in float
            found["Inputs"][0]["Format/Datatype"] = "Row major linear FP32"
            found["Weights"] = {"Type": "Int8", "Count": 32}
        return found
