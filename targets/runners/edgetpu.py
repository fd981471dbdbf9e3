"""Google Coral's Edge TPU: libedgetpu's delegate in a TensorFlow Lite Interpreter.

Sources: https://coral.ai/docs/edgetpu/tflite-python/ and google-coral/libedgetpu, tflite/edgetpu_delegate_for_custom_op*.cc,
tflite/edgetpu_manager_direct.cc.
"""

import re
from typing import Any, Dict, List, Optional, Tuple

from targets.errors import ModelInvalid, OptionInvalid, PrecisionUnsupported, RuntimeUnavailable
from targets.formats import tflite_file
from targets.options import LoadOptions
from targets.runners.parts.tflite import delegates, libedgetpu
from targets.runners.parts.tflite.interpreter import InterpreterRunner
from targets.runners.parts.tflite.libedgetpu import Device
from targets.tensors import ModelSpec

_DEVICE = re.compile(r"(usb|pci)?(:\d+)?$")
_PERFORMANCE = ("Low", "Medium", "High", "Max")
_SILENCE = (
    "Is another process using it (one process has it at a time), may this user open it (group plugdev for USB, apex for "
    "/dev/apex_*), and has it enough power?"
)


class EdgeTpuRunner(InterpreterRunner):
    """A compiled model; the slots share one device unless the option device names several."""

    name = "edgetpu"
    title = "TensorFlow Lite"
    package = "tflite-runtime"
    otherwise = "Python 3.12 and newer: ai-edge-litert, with a libedgetpu that was built for it"
    # libedgetpu is built against one TensorFlow Lite, as tflite_runtime is; in another one's Interpreter it may crash.
    modules = ("tflite_runtime", "ai_edge_litert")
    precisions = ("int8",)
    compiler = "compile a fully 8-bit TFLite model with 'edgetpu_compiler model.tflite' on an x86-64 machine"
    options = {
        "device": "':N', 'usb', 'usb:N', 'pci' or 'pci:N'; several with commas between; the first free one unless told",
        "performance": "clock: Low, Medium, High or Max (default)",
    }

    @classmethod
    def version(cls) -> str:
        package = cls.vendor()
        library = libedgetpu.library(cls.name)
        number = libedgetpu.version(library)
        if not libedgetpu.devices(library):
            raise RuntimeUnavailable(
                "No Edge TPU is there: libedgetpu {} sees none on USB (1a6e:089a, 18d1:9302 once used) or PCIe "
                "(/dev/apex_*, driver gasket-dkms).".format(number),
                runtime=cls.name,
                package=None,
            )
        return "{} ({} {})".format(number, package.__name__, package.__version__)

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        facts = tflite_file.read(path)
        compiled = facts.custom_ops.get(tflite_file.EDGE_TPU, 0)
        if not compiled:
            raise ModelInvalid(
                "The model {} is not compiled for the Edge TPU; {} and load the file ending in _edgetpu.tflite.".format(
                    path, self.compiler
                ),
                path=path,
            )
        if options.precision not in (None, "int8"):
            raise PrecisionUnsupported(
                "The Edge TPU computes in 8 bits only, not in {}; quantise the model and compile it again.".format(
                    options.precision
                ),
                precision=options.precision,
                supported=["int8"],
            )
        threads = options.integer("threads") or 1
        self._arguments = {"num_threads": threads}
        self.effective.update(precision="int8", threads=str(threads))
        self._open_devices(options)
        spec = self._start(path, options)
        on_cpu = facts.operators - compiled
        self.effective["ops"] = "{}/{}".format(compiled, facts.operators)
        if on_cpu:
            self.fallbacks.append(
                "The Edge TPU was asked for, but {} of the {} operators of this model were not compiled for it and run "
                "on the CPU; see the compiler's log.".format(on_cpu, facts.operators)
            )
        self.optimal_in_flight = len(self._delegates)
        return spec

    def _open_devices(self, options: LoadOptions) -> None:
        """Open each device asked for, with its performance, and keep its delegate."""
        found = libedgetpu.devices(libedgetpu.library(self.name))
        performance = options.choice("performance", _PERFORMANCE)
        asked = [part.strip() for part in str(options.text("device", "")).split(",")]
        opened: List[Device] = []
        for part in asked:
            device, delegate = self._open(candidates(part, found, opened), performance)
            opened.append(device)
            self._delegates.append(delegate)
        self.effective["device"] = options.text("device") or opened[0].name
        self.effective["device_path"] = ",".join(device.path for device in opened)
        self._tell_performance(performance, opened)

    def _open(self, choice: List[Device], performance: Optional[str]) -> Tuple[Device, Any]:
        """Open the first of these devices that is free.

        Always by its index: for "", "usb" and "pci" the vendor drops every other option in silence, and does not tell
        which device it took (edgetpu_delegate_for_custom_op_tflite_plugin.cc, GetEdgeTpuContext).
        """
        for at, device in enumerate(choice):
            pairs: Dict[str, str] = {"device": device.name}
            if performance is not None:
                pairs["Performance"] = performance
            try:
                hint = "It stands for the Edge TPU {} at {}. {}".format(device.name, device.path, _SILENCE)
                return device, delegates.load(
                    self.vendor_interpreter(), libedgetpu.LIBRARY, pairs, self.name, hint
                )
            except RuntimeUnavailable:
                if at == len(choice) - 1:
                    raise
        raise OptionInvalid("No Edge TPU is left.", option="device")

    def _tell_performance(self, asked: Optional[str], opened: List[Device]) -> None:
        """Set the clock in effect. The vendor has no call for it, but a throttled build is known by its mark."""
        got = asked or "Max"
        if got == "Max" and any(device.kind == "usb" for device in opened):
            throttled = libedgetpu.is_throttled()
            got = "unknown" if throttled is None else "High" if throttled else "Max"
        self.effective["performance"] = got
        if asked == "Max" and got == "High":
            self.fallbacks.append(
                "Performance Max was asked for, but this build of libedgetpu runs USB devices at High; install "
                "libedgetpu1-max for Max."
            )


def candidates(asked: str, found: List[Device], taken: List[Device]) -> List[Device]:
    """Return the devices that one part of the option device allows, PCIe first as the vendor does. OptionInvalid if none."""
    match = _DEVICE.match(asked)
    kind, index = match.groups() if match else (None, None)
    matching = [device for device in found if kind in (None, device.kind)] if match else []
    if index is not None:
        number = int(index[1:])
        matching = matching[number : number + 1]
    matching = [device for device in matching if device not in taken]
    if not matching:
        raise OptionInvalid(
            "The option device='{}' names no Edge TPU that is there and not named already; write ':N', 'usb', 'usb:N', "
            "'pci' or 'pci:N'. There are {}.".format(
                asked, ", ".join("{} ({})".format(device.name, device.path) for device in found)
            ),
            option="device",
            value=asked,
        )
    return sorted(matching, key=lambda device: device.kind != "pci")
