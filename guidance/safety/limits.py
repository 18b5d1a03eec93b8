"""Limits: every number that a rule compares with, its unit, source and rationale."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from guidance.errors import SettingsError
from guidance.settings import read_toml


class Limit(msgspec.Struct, frozen=True):
    """One limit. `source` says where the number comes from, `rationale` why it is this one."""

    value: float
    unit: str
    source: str
    rationale: str


Limits = Mapping[str, Limit]


def load_limits(path: Path, overrides: Mapping[str, float] | None = None) -> dict[str, Limit]:
    """Read the limits file; SettingsError lists every malformed row and every unknown override."""
    faults: list[str] = []
    limits: dict[str, Limit] = {}
    for name, row in read_toml(path).items():
        try:
            limits[name] = msgspec.convert(row, Limit)
        except msgspec.ValidationError as fault:
            faults.append(f"{name}: {fault}")
    for name, value in (overrides or {}).items():
        if name not in limits:
            faults.append(f"limits.{name}: there is no such limit (have {sorted(limits)})")
            continue
        limits[name] = msgspec.structs.replace(limits[name], value=float(value), source="room configuration")
    if faults:
        raise SettingsError(str(path), faults)
    return limits
