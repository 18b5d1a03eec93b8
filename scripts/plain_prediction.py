"""Which sessions the limits of prediction were measured on: a plain mean of two members, as ALGORITHMS 2 tells it.

.venv/bin/python -m scripts.plain_prediction

Ridge autoregression and nearest patterns, written from their description, on samples counted at 10 Hz. It leaves open
whether patterns are compared where they are or relative to their end; of the two the nearer to those numbers is here.
For every subset of the six sessions the means of its errors and of the position held stand against the six numbers
that the limits come from; printed are all six, then the subsets nearest to them, each with our own error.
"""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from guidance.bench.prediction import sessions
from guidance.motion import PositionPredictor

Array = NDArray[np.float64]
STEPS = (3, 5, 10)  # of 0.1 s
TOLD = np.array([1.57, 2.47, 4.37, 0.78, 1.23, 2.12])  # position held, then the mean of the two, mm
START, HISTORY, DENSE, EVERY, FORGETS = 600, 50, 10, 4, 0.9995
WINDOW, NEAREST, MEMORY, SOLVED_EVERY = 15, 7, 3000, 5
NEAR = 5  # subsets that are printed


def autoregression(positions: Array, ahead: int) -> Array:
    """(T, 9) guesses of the sample `ahead`: direct, joint, of the way from where it is now."""
    lags = [*range(DENSE), *range(DENSE, HISTORY, EVERY)]
    ridge = 30.0 if ahead <= STEPS[0] else 300.0
    size = len(lags) * positions.shape[1] + 1
    squares, products = np.zeros((size, size)), np.zeros((size, positions.shape[1]))
    weights: Array | None = None
    out = np.full_like(positions, np.nan)

    def seen(k: int) -> Array:
        return np.append((positions[[k - lag for lag in lags]] - positions[k]).ravel(), 1.0)

    for k in range(max(lags), len(positions)):
        then = k - ahead
        if then >= max(lags):
            x = seen(then)
            squares = FORGETS * squares + np.outer(x, x)
            products = FORGETS * products + np.outer(x, positions[k] - positions[then])
        if k >= START - 1:
            if weights is None or k % SOLVED_EVERY == 0:
                weights = np.linalg.solve(squares + ridge * np.eye(size), products)
            out[k] = positions[k] + seen(k) @ weights
    return out


def patterns(positions: Array, ahead: int) -> Array:
    """(T, 9) guesses: where the seven most alike windows of 1.5 s went from, by inverse distance."""
    out = np.full_like(positions, np.nan)
    for k in range(START - 1, len(positions)):
        ends = np.arange(max(WINDOW, k - MEMORY), k - ahead + 1)
        windows = np.stack([positions[ends - lag] for lag in range(WINDOW)], axis=1)
        apart = np.sqrt(((windows - positions[k - np.arange(WINDOW)]) ** 2).sum(axis=(1, 2)))
        near = np.argpartition(apart, NEAREST)[:NEAREST]
        weight = 1.0 / (apart[near] + 1e-9)
        went = positions[ends[near] + ahead] - positions[ends[near]]
        out[k] = positions[k] + (went * weight[:, None]).sum(axis=0) / weight.sum()
    return out


def ours(positions: Array) -> dict[int, Array]:
    """(T, 9) guesses of the predictor by steps ahead."""
    predictor = PositionPredictor()
    out = {ahead: np.full_like(positions, np.nan) for ahead in STEPS}
    for k, position in enumerate(positions):
        predictor.update(0.1 * k, position)
        if k >= START - 1:
            for ahead in STEPS:
                out[ahead][k] = predictor.predict(0.1 * ahead)
    return out


def error_mm(positions: Array, guesses: Array, ahead: int) -> float:
    """RMS of the markers' 3-D distances."""
    away = guesses[START - 1 : len(positions) - ahead] - positions[START - 1 + ahead :]
    return float(np.sqrt((away**2).sum(axis=1).mean() / (positions.shape[1] / 3)))


def measure() -> tuple[list[str], Array]:
    """Names of the sessions and (sessions, held / plain / ours, steps) errors in mm."""
    names, rows = [], []
    for name, _, marked in sessions():
        positions = marked.reshape(len(marked), -1)
        made = ours(positions)
        plain = {ahead: (autoregression(positions, ahead) + patterns(positions, ahead)) / 2 for ahead in STEPS}
        ways: list[dict[int, Any]] = [dict.fromkeys(STEPS, positions), plain, made]
        rows.append([[error_mm(positions, way[ahead], ahead) for ahead in STEPS] for way in ways])
        names.append(name[-4:])
    return names, np.array(rows)


def main() -> None:
    """Print the table."""
    names, errors = measure()
    subsets = [chosen for size in range(1, 7) for chosen in combinations(range(len(names)), size)]
    means = {chosen: errors[list(chosen)].mean(axis=0) for chosen in subsets}
    away = {chosen: float(np.abs(np.append(row[0], row[1]) / TOLD - 1).max()) for chosen, row in means.items()}
    table = Table("sessions", "position held", "plain mean of two", "ours", "furthest from the told")
    for chosen in [subsets[-1], *sorted(subsets, key=lambda one: away[one])[:NEAR]]:
        words = [" / ".join(f"{value:.2f}" for value in row) for row in means[chosen]]
        table.add_row(" ".join(names[n] for n in chosen), *words, f"{100 * away[chosen]:.0f} %")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
