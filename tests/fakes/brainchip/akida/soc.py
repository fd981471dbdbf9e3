"""Clock modes of the chip."""

import enum


class ClockMode(enum.Enum):
    """As akida.soc.ClockMode."""

    Performance = 0
    Economy = 1
    LowPower = 2
