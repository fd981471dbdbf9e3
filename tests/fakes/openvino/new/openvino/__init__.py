"""A fake openvino 2026: everything at the top, no openvino.runtime any more; a CPU, two GPUs and an NPU.

Its settings and faults are those of tests/fakes/openvino/fake_openvino_core.py.
"""

from fake_openvino_core import AnyText, BaseCore, check_import
from fake_openvino_devices import NEW
from fake_openvino_types import Model, Tensor

check_import()
__version__ = "2026.4.1-22982-fake-releases/2026/4"
__all__ = ["Core", "Model", "Tensor", "get_version"]


class Core(BaseCore):
    """A core."""

    kinds = NEW
    present = ["CPU", "GPU.0", "GPU.1", "NPU"]
    note = AnyText


def get_version() -> str:
    """Return the version."""
    return __version__
