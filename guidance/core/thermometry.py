"""Thermometry desk: every MR frame to the guard lane, its answer to the rules."""

from collections.abc import Iterable

from devices.messages import AnyMessage, Image, Metrics
from guidance.core.scene import Desk, Scene, image_evidence
from guidance.events import Effect, JobDone
from guidance.safety import evidence
from guidance.safety.phases import ENERGY_PERMITTED
from guidance.safety.treatment import Treatment
from guidance.timing.frames import FrameClock
from guidance.timing.streams import StreamState


class ThermometryDesk(Desk):
    """Frames of the one thermometry stream of a room."""

    kinds = frozenset({"thermometry"})
    takes = (Image,)
    jobs = frozenset({"thermometry"})
    judged = ("thermometry_age_periods", "frames_not_rising", *evidence.FRAME_FACTS)

    def __init__(self, scene: Scene, treatment: Treatment) -> None:
        self._scene, self._treatment = scene, treatment
        self._energy = evidence.EnergyTime()
        self._clock = FrameClock()
        self._stream = scene.settings.thermometry.stream if scene.settings.thermometry else ""
        default = scene.limits["guard_temperature_c"].value
        guards = scene.settings.guards
        self._guards = evidence.GuardMemory(
            {guard.structure: default if guard.limit_c is None else guard.limit_c for guard in guards},
            {guard.structure: guard.limit_cem43_min for guard in guards},
            {guard.structure: guard.role for guard in guards},
            scene.settings.thermometry.t0_c if scene.settings.thermometry else None,
            next((round(s.period_ms * 1e6) for s in scene.settings.streams if s.name == self._stream), 0),
        )
        self._answered_ns = 0
        self._work_ns = 0  # from a frame's arrival to its answer, the last one
        if self._stream:
            self._guards.declare(scene.facts, self._stream)
        self.facts: dict[str, float | int | str | bool | None] = {}  # the newest answer, for views and summaries

    def take(self, state: StreamState, message: AnyMessage, now_ns: int) -> Iterable[Effect]:
        """One frame: its age is a fact at once, its temperature when the lane has answered."""
        if not isinstance(message, Image) or state.settings.name != self._stream:
            return ()
        evidence.image_age(self._scene.facts, state, now_ns)
        evidence.frames_rising(self._scene.facts, state, now_ns)
        aligned_ns = self._scene.tracking.time_ns(state.settings, message.device_time_ns, now_ns)
        time_ns = self._clock.time_ns(message.device_time_ns, aligned_ns)
        self._energy.measure(self._treatment.phase in ENERGY_PERMITTED, now_ns)
        inputs = {
            "image": message,
            "time_s": time_ns / 1e9,
            "energy_s": self._energy.passed_ns / 1e9,
            "late_s": (max(now_ns - time_ns, 0) + self._work_ns) / 1e9,
        }
        told = image_evidence(state, message)
        return (self._scene.job("guard", "thermometry", "thermometry", inputs, told),)

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """An answer: facts for the rules, numbers for the feeds, the volume for the views."""
        if result.failed:
            self._guards.failed(self._scene.facts, self._stream, result.now_ns)
            return ()
        self._answered_ns = result.now_ns
        self._work_ns = max(result.now_ns - told[self._stream], 0)
        evidence.answer_age(self._scene.facts, self._scene.streams[self._stream], self._answered_ns, result.now_ns)
        self.facts = dict(result.facts)
        self._guards.measure(self._scene.facts, result.facts, self._stream, result.now_ns)
        self._scene.show_volume({**result.arrays, "state": str(result.facts.get("state"))}, told)
        numbers = {key: float(value) for key, value in result.facts.items() if isinstance(value, (int, float))}
        message = Metrics(
            name=f"thermometry-{self._stream}",
            device_time_ns=result.now_ns,
            values=numbers,
            quality=self._scene.quality(told, result.now_ns),
            evidence=told,
        )
        return self._scene.routes.to("metrics", message)

    def guard(self, name: str, limit_c: float) -> None:
        """From the next answer on, what the lane measures under `name` is guarded: T1 and its kin judge it."""
        self._guards.add(name, limit_c)

    def unguard(self, name: str) -> None:
        """No rule looks at it any more; an alarm that it raised stays until it is reset."""
        self._guards.remove(self._scene.facts, name)

    def measure(self, now_ns: int) -> None:
        """A frame that does not come ages; time for which energy may flow is counted."""
        self._energy.measure(self._treatment.phase in ENERGY_PERMITTED, now_ns)
        if self._stream:
            state = self._scene.streams[self._stream]
            evidence.image_age(self._scene.facts, state, now_ns)
            evidence.answer_age(self._scene.facts, state, self._answered_ns, now_ns)
