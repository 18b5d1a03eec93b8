"""A small heated phantom of the tests' own."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from guidance.thermometry import ThermometrySettings


class Phantom:
    """A square of tissue, SNR 30, 3 T, TE 16 ms, with a Gaussian hot spot in the middle."""

    shape = (3, 48, 64)
    settings = ThermometrySettings(echo_time_s=0.016, field_t=3.0, t0_c=37.0, t0_sigma_c=0.0)

    def __init__(self, seed: int, snr: float = 30.0) -> None:
        self.rng = np.random.default_rng(seed)
        row, column = np.mgrid[: self.shape[1], : self.shape[2]]
        self.tissue = np.broadcast_to((abs(row - 24) < 20) & (abs(column - 32) < 26), self.shape)
        self.signal = np.where(self.tissue, 100.0, 0.0) * np.exp(0.05j * (row + column))
        self.spot = np.broadcast_to(np.exp(-((row - 24) ** 2 + (column - 32) ** 2) / 32.0), self.shape)
        self.noise = 100.0 / snr

    def frame(self, change_c: Any = 0.0) -> NDArray[np.complex64]:
        """One noisy frame of tissue that is warmer by `change_c`."""
        phase = np.asarray(change_c) / self.settings.degrees_per_radian()
        noise = self.rng.normal(size=(2, *self.shape)) * self.noise
        return (self.signal * np.exp(1j * phase) + noise[0] + 1j * noise[1]).astype(np.complex64)


@pytest.fixture
def phantom() -> Iterator[Phantom]:
    yield Phantom(seed=1)


@pytest.fixture
def make_phantom() -> type[Phantom]:
    return Phantom
