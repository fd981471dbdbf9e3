"""Settings of farm.toml that an instrument cannot take: each is refused in a sentence that says what would do."""

from __future__ import annotations

import pytest

from power.catalogue import make_meter
from power.errors import OptionInvalid
from tests.power.scpi_trouble import one_sentence

Settings = dict[str, object]
