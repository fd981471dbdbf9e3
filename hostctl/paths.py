"""Where hostctl keeps things. `WATTFARM_HOME` moves everything below one directory; else the system's own places are used."""

from __future__ import annotations

import os
from pathlib import Path

APPLICATION = "wattfarm"


def data_dir() -> Path:
    """Return where leases, results and traces are kept; it need not exist yet."""
    import platformdirs

    return _home("data") or platformdirs.user_data_path(APPLICATION, appauthor=False)


def cache_dir() -> Path:
    """Return where generated models are kept: everything in it can be made again."""
    import platformdirs

    return _home("cache") or platformdirs.user_cache_path(APPLICATION, appauthor=False)


def config_dir() -> Path:
    """Return where a user's farm.toml is looked for after the working directory."""
    import platformdirs

    return _home("config") or platformdirs.user_config_path(APPLICATION, appauthor=False)


def _home(part: str) -> Path | None:
    home = os.environ.get("WATTFARM_HOME")
    return Path(home).expanduser() / part if home else None
