"""Result files of registrations and calibrations: dated, with their errors and limits, sealed.

The file is JSON; `sha256` is of everything else in it. A result that was edited, has grown old, or is
asked beyond its limits is refused with the reason. Times are ns since the epoch, given by the
caller.
"""

import hashlib
import json
from typing import Any, Literal

import msgspec

from guidance.errors import SettingsError
from guidance.units import NS_PER_S

Row = tuple[float, float, float, float]


class CalibrationResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One result: the matrix `fixed_from_moving`, what it was made from, how good it is, where it holds."""

    kind: Literal["points", "surface", "pivot", "nwire", "hand_eye", "temporal"]
    moving: str
    fixed: str
    fixed_from_moving: tuple[Row, Row, Row, Row]
    made_ns: int
    valid_s: float = 12 * 3600.0
    errors: dict[str, float] = {}  # e.g. fre_mm, rms_mm, span_deg, lag_s
    limits: dict[str, float] = {}  # largest value of an error of that name, or smallest where named NAME_least
    conditions: dict[str, float | str] = {}  # what must be the same at use, e.g. pixel spacing, tool serial number
    made_from: str = ""

    def faults(
        self, now_ns: int, conditions: dict[str, float | str] | None = None, tolerance: float = 0.03
    ) -> list[str]:
        """Why it must not be used at `now_ns` under `conditions`; empty where it may."""
        where = f"{self.kind} {self.moving} to {self.fixed}"
        found = []
        for name, limit in self.limits.items():
            least = name.endswith("_least")
            value = self.errors.get(name.removesuffix("_least"))
            if value is None or (value < limit if least else value > limit):
                found.append(f"{where}: {name} is {value}, {'at least' if least else 'at most'} {limit} is allowed")
        age_s = (now_ns - self.made_ns) / NS_PER_S
        if not 0 <= age_s <= self.valid_s:
            found.append(f"{where}: was made {age_s:.0f} s ago, it holds for {self.valid_s:.0f} s")
        for name, then in self.conditions.items():
            now = (conditions or {}).get(name)
            if not _same(then, now, tolerance):
                found.append(f"{where}: {name} is {now}, it was made with {then}")
        return found


def _same(then: float | str, now: float | str | None, tolerance: float) -> bool:
    if isinstance(then, str) or isinstance(now, str) or now is None:
        return then == now
    return abs(now - then) <= tolerance * max(abs(then), 1e-12)


def write_result(result: CalibrationResult) -> bytes:
    """The file's bytes."""
    plain = msgspec.to_builtins(result)
    return json.dumps({**plain, "sha256": _seal(plain)}, indent=2, sort_keys=True).encode() + b"\n"


def read_result(data: bytes, where: str) -> CalibrationResult:
    """The result in a file's bytes; SettingsError when it is malformed or was edited."""
    try:
        plain = json.loads(data)
    except (ValueError, RecursionError) as fault:
        raise SettingsError(where, [f"is not JSON: {fault}"]) from fault
    if not isinstance(plain, dict):
        raise SettingsError(where, ["is not a calibration result"])
    seal = plain.pop("sha256", "")
    try:
        result = msgspec.convert(plain, CalibrationResult)
    except msgspec.ValidationError as fault:
        raise SettingsError(where, [str(fault)]) from fault
    if seal != _seal(plain):
        raise SettingsError(where, ["was edited: its SHA-256 does not fit its content; calibrate again"])
    return result


def _seal(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
