"""The readers."""

from fake_openvino_core import FrontEndManager

__all__ = ["FrontEndManager"]
