"""What is read of files that a vendor's compiler made, before the vendor's library sees them: HEF and xmodel."""

import struct
from pathlib import Path

import pytest

from targets.errors import ModelInvalid
from targets.formats import hef_file, xmodel_file
from tests.targets.runners import hef_models, xmodel_models


def hef(folder: Path, version: int, header_bytes: int, proto: bytes) -> str:
    path = folder / "model.hef"
    path.write_bytes(struct.pack(">4sI", hef_file.MAGIC, version).ljust(header_bytes, b"\0") + proto)
    return str(path)


@pytest.mark.parametrize(("version", "header_bytes"), [(0, 32), (1, 28), (2, 44), (3, 56)])
def test_the_header_of_a_hef_tells_architecture_and_compiler(
    tmp_path: Path, version: int, header_bytes: int
) -> None:
    whole = hef_models.pack(hef_models.network(architecture="HAILO8L"))
    facts = hef_file.read(hef(tmp_path, version, header_bytes, whole[32:]))
    assert (facts.architecture, facts.compiler) == ("HAILO8L", "3.31.0")


def test_what_a_hef_does_not_tell_is_none_and_left_to_hailort(tmp_path: Path) -> None:
    # The first architecture has the number 0, which a protocol buffer leaves out.
    facts = hef_file.read(hef(tmp_path, 0, 32, b"\x0a\x05\x1a\x033.0"))
    assert (facts.architecture, facts.compiler) == ("HAILO8", "3.0")
    for version, proto in (
        (9, b"\x0a\x02\x08\x03"),
        (0, b""),
        (0, b"\x12\x02\x08\x03"),
        (0, b"\x0a\x7f\x08"),
    ):
        facts = hef_file.read(hef(tmp_path, version, 32, proto))
        assert (facts.architecture, facts.compiler) == (None, None)
    assert hef_file.read(hef(tmp_path, 0, 32, b"\x0a\x02\x08\x63")).architecture == "99"


def test_other_files_are_no_hef(tmp_path: Path) -> None:
    path = tmp_path / "model.hef"
    for content in (b"PK\3\4", b"\x01HE", b"TFL3" * 20):
        path.write_bytes(content)
        with pytest.raises(ModelInvalid, match="is no HEF"):
            hef_file.read(str(path))


def test_an_xmodel_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.xmodel"
    whole = xmodel_models.pack(xmodel_models.graph())
    path.write_bytes(whole)
    xmodel_file.check(str(path))
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ModelInvalid, match="vai_c_xir"):
            xmodel_file.check(str(path))
