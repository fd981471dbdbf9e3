"""One upload to a board: header, wish, chunks. The board says from which byte on it needs the file."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from farm.v1 import device_service_pb2 as pb
from farm.v1 import model_pb2

from hostctl.errors import DeviceError, ModelFileError

CHUNK_BYTES = 1 << 20

LoadProgress = Callable[[str, int, int], None]
"""Called with a stage ("receiving", "verifying", "building"), the bytes on the board, and the file's size."""
LogLine = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model on this machine: its path, size and SHA-256 in lower-case hexadecimal."""

    path: Path
    size_bytes: int
    sha256: str


def read_model_file(path: Path) -> ModelFile:
    """Hash a file in constant memory. Raises ModelFileError if it is missing, empty or unreadable."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size_bytes = file.tell()
    except IsADirectoryError:
        raise ModelFileError(f"{path} is a directory; name the model file in it.") from None
    except FileNotFoundError:
        raise ModelFileError(f"The model {path} does not exist; check the path.") from None
    except OSError as error:
        raise ModelFileError(f"The model {path} cannot be read ({error.strerror}); check it.") from None
    if size_bytes == 0:
        raise ModelFileError(f"The model {path} is empty; export or copy it again.")
    return ModelFile(path, size_bytes, digest)


class Upload:
    """The two directions of one LoadModel call.

    `requests` feeds gRPC from its own thread and waits for the board's wish before it sends a byte; `follow` reads
    the answers. `received_bytes` is what the board has confirmed.
    """

    def __init__(self, model: ModelFile, header: pb.LoadModelHeader) -> None:
        self._model = model
        self._header = header
        self._offset: int | None = None
        self._wish = threading.Event()
        self.received_bytes = 0
        self.file_error: OSError | None = None

    def close(self) -> None:
        """Let the sending side end, whether or not the board ever answered."""
        self._wish.set()

    def requests(self) -> Iterator[pb.LoadModelRequest]:
        """Yield the header, and after the board's wish the chunks."""
        yield pb.LoadModelRequest(header=self._header)
        self._wish.wait()
        if self._offset is None or self._offset >= self._model.size_bytes:
            return
        try:
            with self._model.path.open("rb") as file:
                file.seek(self._offset)
                yield from self._chunks(file)
        except OSError as error:  # raised in gRPC's thread, told by `follow`
            self.file_error = error

    def _chunks(self, file: BinaryIO) -> Iterator[pb.LoadModelRequest]:
        while chunk := file.read(CHUNK_BYTES):
            yield pb.LoadModelRequest(chunk=chunk)

    def follow(
        self, answers: Iterator[pb.LoadModelResponse], progress: LoadProgress, log: LogLine
    ) -> model_pb2.LoadedModel:
        """Read the answers to the end and return the loaded model. gRPC's errors pass through."""
        loaded = None
        for answer in answers:
            event = answer.WhichOneof("event")
            if event == "upload":
                self._offset = self.received_bytes = answer.upload.offset_bytes
                self._wish.set()
                progress("receiving", self.received_bytes, self._model.size_bytes)
            elif event == "progress":
                self.received_bytes = max(self.received_bytes, answer.progress.received_bytes)
                progress(_stage(answer.progress.stage), self.received_bytes, self._model.size_bytes)
            elif event == "log_line":
                log(answer.log_line)
            elif event == "model":
                loaded = answer.model
        if loaded is None:
            raise DeviceError("The device ended the load without an answer; look at its farmd's log.")
        return loaded


def _stage(stage: int) -> str:
    return pb.LoadProgress.Stage.Name(stage).removeprefix("STAGE_").lower()  # type: ignore[arg-type]
