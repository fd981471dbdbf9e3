"""What became of the settings: read back from the engine, told as effective settings and silent fallbacks."""

from typing import Any, Dict, List, Optional

from targets.errors import PrecisionUnsupported
from targets.runners.parts.tensorrt.precision import counts_text, majority


class ReadBack:
    """The effective settings and fallbacks of a load, from the facts of the build (none of a ready plan)."""

    def __init__(self, facts: Dict[str, Any], device: str) -> None:
        self._facts = facts
        self.effective: Dict[str, str] = {"device": device}
        self.fallbacks: List[str] = []

    def judge_dla(self, gpu: str) -> None:
        """Count the layers that the GPU runs instead of the DLA; if it runs all of them, it is the device."""
        on_gpu, layers = self._facts.get("on_gpu", []), self._facts.get("layers", 0)
        if not on_gpu:
            return
        self.fallbacks.append(
            "{} requested, but {} of {} layers run on the GPU: {}{}.".format(
                self.effective["device"],
                len(on_gpu),
                layers,
                ", ".join(on_gpu[:5]),
                ", ..." if len(on_gpu) > 5 else "",
            )
        )
        if len(on_gpu) == layers:
            self.effective["device"] = gpu

    def judge_precision(self, counts: Optional[Dict[str, int]], asked: Optional[str]) -> None:
        """Say what the layers that compute run in; where the engine does not tell, what was built for.

        PrecisionUnsupported for a ready plan of another precision than is asked for, or of none that can be checked.
        """
        promised = self._facts.get("precision")
        if self._facts.get("flags"):
            self.effective["builder_flags"] = ",".join(self._facts["flags"])
        if counts is None:
            self._take_promise(promised, asked)
            return
        got = majority(counts)
        self.effective.update(
            precision=got, precision_from="engine inspector", compute_layers=counts_text(counts)
        )
        if promised is None and asked not in (None, got):
            raise PrecisionUnsupported(
                "This plan computes in {}, not {}.".format(got, asked), precision=asked, supported=[got]
            )
        if promised is not None and promised != got:
            self.fallbacks.append(
                "{} {}, but TensorRT runs {} of {} layers that compute in {}.".format(
                    promised,
                    "requested" if asked else "is what the file has",
                    counts[got],
                    sum(counts.values()),
                    got,
                )
            )

    def _take_promise(self, promised: Optional[str], asked: Optional[str]) -> None:
        if promised is None and asked is not None:
            raise PrecisionUnsupported(
                "The plan does not tell the precision of its layers, so {} cannot be checked; build it with 'trtexec "
                "--profilingVerbosity=detailed', or leave the precision out.".format(asked),
                precision=asked,
            )
        self.effective["precision"] = promised or "unknown"
        self.effective["precision_from"] = "what was built for" if promised else "nothing"
