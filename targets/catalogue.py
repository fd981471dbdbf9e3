"""Which runners there are: the built-in ones, and those an operator adds.

An operator adds runners through the environment variable WATTFARM_RUNNERS of the worker: a comma-separated list of
``name=package.module:Class`` (or ``package.module:Class``, which is then also its name). The class is a subclass of
targets.runner.Runner that the worker's interpreter can import. Nothing else is importable by name: a client chooses
among the entries, it cannot name a module of its own.
"""

import importlib
import os
from typing import Any, Dict, List, Optional, Type

from targets.errors import OptionInvalid, RuntimeUnavailable
from targets.options import nearest
from targets.runner import Runner

BUILT_IN = {
    "onnxruntime": "targets.runners.onnxruntime:OnnxRuntimeRunner",
    "openvino": "targets.runners.openvino:OpenVinoRunner",
    "litert": "targets.runners.litert:LiteRtRunner",
    "edgetpu": "targets.runners.edgetpu:EdgeTpuRunner",
    "ncnn": "targets.runners.ncnn:NcnnRunner",
    "tvm": "targets.runners.tvm:TvmRunner",
    "akida": "targets.runners.akida:AkidaRunner",
    "hailort": "targets.runners.hailort:HailoRtRunner",
    "vitisai": "targets.runners.vitisai:VitisAiRunner",
    "tensorrt": "targets.runners.tensorrt:TensorRtRunner",
}
VARIABLE = "WATTFARM_RUNNERS"


def entries(environ: Optional[Dict[str, str]] = None) -> Dict[str, str]:
    """Return name -> ``module:Class`` of all runners. OptionInvalid if the variable cannot be read."""
    text = (os.environ if environ is None else environ).get(VARIABLE, "")
    found = dict(BUILT_IN)
    for item in (part.strip() for part in text.split(",")):
        if not item:
            continue
        name, _, place = item.rpartition("=")
        module, colon, cls = place.partition(":")
        if not (module and colon and cls):
            raise OptionInvalid(
                "{} holds '{}'; each entry is name=package.module:Class.".format(VARIABLE, item),
                option=VARIABLE,
            )
        found[name or place] = place
    return found


def runner_class(name: str) -> Type[Runner]:
    """Import and return the class of a runner. RuntimeUnavailable for an unknown name or a broken entry."""
    known = entries()
    if name not in known:
        raise RuntimeUnavailable(
            "The runtime '{}' is not known{} Use one of {}.".format(
                name, nearest(name, known) or ".", ", ".join(sorted(known))
            ),
            runtime=name,
            package=None,
        )
    module, _, attribute = known[name].partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise RuntimeUnavailable(
            "The runner '{}' ({}) cannot be imported: {}.".format(name, known[name], error),
            runtime=name,
            package=module,
        )
    if not (isinstance(found, type) and issubclass(found, Runner)):
        raise RuntimeUnavailable(
            "The runner '{}' ({}) is not a Runner.".format(name, known[name]), runtime=name, package=module
        )
    return found


def probe(names: Optional[List[str]] = None) -> List[Dict[str, Any]]:
    """Return what each runtime is and whether it works here; ``names`` None means all of them."""
    return [_probe_one(name) for name in (sorted(entries()) if names is None else names)]


def _probe_one(name: str) -> Dict[str, Any]:
    info: Dict[str, Any] = {
        "name": name, "available": False, "version": None, "reason": None, "formats": [], "precisions": [],
        "conversion": "",
    }  # fmt: skip
    try:
        cls = runner_class(name)
        info["formats"], info["precisions"] = list(cls.formats), list(cls.precisions)
        info["conversion"] = cls.compiler
        info["version"] = cls.version()
        info["available"] = True
    except RuntimeUnavailable as error:
        info["reason"] = error.message
    except (
        Exception
    ) as error:  # a runner, or the package it imports, that breaks: the other runtimes are still told
        info["reason"] = "The runner of {} is broken ({}: {}).".format(name, type(error).__name__, error)
    return info
