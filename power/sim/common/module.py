"""Simulated instruments behind a vendor's Python module: the module itself is simulated, within this process."""

from __future__ import annotations

import itertools
import sys
import types
from abc import abstractmethod
from typing import ClassVar, Unpack

from power.sim.common.base import Settings, Simulator
from power.sim.common.load import Load

_numbers = itertools.count(1)


class SimulatedModule(Simulator):
    """Puts a module in place, under a name of its own, for as long as it serves; other processes cannot see it."""

    is_in_process = True
    vendor: ClassVar[str]
    """What the real module is called."""

    def __init__(self, load: Load, **settings: Unpack[Settings]) -> None:
        super().__init__(load, **settings)
        self.module_name = f"wattfarm_simulated_{self.vendor}_{next(_numbers)}"

    @abstractmethod
    def contents(self) -> dict[str, object]:
        """Return what the module holds."""

    @property
    def options(self) -> dict[str, object]:
        """Which module to import."""
        return {"module": self.module_name}

    def start(self) -> None:
        """Make it importable."""
        module = types.ModuleType(self.module_name)
        vars(module).update(self.contents())
        sys.modules[self.module_name] = module

    def stop(self) -> None:
        """Take it away. Who has imported it finds the instrument switched off: see `is_off`."""
        sys.modules.pop(self.module_name, None)

    @property
    def is_off(self) -> bool:
        """Whether the instrument was switched off, or never on."""
        return self.module_name not in sys.modules
