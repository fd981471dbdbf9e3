"""A module compiled by TVM as one file: a ZIP archive with ``model.so`` and its sidecar ``model.json``.

A compiled module names neither its inputs nor their types: they are positional, and wrong ones are found in the middle of
a run. The sidecar says them, so that they are known before anything of the file is executed::

    {"schema": "wattfarm.tvm/1",
     "tvm": "0.27.0",                    # version that compiled it: the first two numbers must be the board's
     "target": {"kind": "llvm"},         # as given to tvm.compile; older versions took a text that begins with the kind
     "entry": "main",                    # function to run; "main" if absent
     "precision": "float32",             # what it computes in; if absent, what its outputs are
     "inputs": [{"name": "x", "dtype": "float32", "shape": [1, 8], "scale": null, "zero_point": null}],
     "outputs": [{"name": "y", "dtype": "float32", "shape": [1, 4]}]}

Tensors are in the order of the function's parameters and results; -1 is a dimension that may vary; ``scale`` and
``zero_point`` are for quantised tensors. Unknown members are refused: a misspelt one would else be a silent default.
"""

import json
import zipfile
import zlib
from typing import Any, Dict, List, Optional, Tuple

from targets.errors import ModelInvalid
from targets.options import PRECISIONS, nearest
from targets.wire import ITEM_BYTES

SCHEMA = "wattfarm.tvm/1"
LIBRARY, SIDECAR = "model.so", "model.json"
# Kind of a target -> kind of the device that runs it. (TVM, src/target/target_kind.cc)
DEVICES = {
    "llvm": "cpu", "c": "cpu", "cuda": "cuda", "nvptx": "cuda", "rocm": "rocm", "opencl": "opencl",
    "vulkan": "vulkan", "metal": "metal", "hexagon": "hexagon",
}  # fmt: skip
_MEMBERS = ("schema", "tvm", "target", "entry", "precision", "inputs", "outputs")
_TENSOR_MEMBERS = ("name", "dtype", "shape", "scale", "zero_point")
_MAX_SIDECAR_BYTES = 1 << 20


class TvmTensor:
    """One input or output as the sidecar gives it."""

    def __init__(
        self, name: str, dtype: str, shape: Tuple[int, ...], scale: Optional[float], zero_point: Optional[int]
    ) -> None:
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.scale = scale
        self.zero_point = zero_point


class TvmFacts:
    """What the sidecar says of a module. ``device`` is the kind its target runs on."""

    def __init__(
        self, tvm: str, target: str, device: str, entry: str, precision: str, inputs: List[TvmTensor],
        outputs: List[TvmTensor],
    ) -> None:  # fmt: skip
        self.tvm = tvm
        self.target = target
        self.device = device
        self.entry = entry
        self.precision = precision
        self.inputs = inputs
        self.outputs = outputs


def pack(so_path: str, json_path: str, archive_path: str) -> None:
    """Write the archive of a module, stored as hostctl does it. ModelInvalid for a bad sidecar."""
    with open(json_path, "rb") as file:
        parse(file.read(), json_path)
    with zipfile.ZipFile(archive_path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.write(so_path, LIBRARY)
        archive.write(json_path, SIDECAR)


def read(path: str) -> TvmFacts:
    """Return what the sidecar says. ModelInvalid for anything that is no such archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            for name in (LIBRARY, SIDECAR):
                if names.count(name) != 1:
                    raise _invalid(path, "the archive has {} times '{}'".format(names.count(name), name))
            if archive.getinfo(SIDECAR).file_size > _MAX_SIDECAR_BYTES:
                raise _invalid(path, "{} has more than {} bytes".format(SIDECAR, _MAX_SIDECAR_BYTES))
            return parse(archive.read(SIDECAR), path)
    except zipfile.BadZipFile:
        raise ModelInvalid(
            "The model file {} is no ZIP archive with {} and {}, which the format 'tvm' is; pack the module that "
            "export_library() wrote together with its sidecar, or give hostctl the .so with the .json beside "
            "it.".format(path, LIBRARY, SIDECAR),
            path=path,
        )
    except (OSError, zlib.error, RuntimeError, EOFError, NotImplementedError) as error:
        raise _invalid(path, "the archive is damaged ({})".format(error))


def extract_library(path: str, folder: str) -> str:
    """Write the module of a checked archive into a folder; return its path. ModelInvalid if the archive is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return str(archive.extract(LIBRARY, folder))
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, NotImplementedError) as error:
        raise _invalid(path, "{} is damaged ({})".format(LIBRARY, error))


def parse(data: bytes, path: str) -> TvmFacts:
    """Return what the bytes of a sidecar say; ``path`` is what sentences call them. ModelInvalid."""
    try:
        found = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _invalid(path, "the sidecar is no JSON ({})".format(error))
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise _invalid(path, 'the sidecar lacks "schema": "{}"'.format(SCHEMA))
    _check_members(path, found, _MEMBERS, "the sidecar")
    tvm, entry = found.get("tvm"), found.get("entry", "main")
    if not (isinstance(tvm, str) and _two_numbers(tvm)):
        raise _invalid(path, '"tvm" must be the version that compiled the module, such as "0.27.0"')
    if not (isinstance(entry, str) and entry):
        raise _invalid(path, '"entry" must be the name of a function')
    target, device = _target(path, found.get("target"))
    inputs, outputs = _tensors(path, found, "inputs"), _tensors(path, found, "outputs")
    return TvmFacts(tvm, target, device, entry, _precision(path, found, outputs), inputs, outputs)


def same_version(one: str, other: str) -> bool:
    """Whether two versions of TVM can share a compiled module: the first two numbers agree."""
    return _two_numbers(one) == _two_numbers(other) is not None


def _two_numbers(version: str) -> Optional[Tuple[int, int]]:
    parts = version.split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])


def _target(path: str, target: Any) -> Tuple[str, str]:
    """Return the target as text, and the kind of device its code runs on."""
    kind = target.get("kind") if isinstance(target, dict) else target
    words = kind.split() if isinstance(kind, str) else []
    if not words or words[0] not in DEVICES:
        raise _invalid(
            path,
            '"target" must be what the module was compiled for, beginning with one of {}'.format(
                ", ".join(sorted(DEVICES))
            ),
        )
    text = json.dumps(target, sort_keys=True) if isinstance(target, dict) else str(target)
    return text, DEVICES[words[0]]


def _precision(path: str, found: Dict[str, Any], outputs: List[TvmTensor]) -> str:
    """Return the precision the sidecar tells, else that of its outputs."""
    told = found.get("precision")
    if told is None:
        kinds = [tensor.dtype for tensor in outputs]
        floats = [kind for kind in kinds if kind in ("float32", "float16")]
        return floats[0] if floats else "int8" if "int8" in kinds or "uint8" in kinds else "float32"
    if told not in PRECISIONS:
        raise _invalid(path, '"precision" must be one of {}'.format(", ".join(PRECISIONS)))
    return str(told)


def _tensors(path: str, found: Dict[str, Any], member: str) -> List[TvmTensor]:
    listed = found.get(member)
    if not isinstance(listed, list) or not listed:
        raise _invalid(path, '"{}" must be a list of tensors'.format(member))
    tensors = [_tensor(path, member, at, entry) for at, entry in enumerate(listed)]
    names = [tensor.name for tensor in tensors]
    for name in names:
        if names.count(name) > 1:
            raise _invalid(path, "\"{}\" has the name '{}' twice".format(member, name))
    return tensors


def _tensor(path: str, member: str, at: int, entry: Any) -> TvmTensor:
    where = '"{}"[{}]'.format(member, at)
    if not isinstance(entry, dict):
        raise _invalid(path, where + " must be an object with name, dtype and shape")
    _check_members(path, entry, _TENSOR_MEMBERS, where)
    name, dtype, shape = entry.get("name"), entry.get("dtype"), entry.get("shape")
    if not (isinstance(name, str) and name):
        raise _invalid(path, where + " lacks its name")
    if dtype not in ITEM_BYTES:
        raise _invalid(
            path, "{} has the dtype {!r}; use one of {}".format(where, dtype, ", ".join(sorted(ITEM_BYTES)))
        )
    if not isinstance(shape, list) or not all(_is_size(size) for size in shape):
        raise _invalid(path, where + " needs its shape, sizes from 1 up or -1 for one that may vary")
    scale, zero_point = entry.get("scale"), entry.get("zero_point")
    if scale is not None and not (
        isinstance(scale, (int, float)) and not isinstance(scale, bool) and scale > 0
    ):
        raise _invalid(path, where + " needs a scale above 0, or null")
    if zero_point is not None and not (isinstance(zero_point, int) and not isinstance(zero_point, bool)):
        raise _invalid(path, where + " needs a whole zero_point, or null")
    return TvmTensor(name, str(dtype), tuple(shape), None if scale is None else float(scale), zero_point)


def _is_size(size: Any) -> bool:
    return isinstance(size, int) and not isinstance(size, bool) and (size == -1 or size >= 1)


def _check_members(path: str, found: Dict[str, Any], known: Tuple[str, ...], where: str) -> None:
    for member in found:
        if member not in known:
            raise _invalid(
                path,
                "{} has the unknown member '{}'{}".format(where, member, nearest(member, known).rstrip("?")),
            )


def _invalid(path: str, why: str) -> ModelInvalid:
    return ModelInvalid(
        "The TVM model {} cannot be used: {}; see the schema of model.json in docs/runtimes/tvm.md.".format(
            path, why
        ),
        path=path,
    )
