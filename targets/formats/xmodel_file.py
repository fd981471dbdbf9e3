"""Is a file an xmodel, whole? XIR ends the process over one that is not, so it is asked before.

An xmodel is a protocol buffer, serial_v2.Graph, whose first member is the name of the graph. Source: Xilinx/Vitis-AI 3.5,
src/vai_runtime/xir/src/xir/graph/serialize_v2.cpp.
"""

import mmap

from targets.errors import ModelInvalid
from targets.formats.protobuf import BYTES, fields


def check(path: str) -> None:
    """Walk the outermost members of the file. ModelInvalid if it is no xmodel, or is cut short."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            numbers = [(field, kind) for field, kind, _ in fields(data, 0, len(data))]
            if numbers[0] != (1, BYTES) or len(numbers) < 2:
                raise ValueError("it does not begin with a graph's name")
        except ValueError as error:
            raise ModelInvalid(
                "The file {} is no whole xmodel ({}); compile the model with 'vai_c_xir', or copy it again.".format(
                    path, error
                ),
                path=path,
            )
