"""OpenVINO IR as one file: a ZIP archive with exactly one .xml (topology) and at most one .bin (weights).

Members are stored or deflated and may lie in folders; ``pack`` writes such a file. A bare .xml is taken too: with the .bin
beside it if there is one of the same name, else as a model without weights.
"""

import os
from typing import Tuple

from targets.errors import ModelInvalid
from targets.formats import pair_file


def pack(xml_path: str, bin_path: str, archive_path: str) -> None:
    """Write the archive of an IR."""
    pair_file.pack((xml_path, "model.xml"), (bin_path, "model.bin"), archive_path)


def read(path: str) -> Tuple[bytes, bytes]:
    """Return topology and weights (empty if there are none). ModelInvalid for anything else."""
    if pair_file.is_pair(path):
        return pair_file.read(path, (".xml", ".bin"), "an OpenVINO model")
    with open(path, "rb") as file:
        xml = file.read()
    if not xml.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        raise ModelInvalid(
            "The model file {} is no OpenVINO IR: give a .xml, or a ZIP with one .xml and one .bin.".format(
                path
            ),
            path=path,
        )
    weights = os.path.splitext(path)[0] + ".bin"
    if weights != path and os.path.isfile(weights):
        with open(weights, "rb") as file:
            return xml, file.read()
    return xml, b""
