"""Poses in, guided poses out: every tool placed in the plan's space with its numbers and its quality."""

from devices.messages import GuidedPose, Pose
from devices.quality import Quality
from guidance.events import Effect
from guidance.navigation.targeting import Targeting
from guidance.navigation.tracking import Placed, Tracking
from guidance.outputs.routes import Routes
from guidance.safety import evidence
from guidance.safety.facts import Facts
from guidance.timing.streams import StreamState

TOLD_AGAIN_NS = 500_000_000  # a tool that is not live is told so this often


class PoseDesk:
    """Takes poses, keeps the facts about them, says where the tools are."""

    def __init__(self, tracking: Tracking, targeting: Targeting, routes: Routes, facts: Facts) -> None:
        self._tracking = tracking
        self._targeting = targeting
        self._routes = routes
        self._facts = facts
        self._tools_of: dict[str, list[str]] = {}
        for tool in tracking.tools.values():
            self._tools_of.setdefault(tool.stream, []).append(tool.name)
        self._told: dict[str, tuple[Quality, int]] = {}
        for name in tracking.tracks:
            for fact in ("pose_age_ms", "pose_repeats", "pose_invalid_ms", "impossible_poses_per_s"):
                facts.declare(fact, name)

    def take(self, state: StreamState, pose: Pose, now_ns: int) -> list[Effect]:
        """One pose: checked, kept, and the tools that it moves told. A refused pose moves nothing."""
        state.arrived(now_ns, pose.device_time_ns, pose.number)
        if self._tracking.take(state.settings.name, pose, now_ns):
            state.rejected += 1
            return []
        out: list[Effect] = []
        for name in self._tools_of.get(state.settings.name, ()):
            placed = self._tracking.place(name, now_ns)
            if placed is not None:
                out += self._tell(placed, now_ns, pose.device_time_ns)
        return out

    def measure(self, states: dict[str, StreamState], now_ns: int) -> None:
        """Facts of every pose stream, once a tick."""
        for name, track in self._tracking.tracks.items():
            evidence.pose_facts(
                self._facts,
                states[name],
                now_ns,
                track.repeats,
                track.unusable_since_ns,
                track.impossible_per_s(now_ns),
            )

    def tick(self, now_ns: int) -> list[Effect]:
        """Tell of tools that are no longer live though nothing arrived: silence must not look alive."""
        out: list[Effect] = []
        for name, (quality, told_ns) in self._told.items():
            placed = self._tracking.place(name, now_ns)
            if placed is None or placed.quality is Quality.OK:
                continue
            if placed.quality is not quality or now_ns - told_ns >= TOLD_AGAIN_NS:
                out += self._tell(placed, now_ns, 0)
        return out

    def _tell(self, placed: Placed, now_ns: int, device_time_ns: int) -> list[Effect]:
        name = placed.tool.name
        self._told[name] = (placed.quality, now_ns)
        values = self._targeting.measure(name, placed.ras_from_tool) if placed.quality.usable else {}
        told = placed.evidence
        if device_time_ns:
            told = {**told, f"{placed.tool.stream}.device_ns": device_time_ns}
        message = GuidedPose(
            name=name,
            tool=name,
            device_time_ns=now_ns,
            ras_from_tool=placed.ras_from_tool,
            quality=placed.quality,
            values=values,
            evidence=told,
        )
        return list(self._routes.to("guided_pose", message))
