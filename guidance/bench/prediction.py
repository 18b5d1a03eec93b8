"""Prediction of real respiratory markers: 3-D error by horizon and time a step, beside simpler ways.

Sessions of three external markers (GUIDANCE_DATA or ../shared/data, respiratory_markers); each measurement from 60 s
on is predicted from; the truth lies on the line between two measurements. The error is the RMS of the markers' 3-D
distances, mean over sessions. Limits (ALGORITHMS 2): 0.80 / 1.25 / 2.2 mm at 0.3 / 0.5 / 1.0 s and 0.5 ms a step.
Peers: the position held, its speed carried on, and a Kalman filter of constant speed. Run: guidance bench prediction
"""

import csv
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.motion import PositionPredictor

Array = NDArray[np.float64]
LIMITS_MM = {0.3: 0.80, 0.5: 1.25, 1.0: 2.2}
LIMIT_MS = 0.5
FROM_S = 60.0
SPAN_S = tuple(round(0.1 * k, 1) for k in range(1, 21))
QUICK_SPAN_S = (0.1, 0.3, 0.5, 1.0, 1.5, 2.0)


def sessions() -> Iterator[tuple[str, Array, Array]]:
    """Name, times (n,) s and positions (n, markers, 3) mm; rows whose stamp does not rise are left out."""
    folder = Path(os.environ.get("GUIDANCE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    files = sorted((folder / "respiratory_markers").glob("*.csv"))
    for session in sorted({file.name.split("-")[0] for file in files}):
        tables = [_table(file) for file in files if file.name.startswith(session)]
        times = tables[0][:, 1] / 1000
        rises = np.append(True, times[1:] > np.maximum.accumulate(times)[:-1])
        yield session, times[rises], np.stack([table[rises, 2:5] for table in tables], axis=1)


def _table(file: Path) -> Array:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.reader(lines, delimiter=";"))[1:]
    return np.array([[float(cell.replace(",", ".")) for cell in row] for row in rows])


def rmse_mm(times_s: Array, positions_mm: Array, horizon_s: float, guesses: Array, start: int) -> float:
    """RMS 3-D error of `guesses` made at measurements `start` and after."""
    due = times_s[start:] + horizon_s
    seen = due <= times_s[-1]
    flat = positions_mm.reshape(len(times_s), -1)
    truth = np.stack([np.interp(due[seen], times_s, column) for column in flat.T], axis=-1)
    squares = ((guesses.reshape(len(guesses), -1)[seen] - truth) ** 2).sum(axis=1)
    return float(np.sqrt(squares.mean() / positions_mm.shape[1]))


def _kalman(times_s: Array, flat: Array, horizons_s: tuple[float, ...], start: int) -> dict[float, Array]:
    """Constant speed, white acceleration of 30 mm/s^2, measurement SD 0.3 mm."""
    state, spread = np.zeros((2, flat.shape[1])), np.diag([1.0, 100.0])
    state[0] = flat[0]
    guesses: dict[float, list[Array]] = {h: [] for h in horizons_s}
    for k in range(len(times_s)):
        if k:
            dt = float(times_s[k] - times_s[k - 1])
            move = np.array([[1, dt], [0, 1]])
            noise = 30.0**2 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
            state, spread = move @ state, move @ spread @ move.T + noise
            gain = spread[:, 0] / (spread[0, 0] + 0.3**2)
            state = state + np.outer(gain, flat[k] - state[0])
            spread = spread - np.outer(gain, spread[0])
        if k >= start:
            for h in horizons_s:
                guesses[h].append(state[0] + h * state[1])
    return {h: np.array(values) for h, values in guesses.items()}


def score(horizons_s: tuple[float, ...]) -> tuple[dict[str, Array], list[str], float]:
    """Errors (sessions, horizons) by method, the sessions, and our median ms a step and horizon."""
    errors: dict[str, list[list[float]]] = {}
    names, taken = [], []
    for name, times, positions in sessions():
        names.append(name)
        start = int(np.searchsorted(times, FROM_S))
        predictor = PositionPredictor()
        ours: dict[float, list[Array]] = {h: [] for h in horizons_s}
        for k, (t, position) in enumerate(zip(times, positions, strict=True)):
            begun = time.perf_counter_ns()
            predictor.update(float(t), position)
            if k >= start:
                for h in horizons_s:
                    ours[h].append(predictor.predict(h))
                taken.append((time.perf_counter_ns() - begun) / 1e6 / len(horizons_s))
        speed = (positions[start:] - positions[start - 1 : -1]) / np.diff(times)[start - 1 :, None, None]
        kalman = _kalman(times, positions.reshape(len(times), -1), horizons_s, start)
        at, forth = positions[start:], np.array(horizons_s)[:, None, None, None]
        made: dict[str, Array] = {
            "ours": np.array([ours[h] for h in horizons_s]),
            "hold": np.broadcast_to(at, (len(horizons_s), *at.shape)),
            "speed carried on": at + forth * speed,
            "Kalman": np.array([kalman[h] for h in horizons_s]),
        }
        for method, guesses in made.items():
            by_horizon = [rmse_mm(times, positions, h, g, start) for h, g in zip(horizons_s, guesses, strict=True)]
            errors.setdefault(method, []).append(by_horizon)
    return (
        {method: np.array(values) for method, values in errors.items()},
        names,
        statistics.median(taken) if taken else 0.0,
    )


def rows(quick: bool) -> list[dict[str, Any]]:
    """One row a horizon and peer, and the mean over 0.1 to 2 s; empty where the recordings are not here."""
    span = QUICK_SPAN_S if quick else SPAN_S
    errors, names, step_ms = score(span)
    if not names:
        return []
    found = []
    for h, limit in LIMITS_MM.items():
        at = span.index(h)
        found += [_row(f"{h} s", errors["ours"][:, at], peer, errors[peer][:, at], step_ms, limit) for peer in errors]
    mean = {method: values.mean(axis=1) for method, values in errors.items()}
    found += [_row("mean over 0.1-2.0 s", mean["ours"], peer, mean[peer], step_ms, None) for peer in errors]
    return [row for row in found if row["peer"] != "ours"]


def _row(what: str, ours: Array, peer: str, theirs: Array, step_ms: float, limit: float | None) -> dict[str, Any]:
    ours_mm, peer_mm = float(ours.mean()), float(theirs.mean())
    return {
        "name": f"{what}: {ours_mm:.2f} mm, peer {peer_mm:.2f} mm",
        "size": f"{len(ours)} sessions, 3 markers",
        "ours_ms": step_ms,
        "peer": peer,
        "peer_ms": None,
        "ratio": ours_mm / peer_mm,
        "limit": limit,
        "ok": (limit is None or ours_mm <= limit) and step_ms <= LIMIT_MS,
        "ours_mm": ours_mm,
        "peer_mm": peer_mm,
        "ours_by_session_mm": [round(float(v), 3) for v in ours],
    }
