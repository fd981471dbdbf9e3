"""A model of two files as one: a ZIP archive that holds one file of each kind, stored or deflated, in whatever folder."""

import zipfile
import zlib
from typing import List, Tuple

from targets.errors import ModelInvalid


def pack(first: Tuple[str, str], second: Tuple[str, str], archive_path: str) -> None:
    """Write (path, name in the archive) twice. Stored, not deflated: weights hardly shrink, and reading stays fast."""
    with zipfile.ZipFile(archive_path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for path, name in (first, second):
            archive.write(path, name)


def is_pair(path: str) -> bool:
    """Whether the file is an archive at all."""
    return zipfile.is_zipfile(path)


def read(path: str, suffixes: Tuple[str, str], what: str) -> Tuple[bytes, bytes]:
    """Return the contents of the one file of the first kind and of the one of the second, empty if there is none.

    ModelInvalid, which calls the model ``what``, if the archive is damaged or holds several of a kind.
    """
    first, second = suffixes
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            one = _single(path, names, first, what)
            has_other = any(name.endswith(second) for name in names)
            return archive.read(one), archive.read(_single(path, names, second, what)) if has_other else b""
    except (
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,
        EOFError,
        NotImplementedError,
    ) as error:
        raise ModelInvalid("The model file {} is a damaged archive: {}.".format(path, error), path=path)


def _single(path: str, names: List[str], suffix: str, what: str) -> str:
    found = [name for name in names if name.endswith(suffix)]
    if len(found) != 1:
        raise ModelInvalid(
            "The archive {} holds {} {} files; {} has one.".format(path, len(found), suffix, what), path=path
        )
    return found[0]
