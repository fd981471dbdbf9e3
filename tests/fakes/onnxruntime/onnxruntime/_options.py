"""SessionOptions and its enumerations."""

import enum
from typing import Any, Dict, List, Tuple


class ExecutionMode(enum.Enum):
    """How operators are run."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class GraphOptimizationLevel(enum.Enum):
    """What the optimiser may do."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_ALL = 99


class SessionOptions:
    """What a session is to be; unknown names are refused, as by the native class."""

    __slots__ = (
        "enable_profiling",
        "entries",
        "execution_mode",
        "graph_optimization_level",
        "inter_op_num_threads",
        "intra_op_num_threads",
        "log_severity_level",
        "optimized_model_filepath",
        "plugins",
        "profile_file_prefix",
    )

    def __init__(self) -> None:
        self.entries: Dict[str, str] = {}
        self.enable_profiling = False
        self.execution_mode = ExecutionMode.ORT_SEQUENTIAL
        self.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_ALL
        self.inter_op_num_threads = 0
        self.intra_op_num_threads = 0
        self.log_severity_level = -1
        self.optimized_model_filepath = ""
        self.plugins: List[Tuple[str, Dict[str, str]]] = []
        self.profile_file_prefix = "onnxruntime_profile_"

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Any key is taken; only known ones do something."""
        if not (isinstance(key, str) and isinstance(value, str)):
            raise TypeError("add_session_config_entry(): incompatible function arguments.")
        self.entries[key] = value

    def get_session_config_entry(self, key: str) -> Any:
        """Return an entry; RuntimeError if there is none."""
        if key not in self.entries:
            raise RuntimeError("SessionOptions does not have configuration with key: " + key)
        return self.entries[key]

    def add_provider_for_devices(self, devices: List[Any], options: Dict[str, str]) -> None:
        """Add a provider on some of its devices, which must be all of one kind and of one provider."""
        if len({(device.ep_name, device.device.type) for device in devices}) != 1:
            raise ValueError("All OrtEpDevice instances must refer to the same execution provider.")
        self.plugins.append((devices[0].ep_name, dict(options)))
