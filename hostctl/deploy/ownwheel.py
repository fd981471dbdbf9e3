"""The wheel of the wattfarm that runs here: built from the source tree, or put together again from what is installed."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

import hostctl
from hostctl.deploy.errors import WheelMissing

NAME = "wattfarm"
_NOT_IN_WHEELS = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}
"""What an installer adds to the .dist-info (PyPA, recording installed projects)."""
_EPOCH = (1980, 1, 1, 0, 0, 0)


def own_wheel(cache: Path) -> Path:
    """Return the wheel of the running version; the same content gives the same file. Raises WheelMissing."""
    source = Path(hostctl.__file__).resolve().parents[1]
    if (source / "pyproject.toml").is_file():
        return _built(source, cache / "own" / _tree_hash(source))
    try:
        return repack(distribution(NAME), cache / "own" / "installed")
    except PackageNotFoundError:
        raise WheelMissing(
            "The wattfarm that runs here is neither a source tree nor an installed package; name a wheel with --wheel."
        ) from None


def _tree_hash(source: Path) -> str:
    """Return a hash over what a wheel is made of."""
    digest = hashlib.sha256()
    for path in sorted(_sources(source)):
        digest.update(f"{path.relative_to(source)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _sources(source: Path) -> Iterator[Path]:
    yield from (source / name for name in ("pyproject.toml", "README.md", "LICENSE"))
    for folder in ("farmd", "hostctl", "power", "proto", "targets"):
        for path in (source / folder).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def _built(source: Path, place: Path) -> Path:
    if found := sorted(place.glob("*.whl")):
        return found[0]
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as fresh:
        command = [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            "--wheel-dir",
            fresh,
            str(source),
        ]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        wheels = sorted(Path(fresh).glob("*.whl"))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["pip said nothing"]
            raise WheelMissing(
                f"The wheel of {source} cannot be built ({lines[-1].strip()}); run 'pip wheel --no-deps {source}' to see why, "
                "or name a wheel with --wheel."
            )
        place.mkdir(exist_ok=True)
        return Path(shutil.move(wheels[0], place / wheels[0].name))


def repack(installed: Distribution, folder: Path) -> Path:
    """Return a wheel with the files that an installed pure-Python distribution consists of (its RECORD)."""
    name = f"{installed.metadata['Name']}-{installed.version}-py3-none-any.whl"
    files = {
        str(path): path.locate()
        for path in installed.files or ()
        if ".." not in path.parts and path.name not in _NOT_IN_WHEELS and "__pycache__" not in path.parts
    }
    info = next((PurePosixPath(path).parent for path in files if path.endswith(".dist-info/METADATA")), None)
    if info is None:
        raise WheelMissing(
            f"The installed {installed.metadata['Name']} has no list of its files; name a wheel with --wheel."
        )
    folder.mkdir(parents=True, exist_ok=True)
    contents = {path: Path(str(place)).read_bytes() for path, place in sorted(files.items())}
    contents[f"{info}/RECORD"] = _record(contents, f"{info}/RECORD")
    fresh = folder / f".{name}"
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in contents.items():
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return fresh.replace(folder / name)


def _record(contents: dict[str, bytes], itself: str) -> bytes:
    """Return a wheel's RECORD (PyPA, binary distribution format)."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for path, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow((path, f"sha256={digest}", len(content)))
    rows.writerow((itself, "", ""))
    return text.getvalue().encode()
