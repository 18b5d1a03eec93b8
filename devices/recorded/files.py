"""Paths as a scenario writes them, and which reader reads which file.

One face for every format: `read_volume(path)` and `read_series(path)`.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from devices.recorded.errors import RecordedDataError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def find(path: str | Path, environment: Mapping[str, str] = os.environ) -> Path:
    """The path with every `${NAME}` taken from `environment`; RecordedDataError where either is absent."""

    def value(found: re.Match[str]) -> str:
        if not environment.get(found[1]):
            raise RecordedDataError(path, found[1], f"set {found[1]} to the folder of recordings; it is not set")
        return environment[found[1]]

    expanded = Path(_VARIABLE.sub(value, str(path)))
    if not expanded.exists():
        raise RecordedDataError(expanded, "path", "is not there")
    return expanded
