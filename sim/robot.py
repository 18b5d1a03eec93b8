"""A simulated needle robot: moves along its line while permitted, follows with an error, holds and stops.

It obeys the same verbs and table as the energy device (`sim.therapy_device.MOVES`): START and RESUME
move it, HOLD and STOP halt it where it is, and three missed beats of PERMIT hold it.
"""

from collections.abc import Sequence

import numpy as np

from devices.messages import Acknowledgement, AnyMessage, Command, Pose, Reading
from devices.peer import NEVER_NS
from sim.phantom.world import World
from sim.space import Matrix, Vector, looking_along, pose, unit, vector
from sim.therapy_device import CODES, MOVES, NEEDS_PERMIT, State


class Robot:
    """Pose of its end effector at `rate_hz`, a Reading at 10 Hz. `lag_ms` makes the following error.

    `deflection_mm`: sigma across the line, per axis, by which the needle's tip has left it at the target, unseen by
    the joints. `faults`: `ignores_stop`, `drift_mm_per_mm` (seen), `stuck_at_mm`. SPEED {share} slows it.
    """

    def __init__(
        self,
        *,
        name: str,
        world: World,
        rng: np.random.Generator,
        start_ns: int,
        device: str = "Robot",
        rate_hz: float = 250.0,
        entry_mm: Sequence[float] = (101.8, 90.3, -9.5),
        speed_mm_s: float = 5.0,
        lag_ms: float = 40.0,
        noise_mm: float = 0.02,
        beat_ms: float = 100.0,
        missed_beats: int = 3,
        deflection_mm: float = 0.0,
        faults: dict[str, float] | None = None,
    ) -> None:
        self.name = name
        self.state = State.READY
        self.commanded_mm = 0.0  # along the line from the entry
        self.actual_mm = 0.0
        self._rng, self.device = rng, device
        self._entry: Vector = vector(entry_mm)
        self._length_mm = float(np.linalg.norm(world.target_mm - self._entry))
        self._axis = unit(world.target_mm - self._entry)
        self._rotation = looking_along(self._axis, np.array([0.0, 0.0, 1.0]))
        self._aside = unit(np.cross(self._axis, np.array([0.0, 0.0, 1.0])))
        self._deflection: Vector = (
            deflection_mm * rng.standard_normal(2) @ np.stack([self._aside, self._rotation[:, 0]])
        )
        self._share = 1.0  # of the speed, as the service allows
        self._speed, self._lag_s, self._noise_mm = speed_mm_s, lag_ms / 1000, noise_mm
        self._period_ns = round(1e9 / rate_hz)
        self._readings_every = max(1, round(rate_hz / 10))
        self._permit_for_ns = round(beat_ms * missed_beats * 1e6)
        self._permit_ns = -NEVER_NS
        self._faults = faults or {}
        self._due_ns = start_ns
        self._number = 0
        self._answers: list[AnyMessage] = []

    def next_due_ns(self) -> int:
        """The next pose, at once when there is an answer to give."""
        return self._due_ns - self._period_ns + 1 if self._answers else self._due_ns

    def advance(self, now_ns: int) -> list[AnyMessage]:
        """Answers, then poses and readings due by `now_ns`."""
        said, self._answers = self._answers, []
        while self._due_ns <= now_ns:
            self._move(self._due_ns)
            said.append(self._pose(self._due_ns))
            if self._number % self._readings_every == 0:
                said.append(self._reading(self._due_ns))
            self._number += 1
            self._due_ns += self._period_ns
        return said

    def accept(self, message: AnyMessage, now_ns: int) -> None:
        """Obey a command; PERMIT is a beat of the heart and is not acknowledged."""
        if not isinstance(message, Command):
            return
        if message.verb == "PERMIT":
            self._permit_ns = now_ns if message.values.get("permit", 1.0) > 0 else -NEVER_NS
            return
        if message.verb == "SPEED":
            self._share = min(max(message.values.get("share", 1.0), 0.0), 1.0)
            return
        target = MOVES.get((message.verb, self.state))
        deaf = message.verb == "STOP" and "ignores_stop" in self._faults
        refused = target is None or deaf or (message.verb in NEEDS_PERMIT and not self._permitted(now_ns))
        if target is not None and not refused:
            self.state = target
        self._answers.append(
            Acknowledgement(
                name=self.device,
                device_time_ns=now_ns,
                command_id=message.command_id,
                verb=message.verb,
                done=not refused,
                text=str(self.state),
            )
        )

    @property
    def tip_mm(self) -> Vector:
        """True tip, RAS mm."""
        share = self.actual_mm / self._length_mm
        tip: Vector = self.encoder_mm + share * self._deflection
        return tip

    @property
    def encoder_mm(self) -> Vector:
        """Tip as the robot's joints tell it: without the needle's deflection."""
        drift = self._faults.get("drift_mm_per_mm", 0.0) * self.actual_mm
        tip: Vector = self._entry + self.actual_mm * self._axis + drift * self._aside
        return tip

    def tip_and_axis(self) -> tuple[Vector, Vector]:
        """True tip and the unit vector towards the hand, RAS."""
        return self.tip_mm, -self._axis

    def _permitted(self, now_ns: int) -> bool:
        return now_ns < self._permit_ns + self._permit_for_ns

    def _move(self, now_ns: int) -> None:
        if self.state is State.ON and not self._permitted(now_ns):
            self.state = State.HELD
        dt_s = self._period_ns / 1e9
        if self.state is State.ON:
            self.commanded_mm = min(self.commanded_mm + self._share * self._speed * dt_s, self._length_mm)
            stuck = self.actual_mm >= self._faults.get("stuck_at_mm", np.inf)
            step = (self.commanded_mm - self.actual_mm) * min(1.0, dt_s / max(self._lag_s, dt_s))
            self.actual_mm += 0.0 if stuck else step

    def _pose(self, now_ns: int) -> Pose:
        measured = self.encoder_mm + self._noise_mm * self._rng.standard_normal(3)
        fixed_from_moving: Matrix = pose(self._rotation, measured)
        return Pose(
            name=f"{self.device}ToRAS",
            device_time_ns=now_ns,
            moving=self.device,
            fixed="RAS",
            fixed_from_moving=fixed_from_moving,
            number=self._number,
        )

    def _reading(self, now_ns: int) -> Reading:
        values = {
            "following_error_mm": self.commanded_mm - self.actual_mm,
            "depth_mm": self.actual_mm,
            "state": CODES[self.state],
        }
        return Reading(name=self.device, device_time_ns=now_ns, values=values)
