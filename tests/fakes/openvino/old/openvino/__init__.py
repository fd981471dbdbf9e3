"""A fake openvino 2022.3 with a Myriad X stick: nothing at the top, everything in openvino.runtime.

Its settings and faults are those of tests/fakes/openvino/fake_openvino_core.py.
"""

from fake_openvino_core import check_import

check_import()
