"""A session of ONNX Runtime: its settings, its start without silent fallbacks, and what can be read back from it.

Sources: https://onnxruntime.ai/docs/api/python/api_summary.html, onnxruntime_inference_collection.py of the package, and
onnxruntime_session_options_config_keys.h.
"""

import os
from typing import Any, Dict, List, Optional, Set

from targets.errors import ModelInvalid, OptionInvalid, RuntimeUnavailable, TargetsError
from targets.options import LoadOptions
from targets.process import thread_ids, usable_cores
from targets.runner import one_line
from targets.runners.parts.onnxruntime import plugins as ort_plugins
from targets.runners.parts.onnxruntime.assignment import why_not_started
from targets.runners.parts.onnxruntime.providers import CPU, PREFIX, PROVIDERS, unlike

_OPTIMIZATIONS = {
    "disabled": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}  # fmt: skip
_NVIDIA = ("CUDAExecutionProvider", "TensorrtExecutionProvider")


def settings_of(ort: Any, options: LoadOptions, provider: str) -> Any:
    """Return the SessionOptions that the load options ask for."""
    settings = ort.SessionOptions()
    settings.log_severity_level = 3  # errors only; they also come as exceptions
    _set_threads(settings, options, provider)
    mode = options.choice("execution_mode", ("sequential", "parallel"))
    if mode is not None:
        settings.execution_mode = getattr(ort.ExecutionMode, "ORT_" + mode.upper())
    level = options.choice("graph_optimization", sorted(_OPTIMIZATIONS))
    if level is not None:
        settings.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _OPTIMIZATIONS[level])
    if options.flag("strict"):
        if provider == CPU:
            raise OptionInvalid("strict=1 needs the option provider or device.", option="strict")
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return settings


def _set_threads(settings: Any, options: LoadOptions, provider: str) -> None:
    threads, spinning = options.integer("threads"), options.flag("spinning")
    if provider in PROVIDERS and PROVIDERS[provider].threads:
        # The provider's own threads compute; idle ones of the session would only take processors from them. Source: the
        # provider's page for XNNPACK, "Recommended configuration".
        threads = 1
        spinning = bool(spinning)
    elif threads is None and options.scenario == "throughput":
        threads = 1  # requests run side by side instead; measured faster than sharing the threads of each
    if threads is not None:
        settings.intra_op_num_threads = threads
    inter = options.integer("inter_op_threads")
    if inter is not None:
        settings.inter_op_num_threads = inter
    if spinning is not None:
        settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")


def threads_of(settings: Any, before: Set[str], provider: str, options: LoadOptions) -> int:
    """Return the threads that compute: what was set, else those started since ``before``, and their caller."""
    key = PROVIDERS[provider].threads if provider in PROVIDERS else ""
    told = (options.integer("threads") or options.integer(PREFIX + key)) if key else None
    if told is not None:
        return told
    if settings.intra_op_num_threads and not key:
        return int(settings.intra_op_num_threads)
    return len(thread_ids() - before) + 1 if before else usable_cores()


def start(ort: Any, path: str, settings: Any, provider: str, told: Dict[str, str]) -> Any:
    """Start a session that fails where ONNX Runtime would go on on the CPU. The settings may get the provider added.

    RuntimeUnavailable if the provider does not start, OptionInvalid if it does not take an option, ModelInvalid if the model
    cannot be built.
    """
    named: Dict[str, Any] = {}
    if provider in ort_plugins.found(ort):
        ort_plugins.add(ort, settings, provider, told)
    else:
        named["providers"] = [(provider, told)]
    try:
        # Without enable_fallback=0 a provider that raises is replaced by the CPU, with no more than a line on stdout.
        session = ort.InferenceSession(path, settings, enable_fallback=0, **named)
    except MemoryError:
        raise
    except Exception as error:
        raise _refused(path, provider, told, one_line(error))
    if provider not in session.get_providers():
        raise _not_started(provider, told, why_not_started(ort, provider) or " (its log tells why)")
    # run() has a fallback of its own: after an EPFail (a failed engine build) it would go over to the CPU for good.
    session.disable_fallback()
    return session


def _not_started(provider: str, told: Dict[str, str], because: str) -> RuntimeUnavailable:
    given = ", ".join(PREFIX + "{}={}".format(*item) for item in sorted(told.items()))
    return RuntimeUnavailable(
        "{} could not be started{}{}, and ONNX Runtime would run on the CPU in its place; see that the provider's "
        "libraries are installed and its device is there.".format(
            provider, " with " + given if given else "", because
        ),
        runtime=provider,
        package=PROVIDERS[provider].package if provider in PROVIDERS else None,
    )


def _refused(path: str, provider: str, told: Dict[str, str], text: str) -> TargetsError:
    if "Please install" in text:  # TensorRT's libraries are asked for before the provider is made
        return _not_started(provider, told, " ({})".format(text.rstrip(".")))
    if "fallback to CPU EP has been explicitly disabled" in text:
        return strict_refused(provider, "some nodes")
    for key in told:
        if key in text:
            return OptionInvalid(
                "{} does not take {}{}={}: {}".format(provider, PREFIX, key, told[key], text),
                option=PREFIX + key,
                value=told[key],
            )
    return ModelInvalid("ONNX Runtime cannot build the model {}: {}".format(path, text), path=path)


def strict_refused(provider: str, nodes: str) -> OptionInvalid:
    """Return the error of a model that the provider cannot run alone although strict=1."""
    return OptionInvalid(
        "{} cannot run {} of this model; they would run on the CPU, which strict=1 forbids.".format(
            provider, nodes
        ),
        option="strict",
        value="1",
    )


def read_back(session: Any, provider: str, told: Dict[str, str]) -> Dict[str, str]:
    """Return the provider's options in effect, where it tells them."""
    options: Dict[str, Any] = session.get_provider_options().get(provider, {})
    return {key: str(options[key]) for key in sorted(told) if key in options}


def differences(provider: str, told: Dict[str, str], got: Dict[str, str]) -> List[str]:
    """Return a sentence for each option that the provider took otherwise than it was told."""
    return [
        "{}{}={} requested, but {} has {}.".format(PREFIX, key, told[key], provider, got[key])
        for key in sorted(got)
        if unlike(told[key], got[key])
    ]


def choose_tf32(provider: str, options: LoadOptions, precision: str) -> Optional[str]:
    """Switch TensorFloat-32 off unless tf32=1; return "1" or "0", None where it does not matter.

    GPUs since Ampere multiply float32 with 10 bits of mantissa by default, in CUDA and in TensorRT. The providers have no
    common switch; NVIDIA's libraries read this variable when they are first used, and a worker has one model. Source: cuBLAS
    documentation and TensorRT Developer Guide, NVIDIA_TF32_OVERRIDE; ONNX Runtime's page of the CUDA provider, "use_tf32".
    """
    wanted = options.flag("tf32")
    if provider not in _NVIDIA:
        if wanted is not None:
            raise OptionInvalid("tf32 is for {}.".format(" and ".join(_NVIDIA)), option="tf32")
        return None
    if wanted and options.precision is not None:
        raise OptionInvalid(
            "tf32=1 contradicts precision={}; leave one out.".format(options.precision), option="tf32"
        )
    if precision != "float32":
        return None
    if wanted:
        os.environ.pop("NVIDIA_TF32_OVERRIDE", None)
        return "1"
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    return "0"
