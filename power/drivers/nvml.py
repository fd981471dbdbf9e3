"""NVIDIA graphics cards through NVML.

Source: NVIDIA, "NVML API Reference Guide": nvmlDeviceGetTotalEnergyConsumption (mJ since the driver was loaded, Volta and
newer), nvmlDeviceGetPowerUsage (mW; the mean of a second from Ampere on, except GA100; instantaneous before),
NVML_FI_DEV_POWER_INSTANT and _AVERAGE; Yang, Adámek, Armour, "Part-time Power Measurements: nvidia-smi's Lack of Attention",
arXiv 2312.02741: power is sampled for a part of the time only (25 % on A100 and H100), so the energy counter is taken where
there is one.

NVML starts on Jetson too and tells neither: what a card can do is found out by asking for values. NVIDIA states no accuracy
today.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal, Self

from power.drivers.common.base import SIMULATED_SERIAL, PolledInstrument
from power.drivers.common.readings import Rising
from power.errors import InstrumentError, LinkLost, MeterUnavailable, NoReading, PowerError
from power.meter import Identity, Scope
from power.options import Options
from power.sample import Sample
from power.timebase import Timebase
from power.trace import Reading
from power.uncertainty import Accuracy

Source = Literal["energy", "instant", "average", "usage"]
MODES = ("auto", "energy", "instant", "average")
COUNTER_S = 0.1
"""About how often the counter is renewed: a difference over less may be 0."""
AVERAGED_S = 1.0
SEEN_LATE_S = 0.1
"""How old a power may be."""
GA100 = ("A100", "A30")
NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND = 3, 4, 6, 9, 12
GONE = frozenset({1, 15, 16, 28})
"""Uninitialised, GPU lost, GPU to be reset, GPU not found."""
AMPERE = 7
FIELDS = {"instant": 186, "average": 185}


class Nvml(PolledInstrument):
    """One card, with its memory."""

    driver = "nvml"
    scope: Scope = "card"

    def __init__(
        self,
        timebase: Timebase,
        *,
        index: int | None = None,
        uuid: str | None = None,
        mode: str = "auto",
        interval_s: float = 0.1,
        module: str = "pynvml",
    ) -> None:
        self._timebase, self._index, self._uuid = timebase, index, uuid
        self._mode, self._interval_s, self._module = mode, interval_s, module
        self._source: Source = "energy" if mode in ("auto", "energy") else "usage"
        self._is_mean = False
        self._nvml: Any = None
        self._card: Any = None
        self._name = "the card"
        self._rising = Rising()

    @classmethod
    def from_options(cls, options: Options, timebase: Timebase) -> Self:
        """Take index or uuid, mode, interval_s and module (the name of the Python module, if it is another)."""
        index = options.integer("index", low=0, high=255) if "index" in options else None
        uuid = options.text("uuid") if "uuid" in options else None
        if index is not None and uuid is not None:
            options.fail("index and uuid both name the card; give one of them")
        return cls(
            timebase,
            index=index,
            uuid=uuid,
            mode=options.choice("mode", MODES, "auto"),
            interval_s=options.number("interval_s", 0.1, low=0.02, high=60.0),
            module=options.text("module", "pynvml"),
        )

    @property
    def reading(self) -> Reading:
        """A counter, or power of an instant or of a second."""
        if self._source == "energy":
            return "counter"
        return "average" if self._is_mean else "instantaneous"

    @property
    def interval_s(self) -> float:
        """Time between readings."""
        return self._interval_s

    @property
    def averaging_s(self) -> float | None:  # type: ignore[override]
        """A second, where the card averages."""
        return AVERAGED_S if self.reading == "average" else None

    @property
    def update_s(self) -> float | None:  # type: ignore[override]
        """Of the counter."""
        return COUNTER_S if self.reading == "counter" else None

    @property
    def step_j(self) -> float | None:  # type: ignore[override]
        """Of the counter."""
        return 1e-3 if self.reading == "counter" else None

    @property
    def time_bound_s(self) -> float:  # type: ignore[override]
        """How late a power may be; that of a counter is its period of renewal, which is accounted for."""
        return 0.002 if self.reading == "counter" else SEEN_LATE_S

    @property
    def resolution_w(self) -> float | None:
        """Whole mW; sensors are coarser and do not tell."""
        return None if self._source == "energy" else 1e-3

    def accuracy(self, voltage_v: float | None) -> Accuracy | None:
        """NVIDIA states none."""
        return None

    def connect(self) -> Identity:
        """Load NVML, find the card and what it can tell."""
        try:
            self._nvml = importlib.import_module(self._module)
        except ImportError:
            raise MeterUnavailable(
                "NVIDIA cards are read with nvidia-ml-py; run pip install 'wattfarm[nvml]'."
            ) from None
        try:
            self._nvml.nvmlInit()
            self._card = self._found()
            self._name = _text(self._nvml.nvmlDeviceGetName(self._card))
            self._choose()
            return self._identity()
        except self._nvml.NVMLError as error:
            self.disconnect()
            raise self._unavailable(error) from None
        except PowerError:
            self.disconnect()
            raise

    def begin(self) -> None:
        """Count from here."""
        self._rising = Rising()

    def read(self) -> Sample:
        """Ask for the counter or the power."""
        if self._card is None:
            raise NoReading("The card was not opened.")
        begin_ns = self._timebase.now_ns()
        try:
            value = self._value(self._source)
        except self._nvml.NVMLError as error:
            raise self._broken(error) from None
        time_ns = (begin_ns + self._timebase.now_ns()) // 2
        if value is None:
            return Sample(time_ns)
        if self._source != "energy":
            return Sample(time_ns, power_w=value)
        return Sample(time_ns, energy_j=self._rising.checked(value, f"the card {self._name}"))

    def make_safe(self) -> None:
        """Nothing was set."""

    def disconnect(self) -> None:
        """Let go of NVML."""
        nvml, self._nvml, self._card = self._nvml, None, None
        if nvml is not None:
            try:
                nvml.nvmlShutdown()
            except nvml.NVMLError:
                return  # it was never started, or its driver is gone

    def _found(self) -> Any:
        nvml = self._nvml
        if self._uuid is not None:
            try:
                return nvml.nvmlDeviceGetHandleByUUID(self._uuid)
            except nvml.NVMLError as error:
                if error.value != NOT_FOUND:
                    raise
                raise MeterUnavailable(
                    f"There is no card with the uuid '{self._uuid}'; there are {self._cards()}."
                ) from None
        count = nvml.nvmlDeviceGetCount()
        if not count:
            raise MeterUnavailable("NVML finds no card on this machine; see 'nvidia-smi -L'.")
        if self._index is None and count > 1:
            raise MeterUnavailable(
                f"This machine has several cards; give index or uuid in farm.toml: {self._cards()}."
            )
        if (self._index or 0) >= count:
            raise MeterUnavailable(
                f"There is no card with the index {self._index}; there are {self._cards()}."
            )
        return nvml.nvmlDeviceGetHandleByIndex(self._index or 0)

    def _cards(self) -> str:
        nvml = self._nvml
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return ", ".join(
            f"{index}: {_text(nvml.nvmlDeviceGetName(one))} ({_text(nvml.nvmlDeviceGetUUID(one))})"
            for index, one in enumerate(handles)
        )

    def _choose(self) -> None:
        """Take the first source that yields a value, of those that the mode allows."""
        wanted: tuple[Source, ...] = ("energy", "instant", "usage")
        if self._mode != "auto":
            wanted = (self._mode,)  # type: ignore[assignment]
        for source in wanted:
            value = self._asked(source)
            if value is None or (source == "energy" and value <= 0.0):
                continue
            self._source = source
            self._is_mean = source == "average" or (source == "usage" and self._usage_is_mean())
            return
        what = "its power" if self._mode == "auto" else f'what mode = "{self._mode}" asks for'
        raise MeterUnavailable(
            f"The {self._name} does not tell {what} through NVML; on a Jetson use jetson-ina3221, else another mode or meter."
        )

    def _asked(self, source: Source) -> float | None:
        try:
            return self._value(source)
        except self._nvml.NVMLError as error:
            if error.value in GONE or error.value == NO_PERMISSION:
                raise
            return None

    def _value(self, source: Source) -> float | None:
        """Return J of the counter, or W; None where the card has no value now."""
        nvml, card = self._nvml, self._card
        if source == "energy":
            return float(nvml.nvmlDeviceGetTotalEnergyConsumption(card)) * 1e-3
        if source == "usage":
            return float(nvml.nvmlDeviceGetPowerUsage(card)) * 1e-3
        (field,) = nvml.nvmlDeviceGetFieldValues(card, [FIELDS[source]])
        if field.nvmlReturn:
            raise nvml.NVMLError(field.nvmlReturn)
        return float(field.value.uiVal) * 1e-3

    def _usage_is_mean(self) -> bool:
        try:
            architecture = self._nvml.nvmlDeviceGetArchitecture(self._card)
        except self._nvml.NVMLError:
            return False
        return bool(architecture >= AMPERE) and not any(name in self._name for name in GA100)

    def _identity(self) -> Identity:
        nvml = self._nvml
        try:
            serial = _text(nvml.nvmlDeviceGetSerial(self._card))
        except nvml.NVMLError:  # consumer cards have none
            serial = _text(nvml.nvmlDeviceGetUUID(self._card))
        version = _text(nvml.nvmlSystemGetDriverVersion())
        return Identity("NVIDIA", self._name, serial, version, serial.startswith(SIMULATED_SERIAL))

    def _unavailable(self, error: Any) -> MeterUnavailable:
        if error.value in (LIBRARY_NOT_FOUND, DRIVER_NOT_LOADED):
            return MeterUnavailable(
                f"NVML cannot be used ({_said(error)}): install NVIDIA's driver and check it with 'nvidia-smi'."
            )
        if error.value == NO_PERMISSION:
            return MeterUnavailable(
                f"This user may not ask {self._name} for its power: give it access to /dev/nvidia*, or run as root."
            )
        return MeterUnavailable(f"NVML fails for {self._name} ({_said(error)}); check it with 'nvidia-smi'.")

    def _broken(self, error: Any) -> PowerError:
        if error.value in GONE:
            return LinkLost(
                f"The card {self._name} is gone ({_said(error)}); see 'dmesg', and reset or restart it."
            )
        if error.value == NOT_SUPPORTED:
            return NoReading(
                f"The card {self._name} tells no power any more ({_said(error)}); check it with 'nvidia-smi'."
            )
        return InstrumentError(
            f"The card {self._name} did not answer ({_said(error)}); check it with 'nvidia-smi'."
        )


def _text(value: object) -> str:
    """Return a text; older versions of the module return bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _said(error: object) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
