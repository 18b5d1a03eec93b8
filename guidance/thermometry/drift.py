"""Drift of the field over the tissue, as a polynomial in degC.

Reweighted least squares with weights 1 / (1 + r^2), r the residual in degC: heated tissue loses
its say. At most 30 iterations, stop below 0.01 degC. Voxels whose running mean has left the
drift for longer than noise explains (heat that lasts) are left out altogether.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_ITERATIONS = 30
STOP_C = 0.01
TERMS = (1, 3, 6)  # how many of 1, x, y, x^2, xy, y^2 belong to order 0, 1, 2
SAMPLES_MAX = 16384
RUN = 16  # voxels taken together: two cache lines of complex64
MEMORY = 0.25  # share of the newest frame in the running mean
LEAVE_SIGMAS = 2.0
KEEP_SHARE_MIN = 0.25
NO_DRIFT = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class DriftSample:
    """The tissue voxels on which drift is fitted: at most about SAMPLES_MAX, in runs, spread evenly."""

    def __init__(self, tissue: NDArray[np.bool_], order: int) -> None:
        rows, columns = tissue.shape[-2:]
        flat = np.flatnonzero(tissue)
        runs = np.unique(flat // RUN)
        keep = runs[:: max(1, -(-flat.size // SAMPLES_MAX))]
        self.index = flat[np.isin(flat // RUN, keep)]
        y = (self.index // columns % rows) * (2.0 / max(rows - 1, 1)) - 1.0
        x = (self.index % columns) * (2.0 / max(columns - 1, 1)) - 1.0
        self.terms = TERMS[order]
        self.basis = np.stack((np.ones_like(x), x, y, x * x, x * y, y * y)[: self.terms], axis=1)
        self._mean_c = np.zeros(self.index.size)

    def fit(self, change_c: NDArray[Any], sigma_c: NDArray[Any], start: tuple[float, ...]) -> tuple[float, ...]:
        """Six coefficients (degC) that explain `change_c` at `index`, each with its `sigma_c`.

        `start` is the last answer; it stands where too few voxels are usable.
        """
        usable = np.isfinite(change_c) & np.isfinite(sigma_c)
        quiet = usable & (np.abs(self._mean_c) < LEAVE_SIGMAS * sigma_c)
        taken = quiet if np.count_nonzero(quiet) >= KEEP_SHARE_MIN * np.count_nonzero(usable) else usable
        values, basis = np.asarray(change_c[taken], np.float64), self.basis[taken]
        if values.size < 4 * self.terms:
            return start
        solution = np.array(start[: self.terms])
        solution[0] += np.median(values - basis @ solution)
        for _ in range(MAX_ITERATIONS):
            weights = 1.0 / (1.0 + (values - basis @ solution) ** 2)
            weighted = basis * weights[:, None]
            new = np.linalg.solve(weighted.T @ basis + 1e-9 * np.eye(self.terms), weighted.T @ values)
            moved = np.abs(new - solution).max()
            solution = new
            if moved < STOP_C:
                break
        rest = np.where(usable, change_c - self.basis @ solution - self._mean_c, 0.0)
        self._mean_c += MEMORY * rest
        return tuple(float(value) for value in solution) + NO_DRIFT[self.terms :]
