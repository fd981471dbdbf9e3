"""The execution providers of ONNX Runtime: what to install for each, and which options it takes by which names.

Sources: https://onnxruntime.ai/docs/execution-providers/ (a page each: CUDA, TensorRT, OpenVINO, QNN, XNNPACK, ACL, MIGraphX,
DirectML, Vitis AI), Ryzen AI Software "Model Compilation and Deployment" for VitisAI, and the option tables of the providers'
libraries in onnxruntime-gpu 1.31, onnxruntime-openvino 1.24, onnxruntime-qnn 2.7 and onnxruntime-migraphx 1.27.
"""

from typing import Dict, List, NamedTuple, Tuple

from targets.errors import OptionInvalid, RuntimeUnavailable
from targets.options import LoadOptions, nearest

CPU = "CPUExecutionProvider"
PREFIX = "ep."  # a provider's own option, as in ep.device_id=1
_SUFFIX = "ExecutionProvider"


class Provider(NamedTuple):
    """What is known of an execution provider.

    package   what to install, or which build has it
    options   the keys it takes
    threads   the key that sets its threads; "" if those of the session compute, or none do
    on_cpu    whether it computes on the CPU's cores
    library   its shared library, whose absence says why it cannot be started
    """

    package: str
    options: Tuple[str, ...]
    threads: str = ""
    on_cpu: bool = False
    library: str = ""


_CUDA_OPTIONS = (
    "device_id", "gpu_mem_limit", "arena_extend_strategy", "cudnn_conv_algo_search", "cudnn_conv_use_max_workspace",
    "cudnn_conv1d_pad_to_nc1d", "do_copy_in_default_stream", "enable_cuda_graph", "enable_skip_layer_norm_strict_mode",
    "fuse_conv_bias", "prefer_nhwc", "sdpa_kernel", "tunable_op_enable", "tunable_op_tuning_enable",
    "tunable_op_max_tuning_duration_ms", "use_ep_level_unified_stream",
)  # fmt: skip
_TENSORRT_OPTIONS = (
    "device_id", "trt_auxiliary_streams", "trt_bf16_enable", "trt_build_heuristics_enable",
    "trt_builder_optimization_level", "trt_context_memory_sharing_enable", "trt_cuda_graph_enable",
    "trt_detailed_build_log", "trt_dla_core", "trt_dla_enable", "trt_engine_cache_enable", "trt_engine_cache_path",
    "trt_engine_cache_prefix", "trt_engine_hw_compatible", "trt_extra_plugin_lib_paths",
    "trt_force_sequential_engine_build", "trt_force_timing_cache", "trt_fp16_enable", "trt_int8_calibration_table_name",
    "trt_int8_enable", "trt_int8_use_native_calibration_table", "trt_layer_norm_fp32_fallback",
    "trt_max_partition_iterations", "trt_max_workspace_size", "trt_min_subgraph_size", "trt_op_types_to_exclude",
    "trt_preview_features", "trt_profile_max_shapes", "trt_profile_min_shapes", "trt_profile_opt_shapes",
    "trt_sparsity_enable", "trt_tactic_sources", "trt_timing_cache_enable", "trt_timing_cache_path",
)  # fmt: skip
_OPENVINO_OPTIONS = (
    "device_type", "precision", "num_of_threads", "num_streams", "cache_dir", "load_config", "device_id",
    "enable_opencl_throttling", "enable_qdq_optimizer", "disable_dynamic_shapes", "model_priority", "reshape_input",
    "layout",
)  # fmt: skip
_QNN_OPTIONS = (
    "backend_path", "backend_type", "htp_performance_mode", "htp_graph_finalization_optimization_mode", "htp_arch",
    "soc_model", "device_id", "vtcm_mb", "rpc_control_latency", "enable_htp_fp16_precision", "htp_bf16_enable",
    "enable_htp_shared_memory_allocator", "enable_htp_spill_fill_buffer", "enable_htp_graph_splitting",
    "htp_share_resource_optimization", "qnn_context_priority", "offload_graph_io_quantization", "profiling_level",
    "profiling_file_path",
)  # fmt: skip
_MIGRAPHX_OPTIONS = (
    "device_id", "migraphx_fp16_enable", "migraphx_bf16_enable", "migraphx_int8_enable",
    "migraphx_int8_calibration_table_name", "migraphx_int8_use_native_calibration_table", "migraphx_exhaustive_tune",
    "migraphx_mem_limit", "migraphx_model_cache_dir",
)  # fmt: skip

PROVIDERS: Dict[str, Provider] = {
    CPU: Provider("onnxruntime", (), on_cpu=True),
    "CUDAExecutionProvider": Provider("onnxruntime-gpu", _CUDA_OPTIONS, library="cuda"),
    "TensorrtExecutionProvider": Provider("onnxruntime-gpu", _TENSORRT_OPTIONS, library="tensorrt"),
    "OpenVINOExecutionProvider": Provider(
        "onnxruntime-openvino", _OPENVINO_OPTIONS, threads="num_of_threads", library="openvino"
    ),
    "QNNExecutionProvider": Provider("onnxruntime-qnn", _QNN_OPTIONS, library="qnn"),
    "VitisAIExecutionProvider": Provider(
        "onnxruntime-vitisai (AMD's wheel, in Ryzen AI Software or the board's image)",
        ("config_file", "cache_dir", "cache_key", "xclbin", "encryptionKey", "target", "log_level"),
        library="vitisai",
    ),
    "XnnpackExecutionProvider": Provider(
        "a build of ONNX Runtime with --use_xnnpack",
        ("intra_op_num_threads",),
        threads="intra_op_num_threads",
        on_cpu=True,
    ),
    "ACLExecutionProvider": Provider(
        "a build of ONNX Runtime with --use_acl", ("enable_fast_math",), on_cpu=True
    ),
    "MIGraphXExecutionProvider": Provider("onnxruntime-migraphx", _MIGRAPHX_OPTIONS, library="migraphx"),
    "DmlExecutionProvider": Provider("onnxruntime-directml", ("device_id", "performance_preference", "device_filter")),
}  # fmt: skip


def choose(options: LoadOptions, available: List[str], every: List[str]) -> str:
    """Return the provider that ``provider`` or ``device`` asks for, CPU if neither does.

    ``available`` is what this build has, ``every`` all that ONNX Runtime knows. OptionInvalid for a name that nobody knows;
    RuntimeUnavailable, naming the package, for a provider that another build has.
    """
    name, device = options.text("provider"), options.text("device")
    if name is None and device is None:
        return CPU
    if name is not None and device is not None:
        raise OptionInvalid("Give device or provider to ONNX Runtime, not both.", option="provider")
    short = name is None
    key, wanted = ("device", str(device).lower()) if short else ("provider", str(name))
    known = {device_name(entry) if short else entry: entry for entry in list(PROVIDERS) + every + available}
    if known.get(wanted) in available:
        return known[wanted]
    has = sorted(device_name(entry) for entry in available) if short else available
    if wanted in known:
        raise _absent(known[wanted], has)
    raise OptionInvalid(
        "This ONNX Runtime has no {} '{}'{} It has {}.".format(
            key, name or device, nearest(wanted, known) or ".", ", ".join(has)
        ),
        option=key,
        value=wanted,
    )


def _absent(provider: str, has: List[str]) -> RuntimeUnavailable:
    package = PROVIDERS[provider].package if provider in PROVIDERS else None
    return RuntimeUnavailable(
        "This ONNX Runtime was built without {}; it has {}. {}".format(
            provider,
            ", ".join(has),
            "Install {} in its place: only one flavour can be installed at a time.".format(package)
            if package
            else "Build ONNX Runtime with it.",
        ),
        runtime="onnxruntime",
        package=package,
    )


def device_name(provider: str) -> str:
    """Return the short name of a provider: what the option ``device`` takes."""
    return provider.replace(_SUFFIX, "").lower()


def provider_options(provider: str, options: LoadOptions) -> Dict[str, str]:
    """Return the options given for the provider, by its own names. OptionInvalid for one that it does not take.

    A provider without an entry above takes what it is given: read_back then tells what came of it.
    """
    given = {key[len(PREFIX) :]: value for key, value in options.values.items() if key.startswith(PREFIX)}
    entry = PROVIDERS.get(provider)
    for key in sorted(given):
        if entry is not None and key not in entry.options:
            raise OptionInvalid(
                "The option {}{} is not one of {}{} It has {}.".format(
                    PREFIX,
                    key,
                    provider,
                    nearest(key, entry.options) or ".",
                    ", ".join(PREFIX + known for known in entry.options) or "none",
                ),
                option=PREFIX + key,
                known=[PREFIX + known for known in entry.options],
            )
    threads = options.text("threads")
    if entry is not None and entry.threads and threads is not None:
        if entry.threads in given:
            raise OptionInvalid(
                "threads and {}{} say the same; give one.".format(PREFIX, entry.threads), option="threads"
            )
        given[entry.threads] = threads
    return given


def unlike(given: str, got: str) -> bool:
    """Return whether a setting that was read back differs: True and 1 are the same, and so are 1e6 and 1000000."""
    words = {"true": "1", "false": "0"}
    a, b = (words.get(text.strip().lower(), text.strip().lower()) for text in (given, got))
    try:
        return a != b and float(a) != float(b)
    except ValueError:
        return True
