"""HailoRT: HEF files on Hailo-8, 8R and 8L (HailoRT 4.x) and Hailo-10H, 12L and 15 (5.x).

Names decide, not versions: where VDevice has create_infer_model (from 4.18), the asynchronous InferModel is used, else
InferVStreams.
Source: hailo-ai/hailort 4.17.1, 4.23.0 and 5.2.0, bindings/python; HailoRT User Guide.
"""

import contextlib
from typing import Any, Callable, Optional

from targets.errors import InferenceFailed, ModelInvalid, OptionInvalid, TargetsError
from targets.formats import hef_file
from targets.options import LoadOptions, resolve_shapes
from targets.runner import Runner
from targets.runners.parts.hailort import device as hailo_device
from targets.runners.parts.hailort.errors import is_vendors, status_of, translate
from targets.runners.parts.hailort.queues import InferModelEngine
from targets.runners.parts.hailort.streams import MAX_BATCH, Engine, Settings
from targets.runners.parts.hailort.vstreams import VStreamsEngine
from targets.runners.parts.vendor import keep_precision
from targets.tensors import ModelSpec, Tensors

_NOT_COMPATIBLE = 93
_MAX_DEFAULT_DEPTH = 8  # each request in flight is a thread of Python


class HailoRtRunner(Runner):
    """One model on one VDevice of one device or several."""

    name = "hailort"
    package = hailo_device.PACKAGE
    formats = ("hef",)
    compiler = "compile the model with Hailo's Dataflow Compiler: 'hailo parser onnx', 'hailo optimize', 'hailo compiler'"
    precisions = ("int8",)
    options = {
        "io": "native (the device's own types), float32 (converted on the host's CPU) or file (as the HEF says)",
        "scheduler": "on or off: HailoRT's round-robin scheduler",
        "scheduler_timeout_ms": "wait at most so long for the threshold",
        "scheduler_threshold": "frames that must wait before the model gets the device",
        "scheduler_priority": "0 to 31",
        "power_mode": "performance or ultra_performance",
        "timeout_ms": "an inference that takes longer has failed",
    }

    def __init__(self) -> None:
        super().__init__()
        self._vdevice: Any = None
        self._engine: Optional[Engine] = None

    @classmethod
    def version(cls) -> str:
        vendor = hailo_device.import_vendor()
        hailo_device.scan(vendor)
        return hailo_device.version_of(vendor)

    def _load(self, path: str, options: LoadOptions) -> ModelSpec:
        self._refuse(options)
        settings = Settings(options)
        facts = hef_file.read(path)
        vendor = hailo_device.import_vendor()
        ids = hailo_device.choose(vendor, options.text("device"))
        try:
            is_async = hasattr(vendor.VDevice, "create_infer_model")
            # HailoRT 4.17 runs the scheduler in a service of its own; before that and beside it, off is the plain way.
            is_scheduled = is_async if settings.scheduler is None else settings.scheduler == "on"
            self._vdevice = hailo_device.open_vdevice(vendor, ids, is_scheduled)
            opened, identity = hailo_device.identify(self._vdevice)
            ids = ids if set(ids) == set(opened) else opened  # HailoRT may tell them in another order
            self.effective.update(identity, device=",".join(ids), precision="int8")
            self._note(facts, settings, is_scheduled)
            self._engine = self._create(vendor, path, settings, is_scheduled, is_async, ids[0])
            self._engine.configure(self._batch(options))
            return self._accept(settings, options)
        except Exception as error:
            # The base class closes only what was loaded, and a device that stays open is lost to everybody.
            with contextlib.suppress(TargetsError):
                self._close()
            raise self._load_error(error, path, facts) if is_vendors(error) else error

    def _refuse(self, options: LoadOptions) -> None:
        """Refuse what HailoRT cannot give."""
        keep_precision("HailoRT", "int8", options.precision)
        if options.text("threads") is not None:
            raise OptionInvalid(
                "HailoRT computes on the device; it takes no option threads.", option="threads"
            )

    def _note(self, facts: hef_file.HefFacts, settings: Settings, is_scheduled: bool) -> None:
        """Write down what was set and has no way to be read back: HailoRT raises where it does not take a setting."""
        self.effective["scheduler"] = "on" if is_scheduled else "off"
        self.effective["timeout_ms"] = str(settings.timeout_ms)
        for key, value in settings.scheduler_settings.items():
            self.effective["scheduler_" + key] = str(value)
        if settings.power_mode is not None:
            self.effective["power_mode"] = settings.power_mode
        if facts.architecture is not None:
            self.effective["hef_architecture"] = facts.architecture
        if facts.compiler:
            self.effective["hef_compiler"] = facts.compiler

    def _create(
        self, vendor: Any, path: str, settings: Settings, is_scheduled: bool, is_async: bool, device: str
    ) -> Engine:
        if is_async:
            return InferModelEngine(vendor, self._vdevice, path, settings, is_scheduled)
        return VStreamsEngine(vendor, self._vdevice, path, settings, is_scheduled, device)

    def _batch(self, options: LoadOptions) -> Optional[int]:
        """Return the frames of a request that were asked for, by ``batch`` or by the first size of ``shape.<input>``."""
        firsts = {shape[0] for shape in resolve_shapes(self._loaded_engine().declared(), options)}
        if len(firsts) > 1:
            raise OptionInvalid(
                "All inputs of a HEF have the same batch; give one first size.", option="batch"
            )
        batch = firsts.pop()
        if batch > MAX_BATCH:
            raise OptionInvalid(
                "The batch {} is above HailoRT's {}.".format(batch, MAX_BATCH), option="batch"
            )
        return None if batch == -1 else batch

    def _accept(self, settings: Settings, options: LoadOptions) -> ModelSpec:
        """Record what came of it."""
        engine = self._loaded_engine()
        self.effective.update(api=engine.api, batch=str(engine.frames), queue_frames=str(engine.queue_frames))
        engine.judge_io(settings.io, self.effective, self.fallbacks)
        in_flight = options.integer("in_flight")
        if in_flight is not None:
            self._check_depth(in_flight)
        self.optimal_in_flight = min(engine.depth, _MAX_DEFAULT_DEPTH)
        return engine.spec()

    def _load_error(self, error: BaseException, path: str, facts: hef_file.HefFacts) -> Exception:
        if status_of(error) == _NOT_COMPATIBLE:
            return ModelInvalid(
                "The HEF {} was compiled for {}, but this device is a {}; compile it with "
                "'hailo compiler --hw-arch {}'.".format(
                    path,
                    facts.architecture or "another architecture",
                    self.effective.get("architecture", "different one"),
                    self.effective.get("architecture", "ARCHITECTURE").lower(),
                ),
                path=path,
                status=_NOT_COMPATIBLE,
            )
        return translate(error, "load {}".format(path), ModelInvalid)

    def _check_depth(self, count: int) -> None:
        engine = self._loaded_engine()
        if count > engine.depth:
            raise OptionInvalid(
                "{} requests in flight of {} frames are too many: {}.".format(
                    count,
                    engine.frames,
                    "HailoRT's queue of this model holds {} frames".format(engine.queue_frames)
                    if engine.api == InferModelEngine.api
                    else "this HailoRT has no asynchronous inference; raise the batch, or install 4.18 or later",
                ),
                option="in_flight",
                value=str(count),
            )

    def _open_slots(self, count: int) -> None:
        self._check_depth(count)

    def _bind(self, slot: int, inputs: Tensors) -> Callable[[], Any]:
        return self._loaded_engine().bind(slot, inputs)

    def _outputs(self, slot: int, returned: Any) -> Tensors:
        return self._loaded_engine().outputs(slot, returned)

    def device_time_ns(self, slot: int) -> Optional[int]:
        return self._loaded_engine().device_time_ns()

    def _close(self) -> None:
        engine, self._engine = self._engine, None
        vdevice, self._vdevice = self._vdevice, None
        try:
            try:
                if engine is not None:
                    engine.close()
            finally:
                if vdevice is not None:
                    vdevice.release()
        except Exception as error:
            raise translate(error, "give back the device", InferenceFailed) if is_vendors(error) else error

    def _loaded_engine(self) -> Engine:
        assert self._engine is not None
        return self._engine
