"""Apache TVM: a module compiled by relax, run by its virtual machine.

Source: https://tvm.apache.org/docs/reference/api/python/relax/relax.html and python/tvm/runtime/vm.py of TVM 0.18 to 0.27.
The file is a ZIP of model.so and its sidecar model.json (targets/formats/tvm_file.py).
"""

import importlib.util
import os
import re
import tempfile
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

from targets.errors import (
    InferenceFailed,
    ModelInvalid,
    OptionInvalid,
    PrecisionUnsupported,
    RuntimeUnavailable,
)
from targets.formats import elf_file, tvm_file
from targets.options import LoadOptions, resolve_shapes
from targets.process import usable_cores
from targets.runner import Runner, one_line
from targets.tensors import ModelSpec, Tensors, TensorSpec

ALLOW = "WATTFARM_ALLOW_NATIVE_MODELS"
_THREADS = "TVM_NUM_THREADS"
_DEVICE = re.compile(r"([a-z_]+)(?::([0-9]{1,3}))?")


class TvmRunner(Runner):
    """One virtual machine a slot, because a virtual machine keeps the registers of its calls; the code is shared."""

    name = "tvm"
    package = "apache-tvm"
    formats = ("tvm",)
    compiler = "compile the model with tvm.compile() and export_library('x.so'), write its sidecar x.json, and give hostctl x.so"
    precisions = ("float32", "float16", "bfloat16", "int8")
    options: Dict[str, str] = {}

    def __init__(self) -> None:
        super().__init__()
        self._library: Any = None
        self._entry = ""
        self._device: Any = None
        self._machines: List[Any] = []

    @classmethod
    def version(cls) -> str:
        try:
            # Looked for but not imported: a board that does not allow it need not wait for that.
            is_there = importlib.util.find_spec("tvm") is not None
        except ValueError:
            is_there = False
        if is_there and os.environ.get(ALLOW) != "1":
            raise RuntimeUnavailable(
                'A TVM model is native code that runs as farmd\'s user, so the board must allow it: put {} = "1" under '
                "[worker_env] in its farmd.toml.".format(ALLOW),
                runtime=cls.name,
                package=None,
            )
        try:
            from tvm import relax

            relax.VirtualMachine  # noqa: B018 - TVM before 0.18 had another one elsewhere
            return str(_vendor().__version__)
        except Exception as error:  # a broken native library raises more than ImportError
            raise RuntimeUnavailable(
                "TVM cannot be used ({}) Install it for this interpreter with 'pip install apache-tvm', 0.18 or "
                "newer.".format(one_line(error)),
                runtime=cls.name,
                package=cls.package,
            )

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        facts = tvm_file.read(path)
        self._check_precision(facts.precision, options.precision)
        self._device = self._choose_device(facts.device, options)
        self._check_version(path, facts.tvm)
        threads = self._set_threads(options)
        self._entry = facts.entry
        self._library = self._open(path)
        self._machines = [self._machine()]
        self._check_entry(path, facts)
        self.effective.update(
            device=str(self._device), precision=facts.precision, threads=str(threads), target=facts.target
        )
        # Each slot has a pool of threads of its own, and TVM pins all pools to the same cores: only single threads add up.
        self.optimal_in_flight = usable_cores() if threads == 1 else 1
        return _spec(facts, options)

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        self._open_slots(slot + 1)
        arrays = [_to_device(inputs[spec.name], self._device) for spec in self.loaded().inputs]
        call = partial(self._machines[slot][self._entry], *arrays)
        if self.effective["device"].startswith("cpu"):
            return call
        return partial(_run_and_wait, call, self._device.sync)

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        arrays = [tensor.numpy() for tensor in _flat(returned)]
        specs = self.loaded().outputs
        told = [(spec.dtype, len(spec.shape)) for spec in specs]
        given = [(array.dtype.name, array.ndim) for array in arrays]
        if told != given:
            raise InferenceFailed(
                "The module gives {}, but its sidecar tells {} (dtype, dimensions); mend the outputs in model.json.".format(
                    given, told
                )
            )
        return {spec.name: array for spec, array in zip(specs, arrays)}

    def _open_slots(self, count: int) -> None:
        while len(self._machines) < count:
            self._machines.append(self._machine())

    def _close(self) -> None:
        self._machines = []
        self._library = self._device = None
        os.environ.pop(_THREADS, None)

    def _check_precision(self, of_file: str, asked: Optional[str]) -> None:
        if asked is not None and asked != of_file:
            raise PrecisionUnsupported(
                "A TVM module computes in the precision it was compiled for: this one in {}, not {}. Compile it "
                "again from a model in that precision.".format(of_file, asked),
                precision=asked,
                supported=[of_file],
            )

    def _choose_device(self, kind: str, options: LoadOptions) -> Any:
        """Return the device asked for, else the first of the kind the module was compiled for."""
        asked = str(options.text("device", kind))
        form = _DEVICE.fullmatch(asked)
        device = _existing(form.group(1), int(form.group(2) or 0)) if form else None
        if device is None:
            present = [
                name for name in sorted(set(tvm_file.DEVICES.values())) if _existing(name, 0) is not None
            ]
            raise OptionInvalid(
                "This TVM has no device '{}' here; it finds {}. Another one needs its driver and a TVM built for "
                "it.".format(asked, ", ".join(present)),
                option="device",
                value=asked,
            )
        if form is not None and form.group(1) != kind:
            raise OptionInvalid(
                "The module was compiled for {}, so the device '{}' cannot run it; compile it for that "
                "target.".format(kind, asked),
                option="device",
                value=asked,
            )
        return device

    def _check_version(self, path: str, compiled_by: str) -> None:
        """A module calls into the runtime's library and carries byte code, and neither is kept stable between versions."""
        here = self.version()
        if not tvm_file.same_version(compiled_by, here):
            raise ModelInvalid(
                "The module in {} was compiled by TVM {}, but the board has {}; compile it again with that version, or "
                "install apache-tvm=={} for the board's interpreter.".format(
                    path, compiled_by, here, compiled_by
                ),
                path=path,
            )

    def _set_threads(self, options: LoadOptions) -> int:
        """Set how many threads compute one inference; return how many do.

        Every thread that runs a module has a pool of its own: config_threadpool sizes that of this thread and bounds the
        others by the cores there are, the environment variable sizes the others.
        """
        asked = options.integer("threads")
        if asked is None and options.scenario == "throughput":
            asked = 1  # requests run side by side instead
        tvm = _vendor()
        if asked is not None:
            tvm.get_global_func("runtime.config_threadpool")(0, asked)
            os.environ[_THREADS] = str(asked)
        threads = int(tvm.get_global_func("runtime.NumThreads")())
        if asked is not None and threads != asked:
            self.fallbacks.append("threads={} requested, but TVM uses {}.".format(asked, threads))
        return threads

    def _open(self, path: str) -> Any:
        """Load the library of the archive. Its file is needed only until the system has mapped it."""
        with tempfile.TemporaryDirectory(prefix="tvm-", dir=os.getcwd()) as folder:
            library = tvm_file.extract_library(path, folder)
            self._check_library(path, library)
            try:
                return _vendor().runtime.load_module(library)
            except Exception as error:
                raise ModelInvalid(
                    "The module in {} cannot be loaded: {}".format(path, one_line(error)), path=path
                )

    def _check_library(self, path: str, library: str) -> None:
        machine = os.uname().machine
        try:
            facts = elf_file.read(library)
        except ModelInvalid as error:
            raise ModelInvalid("The module in {} is damaged: {}".format(path, error.message), path=path)
        if not facts.runs_on(machine):
            raise ModelInvalid(
                "The module in {} is for {}, but the board is {}; compile it with the target {{'kind': 'llvm', "
                "'mtriple': '{}-linux-gnu'}}.".format(path, facts.architecture, machine, machine),
                path=path,
            )

    def _machine(self) -> Any:
        from tvm import relax

        return relax.VirtualMachine(self._library, self._device)

    def _check_entry(self, path: str, facts: tvm_file.TvmFacts) -> None:
        """The function must be there and take as many arguments as the sidecar has inputs."""
        try:
            self._machines[0][facts.entry]
            arity = int(self._machines[0].module["get_function_arity"](facts.entry))
        except (AttributeError, ValueError):
            raise ModelInvalid(
                "The module in {} has no function '{}'; name in the sidecar's \"entry\" the one to run.".format(
                    path, facts.entry
                ),
                path=path,
            )
        if arity != len(facts.inputs):
            raise ModelInvalid(
                "The function '{}' of the module in {} takes {} tensors, but the sidecar names {} inputs; mend "
                "model.json, or bind the weights when compiling.".format(
                    facts.entry, path, arity, len(facts.inputs)
                ),
                path=path,
            )


def _vendor() -> Any:
    import tvm

    return tvm


def _existing(kind: str, index: int) -> Any:
    """Return a device if it is there, else None. A processor is one device, though TVM finds any number of them."""
    try:
        device = _vendor().device(kind, index)
    except Exception:  # each version raises another error for a kind it does not know
        return None
    return device if device.exist and not (kind == "cpu" and index) else None


def _to_device(array: Any, device: Any) -> Any:
    """Copy an array to the device. TVM before 0.21 calls its tensors arrays."""
    tvm = _vendor()
    make = getattr(tvm.runtime, "tensor", None) or tvm.nd.array
    return make(array, device)


def _run_and_wait(call: Callable[[], Any], wait: Callable[[], Any]) -> Any:
    """Accelerators compute on while the call returns."""
    returned = call()
    wait()
    return returned


def _flat(returned: Any) -> List[Any]:
    """Return the tensors of a result in order: a function returns one, or tuples of them, maybe nested."""
    if hasattr(returned, "numpy"):
        return [returned]
    return [tensor for part in returned for tensor in _flat(part)]


def _spec(facts: tvm_file.TvmFacts, options: LoadOptions) -> ModelSpec:
    shapes = resolve_shapes([(tensor.name, tensor.shape) for tensor in facts.inputs], options)
    batch = shapes[0][0] if shapes[0] else -1
    inputs = [_tensor(tensor, shape) for tensor, shape in zip(facts.inputs, shapes)]
    outputs = [
        _tensor(tensor, (batch,) + tensor.shape[1:] if tensor.shape[:1] == (-1,) else tensor.shape)
        for tensor in facts.outputs
    ]
    return ModelSpec(inputs, outputs)


def _tensor(tensor: tvm_file.TvmTensor, shape: Tuple[int, ...]) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.dtype, shape, tensor.scale, tensor.zero_point)
