"""What a module of the fake measures of itself: 51.25 and 52.5 degrees, and 2.5 W."""

import faking

from hailo_platform.pyhailort import _pyhailort

FW_CONTROL_FAILURE = 18
INVALID_OPERATION = 6


class TemperatureInfo:
    """hailo_chip_temperature_info_t."""

    ts0_temperature = 51.25
    ts1_temperature = 52.5
    sample_count = 10


class PowerMeasurementData:
    """hailo_power_measurement_data_t."""

    average_value = 2.5
    min_value = 2.25
    max_value = 2.75
    average_time_value_milliseconds = 563.2
    total_number_of_samples = 2


def temperature() -> TemperatureInfo:
    _pyhailort.trip("temperature")
    return TemperatureInfo()


class Monitor:
    """The current monitor, which is the overcurrent protection's too."""

    def __init__(self) -> None:
        self._is_chosen = False
        self._is_running = False

    def choose(self) -> None:
        if not faking.settings().get("monitor", True):
            _pyhailort.fail(FW_CONTROL_FAILURE)
        self._is_chosen = True

    def start(self) -> None:
        if not self._is_chosen:
            _pyhailort.fail(INVALID_OPERATION)
        self._is_running = True
        _protect("off")

    def read(self) -> PowerMeasurementData:
        if not self._is_running:
            _pyhailort.fail(INVALID_OPERATION)
        _pyhailort.trip("power")
        return PowerMeasurementData()

    def stop(self) -> None:
        _pyhailort.trip("stop")
        if self._is_running:
            _protect("on")
        self._is_running = False


def _protect(how: str) -> None:
    path = faking.settings().get("protection")
    if path:
        with open(path, "w") as file:
            file.write(how)
