"""Which voxels have a continuous track: temporal unwrapping can be trusted only where every step was small.

A step that leaves its prediction by more than a gate (or whose steps have long been larger than its noise
explains: tissue that breathing moves in and out) ends the track. From then on the voxel is unknown, not
cool. It comes back after ENTER steps within the gate, on the turn nearest to its trusted neighbours,
or to its own last trusted temperature where it has too few of them.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from guidance.thermometry.plain import GRADED_BIT, MISSED_MASK, PLAUSIBLE_C, PassInputs, PassOutputs

Map = NDArray[np.float32]
ENTER = 5  # steps within the gate after which a track begins anew
NEIGHBOURS_MIN = 3
GATE_TURNS = np.float32(0.25)  # beyond a quarter of a turn the turn itself is a guess
GATE_SIGMAS = np.float32(8.0)
MEMORY = np.float32(0.15)  # share of the newest step in the running mean of squares
RATIO_MAX = np.float32(50.0)  # what one step can add: a single one proves nothing
BASE_C = 2.0
EXCESS_MAX = np.float32(16.0)  # mean square of steps over what noise explains: a track that jumps about
_COLDEST, _WARMEST = (np.float32(value) for value in PLAUSIBLE_C)
_ZERO, _ONE, _INF = np.float32(0.0), np.float32(1.0), np.float32(np.inf)
_GRADED, _MISSED = np.int64(GRADED_BIT), np.int64(MISSED_MASK)


@dataclass(frozen=True, eq=False)
class Trusted:
    """`track_c` and `before_c` go on to the next frame; `lost` counts tissue voxels without a trusted track."""

    track_c: Map
    before_c: Map
    lost: int


class TrackTrust:
    """The state of all tracks of one reference."""

    def __init__(self, tissue: NDArray[np.bool_], t0_c: float, fastest_c_per_s: float) -> None:
        self._tissue, self._fastest, self._t0_c = tissue, fastest_c_per_s, t0_c
        self._steady = np.full(tissue.shape, ENTER, np.uint8)
        self._excess = np.full(tissue.shape, 1.0, np.float32)
        self._held_c = np.full(tissue.shape, t0_c, np.float32)

    def judge(self, given: PassInputs, found: PassOutputs) -> Trusted:
        """Take a pass: voxels without a trusted track lose validity, sigma and the dose of this step, in place."""
        jump_c = BASE_C + self._fastest * 60.0 * given.step_min if given.step_min > 0.0 else np.inf
        turn = 2.0 * np.pi * abs(given.degrees_per_radian)
        back = _judge(
            *(a.reshape(-1) for a in (found.temperature_c, given.last_c, given.before_c)),
            *(a.reshape(-1) for a in (found.sigma_c, found.valid, self._tissue)),
            *(a.reshape(-1) for a in (found.dose_min, found.variance, found.marks)),
            *(a.reshape(-1) for a in (given.dose_min, given.variance, given.marks)),
            *(a.reshape(-1) for a in (self._steady, self._excess, self._held_c)),
            np.float32(given.lead), np.float32(turn), np.float32(jump_c), np.float32(self._t0_c),
            np.bool_(given.step_min > 0.0),
        )  # fmt: skip
        track, before = found.temperature_c, given.last_c
        if back.any():
            track, before = self._settle(back, track, before, turn)
        return Trusted(track, before, int(np.count_nonzero(self._tissue & (self._steady < ENTER))))

    def _settle(self, back: NDArray[np.int64], track: Map, before: Map, turn: float) -> tuple[Map, Map]:
        """Voxels that begin a new track, on their right turn."""
        before = before.copy()
        trusted = (self._steady >= ENTER) & self._tissue
        trusted.reshape(-1)[back] = False
        shape = track.shape
        for index in back:
            k, j, i = np.unravel_index(index, shape)
            here = (k, slice(max(j - 1, 0), j + 2), slice(max(i - 1, 0), i + 2))
            near = track[here][trusted[here]]
            expected = float(np.median(near)) if near.size >= NEIGHBOURS_MIN else float(self._held_c[k, j, i])
            shift = turn * round((expected - float(track[k, j, i])) / turn)
            track[k, j, i] += shift
            before[k, j, i] += shift
        return track, before


@njit(nogil=True, cache=True, error_model="numpy")
def _judge(  # type: ignore[no-untyped-def]
    now, last, before, sigma, valid, tissue, dose, variance, marks, old_dose, old_variance, old_marks,
    steady, excess, held, lead, turn, jump, t0, stepping,
):  # fmt: skip
    back = np.empty(now.size, np.int64)
    count = 0
    spread = _ONE + (_ONE + lead) * (_ONE + lead) + lead * lead  # variance of a step against its prediction
    for n in range(now.size):
        if not tissue[n]:
            valid[n] = False
            marks[n] = np.uint8(np.int64(marks[n]) & ~_GRADED)
            continue
        t = last[n]
        slope = (t - before[n]) * lead
        expected = t + (slope if slope == slope else _ZERO)
        expected = min(max(expected if expected == expected else t0, _COLDEST), _WARMEST)
        step, own = now[n] - expected, sigma[n]
        gate = min(GATE_TURNS * turn, jump + GATE_SIGMAS * own)
        ratio = step * step / (spread * own * own + jump * jump / np.float32(64.0))
        excess[n] += MEMORY * (min(ratio, RATIO_MAX) - excess[n]) if ratio == ratio else _ZERO
        good = (abs(step) <= gate) & (own < _INF) & (excess[n] <= EXCESS_MAX)
        entering = good & (steady[n] == ENTER - 1)
        steady[n] = np.uint8(min(int(steady[n]) + 1, ENTER)) if good else np.uint8(0)
        if steady[n] >= ENTER and not entering:
            held[n] = now[n]
            continue
        if entering:
            back[count] = n
            count += 1
        valid[n] = False
        sigma[n] = _INF
        dose[n], variance[n] = old_dose[n], old_variance[n]
        old = np.int64(old_marks[n])
        missed = min((old & _MISSED) + np.int64(stepping), _MISSED)
        marks[n] = np.uint8((old & ~(_MISSED | _GRADED)) | missed)
    return back[:count]
