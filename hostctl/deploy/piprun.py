"""Runs this environment's pip as if it stood on the board: `python piprun.py MARKERS.json ARGUMENTS…`.

`pip download` takes the target's Python and platform for choosing files, but judges environment markers ("python_version <
'3.12'") by the interpreter that runs it (pip's manual, `pip download`, has no option for them; pip issue 11664). A package
that only the board needs would then be missing there, so the markers' values are put in their place before pip starts.
"""

import json
import sys
from pathlib import Path


def main() -> int:
    """Put the board's markers in place and run pip."""
    from pip._internal.cli.main import main as pip
    from pip._vendor.packaging import markers

    board = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    markers.default_environment = lambda: dict(board)
    return int(pip(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
