"""Tracking: poses of all tools, checked, aligned in time and placed in the plan's space."""

import math
from dataclasses import dataclass

import numpy as np

from devices.messages import Matrix, Pose
from devices.quality import Quality
from guidance.navigation.targeting import ISOTROPIC_95
from guidance.navigation_settings import ProbeCalibration
from guidance.settings import RoomSettings, Stream, Tool
from guidance.space.frames import Edge, FrameError, FrameGraph, FramePath
from guidance.space.poses import is_rigid
from guidance.timing.alignment import ClockAlignment
from guidance.timing.ring import Kind, PoseRing

SPEED_LIMIT_MM_PER_S = 3000.0  # no hand moves a tool faster; above it the pose is an outlier
RAS = "RAS"
SAME_NS = 500_000  # stamps of one clock, aligned at different moments, agree to better than this


class PoseTrack:
    """Newest pose and history of one pose stream."""

    def __init__(self, stream: Stream, edge: Edge) -> None:
        self.stream = stream
        self.edge = edge
        self.ring = PoseRing(capacity=1024)
        self.quality = Quality.MISSING
        self.usable_ns = 0  # receive time of the newest usable pose
        self.unusable_since_ns = 0  # first receive time of the current run of unusable poses; 0 = usable
        self.repeats = 0  # bit-identical poses in a row
        self.impossible_ns: list[int] = []  # receive times of rejected poses within the last second
        self._last: Pose | None = None
        self._bits = b""  # of its matrix

    def take(self, pose: Pose, time_ns: int, now_ns: int) -> str:
        """Check one pose and keep it; the name of its fault, or "" where it is kept as it is."""
        fault = "" if pose.quality is not Quality.OK else self._impossible(pose, now_ns)
        if fault:
            self.impossible_ns.append(now_ns)
            return fault
        bits = pose.fixed_from_moving.tobytes()
        self.repeats = self.repeats + 1 if bits == self._bits else 0
        self._last, self._bits = pose, bits
        self.quality = pose.quality
        if pose.quality.usable:
            self.usable_ns, self.unusable_since_ns = now_ns, 0
        else:
            self.unusable_since_ns = self.unusable_since_ns or now_ns
        self.ring.append(time_ns, pose.fixed_from_moving, pose.quality)
        return ""

    def _impossible(self, pose: Pose, now_ns: int) -> str:
        fault = is_rigid(pose.fixed_from_moving)
        last = self._last
        if fault or last is None or not last.quality.usable:
            return fault
        here, there = pose.fixed_from_moving[:3, 3].tolist(), last.fixed_from_moving[:3, 3].tolist()
        passed_s = max((now_ns - last.receive_time_ns) / 1e9, self.stream.period_ms / 1e3)
        return "moved faster than a tool can" if math.dist(here, there) > SPEED_LIMIT_MM_PER_S * passed_s else ""

    def impossible_per_s(self, now_ns: int) -> int:
        """Poses rejected within the last second."""
        self.impossible_ns = [at for at in self.impossible_ns if now_ns - at < 1_000_000_000]
        return len(self.impossible_ns)

    def state(self, now_ns: int, repeats_limit: float) -> Quality:
        """Quality as it may be shown now: OK only for a usable, fresh pose that does not repeat."""
        if not self.quality.usable:
            return self.quality
        if now_ns - self.usable_ns > self.stream.limit_ms * 1e6:
            return Quality.MISSING
        return Quality.SUSPECT if self.stream.free_tool and self.repeats > repeats_limit else Quality.OK


@dataclass(frozen=True, eq=False)
class Placed:
    """A tool in RAS mm, with the quality of the worst pose on the way and the evidence."""

    tool: Tool
    ras_from_tool: Matrix
    quality: Quality
    evidence: dict[str, int]


class Tracking:
    """All pose streams of a room, the frame graph that joins them and the tools on it."""

    def __init__(self, settings: RoomSettings, repeats_limit: float) -> None:
        self._repeats_limit = repeats_limit
        frames = {link.id: link.default_frame for link in settings.links}
        by_stream = {tool.stream: tool for tool in settings.tools}
        self.tracks = {
            row.name: PoseTrack(row, _edge(row, by_stream.get(row.name), frames[row.link]))
            for row in settings.streams
            if row.kind == "pose"
        }
        rows = settings.space.static
        known = [(s.moving, s.fixed, np.array(s.fixed_from_moving, float)) for s in rows if s.fixed_from_moving]
        unknown = [(s.moving, s.fixed) for s in rows if not s.fixed_from_moving]
        self.graph = FrameGraph(known, [*unknown, *(track.edge for track in self.tracks.values())])
        self.errors = {(s.moving, s.fixed): (s.sigma_mm, s.bound_mm) for s in rows}
        self.conditions = {(s.moving, s.fixed): dict(s.conditions) for s in rows}  # what must hold for a static edge
        self.lags_ns: dict[str, int] = {}  # stream -> lag measured live, beside the one of its settings
        self.void: dict[Edge, str] = {}  # static edges that must not be used, with the reason
        self.tools = {tool.name: tool for tool in settings.tools}
        self._paths: dict[str, FramePath] = {
            tool.name: self.graph.path(self.tracks[tool.stream].edge[0], RAS) for tool in settings.tools
        }
        self._frame_paths: dict[Edge, FramePath] = {}
        self._by_edge = {track.edge: track for track in self.tracks.values()}
        clocks = {link.clock or link.id: ClockAlignment() for link in settings.links}
        self.alignments = {link.id: clocks[link.clock or link.id] for link in settings.links}

    def take(self, stream: str, pose: Pose, now_ns: int) -> str:
        """Take a pose of `stream`; the fault for which it was refused, or ""."""
        track = self.tracks[stream]
        fault = track.take(pose, self.time_ns(track.stream, pose.device_time_ns, now_ns), now_ns)
        if not fault and pose.quality.usable:
            self.graph.set(*track.edge, pose.fixed_from_moving)
        return fault

    def time_ns(self, stream: Stream, device_time_ns: int, now_ns: int) -> int:
        """Service time of the event that a device stamped, by its aligned clock and calibrated lag."""
        aligned = self.alignments[stream.link].align(device_time_ns, now_ns, stream.name)
        return aligned.time_ns - round(stream.lag_ms * 1e6) - self.lags_ns.get(stream.name, 0)

    def join(
        self, moving: str, fixed: str, fixed_from_moving: Matrix, sigma_mm: float, bound_mm: float,
        conditions: dict[str, float] | None = None,
    ) -> None:  # fmt: skip
        """A static edge was measured anew: its matrix (4, 4), errors and conditions hold from now on."""
        self.graph.set(moving, fixed, np.array(fixed_from_moving, np.float64))
        self.errors[moving, fixed] = (sigma_mm, bound_mm)
        self.conditions[moving, fixed] = conditions or {}

    def live(self, way: FramePath, now_ns: int) -> Matrix | None:
        """A way's matrix (4, 4) while every pose on it is live, else None."""
        usable = all(self.edge_quality(edge, now_ns).usable for edge in way.edges)
        return self.graph.evaluate(way) if usable else None

    def way_errors(self, name: str) -> tuple[float, float]:
        """(sigma, 95 % bound) mm of all static edges between a tool and RAS; bound 0 where none states one."""
        rows = [self.errors[edge] for edge in self._paths[name].edges if edge in self.errors]
        if not any(bound for _, bound in rows):
            return sum(s * s for s, _ in rows) ** 0.5, 0.0
        bounds = [bound or ISOTROPIC_95 * sigma for sigma, bound in rows]
        return sum(s * s for s, _ in rows) ** 0.5, sum(b * b for b in bounds) ** 0.5

    def own_frame(self, tool: str) -> str:
        """The frame that a tool's poses move."""
        return self.tracks[self.tools[tool].stream].edge[0]

    def probe_edge(self, row: ProbeCalibration) -> Edge:
        """(picture, probe): the edge that a probe calibration measures."""
        return row.picture, self.own_frame(row.probe)

    def way_from(self, tool: str, frame: str) -> FramePath:
        """The way from a tool's own frame to another than RAS; FrameError where there is none."""
        return self.graph.path(self.own_frame(tool), frame)

    def place(self, name: str, now_ns: int) -> Placed | None:
        """The tool where it is now; None until every pose on its way to RAS was seen once.

        A reference that carries the patient's space is placed without its own pose, and is no more live than that.
        """
        path = self._paths[name]
        matrix = self.graph.evaluate(path)
        if matrix is None:
            return None
        quality = Quality.OK
        evidence: dict[str, int] = {}
        for edge in path.edges:
            track = self._by_edge.get(edge)
            if track is None:
                quality = Quality.SUSPECT if edge in self.void and quality is Quality.OK else quality
                continue
            evidence[track.stream.name] = track.usable_ns
            state = track.state(now_ns, self._repeats_limit)
            quality = quality if quality is not Quality.OK else state
        own = self.tracks.get(self.tools[name].stream)
        if own is not None and own.stream.name not in evidence:
            evidence[own.stream.name] = own.usable_ns
            quality = own.state(now_ns, self._repeats_limit) if quality is Quality.OK else quality
        return Placed(self.tools[name], matrix, quality, evidence)

    def why_not_live(self, name: str, now_ns: int) -> list[str]:
        """What keeps a tool from being shown as live, in words; nothing where it is live."""
        why = []
        own = self.tracks[self.tools[name].stream]
        for edge in dict.fromkeys((*self._paths[name].edges, own.edge)):
            track = self._by_edge.get(edge)
            moving, fixed = edge
            if track is None:
                unknown = "" if edge in self.graph.matrices else "not measured yet"
                fault = self.void.get(edge, unknown)
                why += [f"registration of {moving} to {fixed}: {fault}"] if fault else []
            elif not track.usable_ns:
                why.append(f"{moving} is not seen")
            elif (state := track.state(now_ns, self._repeats_limit)) is not Quality.OK:
                missing = state is Quality.MISSING
                why.append(f"{moving} is not seen" if missing else f"pose of {moving} is {state.value}")
        return why

    def edge_quality(self, edge: Edge, now_ns: int) -> Quality:
        """Quality of one edge now; a static one is OK once it is known."""
        track = self._by_edge.get(edge)
        if track is not None:
            return track.state(now_ns, self._repeats_limit)
        return Quality.OK if edge in self.graph.matrices else Quality.MISSING

    def frame_at(self, frame: str, time_ns: int, fixed: str = RAS) -> tuple[Matrix, dict[str, int]] | Kind:
        """`fixed_from_frame` (4, 4) as it was at `time_ns` (service time) with its evidence, or why not.

        Every pose on the way is taken at that time: exact or interpolated, never
        extrapolated. TOO_OLD where the pose after it is still to come is the caller's to wait for;
        EMPTY where `frame` is not joined to `fixed` at all.
        """
        path = self._frame_paths.get((frame, fixed))
        if path is None:
            try:
                path = self._frame_paths[frame, fixed] = self.graph.path(frame, fixed)
            except FrameError:
                return Kind.EMPTY
        if any(edge in self.void for edge in path.edges):
            return Kind.EMPTY
        matrices = dict(self.graph.matrices)
        told: dict[str, int] = {}
        for edge in path.edges:
            track = self._by_edge.get(edge)
            if track is None:
                continue
            newest_ns = track.ring.newest_ns
            sample = track.ring.at(newest_ns if 0 < time_ns - newest_ns <= SAME_NS else time_ns)
            if sample.matrix is None:
                return sample.kind
            matrices[edge] = sample.matrix
            told[track.stream.name] = time_ns - sample.age_ns
        matrix = path.evaluate(matrices)
        return Kind.EMPTY if matrix is None else (matrix, told)


def _edge(stream: Stream, tool: Tool | None, default_frame: str) -> Edge:
    moving, joined, fixed = stream.message_name.partition("To")
    if joined and moving and fixed:
        return moving, fixed
    return (tool.name if tool else stream.message_name), default_frame
