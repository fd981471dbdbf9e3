"""Which GPU or DLA a load names."""

import re
from typing import Optional, Tuple

from targets.errors import OptionInvalid
from targets.options import LoadOptions

_DEVICE = re.compile(r"(gpu|cuda|dla)(?::(\d+))?$")


class Place:
    """A GPU by its index, and the DLA core on it; ``name`` is the effective device, as it was named."""

    def __init__(self, name: str, gpu: int, dla_core: Optional[int]) -> None:
        self.name = name
        self.gpu = gpu
        self.dla_core = dla_core


def place_of(options: LoadOptions, gpus: int) -> Place:
    """Return what the options device (gpu:N, cuda:N or dla:N) and dla_core name; OptionInvalid where it is not there."""
    text = (options.text("device") or "gpu:0").lower()
    core = options.integer("dla_core", minimum=0)
    kind, number = _parse(text, gpus)
    if kind != "dla":
        return Place(text if core is None else "dla:{}".format(core), number, core)
    if core not in (None, number):
        raise OptionInvalid(
            "device={} and dla_core={} disagree; give one.".format(text, core), option="dla_core"
        )
    return Place(text, 0, number)  # only Jetsons have DLAs, and they have one GPU


def _parse(text: str, gpus: int) -> Tuple[str, int]:
    match = _DEVICE.match(text)
    kind, number = (match.group(1), int(match.group(2) or 0)) if match else ("", 0)
    if not kind or (kind != "dla" and number >= gpus):
        raise OptionInvalid(
            "There is no device '{}' here; there {} {}, and dla:N where the GPU has DLA cores.".format(
                text, "is" if gpus == 1 else "are", ", ".join("gpu:{}".format(at) for at in range(gpus))
            ),
            option="device",
            value=text,
        )
    return kind, number
