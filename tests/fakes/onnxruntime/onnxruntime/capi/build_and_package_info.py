"""Which flavour is installed. Since 1.11."""

from .._session import OLDEST

if OLDEST:
    raise ImportError("No module named 'onnxruntime.capi.build_and_package_info'")
package_name = "onnxruntime-gpu"
