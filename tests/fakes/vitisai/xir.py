"""A fake of Vitis AI's xir: graphs and subgraphs of an xmodel. Source: Xilinx/Vitis-AI 3.5, src/vai_runtime/xir/src/python."""

import json
from typing import Any, Dict, List, Optional, Set

import fake_dpu
import faking

faking.trip("import")
_ATTRIBUTES = ("device", "dpu_fingerprint", "dpu_name")


class Tensor:
    """A tensor of the graph or of a runner."""

    def __init__(self, name: str, described: Dict[str, Any], batch: Optional[int] = None) -> None:
        self.name = name
        self.dims = list(described["dims"])
        if batch is not None:
            self.dims[0] = batch
        self.dtype = str(described["dtype"])
        self._attributes = {"fix_point": described["fix_point"]} if described["fix_point"] is not None else {}

    @property
    def ndim(self) -> int:
        return len(self.dims)

    def has_attr(self, name: str) -> bool:
        return name in self._attributes

    def get_attr(self, name: str) -> Any:
        return _attribute(self._attributes, name)

    def get_element_num(self) -> int:
        count = 1
        for size in self.dims:
            count *= size
        return count

    def get_data_size(self) -> int:
        return self.get_element_num() * {"float32": 4, "xint16": 2}.get(self.dtype, 1)


class Op:
    """An operator."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def get_type(self) -> str:
        return self._kind


class Subgraph:
    """The root or one of its children."""

    def __init__(self, graph: "Graph", described: Optional[Dict[str, Any]]) -> None:
        self.graph = graph
        self.described = described
        self._attributes = (
            {key: described[key] for key in _ATTRIBUTES if key in described} if described else {}
        )

    @property
    def is_leaf(self) -> bool:
        return self.described is not None or not self.graph.model["children"]

    @property
    def is_root(self) -> bool:
        return self.described is None

    def toposort_child_subgraph(self) -> List["Subgraph"]:
        return [] if self.is_leaf else [Subgraph(self.graph, one) for one in self.graph.model["children"]]

    def get_ops(self) -> Set[Op]:
        return {Op(kind) for kind in (self.described or {"ops": []})["ops"]}

    def has_attr(self, name: str) -> bool:
        return name in self._attributes

    def get_attr(self, name: str) -> Any:
        return _attribute(self._attributes, name)


def _attribute(attributes: Dict[str, Any], name: str) -> Any:
    if name not in attributes:
        fake_dpu.fatal(
            "attrs_imp.cpp:80", "Check failed: has_attr(key) Attrs doesn't contain attribute " + name
        )
    return attributes[name]


class Graph:
    """An xmodel in memory."""

    def __init__(self, model: Dict[str, Any]) -> None:
        self.model = model

    @staticmethod
    def deserialize(xmodel: str) -> "Graph":
        """Read an xmodel; one that cannot be read ends the process."""
        try:
            with open(xmodel, "rb") as file:
                data = file.read()
            return Graph(json.loads(data[data.index(b"{") :].decode()))
        except (OSError, ValueError):
            fake_dpu.fatal("serialize_v2.cpp:905", "[UNI_LOG][FATAL][XIR_READ_PB_FAILURE] file = " + xmodel)
            raise

    def get_name(self) -> str:
        return str(self.model["name"])

    def get_root_subgraph(self) -> Subgraph:
        return Subgraph(self, None)
