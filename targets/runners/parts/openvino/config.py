"""Load options as OpenVINO's properties, and devices by name: checked against what this version and device have.

Source: https://docs.openvino.ai, "Query Device Properties", and the pages of the CPU, GPU, NPU, MYRIAD and AUTO devices.
"""

from typing import Any, Dict, List

from targets.errors import OptionInvalid
from targets.options import LoadOptions
from targets.runners.parts.openvino.api import access_of, reason, release

HINTS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
PRECISION_HINT = "INFERENCE_PRECISION_HINT"
KEYS = {
    "threads": "INFERENCE_NUM_THREADS",
    "streams": "NUM_STREAMS",
    "hint": "PERFORMANCE_HINT",
    "num_requests": "PERFORMANCE_HINT_NUM_REQUESTS",
    "execution_mode": "EXECUTION_MODE_HINT",
    "cpu_pinning": "ENABLE_CPU_PINNING",
    "cache_dir": "CACHE_DIR",
    "turbo": "NPU_TURBO",
    "compiler": "NPU_COMPILER_TYPE",
}
CHOOSERS = ("AUTO", "MULTI", "HETERO", "BATCH")
_OF_THE_CORE = "CACHE_DIR"  # every device takes it, few list it
# AUTO begins on the CPU while another device compiles, and goes on there when that one fails.
_NO_FALLBACK = ("ENABLE_STARTUP_FALLBACK", "ENABLE_RUNTIME_FALLBACK")


def base_of(device: str) -> str:
    """Return GPU for GPU.1, AUTO for AUTO:GPU,CPU."""
    return device.split(":")[0].split("(")[0].split(".")[0]


def check_device(core: Any, device: str, options: LoadOptions) -> None:
    """OptionInvalid for a device that is not there, or one that chooses another without allow_auto=1."""
    base = base_of(device)
    if base in CHOOSERS:
        if not options.flag("allow_auto"):
            raise OptionInvalid(
                "The device {} lets OpenVINO choose what executes, so a result would not say what it measured; "
                "name a device, or give allow_auto=1.".format(device),
                option="device",
                value=device,
            )
        return
    available = list(core.available_devices)
    if base == "CPU" or device in available or any(base_of(name) == device for name in available):
        return
    raise OptionInvalid(
        "OpenVINO {} has no device '{}' here{}; it has {}.".format(
            release(), device, _why_absent(core, device), ", ".join(available)
        ),
        option="device",
        value=device,
    )


def _why_absent(core: Any, device: str) -> str:
    """Return what its plugin says, as "(...)": mostly that the driver's library is missing; "" if it has no plugin."""
    try:
        core.get_property(device, "SUPPORTED_PROPERTIES")
    except RuntimeError as error:
        text = reason(error)
        if "not registered" not in text:
            return " ({})".format(text.rstrip("."))
        if base_of(device) == "MYRIAD":
            return " (its plugin is in the archives of OpenVINO 2022.3, in no later version and in no pip package)"
    return ""


def writable(core: Any, device: str) -> List[str]:
    """Return the vendor's names of what can be set on a device."""
    return sorted(key for key, access in access_of(core, device).items() if access == "RW")


def config_of(core: Any, device: str, of_file: str, options: LoadOptions) -> Dict[str, str]:
    """Return the properties to compile with. OptionInvalid for a value that is wrong or a setting this version lacks."""
    known = access_of(core, device)
    config = {key: value for key, value in options.values.items() if key.isupper()}
    for key, value in _given(options).items():
        vendor = KEYS[key]
        if vendor in options.values:
            raise OptionInvalid("{} and {} say the same; give one.".format(key, vendor), option=key)
        if vendor not in known and vendor != _OF_THE_CORE:
            if key == "hint" and options.text("hint") is None:
                continue  # only meant by the scenario
            raise _lacking(key, vendor, device)
        config[vendor] = value
    _add_precision(config, known, base_of(device), of_file, options)
    if base_of(device) == "AUTO":
        config.update({key: "NO" for key in _NO_FALLBACK if key in known and key not in config})
    return config


def _given(options: LoadOptions) -> Dict[str, str]:
    given = {key: str(options.text(key)) for key in KEYS if options.text(key) is not None}
    options.integer("threads")
    options.integer("num_requests")
    if options.text("streams") != "AUTO":
        options.integer("streams")
    hint = options.choice("hint", ("latency", "throughput", "cumulative_throughput")) or options.scenario
    if hint is not None:
        given["hint"] = hint.upper()
    mode = options.choice("execution_mode", ("performance", "accuracy"))
    if mode is not None:
        given["execution_mode"] = mode.upper()
    compiler = options.choice("compiler", ("driver", "plugin"))
    if compiler is not None:
        given["compiler"] = compiler.upper()
    for key in ("cpu_pinning", "turbo"):
        flag = options.flag(key)
        if flag is not None:
            given[key] = "YES" if flag else "NO"
    return given


def _lacking(key: str, vendor: str, device: str) -> OptionInvalid:
    return OptionInvalid(
        "OpenVINO {} has no {} on {}, so the option {} does nothing there; leave it out.".format(
            release(), vendor, device, key
        ),
        option=key,
    )


def _add_precision(
    config: Dict[str, str], known: Dict[str, str], base: str, of_file: str, options: LoadOptions
) -> None:
    """Ask for the precision wanted; where none is, for the file's own: by itself a device takes what is fastest."""
    if options.precision in HINTS:
        if PRECISION_HINT in known:
            config[PRECISION_HINT] = HINTS[str(options.precision)]
    elif PRECISION_HINT in config or KEYS["execution_mode"] in config:
        return
    elif KEYS["execution_mode"] in known:
        config[KEYS["execution_mode"]] = "ACCURACY"
    elif PRECISION_HINT in known:  # before 2023.1; its CPU has no float16, and int8 layers heed no hint
        config[PRECISION_HINT] = "f32" if base == "CPU" else HINTS.get(of_file, "f16")
