"""Slicer markups (.mrk.json) and fiducial lists (.fcsv), turned to RAS at the door.

Sources: the markups schema of 3D Slicer (markups-schema-v1.0.3) and the fiducial list format of
Slicer 3 (`# columns = label,x,y,z,sel,vis`, RAS) and 4 (`# CoordinateSystem = LPS | RAS | 0 | 1`).
"""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIGNS: dict[str, tuple[float, ...]] = {
    "RAS": (1.0, 1.0, 1.0),
    "0": (1.0, 1.0, 1.0),
    "LPS": (-1.0, -1.0, 1.0),
    "1": (-1.0, -1.0, 1.0),
}
_POINTS_NEEDED = {"Line": 2, "Angle": 3, "Plane": 1, "Curve": 2, "ClosedCurve": 3, "Fiducial": 1, "ROI": 0}
_MAX_BYTES = 16 << 20


class MarkupsError(ValueError):
    """A markups file that cannot be used; the text says where and why."""


@dataclass(frozen=True, eq=False)
class Markup:
    """One markup: `points_mm` (N, 3) RAS with `labels`; planes and boxes have `ras_from_object` (4, 4) and size too."""

    kind: str  # Fiducial, Line, Curve, ClosedCurve, Plane, Angle or ROI
    name: str
    labels: tuple[str, ...]
    points_mm: NDArray[np.float64]
    ras_from_object: NDArray[np.float64] | None = None
    size_mm: tuple[float, ...] = ()


def read_markups(path: Path) -> list[Markup]:
    """Every markup of a .mrk.json or .fcsv file; MarkupsError names the first fault."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MarkupsError(f"is larger than {_MAX_BYTES >> 20} MiB")
        text = path.read_text("utf-8-sig")
    except OSError as fault:
        raise MarkupsError(f"cannot be read: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise MarkupsError(f"is not text: {fault.reason}") from fault
    return [_read_fcsv(text, path.stem)] if path.suffix == ".fcsv" else _read_json(text, path)


def _read_fcsv(text: str, name: str) -> Markup:
    signs = _SIGNS["RAS"]  # lists before version 4.6 have no field and were always RAS
    columns = ["label", "x", "y", "z", "sel", "vis"]
    rows: list[list[str]] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            rows += [_fields(line)] if line.strip() else []
            continue
        key, _, value = line.lstrip("# ").partition("=")
        if key.strip() == "CoordinateSystem":
            signs = _signs(value.strip(), "CoordinateSystem")
        elif key.strip() == "columns":
            columns = [column.strip() for column in value.split(",")]
    if missing := {"x", "y", "z", "label"} - set(columns):
        raise MarkupsError(f"columns: {sorted(missing)} missing from {columns}")
    where = [columns.index(axis) for axis in ("x", "y", "z")]
    label = columns.index("label")
    points, labels = [], []
    for number, row in enumerate(rows):
        if len(row) <= max(*where, label):
            raise MarkupsError(f"point {number}: has {len(row)} fields, the columns are {columns}")
        points.append(_written([row[n] for n in where], f"point {number}"))
        labels.append(row[label])
    return Markup("Fiducial", name, tuple(labels), np.array(points).reshape(-1, 3) * signs)


def _fields(line: str) -> list[str]:
    try:
        return next(csv.reader([line]))
    except csv.Error as fault:
        raise MarkupsError(f"line {line[:40]!r}: {fault}") from fault


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise MarkupsError(f"a name stands twice among {sorted(name for name, _ in pairs)[:20]}")
    return table


def _read_json(text: str, path: Path) -> list[Markup]:
    try:
        values = json.loads(text, object_pairs_hook=_once_each)
    except MarkupsError:
        raise
    except (ValueError, RecursionError) as fault:
        raise MarkupsError(f"is not JSON: {fault}") from fault
    rows = values.get("markups") if isinstance(values, dict) else None
    if not isinstance(rows, list) or not rows:
        raise MarkupsError("has no list named markups")
    name = path.name.removesuffix(".json").removesuffix(".mrk")
    return [_markup(row, name, f"markups[{number}]") for number, row in enumerate(rows)]


def _markup(row: Any, name: str, where: str) -> Markup:
    if not isinstance(row, dict):
        raise MarkupsError(f"{where}: is not a table")
    kind = str(row.get("type", ""))
    if kind not in _POINTS_NEEDED:
        raise MarkupsError(f"{where}.type: {kind!r} is not one of {sorted(_POINTS_NEEDED)}")
    units = row.get("coordinateUnits", "mm")
    if units not in ("mm", ["mm", "UCUM", "mm"]) and not (isinstance(units, list) and units[:1] == ["mm"]):
        raise MarkupsError(f"{where}.coordinateUnits: {units!r}; only mm is read")
    signs = _signs(str(row.get("coordinateSystem", "LPS")), f"{where}.coordinateSystem")
    controls = row.get("controlPoints", [])
    if not isinstance(controls, list):
        raise MarkupsError(f"{where}.controlPoints: is not a list")
    defined = [p for p in controls if isinstance(p, dict) and p.get("positionStatus", "defined") == "defined"]
    points = [_position(p.get("position"), f"{where}.controlPoints[{n}]") for n, p in enumerate(defined)]
    if len(points) < _POINTS_NEEDED[kind]:
        raise MarkupsError(f"{where}: a {kind} needs {_POINTS_NEEDED[kind]} defined points, this has {len(points)}")
    if kind == "Line" and len(points) != 2:
        raise MarkupsError(f"{where}: a Line has two points, this has {len(points)}")
    labels = tuple(str(p.get("label", "")) for p in defined)
    array = np.array(points, np.float64).reshape(-1, 3) * signs
    frame = _object_frame(row, signs, where) if kind in ("Plane", "ROI") else None
    size = row.get("size", [])
    size_mm = tuple(_numbers(size, len(size), f"{where}.size")) if isinstance(size, list) else ()
    return Markup(kind, str(row.get("name", name)), labels, array, frame, size_mm)


def _object_frame(row: dict[str, Any], signs: tuple[float, ...], where: str) -> NDArray[np.float64] | None:
    """Pose of a plane or box: from `orientation` (row-major 3x3) and `center`, or from `objectToBase`."""
    if "orientation" in row and "center" in row:
        matrix = np.eye(4)
        matrix[:3, :3] = np.array(_numbers(row["orientation"], 9, f"{where}.orientation")).reshape(3, 3)
        matrix[:3, 3] = _position(row["center"], f"{where}.center")
    elif "objectToBase" in row or "baseToNode" in row:
        whole = row.get("objectToBase") or row.get("baseToNode")
        matrix = np.array(_numbers(whole, 16, f"{where}.objectToBase")).reshape(4, 4)
    else:
        return None
    result: NDArray[np.float64] = np.diag([*signs, 1.0]) @ matrix
    return result


def _written(words: list[str], where: str) -> list[float]:
    try:
        return _position([float(word) for word in words], where)
    except ValueError as fault:
        raise fault if isinstance(fault, MarkupsError) else MarkupsError(f"{where}: {words} are not numbers") from fault


def _signs(system: str, where: str) -> tuple[float, ...]:
    if system not in _SIGNS:
        raise MarkupsError(f"{where}: {system!r} is not one of {sorted(_SIGNS)}")
    return _SIGNS[system]


def _position(values: Any, where: str) -> list[float]:
    return _numbers(values, 3, where)


def _numbers(values: Any, count: int, where: str) -> list[float]:
    if not isinstance(values, list) or any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        raise MarkupsError(f"{where}: {values!r:.80} are not {count} numbers")
    try:
        found = [float(value) for value in values]
    except OverflowError as fault:
        raise MarkupsError(f"{where}: {fault}") from fault
    if len(found) != count or not all(math.isfinite(value) for value in found):
        raise MarkupsError(f"{where}: {values!r} are not {count} finite numbers")
    return found
