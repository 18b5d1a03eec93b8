"""Where a breathing position will be: the mean of autoregression and nearest patterns, with its uncertainty.

Direct multi-step prediction of the increment from now: a ridge autoregression over all coordinates together
(2 s of history), one over each coordinate alone (5 s), and the increments that followed the most similar patterns
of 0.4 to 1.5 s in the last 300 s (Krilavicius et al. 2015 and Pohl et al. 2022 describe the data and its peers).
"""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.motion.autoregression import Ridge
from guidance.motion.patterns import similar_increments

Array = NDArray[np.float64]


class PredictionState(StrEnum):
    """What a prediction is worth. In every state but OK the value is the last position, held."""

    OK = "ok"
    BURN_IN = "burn_in"  # too little history yet
    HOLD = "hold"  # the prediction left what this motion has ever done in that time


@dataclass(frozen=True)
class PredictorSettings:
    """Lengths in steps of `step_s`; penalties in mm^2 times samples."""

    step_s: float = 0.1
    burn_in_s: float = 30.0
    memory_s: float = 300.0
    longest_horizon_s: float = 3.0
    longest_gap_s: float = 1.0
    snap_s: float = 0.02  # a grid point this near to a measurement takes its value
    windows: tuple[int, ...] = (4, 6, 10, 15)
    neighbours: tuple[int, ...] = (15, 10, 7, 7)
    level: float = 0.5
    joint_lags: tuple[int, ...] = (*range(10), 13, 17)
    own_lags: tuple[int, ...] = (*range(10), *range(13, 50, 4))
    joint_penalty: float = 100.0
    joint_level: float = 1.0
    own_penalty: float = 30.0
    forgetting: float = 0.9995
    solve_every: int = 4
    hold_beyond: float = 2.0  # times the trailing 99th percentile of the increment
    error_memory: int = 300
    alike_s: float = 0.01  # horizons this near share one record of errors: a measured latency is never twice the same


@dataclass(frozen=True)
class Forecast:
    """Position and its standard deviation, both in the shape of the input, and what they are worth."""

    position_mm: Array
    sigma_mm: Array
    state: PredictionState


@dataclass
class _Horizon:
    """The record of horizons that are alike (`alike_s`): guesses that wait for their truth, and past errors."""

    pending: deque[tuple[float, Array]]
    squares: deque[Array]
    reach: float = np.inf
    reach_at: int = -1
    asked_at: int = 0
    answers: dict[float, tuple[int, Array, PredictionState]] = field(default_factory=dict)  # horizon -> update, answer


@dataclass
class _Models:
    joint: Ridge
    own: list[Ridge]
    taken: int  # grid index up to which targets were taken in
    solved: int


class PositionPredictor:
    """Predicts a position (any shape: one or several markers' coordinates, mm) over the latency ahead.

    Incremental: `update` with each measurement, then `predict` for the horizons wanted; each horizon that is asked
    for learns on its own and costs about 0.2 ms a step with nine coordinates.
    """

    def __init__(self, settings: PredictorSettings | None = None) -> None:
        self.settings = settings or PredictorSettings()
        s = self.settings
        self._windows = np.array(s.windows, np.int64)
        self._neighbours = np.array(s.neighbours, np.int64)
        self._span = max(max(s.joint_lags), max(s.own_lags), max(s.windows)) + 1
        self._memory = round(s.memory_s / s.step_s)
        self.restarts = -1
        self._shape: tuple[int, ...] | None = None
        self._times: deque[float] = deque()
        self._values: deque[Array] = deque()

    def _start(self, t_s: float, value: Array) -> None:
        self.restarts += 1
        self._origin_s = t_s
        self._times, self._values = deque([t_s]), deque([value])
        self._grid = np.empty((2 * self._memory, value.size))
        self._grid[0] = value
        self._count, self._dropped = 1, 0  # rows held, and rows that were let go before them
        self._mean = value.copy()
        self._models: dict[int, _Models] = {}
        self._horizons: dict[float, _Horizon] = {}
        self._updates = 0

    def update(self, t_s: float, position_mm: NDArray[Any] | float) -> None:
        """Take in one measurement. Times must rise; after a gap beyond `longest_gap_s` learning starts afresh.

        Raises ValueError when the time does not rise, a value is not finite or the shape changes.
        """
        position = np.asarray(position_mm, np.float64)
        if not (np.isfinite(t_s) and np.isfinite(position).all()):
            raise ValueError(f"position at {t_s} s: not finite; leave a missing measurement out")
        if self._shape is None:
            self._shape = position.shape
        if position.shape != self._shape:
            raise ValueError(f"position at {t_s} s: shape {position.shape}, but it began with {self._shape}")
        value = position.ravel().copy()
        if not self._times:
            self._start(t_s, value)
            return
        if t_s <= self._times[-1]:
            raise ValueError(f"position at {t_s} s: time must rise, the last was at {self._times[-1]} s")
        if t_s - self._times[-1] > self.settings.longest_gap_s:
            self._start(t_s, value)
            return
        self._fill_grid(t_s, value)
        self._times.append(t_s)
        self._values.append(value)
        while self._times[1] < t_s - (self._span + 1) * self.settings.step_s:
            self._times.popleft()
            self._values.popleft()
        self._updates += 1
        for key, horizon in list(self._horizons.items()):
            self._score(horizon, t_s, value)
            if self._updates - horizon.asked_at > self.settings.error_memory:
                del self._horizons[key]

    def _fill_grid(self, t_s: float, value: Array) -> None:
        step, before_s, before = self.settings.step_s, self._times[-1], self._values[-1]
        while (at_s := self._origin_s + (self._dropped + self._count) * step) <= t_s + 1e-9:
            if self._count == len(self._grid):
                self._grid[: self._memory] = self._grid[self._count - self._memory :]
                self._dropped += self._count - self._memory
                self._count = self._memory
            self._grid[self._count] = self._between(at_s, before_s, before, t_s, value)
            self._count += 1
            self._mean += (self._grid[self._count - 1] - self._mean) / min(self._dropped + self._count, self._memory)

    def _between(self, at_s: float, before_s: float, before: Array, t_s: float, value: Array) -> Array:
        """The measurement next to `at_s`, or the line between two: interpolating every row would hide the noise."""
        near = self.settings.snap_s
        if abs(at_s - before_s) <= near or abs(at_s - t_s) <= near:
            return before if abs(at_s - before_s) < abs(at_s - t_s) else value
        share = (at_s - before_s) / (t_s - before_s)
        return np.asarray(before + share * (value - before))

    def _score(self, horizon: _Horizon, t_s: float, value: Array) -> None:
        before_s, before = self._times[-2], self._values[-2]
        while horizon.pending and horizon.pending[0][0] <= t_s:
            due_s, guess = horizon.pending.popleft()
            truth = before + (due_s - before_s) / (t_s - before_s) * (value - before)
            horizon.squares.append((truth - guess) ** 2)

    def predict(self, horizon_s: float) -> Array:
        """The position `horizon_s` after the last measurement, in the shape of the input, mm.

        Raises ValueError before the first measurement and for horizons outside 0 .. `longest_horizon_s`.
        """
        return self.forecast(horizon_s).position_mm

    def sigma(self, horizon_s: float) -> Array:
        """Standard deviation (mm, shape of the input) of predictions at this horizon."""
        return self.forecast(horizon_s).sigma_mm

    def state(self, horizon_s: float) -> PredictionState:
        """What the prediction at this horizon is worth now."""
        return self.forecast(horizon_s).state

    def forecast(self, horizon_s: float) -> Forecast:
        """Position, sigma and state at once; raises as `predict` does."""
        s = self.settings
        if not self._times or self._shape is None:
            raise ValueError("predict: no measurement yet; call update first")
        if not 0 <= horizon_s <= s.longest_horizon_s:
            raise ValueError(f"predict: horizon {horizon_s} s is outside 0 .. {s.longest_horizon_s} s")
        exact, key = round(horizon_s, 4), round(horizon_s / s.alike_s)
        horizon = self._horizons.get(key)
        if horizon is None:
            horizon = self._horizons[key] = _Horizon(deque(), deque(maxlen=s.error_memory))
        horizon.asked_at = self._updates
        if horizon.answers.get(exact, (-1,))[0] != self._updates:
            position, state = self._answer(exact, horizon)
            horizon.answers = {h: a for h, a in horizon.answers.items() if a[0] == self._updates}
            horizon.answers[exact] = (self._updates, position, state)
            horizon.pending.append((self._times[-1] + exact, position))
        _, position, state = horizon.answers[exact]
        sigma = self._sigma(exact, horizon, state)
        return Forecast(position.reshape(self._shape).copy(), sigma.reshape(self._shape), state)

    def _sigma(self, horizon_s: float, horizon: _Horizon, state: PredictionState) -> Array:
        """RMS of the recent errors; of the increment itself while those are few or the value is held."""
        if len(horizon.squares) >= 30 and state is PredictionState.OK:
            return np.asarray(np.sqrt(np.mean(horizon.squares, axis=0)))
        steps = min(max(round(horizon_s / self.settings.step_s), 1), self._count - 1)
        if steps < 1:
            return np.full(self._grid.shape[1], np.inf)
        rows = self._grid[: self._count]
        return np.asarray(np.sqrt(np.mean((rows[steps:] - rows[:-steps]) ** 2, axis=0)))

    def _answer(self, horizon_s: float, horizon: _Horizon) -> tuple[Array, PredictionState]:
        s, now = self.settings, self._values[-1]
        ahead = round(horizon_s / s.step_s, 6)
        if self._times[-1] - self._origin_s < s.burn_in_s:
            return now.copy(), PredictionState.BURN_IN
        increment = self._increments(ahead).mean(axis=0)
        rows = self._grid[max(self._count - self._memory, 0) : self._count]
        if float(np.linalg.norm(increment)) > s.hold_beyond * self._reach(horizon, int(np.ceil(ahead)), rows):
            return now.copy(), PredictionState.HOLD
        return now + increment, PredictionState.OK

    def members(self, horizon_s: float) -> Array:
        """What each member of the mean says, (members, *shape of the input), mm: joint and single autoregression,
        then the patterns of each window. Raises ValueError before `burn_in_s` of measurements."""
        if self._shape is None or self._times[-1] - self._origin_s < self.settings.burn_in_s:
            raise ValueError(f"members: they answer from {self.settings.burn_in_s} s of measurements on")
        found = self._values[-1] + self._increments(round(horizon_s / self.settings.step_s, 6))
        return found.reshape(-1, *self._shape)

    def _increments(self, ahead: float) -> Array:
        """Increments (members, coordinates) over `ahead` steps."""
        s, recent = self.settings, self._recent()
        low, high = int(np.floor(ahead)), int(np.ceil(ahead))
        near, far = (self._regress(step, recent) for step in (low, high))
        regressed = near + (ahead - low) * (far - near)
        rows = self._grid[max(self._count - self._memory, 0) : self._count]
        newest_first = recent[: max(s.windows)]
        followed = similar_increments(rows, len(rows), newest_first, ahead, self._windows, self._neighbours, s.level)
        return np.concatenate([regressed, followed])

    def _recent(self) -> Array:
        """The last positions (span, coordinates), newest first, on a grid that ends at the last measurement."""
        times, values = np.array(self._times), np.array(self._values)
        at = times[-1] - np.arange(self._span) * self.settings.step_s
        place = np.clip(np.searchsorted(times, at - 1e-9, side="left"), 1, len(times) - 1)
        share = ((at - times[place - 1]) / (times[place] - times[place - 1]))[:, None]
        return np.asarray(values[place - 1] + share * (values[place] - values[place - 1]))

    def _reach(self, horizon: _Horizon, steps: int, rows: Array) -> float:
        """Trailing 99th percentile of the increment's length over this many steps; renewed every second."""
        if horizon.reach_at < 0 or self._updates - horizon.reach_at >= 10:
            moved = rows[steps:] - rows[: len(rows) - steps]
            horizon.reach = float(np.percentile(np.linalg.norm(moved, axis=1), 99)) if steps else np.inf
            horizon.reach_at = self._updates
        return horizon.reach

    def _regress(self, steps: int, recent: Array) -> Array:
        """Increments (2, coordinates) by the joint and the single autoregression."""
        if steps == 0:
            return np.zeros((2, recent.shape[1]))
        models = self._learn(steps)
        joint = self._joint_row(recent) @ models.joint.weights
        own = np.array([self._own_row(recent, c) @ ridge.weights[:, 0] for c, ridge in enumerate(models.own)])
        return np.stack([joint, own])

    def _joint_row(self, recent: Array) -> Array:
        """Position from the mean, then the past relative to now, then the constant."""
        return np.asarray(self._joint_rows(recent[list(self.settings.joint_lags)][None])[0])

    def _joint_rows(self, past: Array) -> Array:
        """Features (n, lags * coordinates + 1) of pasts (n, lags, coordinates)."""
        rows = past - past[:, :1]
        rows[:, 0] = self.settings.joint_level * (past[:, 0] - self._mean)
        return np.concatenate([rows.reshape(len(rows), -1), np.ones((len(rows), 1))], axis=1)

    def _own_row(self, recent: Array, coordinate: int) -> Array:
        return np.asarray(self._own_rows(recent[list(self.settings.own_lags)][None], coordinate)[0])

    def _own_rows(self, past: Array, coordinate: int) -> Array:
        """Features (n, lags + 1) of one coordinate of pasts (n, lags, coordinates)."""
        line = past[:, :, coordinate]
        rows = line - line[:, :1]
        rows[:, 0] = line[:, 0] - self._mean[coordinate]
        return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)

    def _learn(self, steps: int) -> _Models:
        """Bring the models of this many steps up to the newest grid row, all rows at once: a horizon may be new."""
        s, coordinates = self.settings, self._grid.shape[1]
        total = self._dropped + self._count
        models = self._models.get(steps)
        if models is None:
            joint = Ridge(len(s.joint_lags) * coordinates + 1, coordinates, s.joint_penalty, s.forgetting)
            own = [Ridge(len(s.own_lags) + 1, 1, s.own_penalty, s.forgetting) for _ in range(coordinates)]
            models = self._models[steps] = _Models(joint, own, self._dropped + self._span - 1, -s.solve_every)
        now = np.arange(max(models.taken, self._dropped + self._span - 1), total - steps) - self._dropped
        if now.size:
            moved = self._grid[now + steps] - self._grid[now]
            models.joint.absorb(self._joint_rows(self._grid[now[:, None] - s.joint_lags]), moved)
            past = self._grid[now[:, None] - s.own_lags]
            for c, ridge in enumerate(models.own):
                ridge.absorb(self._own_rows(past, c), moved[:, c : c + 1])
        models.taken = total - steps
        if total - models.solved >= s.solve_every:
            for ridge in (models.joint, *models.own):
                ridge.solve()
            models.solved = total
        return models
