"""One LoadModel call: a checked header, the bytes that are missing, the worker's load."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator

from farm.v1 import device_service_pb2 as pb

from farmd import errors
from farmd.benchmark import duration_ns
from farmd.cache import CachedModel, ModelCache, Upload
from farmd.config import Config
from farmd.dialogue import Event
from farmd.models import LoadPlan
from farmd.supervisor import Supervisor
from farmd.waiting import Cancel

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
MAX_NAME_LENGTH = 255
MAX_OPTIONS = 64
MAX_OPTION_LENGTH = 1024
# How often the client hears of an upload: after so many bytes, or so much time.
PROGRESS_BYTES = 4 << 20
PROGRESS_S = 0.5

Responses = Iterator[pb.LoadModelResponse]
_Stage = pb.LoadProgress


def plan_of(header: pb.LoadModelHeader, config: Config, fence: int | None) -> LoadPlan:
    """Check a header; RequestInvalid names the field. Hash and size are the cache's to check."""
    for field in ("format", "runtime"):
        value: str = getattr(header, field)
        if not _WORD.fullmatch(value):
            raise _wrong(field, f"'{field}' must be one word such as 'onnx' or 'onnxruntime', not {value!r}.")
    if not header.name or len(header.name) > MAX_NAME_LENGTH or not header.name.isprintable():
        raise _wrong(
            "name", f"'name' must be 1 to {MAX_NAME_LENGTH} printable characters; give the file's name."
        )
    if header.precision and not _WORD.fullmatch(header.precision):
        raise _wrong(
            "precision", f"'precision' must be one word such as 'float16', not {header.precision!r}."
        )
    if header.HasField("batch") and header.batch < 1:
        raise _wrong("batch", f"'batch' must be at least 1, not {header.batch}.")
    _check_options(header)
    return LoadPlan(
        name=header.name,
        format=header.format,
        sha256=header.sha256,
        size_bytes=header.size_bytes,
        runtime=header.runtime,
        precision=header.precision or None,
        batch=header.batch if header.HasField("batch") else None,
        options=dict(header.options),
        timeout_s=_timeout_s(header, config),
        fence=fence,
    )


def _wrong(field: str, message: str) -> errors.RequestInvalid:
    return errors.RequestInvalid.of_field(f"header.{field}", message)


def _check_options(header: pb.LoadModelHeader) -> None:
    if len(header.options) > MAX_OPTIONS:
        raise _wrong("options", f"{len(header.options)} options were sent; at most {MAX_OPTIONS} are taken.")
    for key, value in header.options.items():
        if not key or len(key) > MAX_OPTION_LENGTH or len(value) > MAX_OPTION_LENGTH:
            raise _wrong(
                "options", f"An option's key and value have at most {MAX_OPTION_LENGTH} characters each."
            )


def _timeout_s(header: pb.LoadModelHeader, config: Config) -> float:
    if not header.HasField("load_timeout"):
        return config.load_timeout_s
    asked_s = duration_ns(header.load_timeout, "header.load_timeout") / 1e9
    if not 0 < asked_s <= config.load_timeout_s:
        raise _wrong(
            "load_timeout",
            f"'load_timeout' is {asked_s:g} s; it must be more than 0 and at most this board's limit of "
            f"{config.load_timeout_s:g} s.",
        )
    return asked_s


class Load:
    """One call from its header to its last answer."""

    def __init__(
        self,
        config: Config,
        supervisor: Supervisor,
        cache: ModelCache,
        cancel: Cancel,
        fence: int | None = None,
    ) -> None:
        self._config = config
        self._fence = fence
        self._supervisor = supervisor
        self._cache = cache
        self._cancel = cancel

    def run(self, requests: Iterator[pb.LoadModelRequest]) -> Responses:
        """Yield the answers. What has arrived of a file stays for the next try, however the call ends."""
        first = next(requests, None)
        if first is None or first.WhichOneof("part") != "header":
            raise errors.RequestInvalid.of_field("header", "The first message of a load must be its header.")
        plan = plan_of(first.header, self._config, self._fence)
        self._cache.check(plan.sha256, plan.size_bytes)
        with self._supervisor.activity.load(plan.name):
            self._supervisor.check_capacity(plan)
            file = yield from self._receive(plan, requests)
            yield _progress(_Stage.STAGE_BUILDING, plan.size_bytes)
            yield from self._build(plan, file)

    def _receive(
        self, plan: LoadPlan, requests: Iterator[pb.LoadModelRequest]
    ) -> Generator[pb.LoadModelResponse, None, CachedModel]:
        with self._cache.upload(plan.sha256, plan.size_bytes, self._cancel) as upload:
            yield pb.LoadModelResponse(upload=pb.UploadOffset(offset_bytes=upload.offset_bytes))
            if not upload.is_complete:
                yield from self._chunks(upload, requests)
                yield _progress(_Stage.STAGE_VERIFYING, upload.offset_bytes)
            return upload.finish()

    def _chunks(self, upload: Upload, requests: Iterator[pb.LoadModelRequest]) -> Responses:
        told_bytes, told_s = upload.offset_bytes, time.monotonic()
        while not upload.is_complete:
            self._cancel.check()
            request = next(requests, None)
            if request is None:
                return
            if request.WhichOneof("part") != "chunk":
                raise errors.RequestInvalid.of_field("chunk", "After the header only chunks may come.")
            upload.write(request.chunk)
            now_s = time.monotonic()
            if upload.offset_bytes - told_bytes >= PROGRESS_BYTES or now_s - told_s >= PROGRESS_S:
                told_bytes, told_s = upload.offset_bytes, now_s
                yield _progress(_Stage.STAGE_RECEIVING, upload.offset_bytes)

    def _build(self, plan: LoadPlan, file: CachedModel) -> Responses:
        load = self._supervisor.load(plan, file, self._cancel)
        try:
            while True:
                answer = _told(next(load))
                if answer is not None:
                    yield answer
        except StopIteration as stop:
            yield pb.LoadModelResponse(model=stop.value.message)
        finally:
            load.close()


def _told(event: Event) -> pb.LoadModelResponse | None:
    if event.kind == "log":
        return pb.LoadModelResponse(log_line=str(event.members.get("message", "")))
    return None


def _progress(stage: pb.LoadProgress.Stage.ValueType, received_bytes: int) -> pb.LoadModelResponse:
    return pb.LoadModelResponse(progress=pb.LoadProgress(stage=stage, received_bytes=received_bytes))
