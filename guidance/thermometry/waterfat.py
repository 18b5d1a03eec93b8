"""Water and fat told apart by several echoes: where fat is (it has no temperature), and echoes without their fat.

Signal at echo time t: (W + F c(t)) exp(2 pi i psi t), with c the six peaks of human fat (Yu et al., Magn Reson Med
2008;60:1122). W and F follow linearly from the field psi (Hz), which is searched over one period and taken where
the residual, summed over neighbours since the field is smooth, is least (after Hernando et al., Magn Reson Med
2010;63:79, by exhaustive search). Fat shifts with temperature by nothing that matters; water in the same voxel does. So
for every frame the reference's fat is taken out of each echo, and what is left is water, for which PRF holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from guidance.units import GAMMA_BAR_MHZ_PER_T

Complex = NDArray[np.complexfloating[Any, Any]]
FAT_PPM = np.array([-3.80, -3.40, -2.60, -1.94, -0.39, 0.60])  # of water's frequency
FAT_SHARE = np.array([0.087, 0.693, 0.128, 0.004, 0.039, 0.048])
FIELDS = 96  # candidates over one period of the field
SMOOTH_PX = 5  # side of the square over which the residual is summed
LEAST_ECHOES = 3


def fat_factors(echo_times_s: Sequence[float], field_t: float, phase_sign: int = 1) -> NDArray[np.complex128]:
    """c(t) of each echo, 1 at t = 0; `phase_sign` as in `prf_temperature_change`."""
    hz = FAT_PPM * GAMMA_BAR_MHZ_PER_T * field_t
    turns = np.asarray(echo_times_s, np.float64)[:, None] * hz
    return np.asarray((FAT_SHARE * np.exp(2j * np.pi * phase_sign * turns)).sum(axis=1) / FAT_SHARE.sum())


@dataclass(frozen=True, eq=False)
class WaterFat:
    """Complex amplitudes at t = 0 and the field in Hz, all [slice, row, column]."""

    water: NDArray[np.complex64]
    fat: NDArray[np.complex64]
    field_hz: NDArray[np.float32]

    @property
    def fat_share(self) -> NDArray[np.float32]:
        """|F| / (|W| + |F|), 0 where there is nothing."""
        total = np.abs(self.water) + np.abs(self.fat)
        return np.asarray(np.abs(self.fat) / np.maximum(total, np.finfo(np.float32).tiny), np.float32)

    def mask(self, share: float = 0.3) -> NDArray[np.bool_]:
        """Where fat makes up at least `share` of the signal: PRF does not hold there."""
        return self.fat_share >= share


def separate(
    echoes: Sequence[Complex], echo_times_s: Sequence[float], field_t: float, *, phase_sign: int = 1
) -> WaterFat:
    """Water, fat and field of one stack of complex echoes [slice, row, column].

    Raises ValueError for fewer than three echoes, shapes or numbers that do not meet, echo times that do not rise.
    """
    times = np.asarray(echo_times_s, np.float64)
    if len(echoes) != len(times) or len(times) < LEAST_ECHOES:
        raise ValueError(
            f"{len(echoes)} echoes and {len(times)} echo times: at least {LEAST_ECHOES} of each are needed"
        )
    if len({echo.shape for echo in echoes}) != 1:
        raise ValueError(f"echoes have shapes {[echo.shape for echo in echoes]}; they must be equal")
    steps = np.diff(times)
    if not (steps > 0.0).all():
        raise ValueError(f"echo times {list(echo_times_s)} s must rise")
    signal = np.stack([np.asarray(echo, np.complex64) for echo in echoes])
    model = np.stack((np.ones(len(times)), fat_factors(echo_times_s, field_t, phase_sign)), axis=1)
    solve = np.linalg.pinv(model)
    rest = np.eye(len(times)) - model @ solve
    candidates = np.arange(FIELDS) / FIELDS / float(steps.min())
    candidates -= candidates[FIELDS // 2]
    best = np.full(signal.shape[1:], np.inf, np.float32)
    field = np.zeros(signal.shape[1:], np.float32)
    for hz in candidates:
        turned = np.exp(-2j * np.pi * hz * times)
        left = np.tensordot((rest * turned).astype(np.complex64), signal, axes=1)
        error = ndimage.uniform_filter((np.abs(left) ** 2).sum(axis=0), (1, SMOOTH_PX, SMOOTH_PX))
        better = error < best
        best[better], field[better] = error[better], hz
    return _amplitudes(signal, times, field, solve)


def _amplitudes(signal: NDArray[np.complex64], times: NDArray[np.float64], field: NDArray[np.float32],
                solve: Complex) -> WaterFat:  # fmt: skip
    still = signal * np.exp(-2j * np.pi * times[:, None, None, None] * field).astype(np.complex64)
    water, fat = np.tensordot(solve.astype(np.complex64), still, axes=1)
    return WaterFat(water, fat, field)


class FatSubtraction:
    """Takes the fat of a reference out of the echoes of later frames."""

    def __init__(self, reference: WaterFat, echo_times_s: Sequence[float], field_t: float, phase_sign: int = 1) -> None:
        self.echo_times_s = tuple(echo_times_s)
        factors = fat_factors(echo_times_s, field_t, phase_sign)
        turns = np.exp(2j * np.pi * reference.field_hz * np.asarray(self.echo_times_s)[:, None, None, None])
        self._fat = (reference.fat * turns * factors[:, None, None, None]).astype(np.complex64)

    def water(self, echoes: Sequence[Complex], drift_hz: float | NDArray[Any] = 0.0) -> list[NDArray[np.complex64]]:
        """Each echo without its fat; `drift_hz` is how far the field has drifted since the reference."""
        if len(echoes) != len(self.echo_times_s):
            raise ValueError(f"{len(echoes)} echoes given, the reference has {len(self.echo_times_s)}")
        if np.ndim(drift_hz) == 0 and drift_hz == 0.0:
            return [np.asarray(echo - fat, np.complex64) for echo, fat in zip(echoes, self._fat, strict=True)]
        drift = np.asarray(2.0 * np.pi * np.asarray(drift_hz), np.float32)
        angles = [drift * np.float32(t) for t in self.echo_times_s]
        turns = [np.cos(angle) + np.complex64(1j) * np.sin(angle) for angle in angles]
        rows = zip(echoes, self._fat, turns, strict=True)
        return [np.asarray(echo - fat * turn, np.complex64) for echo, fat, turn in rows]
