"""INT8 calibration from a data file on the board, for a float32 model, where this TensorRT still has calibrators.

Source: TensorRT Python API, IInt8EntropyCalibrator2 (deprecated in 10.1, gone in 11: there the file itself must be quantised).
"""

import hashlib
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from targets.errors import OptionInvalid
from targets.runners.parts.cuda import Cuda
from targets.runners.parts.tensorrt.cache import Cache
from targets.runners.parts.tensorrt.shapes import Range
from targets.tensors import Array

_OPTION = "calibration"


def read_samples(path: str, ranges: Sequence[Range]) -> Dict[str, Array]:
    """Return the samples of each input, [samples, ...] float32, from a .npz by input names or the .npy of the only input.

    OptionInvalid where the file cannot be read or does not fit the model.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        is_one = isinstance(loaded, np.ndarray)
        found = {ranges[0].name: loaded} if is_one else {name: loaded[name] for name in loaded.files}
    except Exception as error:  # numpy raises OSError, ValueError, BadZipFile and more
        raise _refusal("cannot be read: {}".format(" ".join(str(error).split())), path)
    for each in ranges:
        if each.name not in found:
            raise _refusal("has no samples for the input '{}'".format(each.name), path)
        samples = found[each.name]
        if samples.shape[1:] != each.optimal[1:]:
            raise _refusal(
                "has samples of shape {} for the input '{}', which takes {}".format(
                    list(samples.shape[1:]), each.name, list(each.optimal[1:])
                ),
                path,
            )
        if len(samples) < each.optimal[0]:
            raise _refusal("has {} samples; one batch needs {}".format(len(samples), each.optimal[0]), path)
        found[each.name] = np.ascontiguousarray(samples, dtype=np.float32)
    return found


def _refusal(what: str, path: str) -> OptionInvalid:
    return OptionInvalid("The calibration file {} {}.".format(path, what), option=_OPTION, value=path)


def samples_hash(samples: Dict[str, Array]) -> str:
    """Return a hash of the samples, for the key of the calibration table."""
    found = hashlib.sha256()
    for name in sorted(samples):
        found.update(name.encode() + b"\0" + repr(samples[name].shape).encode() + samples[name].tobytes())
    return found.hexdigest()


class Feed:
    """Gives the builder one batch after another in device memory. It must live until the build is over."""

    def __init__(self, cuda: Cuda, samples: Dict[str, Array], batch: int, cache: Cache, name: str) -> None:
        self._cuda = cuda
        self._samples = samples
        self._cache = cache
        self._name = name
        self._next = 0
        self._device: Dict[str, int] = {}
        self._stream = cuda.stream()
        self.batch = batch
        self.error: Optional[BaseException] = None

    def get_batch(self, names: List[str]) -> Optional[List[int]]:
        """Return the addresses of the next batch's inputs; None when there are no more, or after an error.

        An exception must not pass through TensorRT: up to 8.2 it ends the process (TensorRT 8.2, pyInt8.cpp). It is kept for
        who called the builder.
        """
        begin, self._next = self._next, self._next + self.batch
        if any(self._next > len(self._samples[name]) for name in names):
            return None
        try:
            return [self._place(name, self._samples[name][begin : self._next]) for name in names]
        except Exception as error:
            self.error = error
            return None

    def _place(self, name: str, batch: Array) -> int:
        if name not in self._device:
            self._device[name] = self._cuda.malloc(batch.nbytes)
        host = self._cuda.host_buffer(batch.nbytes)
        try:
            host.typed("float32", batch.shape)[...] = batch
            self._cuda.copy_to_device(self._device[name], host, batch.nbytes, self._stream)
            self._cuda.synchronize(self._stream)
        finally:
            self._cuda.free_host(host)
        return self._device[name]

    def read_table(self) -> Optional[bytes]:
        """Return the table of an earlier calibration with the same data."""
        return self._cache.read(self._name)

    def write_table(self, table: bytes) -> None:
        """Keep the table for the next build."""
        self._cache.write(self._name, table)

    def close(self) -> None:
        """Free the device memory."""
        for pointer in self._device.values():
            self._cuda.free(pointer)
        self._device = {}
        self._cuda.free_stream(self._stream)


def calibrator(trt: Any, feed: Feed) -> Any:
    """Return the object that TensorRT calls, over a feed."""

    class Calibrator(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]  # the vendor's package has no types
        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)  # TensorRT asks for it by name

        def get_batch_size(self) -> int:
            return feed.batch

        def get_batch(self, names: List[str]) -> Optional[List[int]]:
            return feed.get_batch(names)

        def read_calibration_cache(self) -> Optional[bytes]:
            return feed.read_table()

        def write_calibration_cache(self, cache: Any) -> None:
            feed.write_table(bytes(cache))

    return Calibrator()
