"""What an xmodel holds: its DPU and CPU parts, and the specs of tensors with a fix point.

Source: Vitis AI 3.5 UG1414, "Programming with VART" (get_child_subgraph_dpu) and Xilinx/Vitis-AI 3.5 src/vai_runtime/xir.
"""

from typing import Any, Dict, List, Optional

from targets.errors import ModelInvalid
from targets.tensors import TensorSpec

# The only types that VART's Python binding takes: any other one ends the process ("unsupported data type").
_DTYPES = {"xint8": "int8", "int8": "int8", "xint16": "int16", "int16": "int16", "float32": "float32"}
# Operators that move or scale data between host and DPU: leaving them out changes no result but its units.
_MOVES = (
    "data", "data-fix", "fix", "fix2float", "float2fix", "download", "upload", "const", "const-fix", "identity",
    "reshape", "reshape-fix",
)  # fmt: skip


class Parts:
    """The children of an xmodel's root: those on the DPU, in order, and what the CPU has to do, operator -> count."""

    def __init__(self, graph: Any) -> None:
        root = graph.get_root_subgraph()
        children = [] if root.is_leaf else list(root.toposort_child_subgraph())
        self.dpu = [one for one in children if _device(one) == "DPU"]
        self.cpu_ops: Dict[str, int] = {}
        for child in children:
            if _device(child) == "CPU":
                for op in child.get_ops():
                    kind = str(op.get_type())
                    if kind not in _MOVES:
                        self.cpu_ops[kind] = self.cpu_ops.get(kind, 0) + 1
        if not self.dpu:
            raise ModelInvalid(
                "The xmodel has no part for the DPU; compile a quantised model with 'vai_c_xir -x model.xmodel -a arch.json'."
            )

    @property
    def cpu(self) -> str:
        """The CPU's operators as text: "softmax:1"."""
        return ",".join("{}:{}".format(kind, count) for kind, count in sorted(self.cpu_ops.items()))

    @property
    def fingerprint(self) -> Optional[int]:
        """The fingerprint of the DPU that it was compiled for; None where the xmodel has none, or 0, which fits all."""
        first = self.dpu[0]
        found = int(first.get_attr("dpu_fingerprint")) if first.has_attr("dpu_fingerprint") else 0
        return found or None


def _device(subgraph: Any) -> str:
    return str(subgraph.get_attr("device")).upper() if subgraph.has_attr("device") else ""


def spec_of(tensor: Any) -> TensorSpec:
    """Return a tensor's spec: a fix point n is the scale 2^-n and the zero point 0. ModelInvalid if VART cannot take it."""
    name, kind = str(tensor.name), str(tensor.dtype).lower()
    dtype = _DTYPES.get(kind)
    if dtype is None:
        raise ModelInvalid(
            "The tensor '{}' has the type {}, over which VART ends the process; it takes {}.".format(
                name, kind, ", ".join(sorted(set(_DTYPES.values())))
            )
        )
    shape = [int(size) for size in tensor.dims]
    if dtype == "float32" or not tensor.has_attr("fix_point"):
        return TensorSpec(name, dtype, shape)
    return TensorSpec(name, dtype, shape, 2.0 ** -int(tensor.get_attr("fix_point")), 0)


def specs_of(tensors: List[Any]) -> List[TensorSpec]:
    """Return the specs of tensors; ModelInvalid where bytes and shape do not agree, for VART trusts both."""
    found = [spec_of(tensor) for tensor in tensors]
    for spec, tensor in zip(found, tensors):
        elements = 1
        for size in spec.shape:
            elements *= size
        if elements != int(tensor.get_element_num()):
            raise ModelInvalid(
                "The tensor '{}' has {} elements, but the shape {}.".format(
                    spec.name, int(tensor.get_element_num()), list(spec.shape)
                )
            )
    return found
