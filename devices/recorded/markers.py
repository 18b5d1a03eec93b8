"""External respiratory markers as tables: one file a marker, `"Frame";"Timestamp";"x";"y";"z"`.

Semicolons between columns, decimal comma, time stamps in ms at irregular gaps, places in mm in the
camera's own axes. Files that share the first part of their name are one session, and the second part
names the marker: `201205101519-LAC-1-T-222-6.csv`.

Some rows carry a stamp that runs back (0, or 1/500 of the time, in the public recordings): such a row is left
out and counted, and a session where they are many is refused.
"""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.messages import AnyMessage, Points, Pose
from devices.recorded.errors import RecordedDataError
from devices.recorded.files import find
from devices.recorded.playback import RecordedPeer, Schedule
from devices.recorded.volume import DEFAULT_LIMITS, Limits, matrix

MOST_LEFT_OUT = 0.01  # of the rows
COLUMNS = ["Frame", "Timestamp", "x", "y", "z"]


@dataclass(frozen=True, eq=False)
class Markers:
    """One session: `labels` of N markers, `times_s` (n,) from the first, `positions_mm` (n, N, 3).

    `rows_left_out` counts the moments whose stamp ran back.
    """

    labels: tuple[str, ...]
    times_s: NDArray[np.float64]
    positions_mm: NDArray[np.float64]
    rows_left_out: int


def _read_marker(path: Path, limits: Limits) -> NDArray[np.float64]:
    """(n, 5): the table of one marker."""
    rows = []
    try:
        if path.stat().st_size > limits.max_header_bytes:
            raise RecordedDataError(path, "file", f"larger than {limits.max_header_bytes} bytes")
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.reader(file, delimiter=";")
            if next(table, None) != COLUMNS:
                raise RecordedDataError(path, "line 1", f"is not the heading {';'.join(COLUMNS)}")
            for row in table:
                if len(row) != len(COLUMNS):
                    raise RecordedDataError(
                        path, f"line {table.line_num}", f"has {len(row)} columns, not {len(COLUMNS)}"
                    )
                rows.append([float(word.replace(",", ".")) for word in row])
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise RecordedDataError(path, "file", f"cannot be read: {fault}") from fault
    except ValueError as fault:
        if isinstance(fault, RecordedDataError):
            raise
        raise RecordedDataError(path, f"line {len(rows) + 2}", f"holds no number: {fault}") from fault
    values = np.array(rows, dtype=np.float64).reshape(-1, len(COLUMNS))
    if len(values) == 0 or not np.isfinite(values).all():
        raise RecordedDataError(path, "rows", "there are none, or they hold values that are not finite")
    return values


def _rises(path: Path, times_ms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows are later than every row before them."""
    before = np.concatenate(([-np.inf], np.maximum.accumulate(times_ms)[:-1]))
    rises: NDArray[np.bool_] = times_ms > before
    if np.count_nonzero(~rises) > MOST_LEFT_OUT * len(times_ms):
        raise RecordedDataError(path, "Timestamp", f"runs back in {np.count_nonzero(~rises)} of {len(times_ms)} rows")
    return rises


def read_markers(path: Path, limits: Limits = DEFAULT_LIMITS) -> Markers:
    """The session that the file `path` belongs to; RecordedDataError where its files differ in time."""
    session, dash, _ = path.name.partition("-")
    files = sorted(path.parent.glob(f"{session}-*.csv")) if dash else [path]
    tables = {file.name.split("-")[1] if dash else file.stem: _read_marker(file, limits) for file in files}
    first = next(iter(tables.values()))
    for file, table in zip(files, tables.values(), strict=True):
        if not np.array_equal(table[:, 1], first[:, 1]):
            raise RecordedDataError(file, "Timestamp", f"differs from {files[0].name} of the same session")
    kept = _rises(files[0], first[:, 1])
    times_ms = first[kept, 1]
    positions = np.stack([table[kept, 2:] for table in tables.values()], axis=1)
    positions.flags.writeable = False
    return Markers(tuple(tables), (times_ms - times_ms[0]) * 1e-3, positions, int(np.count_nonzero(~kept)))


class MarkerPeer(RecordedPeer):
    """Plays a session of markers: at every time one `Points` of all of them, or one `Pose` each.

    Parameters (all plain TOML values): `path` any file of the session; `say_as` "points" or "poses" (rotation
    identity: a marker has none; moving = its label); `frame` the name of the camera's axes; `points_name` the
    message name of the points; `timing`, `loop`, `environment`, `seed` as in `SeriesPeer`.
    """

    def __init__(
        self,
        path: str,
        name: str = "markers",
        *,
        start_ns: int = 0,
        timing: str | float = "shifted",
        loop: bool = False,
        say_as: str = "points",
        frame: str = "Camera",
        points_name: str = "Markers",
        environment: Mapping[str, str] = os.environ,
        seed: int = 0,
    ) -> None:
        if say_as not in ("points", "poses"):
            raise ValueError(f"say_as is 'points' or 'poses', not {say_as!r}")
        self._markers = read_markers(find(path, environment))
        self._as_poses, self._frame, self._points_name = say_as == "poses", frame, points_name
        times_s = self._markers.times_s.tolist()
        super().__init__(
            name,
            Schedule(times_s, start_ns=start_ns, timing=timing, loop=loop, first_device_ns=None),
            self._moment,
        )

    def _moment(self, index: int, saying: int, device_time_ns: int) -> list[AnyMessage]:
        markers = self._markers
        positions = markers.positions_mm[index]
        if not self._as_poses:
            return [
                Points(
                    name=self._points_name,
                    device_time_ns=device_time_ns,
                    frame=self._frame,
                    labels=markers.labels,
                    positions_mm=positions,
                )
            ]
        return [
            Pose(
                name=f"{label}To{self._frame}",
                device_time_ns=device_time_ns,
                moving=label,
                fixed=self._frame,
                fixed_from_moving=_translation(position),
                number=saying,
            )
            for label, position in zip(markers.labels, positions, strict=True)
        ]


def _translation(position_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.eye(4)
    result[:3, 3] = position_mm
    return matrix(result)
