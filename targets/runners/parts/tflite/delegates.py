"""Delegates: shared libraries that take over operators of a TensorFlow Lite model. What is known of each, and loading one.

Sources: tensorflow/lite/python/interpreter.py (Delegate, load_delegate) and the delegates' own code, named at each entry.
"""

import ctypes
import hashlib
import os
from typing import Any, Dict, NamedTuple, Optional, Tuple

from targets.errors import ModelInvalid, OptionInvalid, RuntimeUnavailable
from targets.formats.tflite_file import TfliteFacts
from targets.options import LoadOptions, nearest
from targets.runner import one_line

_ENTRY = "tflite_plugin_create_delegate"  # lite/delegates/external/external_delegate_interface.h
_HINT = "Is its library installed, and its device present and free?"


class Known(NamedTuple):
    """What is known of a delegate.

    options     the keys it reads; it ignores every other one in silence
    cache       key of delegate_options that takes a place for what it compiles; None where it keeps nothing
    cached_by   further options that the cache needs
    precision   what it computes in whatever the file holds; None: an 8-bit file in 8 bits, anything else unknown
    compiled_op the operator that its compiler makes, for one that takes nothing else; then its compiler's command
    """

    library: str
    options: Tuple[str, ...] = ()
    cache: Optional[str] = None
    cached_by: Tuple[Tuple[str, str], ...] = ()
    precision: Optional[str] = None
    compiled_op: Optional[str] = None
    compiler: str = ""


KNOWN = {
    # i.MX 8M Plus, VIM3: VeriSilicon tflite-vx-delegate, vx_delegate_adaptor.cc.
    "vx": Known(
        "libvx_delegate.so",
        ("allowed_cache_mode", "cache_file_path", "device_id", "allowed_builtin_code"),
        cache="cache_file_path",
        cached_by=(("allowed_cache_mode", "true"),),
    ),
    # i.MX 93: NXP tflite-ethosu-delegate, external_delegate_adaptor.cc.
    "ethos-u": Known(
        "libethosu_delegate.so",
        ("device_name", "cache_file_path", "timeout", "enable_cycle_counter", "enable_profiling",
         "profiling_buffer_size", "pmu_event0", "pmu_event1", "pmu_event2", "pmu_event3"),
        cache="cache_file_path",
    ),
    # i.MX 95: NXP tflite-neutron-delegate, neutron_delegate_adaptor.cc (reads no option), neutron_delegate.cc.
    "neutron": Known(
        "libneutron_delegate.so",
        compiled_op="NeutronGraph",
        compiler="neutron-converter --input model.tflite --output model_neutron.tflite --target imx95",
    ),
    # LiteRT tflite/delegates/gpu/delegate.cc. No options: its ParseOptions compares keys with strcmp() the wrong way round,
    # so that each key sets another one's value; and after an unknown key its destructor dies of the null pointer.
    # By default it computes in float32 (PRIORITY_MAX_PRECISION), 8-bit files too (EXPERIMENTAL_FLAGS_ENABLE_QUANT).
    "gpu": Known("libtensorflowlite_gpu_delegate.so", precision="float32"),
}  # fmt: skip
_BY_LIBRARY = {known.library: name for name, known in KNOWN.items()}


class Choice(NamedTuple):
    """A delegate that was asked for: what to call it, its library, its options, and what is known of it, if anything."""

    name: str
    library: str
    options: Dict[str, str]
    known: Optional[Known]


def choose(path: str, facts: TfliteFacts, options: LoadOptions) -> Optional[Choice]:
    """Return the delegate that delegate=, delegate_options= and delegate_cache= ask for; None without delegate=.

    OptionInvalid for options it would not read, ModelInvalid for a model that it can take nothing of.
    """
    asked = options.text("delegate")
    if asked is None:
        for key in ("delegate_options", "delegate_cache"):
            if options.text(key) is not None:
                raise OptionInvalid("{} needs the option delegate.".format(key), option=key)
        return None
    if asked not in KNOWN and "." not in asked and "/" not in asked:
        raise OptionInvalid(
            "The delegate '{}' is not known{} Use one of {}, or a library such as libvx_delegate.so.".format(
                asked, nearest(asked, KNOWN) or ".", ", ".join(sorted(KNOWN))
            ),
            option="delegate",
            value=asked,
        )
    name = asked if asked in KNOWN else _BY_LIBRARY.get(os.path.basename(asked), os.path.basename(asked))
    known = KNOWN.get(name)
    pairs = _pairs(options.text("delegate_options") or "")
    if known is not None:
        _check_options(name, known, pairs)
        _check_compiled(path, name, known, facts)
    folder = options.text("delegate_cache")
    if folder is not None:
        pairs.update(_cache(name, known, folder, path, options))
    return Choice(name, known.library if known is not None and asked == name else asked, pairs, known)


def load(interpreter: Any, library: str, pairs: Dict[str, str], runtime: str, hint: str = _HINT) -> Any:
    """Load a delegate with the vendor's load_delegate. RuntimeUnavailable, in one sentence, where that fails."""
    try:
        # Before the vendor's Delegate does it: that one, half made, writes a traceback from its __del__ on stderr.
        entry = getattr(ctypes.CDLL(library), _ENTRY, None)
    except OSError as error:
        raise _unusable(library, runtime, one_line(error), hint)
    if entry is None:
        raise _unusable(library, runtime, "it is not a delegate, for it lacks {}.".format(_ENTRY), hint)
    try:
        return interpreter.load_delegate(library, pairs)
    except Exception as error:
        # "Failed to load delegate from <library>", a line feed, and what the library reported: mostly nothing at all.
        text = str(error).partition("\n")[2].strip() or "it refuses, and does not say why"
        raise _unusable(library, runtime, one_line(RuntimeError(text)), hint)


def _unusable(library: str, runtime: str, reason: str, hint: str) -> RuntimeUnavailable:
    return RuntimeUnavailable(
        "The delegate {} cannot be used: {} {}".format(library, reason, hint),
        runtime=runtime,
        package=library,
    )


def _check_options(name: str, known: Known, pairs: Dict[str, str]) -> None:
    for key in sorted(pairs):
        if key not in known.options:
            raise OptionInvalid(
                "The delegate {} does not take the option '{}'{} {}".format(
                    name,
                    key,
                    nearest(key, known.options) or ".",
                    "It takes {}.".format(", ".join(known.options)) if known.options else "It takes none.",
                ),
                option="delegate_options",
                value=key,
            )


def _check_compiled(path: str, name: str, known: Known, facts: TfliteFacts) -> None:
    if known.compiled_op is not None and known.compiled_op not in facts.custom_ops:
        raise ModelInvalid(
            "The delegate {} runs only what its compiler made, and the model {} has no operator {}; compile it with "
            "'{}'.".format(name, path, known.compiled_op, known.compiler),
            path=path,
        )


def _cache(name: str, known: Optional[Known], folder: str, path: str, options: LoadOptions) -> Dict[str, str]:
    """Return the options that let a delegate keep what it compiles in a place of this model's own.

    A delegate loads whatever lies at the place it is given, be it another model's (delegate_main.cc, Delegate::Init).
    """
    if known is None or known.cache is None:
        raise OptionInvalid(
            "The delegate {} keeps nothing of what it compiles; leave delegate_cache out.".format(name),
            option="delegate_cache",
            value=folder,
        )
    place = os.path.join(folder, name, _fingerprint(path, options))
    try:
        if (
            known.cached_by
        ):  # vx: one file, which it makes; an empty one is left of a load that died and would be taken
            os.makedirs(os.path.dirname(place), exist_ok=True)
            if os.path.exists(place) and os.path.getsize(place) == 0:
                os.remove(place)
        else:  # ethos-u: a folder, with a file for each part of the model
            os.makedirs(place, exist_ok=True)
    except OSError as error:
        raise OptionInvalid(
            "The folder {} cannot be used for delegate_cache: {}.".format(folder, error.strerror),
            option="delegate_cache",
            value=folder,
        )
    return {known.cache: place, **dict(known.cached_by)}


def _fingerprint(path: str, options: LoadOptions) -> str:
    digest = hashlib.sha256(repr((options.batch, sorted(options.shapes().items()))).encode())
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _pairs(text: str) -> Dict[str, str]:
    found = {}
    for item in (part.strip() for part in text.split(",")):
        if item:
            key, colon, value = item.partition(":")
            if not (key and colon):
                raise OptionInvalid(
                    "delegate_options holds '{}'; write key:value with commas between.".format(item),
                    option="delegate_options",
                )
            found[key] = value
    return found
