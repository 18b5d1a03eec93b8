"""A camera (or any sensor) on a hand: sees a target that stays where it is, from wherever the hand carries it."""

from collections.abc import Sequence

import numpy as np

from devices.messages import AnyMessage, Pose
from sim.space import Matrix, inverse, matrix, rotation_vector
from sim.tools import ToolMotion


class Eye:
    """`hand` is a tool of a tracker that stands before this peer; `hand_from_eye` is the truth to be found.

    Says where `target` is in the frame `eye`, `rate_hz` times a second, with noise of sigma per axis.
    """

    def __init__(
        self,
        *,
        name: str,
        rng: np.random.Generator,
        start_ns: int,
        tracked: dict[str, ToolMotion],
        hand: str,
        hand_from_eye: Sequence[Sequence[float]],
        ras_from_target: Sequence[Sequence[float]],
        eye: str = "Camera",
        target: str = "Marker",
        rate_hz: float = 50.0,
        noise_mm: float = 0.1,
        noise_deg: float = 0.05,
    ) -> None:
        if hand not in tracked:
            raise ValueError(f"hand {hand!r} is not among the tracked {sorted(tracked)}")
        self.name = name
        self.hand_from_eye: Matrix = matrix(hand_from_eye)
        self._rng, self._hand, self._eye, self._target = rng, tracked[hand], eye, target
        self._ras_from_target = matrix(ras_from_target)
        self._noise_mm, self._noise_rad = noise_mm, np.radians(noise_deg)
        self._period_ns = round(1e9 / rate_hz)
        self._due_ns = start_ns
        self._number = 0

    def next_due_ns(self) -> int:
        """When the next pose leaves."""
        return self._due_ns

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """Poses due by `now_ns`."""
        said: list[AnyMessage] = []
        while self._due_ns <= now_ns:
            seen = inverse(self._hand.ras_from_tool(self._due_ns) @ self.hand_from_eye) @ self._ras_from_target
            noise = self._rng.standard_normal(6)
            seen[:3, :3] = rotation_vector(self._noise_rad * noise[:3]) @ seen[:3, :3]
            seen[:3, 3] += self._noise_mm * noise[3:]
            said.append(
                Pose(
                    name=f"{self._target}To{self._eye}", device_time_ns=self._due_ns, moving=self._target,
                    fixed=self._eye, fixed_from_moving=seen, number=self._number,
                )
            )  # fmt: skip
            self._number += 1
            self._due_ns += self._period_ns
        return said

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """It only looks."""
