"""Pose desk: poses in, guided poses out: every tool placed in the plan's space with its numbers and its quality."""

from collections.abc import Iterable

from devices.messages import AnyMessage, GuidedPose, Pose
from devices.quality import Quality
from guidance.core.scene import Desk, Scene
from guidance.events import Effect
from guidance.navigation.targeting import Targeting
from guidance.navigation.tracking import Placed
from guidance.safety import evidence
from guidance.timing.streams import StreamState
from guidance.units import ms

TOLD_AGAIN_NS = ms(500)  # a tool that is not live is told so this often
FACTS = ("pose_age_ms", "pose_repeats", "pose_invalid_ms", "impossible_poses_per_s")


class PoseDesk(Desk):
    """Takes poses, keeps the facts about them, says where the tools are."""

    kinds = frozenset({"pose"})
    takes = (Pose,)

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._tracking = scene.tracking
        self.targeting = Targeting(scene.plan, scene.settings.tools)
        self.latest: dict[str, tuple[Placed, dict[str, float]]] = {}  # newest place and numbers of every tool
        self._tools_of: dict[str, list[str]] = {}
        for tool in self._tracking.tools.values():
            self._tools_of.setdefault(tool.stream, []).append(tool.name)
        self._told: dict[str, tuple[Quality, int]] = {}
        for name in self._tracking.tracks:
            for fact in FACTS:
                scene.facts.declare(fact, name)

    def trust(self) -> None:
        """Every tool is as uncertain as its way to RAS: after anything on it was measured anew."""
        for tool in self._tracking.tools:
            self.targeting.uncertain(tool, *self._tracking.way_errors(tool))

    def take(self, state: StreamState, message: AnyMessage, now_ns: int) -> Iterable[Effect]:
        """One pose: checked, kept, and the tools that it moves told. A refused pose moves nothing."""
        if not isinstance(message, Pose):
            return ()
        if self._tracking.take(state.settings.name, message, now_ns):
            state.rejected += 1
            return ()
        out: list[Effect] = []
        for name in self._tools_of.get(state.settings.name, ()):
            placed = self._tracking.place(name, now_ns)
            if placed is not None:
                out += self._tell(placed, now_ns, message.device_time_ns)
        return out

    def measure(self, now_ns: int) -> None:
        """Facts of every pose stream."""
        for name, track in self._tracking.tracks.items():
            evidence.pose_facts(
                self._scene.facts,
                self._scene.streams[name],
                now_ns,
                track.repeats,
                track.unusable_since_ns,
                track.impossible_per_s(now_ns),
            )

    def tick(self, now_ns: int) -> Iterable[Effect]:
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
        aimed = placed.quality.usable and placed.tool.role == "tool"
        values = self.targeting.measure(name, placed.ras_from_tool) if aimed else {}
        self.latest[name] = (placed, values)
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
        return list(self._scene.routes.to("guided_pose", message))
