"""Ridge autoregression for one horizon: normal equations that grow by one row a step and are solved now and then."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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

    def absorb(self, rows: Array, targets: Array) -> None:
        """Take in rows of features (n, features), oldest first, and what they led to (n, outputs)."""
        fade = self._forgetting ** np.arange(len(rows) - 1, -1, -1.0)[:, None]
        faded = (rows * fade).T
        before = self._forgetting ** len(rows)
        self._products = before * self._products + faded @ rows
        self._targets = before * self._targets + faded @ targets

    def solve(self) -> None:
        self.weights = np.asarray(np.linalg.solve(self._products + self._penalty, self._targets))
