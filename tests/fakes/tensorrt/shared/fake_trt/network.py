"""The network, its parser, and the profiles of shapes."""

from typing import Any, Dict, List, Tuple

import onnx_net

from fake_trt.base import DTYPES, ILogger, LayerType, Severity, check_logger, load_fault

_LAYERS = {
    "MatMul": LayerType.MATRIX_MULTIPLY, "Gemm": LayerType.MATRIX_MULTIPLY, "Add": LayerType.ELEMENTWISE,
    "Relu": LayerType.ACTIVATION, "QuantizeLinear": LayerType.QUANTIZE, "DequantizeLinear": LayerType.DEQUANTIZE,
    "NonZero": LayerType.NON_ZERO, "Reshape": LayerType.SHUFFLE,
}  # fmt: skip


def shape_inputs(net: onnx_net.Net) -> List[str]:
    """Return the inputs whose values decide about shapes; they stay on the host."""
    return [
        node.inputs[1] for node in net.nodes if node.op == "Reshape" and node.inputs[1] not in net.constants
    ]


class ITensor:
    """An input or output of the network."""

    def __init__(self, port: onnx_net.Port, is_shape: bool = False) -> None:
        self.name = port.name
        self.dtype = DTYPES[port.dtype]
        self.shape = tuple(size if isinstance(size, int) else -1 for size in port.shape)
        self.is_shape_tensor = is_shape


class ILayer:
    """A layer; constants are layers, too."""

    def __init__(self, name: str, kind: LayerType, op: str) -> None:
        self.name = name
        self.type = kind
        self.op = op


class INetworkDefinition:
    """What the parser fills and the builder reads."""

    def __init__(self, flags: int, has_explicit_batch: bool, is_strong: bool) -> None:
        self.flags = flags
        self.has_explicit_batch = has_explicit_batch
        self.is_strong = is_strong
        self.data = b""
        self.net: Any = None
        self._inputs: List[ITensor] = []
        self._outputs: List[ITensor] = []
        self._layers: List[ILayer] = []

    def fill(self, data: bytes, net: onnx_net.Net) -> None:
        self.data, self.net = data, net
        self._inputs = [ITensor(port, port.name in shape_inputs(net)) for port in net.inputs]
        self._outputs = [ITensor(port) for port in net.outputs]
        self._layers = [ILayer(name, LayerType.CONSTANT, "Constant") for name in net.constants]
        self._layers += [ILayer(node.name or node.op, _LAYERS[node.op], node.op) for node in net.nodes]

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    def get_output(self, index: int) -> ITensor:
        return self._outputs[index]

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_layer(self, index: int) -> ILayer:
        return self._layers[index]


class ParserError:
    """One error; what it says is asked for with calls."""

    def __init__(self, text: str) -> None:
        self._text = text

    def code(self) -> int:
        return 6

    def desc(self) -> str:
        return self._text


class NamedParserError(ParserError):
    """Since 10 an error tells the node."""

    def node_name(self) -> str:
        return "node_of_y"

    def node_operator(self) -> str:
        return "Relu"


class OnnxParser:
    """Reads ONNX into a network; False where it cannot."""

    error_class = ParserError

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network
        self._logger = check_logger(logger)
        self._errors: List[ParserError] = []

    def parse(self, model: bytes) -> bool:
        if not self._network.has_explicit_batch:
            return self._fail(
                "This version of the ONNX parser only supports TensorRT INetworkDefinitions with an explicit batch dimension. "
                "Please ensure the network was created using the EXPLICIT_BATCH NetworkDefinitionCreationFlag."
            )
        if load_fault() == "parse":
            return self._fail(
                'In node 3 (importFallbackPluginImporter): UNSUPPORTED_NODE: Assertion failed: creator && "Plugin not found"'
            )
        try:
            net = onnx_net.read(model)
            if _is_asymmetric(net):
                return self._fail(
                    "In node 0 (buildZeroPointTensor): Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero zero point is not "
                    "supported."
                )
            self._network.fill(model, net)
        except (ValueError, KeyError, UnicodeDecodeError) as error:
            return self._fail("Failed to parse ONNX model: {}".format(error))
        return True

    def _fail(self, text: str) -> bool:
        self._errors.append(type(self).error_class(text))
        self._logger.log(Severity.ERROR, text)
        return False

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


def _is_asymmetric(net: onnx_net.Net) -> bool:
    """Whether it quantises around anything but zero, which TensorRT's parser refuses on a GPU."""
    zeros = [node.inputs[2] for node in net.nodes if node.op == "QuantizeLinear"]
    return any(net.constants[name].any() for name in zeros)


class NamedOnnxParser(OnnxParser):
    """Since 10."""

    error_class = NamedParserError


class IOptimizationProfile:
    """Smallest, optimal and largest shape of each input; a wrong order may pass here: bool() tells."""

    def __init__(self) -> None:
        self.shapes: Dict[str, List[Tuple[int, ...]]] = {}
        self.values: Dict[str, List[Tuple[int, ...]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - the vendor's names
        self.shapes[input] = [tuple(min), tuple(opt), tuple(max)]

    def set_shape_input(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        self.values[input] = [tuple(min), tuple(opt), tuple(max)]

    def __bool__(self) -> bool:
        return all(
            len(low) == len(best) == len(high) and all(a <= b <= c for a, b, c in zip(low, best, high))
            for low, best, high in self.shapes.values()
        )
