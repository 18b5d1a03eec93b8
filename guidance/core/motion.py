"""Motion desk: every cine frame to the guard lane, its answer to the gate, the gate to the rules that hold the beam.

The gate never speaks to the therapy device: it proves or does not prove the facts of M1 and M2, and the treatment
holds and resumes by those rules. How long that takes, from acquisition to the device's acknowledgement, is measured
here and is the time over which the lane predicts. What breathing does not do (M2p, M3, M4) becomes facts beside.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from devices.messages import Acknowledgement, AnyMessage, Image, Metrics, Overlay
from devices.quality import Quality
from guidance.core.scene import Desk, Scene, image_evidence
from guidance.events import Effect, JobDone
from guidance.motion.gating import Gate, GateDecision, GateReason, GateSettings, Sighting
from guidance.safety.facts import Fact
from guidance.settings import Gating
from guidance.timing.streams import StreamState
from guidance.units import ms

Facts = dict[str, float | int | str | bool | None]
SHARE, CENTROID, QUALITY = "target_outside_share", "target_centroid_mm", "motion_quality"
UNUSUAL = {  # fact of a rule: what the lane says about each frame
    "through_plane_frames": "unlike_frames",
    "target_jump_mm": "sudden_motion",
    "target_drift_mm": "drift_mm",
}
ANSWERS = {"HOLD": False, "RESUME": True}  # verbs by which the device acknowledges a change of the gate
ANSWER_NS = ms(1000)  # an acknowledgement later than this belongs to something else
LONGEST_HORIZON_S = 1.0
MEASURED = (GateReason.IN_GATE, GateReason.SHARE, GateReason.CENTROID, GateReason.AHEAD)  # the target was seen
KEPT = 4096


class MotionDesk(Desk):
    """Frames of the one cine stream of a room, the gate on its target, and what both did."""

    kinds = frozenset({"cine"})
    takes = (Image,)
    jobs = frozenset({"cine", "cine_frame"})
    judged = (SHARE, CENTROID, QUALITY, *UNUSUAL)

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.row = scene.settings.motion
        gating = scene.settings.gating
        self.gate = Gate(_gate_settings(gating or Gating(), scene)) if self.row else None
        self.facts: Facts = {}  # the newest answer, for views and summaries
        self.flagged: dict[str, int] = {}  # frames whose estimate was refused, by the name of what was wrong
        self.events: dict[str, int] = {}  # disturbances seen, by name
        self.decision_ns: deque[int] = deque(maxlen=KEPT)  # last byte of a frame to the gate's decision
        self.off_ns: deque[int] = deque(maxlen=KEPT)  # acquisition to the acknowledged HOLD
        self.on_ns: deque[int] = deque(maxlen=KEPT)
        self._answer_ns: deque[int] = deque(maxlen=32)
        self._age_ns: deque[int] = deque(maxlen=32)  # acquisition to decision
        self._subject = self.row.target if self.row else ""
        self._asked: dict[int, tuple[Image, int]] = {}  # job -> its frame and when that was acquired
        self._acquired_ns = -1
        self._switch: GateDecision | None = None
        if self.row and gating:
            for name in self.judged:
                scene.facts.declare(name, self._subject)

    def take(self, state: StreamState, message: AnyMessage, now_ns: int) -> Iterable[Effect]:
        """One frame. A frame that is not younger than the last, or that its device calls bad, is no evidence."""
        if self.row is None or not isinstance(message, Image) or state.settings.name != self.row.stream:
            return ()
        acquired_ns = min(self._scene.tracking.time_ns(state.settings, message.device_time_ns, now_ns), now_ns)
        if acquired_ns <= self._acquired_ns or not message.quality.usable or state.not_rising:
            state.rejected += 1
            return ()
        self._acquired_ns = acquired_ns
        inputs = {"image": message, "acquired_ns": acquired_ns, "horizon_s": self.horizon_s()}
        job = self._scene.job("guard", "cine", "cine", inputs, image_evidence(state, message))
        self._asked[job.number] = (message, acquired_ns)
        return (job,)

    def horizon_s(self) -> float:
        """Measured time from acquisition to the beam's answer: median of changes, before the first of decisions."""
        known = self._answer_ns or self._age_ns
        return min(round(float(np.median(known)) / 1e9, 3), LONGEST_HORIZON_S) if known else 0.0

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """An answer of the guard lane moves the gate; a picture of the show lane is passed on."""
        if result.kind == "cine_frame":
            return self._picture(result, told)
        image, acquired_ns = self._asked.pop(result.job)
        if self.row is None or self.gate is None or (result.failed and not _was_tried(result)):
            return ()
        facts: Facts = dict(result.facts) if not result.failed else {"state": "failed", "usable": False}
        self.facts = facts
        usable, state = bool(facts.get("usable")), str(facts.get("state"))
        if not usable and state != "acquiring_reference":
            self.flagged[state] = self.flagged.get(state, 0) + 1
        for name in ("sudden_motion", "drift", "through_plane"):
            if facts.get(name):
                self.events[name] = self.events.get(name, 0) + 1
        if state == "acquiring_reference":
            return [*self._tell(acquired_ns, result.now_ns, told), *self._show(image, result, told)]
        decision = self.gate.frame(_sighting(facts), acquired_ns, result.now_ns, _ahead(facts))
        self.decision_ns.append(result.now_ns - image.receive_time_ns)
        self._age_ns.append(decision.latency_ns)
        self._follow(decision)
        return [*self._tell(acquired_ns, result.now_ns, told), *self._show(image, result, told)]

    def measure(self, now_ns: int) -> None:
        """A frame that does not come closes the gate."""
        if self.gate is not None and self.gate.stale_at_ns >= 0:
            self._follow(self.gate.tick(now_ns))

    def heard(self, answer: Acknowledgement, now_ns: int) -> None:
        """The device says that it holds or has resumed: the change is complete, and its time is known."""
        switch = self._switch
        if switch is None or not answer.done or ANSWERS.get(answer.verb) is not switch.beam_on:
            return
        self._switch = None
        if switch.reason is not GateReason.STALE and now_ns - switch.decided_ns <= ANSWER_NS:
            taken_ns = now_ns - switch.acquired_ns
            self._answer_ns.append(taken_ns)
            (self.on_ns if switch.beam_on else self.off_ns).append(taken_ns)

    def summary(self) -> dict[str, Any]:
        """Duty cycle, residual motion, latencies and refusals as JSON values; empty in a room without motion."""
        if self.row is None or self.gate is None:
            return {}
        book = self.gate.book
        return {
            "target": self._subject,
            "frames": book.frames,
            "flagged": dict(self.flagged),
            "events": dict(self.events),
            "gate": self.gate.reason.value,
            "duty_cycle": round(book.duty_cycle, 4),
            "residual_rms_mm": round(book.residual_rms_mm, 3),
            "residual_max_mm": round(book.most_on_mm, 3),
            "ungated_rms_mm": round(book.ungated_rms_mm, 3),
            "switches": book.switches,
            "prediction": {"state": self.facts.get("ahead.state"), "horizon_s": self.horizon_s()},
            "frame_to_decision_ms": _spread_ms(self.decision_ns),
            "acquisition_to_beam_off_ms": _spread_ms(self.off_ns),
            "acquisition_to_beam_on_ms": _spread_ms(self.on_ns),
        }

    def _follow(self, decision: GateDecision) -> None:
        """What the gate decided becomes facts: measured ones where it saw the target, unknown ones where it did not."""
        if decision.changed:
            self._switch = decision
        if self._scene.settings.gating is None:
            return
        facts, board, at_ns = self.facts, self._scene.facts, decision.decided_ns
        limits = self.gate.settings if self.gate else GateSettings()
        sighting, seen = _sighting(facts), decision.reason in MEASURED
        both = (sighting, _ahead(facts) or sighting)
        share = max(place.outside_share for place in both)
        way = max(float(np.hypot(*place.centroid_mm)) for place in both)
        board.set(SHARE, self._subject, Fact(share, at_ns, seen, limits.most_outside_share))
        board.set(CENTROID, self._subject, Fact(way, at_ns, seen, limits.centroid_mm))
        if decision.reason is not GateReason.STALE:
            board.set(QUALITY, self._subject, Fact(_number(facts, "quality", 0.0), at_ns))
            for name, key in UNUSUAL.items():
                board.set(name, self._subject, Fact(_number(facts, key, 0.0), at_ns))

    def _tell(self, acquired_ns: int, now_ns: int, told: dict[str, int]) -> Iterable[Effect]:
        assert self.row is not None and self.gate is not None
        values = {key: float(value) for key, value in self.facts.items() if isinstance(value, (int, float))}
        book = self.gate.book
        values |= {
            "beam_on": float(self.gate.beam_on),
            "duty_cycle": book.duty_cycle,
            "residual_rms_mm": book.residual_rms_mm,
            "ungated_rms_mm": book.ungated_rms_mm,
            "latency_ms": (now_ns - acquired_ns) / 1e6,
            "horizon_s": self.horizon_s(),
        }
        quality = self._scene.quality(told, now_ns, Quality.OK if self.facts.get("usable") else Quality.SUSPECT)
        name = f"motion-{self.row.stream}"
        message = Metrics(name=name, device_time_ns=now_ns, values=values, quality=quality, evidence=told)
        return self._scene.routes.to("metrics", message)

    def _show(self, image: Image, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        if not self._scene.routes.carries("overlay") or self.gate is None:
            return ()
        inputs = {
            "image": image,
            "lines": self._lines(),
            "open_gate": self.gate.beam_on,
            "usable": bool(self.facts.get("usable")) or self.facts.get("state") == "acquiring_reference",
            **result.arrays,
        }
        return (self._scene.job("show", "cine_frame", "cine_frame", inputs, told),)

    def _lines(self) -> tuple[str, ...]:
        assert self.gate is not None
        state = str(self.facts.get("state"))
        if state == "acquiring_reference":
            return ("BEAM OFF", f"acquiring reference: frame {self.facts.get('reference_frames', '')}")
        first = "GATE OPEN" if self.gate.beam_on else f"GATE SHUT: {self.gate.reason.value.replace('_', ' ')}"
        if not self.facts.get("usable"):
            return (first, f"MOTION NOT KNOWN: {state}")
        x, y = _number(self.facts, "x_mm", 0.0), _number(self.facts, "y_mm", 0.0)
        outside = 100 * _number(self.facts, "share_outside", 1.0)
        book = self.gate.book
        return (
            first,
            f"outside {outside:.0f} %  centroid {np.hypot(x, y):.1f} mm",
            f"duty {100 * book.duty_cycle:.0f} %  residual {book.residual_rms_mm:.1f} mm",
        )

    def _picture(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        if result.failed:
            return ()
        message = Overlay(
            name="overlay-frame",
            view="frame",
            device_time_ns=result.now_ns,
            rgba=result.arrays["frame"],
            ras_from_image_mm=result.arrays["frame.ras"],
            quality=self._scene.quality(told, result.now_ns, Quality(str(result.facts["quality"]))),
            evidence=told,
        )
        return self._scene.routes.to("overlay", message, view="frame")


def _gate_settings(row: Gating, scene: Scene) -> GateSettings:
    return GateSettings(
        boundary_mm=row.boundary_mm,
        most_outside_share=scene.limits[SHARE].value,
        centroid_mm=scene.limits[CENTROID].value,
        good_frames=row.good_frames,
        stale_intervals=row.stale_intervals,
        most_age_ns=ms(row.most_age_ms),
    )


def _was_tried(result: JobDone) -> bool:
    """False for a job that never ran because a newer frame took its place."""
    return bool(result.started_ns)


def _number(facts: Facts, key: str, missing: float) -> float:
    value = facts.get(key)
    return float(value) if isinstance(value, (int, float)) else missing


def _sighting(facts: Facts) -> Sighting:
    way = (_number(facts, "x_mm", 0.0), _number(facts, "y_mm", 0.0))
    usable, through = bool(facts.get("usable")), bool(facts.get("through_plane"))
    return Sighting(_number(facts, "share_outside", 1.0), way, usable, through, sudden=bool(facts.get("sudden_motion")))


def _ahead(facts: Facts) -> Sighting | None:
    """Where the target is predicted to be; None where nothing is predicted."""
    if facts.get("ahead.state") != "ok":
        return None
    way = (_number(facts, "ahead.x_mm", 0.0), _number(facts, "ahead.y_mm", 0.0))
    return Sighting(_number(facts, "ahead.share_outside", 1.0), way)


def _spread_ms(values_ns: Iterable[int]) -> dict[str, float]:
    values = np.array(list(values_ns), np.float64) / 1e6
    if not values.size:
        return {"n": 0}
    p50, p99 = np.percentile(values, (50, 99))
    return {"n": values.size, "p50": round(p50, 3), "p99": round(p99, 3), "max": round(float(values.max()), 3)}
