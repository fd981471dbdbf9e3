"""What stands at an address but is not what the driver is for, and instruments that report errors: refused, the line closed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from power.catalogue import DRIVERS
from power.drivers.common.base import Instrument
from power.drivers.common.multimeter import Wiring
from power.drivers.generic_scpi import GenericScpi
from power.drivers.keysight_34465a import Keysight34465a
from power.drivers.siglent_sdm3055 import SiglentSdm3055
from power.errors import WrongInstrument
from power.timebase import HOST_TIME
from tests.power.dialogue import Dialogue
from tests.power.scpi_trouble import one_sentence

NO_RIGOL = ("RIGOL TECHNOLOGIES,DS2072A,DS2D1,00.03", "SIGLENT,SDS814X HD,SDS1,1.0")
OTHERS: dict[str, list[tuple[str, str]]] = {
    "keysight-34465a": [("Keysight Technologies,34461A,MY1,A.02", "is for 34465A, 34470A")],
    "keysight-infiniivision": [
        ("KEYSIGHT TECHNOLOGIES,34465A,MY1,A.02", "is a KEYSIGHT TECHNOLOGIES 34465A, but the driver"),
        ("KEYSIGHT TECHNOLOGIES,EDUX1002A,CN1,01", "EDUX1002A, but the driver keysight-infiniivision is for"),
    ],
    "keysight-n6705": [("Keysight Technologies,34465A,MY1,A.03", "is for N6705")],
    "rigol-ds1000z": [(idn, "but the driver rigol-ds1000z is for") for idn in NO_RIGOL],
    "rigol-mso5000": [(idn, "but the driver rigol-mso5000 is for") for idn in NO_RIGOL],
    "rs-ngu": [
        (
            "Rohde&Schwarz,NGL202,3638.3376k03/101403,04.000",
            "is a Rohde&Schwarz NGL202, but the driver rs-ngu is for NGU201, NGU401, NGM201, NGM202",
        )
    ],
    "scpi": [("Keysight Technologies,E36312A,MY1,2.1", "does not match identification = 'GPP-4323'")],
    "siglent-sdm3055": [("Siglent Technologies,SDM3065X,SDM36X,3.01", "is for SDM3055")],
    "siglent-sds": [
        (
            f"Siglent Technologies,{name},X,1",
            f"is a Siglent Technologies {name}, but the driver siglent-sds is for",
        )
        for name in ("SDS1104X-E", "SDS1202X-E", "SDM3055", "MSO5104")
    ],
    "siglent-sds-legacy": [
        (
            f"Siglent Technologies,{name},X,1",
            f"is a Siglent Technologies {name}, but the driver siglent-sds-legacy is for SDS1000X",
        )
        for name in ("SDS814X HD", "SDS1104X HD", "SDS2104X Plus", "DS1104Z")
    ],
    "tektronix-mdo4000": [
        ("YOKOGAWA,WT310E,C3UI12345,F1.03", "is a YOKOGAWA WT310E, but the driver tektronix-mdo4000")
    ],
    "yokogawa-wt310": [
        (
            "TEKTRONIX,MDO4054B,C000001,CF:91.1CT",
            "is a TEKTRONIX MDO4054B, but the driver yokogawa-wt310 is for",
        )
    ],
}
"""Driver → answers to *IDN? of what it is not for, and what is said of them."""
STRANGE = [
    ("SIGLENT,SDS,SDS1,1.0", "SIGLENT.SDS"),
    ("", "something without a name|does not match"),
    ("no identity at all", "no identity at all"),
]
"""What no driver takes for its instrument."""
WIRING = Wiring("current", 2.0, 5.0, 0.001)
NEEDED: dict[str, Callable[..., Instrument]] = {
    "keysight-34465a": partial(Keysight34465a, wiring=WIRING),
    "siglent-sdm3055": partial(SiglentSdm3055, wiring=WIRING),
    "scpi": partial(GenericScpi, identification="GPP-4323", power_query="POW?"),
}
"""How those are made that need more than an address."""
ALL = [(name, idn, words) for name, rows in OTHERS.items() for idn, words in [*rows, *STRANGE]]


def test_every_scpi_instrument_is_tried() -> None:
    assert OTHERS.keys() == {name for name, entry in DRIVERS.items() if entry.link == "scpi"}


@pytest.mark.parametrize(("name", "idn", "words"), ALL)
def test_another_instrument_is_refused_and_the_line_closed(name: str, idn: str, words: str) -> None:
    line = Dialogue([("*IDN?", idn)])
    made: Callable[..., Instrument] = NEEDED.get(name, DRIVERS[name].instrument())
    with pytest.raises(WrongInstrument, match=words) as caught:
        made("SCRIPT::INSTR", timebase=HOST_TIME, link=line).connect()
    one_sentence(caught.value)
    line.check_used_up()
    assert line.is_closed
