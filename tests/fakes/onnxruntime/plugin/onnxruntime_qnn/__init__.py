"""A fake onnxruntime-qnn 2: a provider in a package of its own, which is registered with ONNX Runtime."""

import os


def get_library_path() -> str:
    """Return the library to register."""
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "libonnxruntime_providers_qnn.so")


def get_ep_name() -> str:
    """Return the provider's name."""
    return "QNNExecutionProvider"
