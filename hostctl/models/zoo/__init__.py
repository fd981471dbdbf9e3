"""The zoo: nets that `hostctl model build` generates, with seeded random weights, and one that is really trained.

Speed does not depend on the values of weights, so topology is enough to measure time and power; only digits-dscnn
has an accuracy. Every net has a symbolic batch, "N", and runs in ONNX Runtime and OpenVINO.
"""

from hostctl.models.zoo.catalogue import ENTRIES, Entry, find, names
from hostctl.models.zoo.store import build

__all__ = ["ENTRIES", "Entry", "build", "find", "names"]
