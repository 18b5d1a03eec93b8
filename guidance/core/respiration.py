"""Respiration desk: external markers and navigators to the guard lane, what they say to consoles and to a rule.

A surrogate never moves the plan: it is shown and sent with its quality and its prediction over the same measured
time as the image's own; a surrogate that is not understood, or has not been seen for a while, is told (M5).
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from devices.messages import AnyMessage, Image, Metrics, Pose
from devices.quality import Quality
from guidance.core.motion import MotionDesk
from guidance.core.scene import Desk, Scene
from guidance.events import Effect, JobDone
from guidance.safety.facts import Fact
from guidance.timing.streams import StreamState
from guidance.units import ms

LOST = "surrogate_lost"
LEAST_PERIOD_NS = ms(40)  # breathing needs no more; a tracker sends a hundred a second
GLANCE_NS = ms(2000)  # a hand before the camera, as for tools; without a sample for longer nothing is understood


class RespirationDesk(Desk):
    """Streams of kind `respiration`: poses of a marker on the chest, or profiles of a navigator."""

    kinds = frozenset({"respiration"})
    takes = (Pose, Image)
    jobs = frozenset({"respiration"})
    judged = (LOST,)

    def __init__(self, scene: Scene, motion: MotionDesk) -> None:
        self._scene, self._motion = scene, motion
        self._last_ns: dict[str, int] = {}
        self._seen: dict[str, tuple[int, bytes]] = {}  # when the last sample came that is evidence, and what it said
        self._asked: dict[int, tuple[str, int]] = {}  # job -> stream and time of acquisition
        self.facts: dict[str, dict[str, float | int | str | bool | None]] = {}  # newest answer of each stream
        for row in scene.settings.streams:
            if row.kind == "respiration":
                scene.facts.declare(LOST, row.name)

    def take(self, state: StreamState, message: AnyMessage, now_ns: int) -> Iterable[Effect]:
        """One sample; no evidence is what is not younger than the last, the very same, or called bad by its device."""
        name = state.settings.name
        acquired_ns = min(self._scene.tracking.time_ns(state.settings, message.device_time_ns, now_ns), now_ns)
        last_ns = self._last_ns.get(name, -LEAST_PERIOD_NS)
        if not isinstance(message, Pose | Image) or not message.quality.usable or acquired_ns <= last_ns:
            state.rejected += 1
            return ()
        if acquired_ns - last_ns < LEAST_PERIOD_NS:
            return ()
        said = (message.fixed_from_moving if isinstance(message, Pose) else message.pixels).tobytes()
        if name in self._seen and said == self._seen[name][1]:
            state.rejected += 1
            return ()
        self._last_ns[name], self._seen[name] = acquired_ns, (now_ns, said)
        inputs: dict[str, Any] = {"stream": name, "acquired_ns": acquired_ns, "horizon_s": self._motion.horizon_s()}
        if isinstance(message, Pose):
            inputs |= {"sample": message.fixed_from_moving[:3, 3], "spacing_mm": 0.0}
        else:
            spacing_mm = float(np.linalg.norm(message.frame_from_image_mm[:3, 0]))
            inputs |= {"sample": np.abs(message.pixels).ravel(), "spacing_mm": spacing_mm}
        told = {name: message.receive_time_ns, f"{name}.device_ns": message.device_time_ns}
        job = self._scene.job("guard", f"respiration-{name}", "respiration", inputs, told)
        self._asked[job.number] = (name, acquired_ns)
        return (job,)

    def measure(self, now_ns: int) -> None:
        """What has been learnt, and is not seen any more, is lost."""
        for name, (seen_ns, _) in self._seen.items():
            if now_ns - seen_ns > GLANCE_NS and self._scene.facts.get(LOST, name) is not None:
                self._scene.facts.set(LOST, name, Fact(1.0, now_ns))

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """The answer becomes a fact and numbers for the consoles; a job that never ran says nothing."""
        name, acquired_ns = self._asked.pop(result.job)
        if result.failed and not result.started_ns:
            return ()
        facts = dict(result.facts)
        if result.failed:
            facts = {"state": "failed", "usable": False, "quality": 0.0}
        self.facts[name] = facts
        usable = bool(facts["usable"])
        if facts["state"] != "learning":
            self._scene.facts.set(LOST, name, Fact(0.0 if usable else 1.0, acquired_ns))
        values = {key: float(value) for key, value in facts.items() if isinstance(value, (int, float))}
        message = Metrics(
            name=f"respiration-{name}",
            device_time_ns=result.now_ns,
            values=values | {"latency_ms": (result.now_ns - acquired_ns) / 1e6},
            quality=self._scene.quality(told, result.now_ns, Quality.OK if usable else Quality.SUSPECT),
            evidence=told,
        )
        return self._scene.routes.to("metrics", message)
