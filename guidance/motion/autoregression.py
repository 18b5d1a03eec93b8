"""Ridge autoregression for one horizon: normal equations that grow by one row a step and are solved now and then."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float64]


@njit(cache=True, nogil=True)
def _absorb(products, targets, row, target, forgetting):  # type: ignore[no-untyped-def]
    for i in range(row.shape[0]):
        for j in range(row.shape[0]):
            products[i, j] = forgetting * products[i, j] + row[i] * row[j]
        for j in range(target.shape[0]):
            targets[i, j] = forgetting * targets[i, j] + row[i] * target[j]


class Ridge:
    """Weights (features, outputs) of min sum f^age |y - W^T x|^2 + penalty |W|^2, with forgetting f per row.

    The penalty is added at each solution and therefore never forgotten.
    """

    def __init__(self, features: int, outputs: int, penalty: float, forgetting: float) -> None:
        self._products = np.zeros((features, features))
        self._targets = np.zeros((features, outputs))
        self._penalty = np.diag(np.append(np.full(features - 1, penalty), 1e-6))  # the last feature is the constant
        self._forgetting = forgetting
        self.weights: Array = np.zeros((features, outputs))

    def absorb(self, row: Array, target: Array) -> None:
        """Take in one row of features (features,) and what it led to (outputs,)."""
        _absorb(self._products, self._targets, row, target, self._forgetting)

    def absorb_all(self, rows: Array, targets: Array) -> None:
        """Take in many rows (n, features), oldest first, at once."""
        fade = self._forgetting ** np.arange(len(rows) - 1, -1, -1.0)[:, None]
        self._products += (rows * fade).T @ rows
        self._targets += (rows * fade).T @ targets

    def solve(self) -> None:
        self.weights = np.asarray(np.linalg.solve(self._products + self._penalty, self._targets))
