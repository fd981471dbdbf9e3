"""The API of 2022.3."""

from fake_openvino_core import BaseCore
from fake_openvino_devices import OLD
from fake_openvino_types import Model, Tensor

__version__ = "2022.3.2-9279-fake-releases/2022/3"
__all__ = ["Core", "Model", "Tensor", "get_version"]


class Core(BaseCore):
    """A core."""

    kinds = OLD
    present = ["CPU", "MYRIAD"]
    shares_outputs = False


def get_version() -> str:
    """Return the version."""
    return __version__
