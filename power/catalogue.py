"""The meters by driver name. A driver's module is imported when it is first used."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

from power.errors import OptionInvalid
from power.meter import Meter, Scope
from power.timebase import HOST_TIME, Timebase

if TYPE_CHECKING:
    from power.drivers.common.base import Instrument
    from power.options import Options
    from power.sim.common.base import Simulator

Link = Literal["scpi", "serial", "mqtt", "http", "process", "host", "board"]


@dataclass(frozen=True, slots=True)
class Driver:
    """Where a driver is, how it is reached, which keys of `farm.toml` it takes, and what it reads in one line.

    simulator   "module:Class" of its simulated instrument (power/sim); None for what is no instrument
    """

    module: str
    class_name: str
    options: frozenset[str]
    summary: str
    link: Link
    simulator: str | None = None

    def load(self) -> type[Meter]:
        """Import a driver that is a meter by itself (links "host" and "board")."""
        found: type[Meter] = getattr(importlib.import_module(self.module), self.class_name)
        return found

    def instrument(self) -> type[Instrument]:
        """Import the driver of an instrument."""
        found: type[Instrument] = getattr(importlib.import_module(self.module), self.class_name)
        return found

    def simulated(self) -> type[Simulator]:
        """Import the simulated instrument. Raises OptionInvalid if there is none."""
        if self.simulator is None:
            raise OptionInvalid(f"There is no simulated instrument for the driver '{self.class_name}'.")
        module, _, name = self.simulator.partition(":")
        found: type[Simulator] = getattr(importlib.import_module(module), name)
        return found

    @property
    def is_instrument(self) -> bool:
        """Whether it is a driver below power/drivers, which a meter of power/meters has to drive."""
        return self.module.startswith("power.drivers.")


COMMON = frozenset({"accuracy", "simulated"})
"""Keys of every instrument."""
SCOPE = "voltage current supply_v supply_tolerance marker rate_hz acquisition"
"""Keys of every oscilloscope besides its own: power/meters/scope.py takes them."""
BROKER = "broker topic username password_env tls ca_file cert_file key_file"
"""Keys of what is reached over a broker."""
RAILS = "rails interval_s root"
"""Keys of every meter that is made of this machine's rails (power/drivers/common/onboard.py)."""
WIRING = "function range supply_v supply_tolerance supply_at shunt_ohm shunt_tolerance"
"""Keys of multimeters: what they are connected to (power/drivers/common/multimeter.py)."""


def _instrument(
    file: str, class_name: str, link: Link, summary: str, keys: str, simulator: str | None = None
) -> Driver:
    """Make the entry of power/drivers/<file>.py and, in general, power/sim/<file>.py."""
    simulated = simulator or f"power.sim.{file}:Simulated{class_name}"
    options = COMMON | frozenset(keys.split())
    return Driver(f"power.drivers.{file}", class_name, options, summary, link, simulated)


DRIVERS: dict[str, Driver] = {
    # no instrument
    "board": Driver(
        "power.meters.board",
        "BoardMeter",
        frozenset({"rails", "accuracy"}),
        "the board's own rails, sampled by its daemon",
        "board",
    ),
    "estimate": Driver(
        "power.meters.estimate",
        "EstimateMeter",
        frozenset({"idle_w", "max_w", "u_w"}),
        "no meter at all: watts estimated from processor time",
        "board",
    ),
    # oscilloscopes
    "keysight-infiniivision": _instrument(
        "keysight_infiniivision",
        "InfiniiVision",
        "scpi",
        "Keysight InfiniiVision oscilloscopes, 2000 to 6000 X-Series",
        f"resource {SCOPE}",
    ),
    "rigol-ds1000z": _instrument(
        "rigol_ds1000z",
        "RigolDs1000z",
        "scpi",
        "Rigol DS1000Z/MSO1000Z oscilloscope",
        f"resource {SCOPE}",
    ),
    "rigol-mso5000": _instrument(
        "rigol_mso5000", "RigolMso5000", "scpi", "Rigol MSO5000 oscilloscope", f"resource {SCOPE}"
    ),
    "siglent-sds": _instrument(
        "siglent_sds",
        "SiglentSds",
        "scpi",
        "Siglent SDS oscilloscope: SDS800X HD, SDS1000X HD, SDS2000X HD/Plus, SDS5000X",
        f"resource {SCOPE}",
    ),
    "siglent-sds-legacy": _instrument(
        "siglent_sds_legacy",
        "SiglentSdsLegacy",
        "scpi",
        "Siglent SDS1000X/X-E oscilloscope, older commands",
        f"resource {SCOPE}",
    ),
    "tektronix-mdo4000": _instrument(
        "tektronix_mdo4000", "Mdo4000", "scpi", "Tektronix MDO4000 oscilloscopes", f"resource {SCOPE}"
    ),
    # analysers, supplies and multimeters
    "keysight-34465a": _instrument(
        "keysight_34465a",
        "Keysight34465a",
        "scpi",
        "Keysight 34465A/34470A multimeter, digitising a current",
        f"resource {WIRING} rate_hz aperture_s memory_readings",
    ),
    "keysight-n6705": _instrument(
        "keysight_n6705",
        "KeysightN6705",
        "scpi",
        "Keysight N6705 with N6781A/N6782A, external data log",
        "resource channel current_range_a voltage_range_v period_s",
    ),
    "rs-ngu": _instrument(
        "rs_ngu",
        "RsNgu",
        "scpi",
        "R&S NGU and NGM supplies, FastLog",
        "resource channel current_range_a rate_hz",
    ),
    "scpi": _instrument(
        "generic_scpi",
        "GenericScpi",
        "scpi",
        "any other instrument that answers SCPI queries for power, or voltage and current",
        "resource identification set_up make_safe power_query voltage_query current_query supply_v reading averaging_s"
        " interval_s error_query",
    ),
    "siglent-sdm3055": _instrument(
        "siglent_sdm3055",
        "SiglentSdm3055",
        "scpi",
        "Siglent SDM3055 multimeter, averaging a current",
        f"resource {WIRING} nplc line_hz interval_s",
    ),
    "yokogawa-wt310": _instrument(
        "yokogawa_wt310",
        "Wt310",
        "scpi",
        "Yokogawa WT310/WT310E power analyser",
        "resource mode voltage_range_v current_range_a update_s input",
    ),
    # serial
    "ina-serial": _instrument(
        "ina_serial",
        "InaSerial",
        "serial",
        "INA219, INA226 or INA3221 read by a microcontroller",
        "port baud shunt_ohm shunt_tolerance channels clock_ppm",
    ),
    "nordic-ppk2": _instrument(
        "nordic_ppk2",
        "NordicPpk2",
        "serial",
        "Nordic Power Profiler Kit II, up to 1 A at 100 kS/s",
        "port mode supply_v marker switch_on spike_filter",
    ),
    "rdtech-um24c": _instrument("rdtech", "Um24c", "serial", "RuiDeng UM24C USB meter", "port"),
    "rdtech-um25c": _instrument("rdtech", "Um25c", "serial", "RuiDeng UM25C USB meter", "port"),
    "rdtech-um34c": _instrument("rdtech", "Um34c", "serial", "RuiDeng UM34C USB meter", "port"),
    "wattsup-pro": _instrument(
        "wattsup_pro", "WattsUpPro", "serial", "Watts up? PRO wall meter", "port baud"
    ),
    # this machine's own sensors
    "hailo": _instrument(
        "hailo", "Hailo", "host", "this machine's Hailo module, by its own monitor", "device averaging module"
    ),
    "hwmon": _instrument(
        "hwmon", "Hwmon", "host", "this machine's INA and other hwmon sensors", f"{RAILS} rail_map"
    ),
    "jetson-ina3221": _instrument(
        "jetson_ina3221",
        "JetsonIna3221",
        "host",
        "this Jetson's INA3221 rails",
        f"{RAILS} shunt_tolerance shunt_ohm",
    ),
    "nvml": _instrument(
        "nvml", "Nvml", "host", "this machine's NVIDIA card", "index uuid mode interval_s module"
    ),
    "rapl": _instrument("rapl", "Rapl", "host", "this machine's processor energy counters", RAILS),
    "tegrastats": _instrument(
        "tegrastats",
        "Tegrastats",
        "process",
        "what a Jetson's tegrastats prints of its rails",
        "command interval_s rails",
    ),
    # network
    "rest": _instrument(
        "rest",
        "Rest",
        "http",
        "any server that tells power or energy as JSON over HTTP",
        "url path reading unit factor resolution interval_s update_s averaging_s timeout_s "
        "voltage_path current_path serial_path headers token_env ca_file",
    ),
    "shelly": _instrument(
        "shelly",
        "Shelly",
        "mqtt",
        "Shelly plug or relay with power metering, first generation and later, over a broker",
        f"{BROKER} channel component generation read interval_s update_s",
    ),
    "tasmota": _instrument(
        "tasmota",
        "Tasmota",
        "mqtt",
        "plug with Tasmota firmware, over a broker",
        f"{BROKER} full_topic read interval_s update_s",
    ),
}


def driver_names() -> tuple[str, ...]:
    """Return the names of all drivers, sorted."""
    return tuple(sorted(DRIVERS))


def driver(name: str) -> Driver:
    """Return a driver. Raises OptionInvalid with the nearest known name."""
    if name not in DRIVERS:
        close = difflib.get_close_matches(name, DRIVERS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(driver_names())}."
        raise OptionInvalid(f"There is no meter driver '{name}'; {hint}")
    return DRIVERS[name]


def make_meter(
    name: str,
    driver_name: str,
    options: Mapping[str, object],
    *,
    scope: Scope | None = None,
    timebase: Timebase = HOST_TIME,
) -> Meter:
    """Make a meter, not yet open, of the settings in farm.toml. Meters of link "board" need their board: see hostctl.

    `name` is what the farm calls it. Raises OptionInvalid for settings that the driver does not take.
    """
    entry = driver(driver_name)
    if not entry.is_instrument:
        return _plain(name, entry, options)
    from power.options import Options

    common = {key: value for key, value in options.items() if key in COMMON}
    taken = Options(
        {key: value for key, value in options.items() if key not in COMMON}, f"'{name}' ({driver_name})"
    )
    instrument = entry.instrument().from_options(taken, timebase)
    meter = _metered(name, instrument, taken, Options(common, f"'{name}' ({driver_name})"), scope, timebase)
    taken.done()
    return meter


class _Settings(TypedDict):
    scope: Scope | None
    accuracy: Mapping[str, object] | None
    is_simulated: bool
    timebase: Timebase


def _metered(
    name: str,
    instrument: Instrument,
    taken: Options,
    common: Options,
    scope: Scope | None,
    timebase: Timebase,
) -> Meter:
    from power.drivers.common.base import PolledInstrument, PushedInstrument, StreamedInstrument
    from power.drivers.common.scope import Oscilloscope
    from power.meters.polled import PolledMeter
    from power.meters.pushed import PushedMeter
    from power.meters.scope import ScopeMeter, ScopeSetup
    from power.meters.streamed import StreamedMeter

    settings: _Settings = {
        "scope": scope,
        "accuracy": common.mapping("accuracy"),
        "is_simulated": common.flag("simulated"),
        "timebase": timebase,
    }
    if isinstance(instrument, PolledInstrument):
        return PolledMeter(name, instrument, **settings)
    if isinstance(instrument, PushedInstrument):
        return PushedMeter(name, instrument, **settings)
    if isinstance(instrument, StreamedInstrument):
        return StreamedMeter(name, instrument, **settings)
    if isinstance(instrument, Oscilloscope):
        return ScopeMeter(name, instrument, ScopeSetup.from_options(taken), **settings)
    raise TypeError(f"{type(instrument).__name__} belongs to no family that power/meters knows")


def _plain(name: str, entry: Driver, options: Mapping[str, object]) -> Meter:
    unknown = next((key for key in options if key not in entry.options), None)
    if unknown is not None:
        raise OptionInvalid(
            f"The meter '{name}' takes no '{unknown}'; it takes {', '.join(sorted(entry.options))}."
        )
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return entry.load()(name, **values)
