"""OpenVINO IR as one file: a ZIP archive with exactly one .xml (topology) and at most one .bin (weights).

Members are stored or deflated and may lie in folders; ``pack`` writes such a file. A bare .xml is taken too: with the .bin
beside it if there is one of the same name, else as a model without weights.
"""

import os
import zipfile
from typing import List, Tuple

from targets.errors import ModelInvalid


def pack(xml_path: str, bin_path: str, archive_path: str) -> None:
    """Write the archive of an IR. Stored, not deflated: weights hardly shrink, and reading stays fast."""
    with zipfile.ZipFile(archive_path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.write(xml_path, "model.xml")
        archive.write(bin_path, "model.bin")


def read(path: str) -> Tuple[bytes, bytes]:
    """Return topology and weights (empty if there are none). ModelInvalid for anything else."""
    try:
        if zipfile.is_zipfile(path):
            return _archive(path)
        with open(path, "rb") as file:
            xml = file.read()
    except (OSError, zipfile.BadZipFile, RuntimeError, EOFError) as error:
        raise ModelInvalid("The model file {} is a damaged archive: {}.".format(path, error), path=path)
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


def _archive(path: str) -> Tuple[bytes, bytes]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        xml = _single(path, [name for name in names if name.endswith(".xml")], "xml")
        weights = [name for name in names if name.endswith(".bin")]
        return archive.read(xml), archive.read(_single(path, weights, "bin")) if weights else b""


def _single(path: str, names: List[str], kind: str) -> str:
    if len(names) != 1:
        raise ModelInvalid(
            "The archive {} holds {} .{} files; an OpenVINO model has one.".format(path, len(names), kind),
            path=path,
        )
    return names[0]
