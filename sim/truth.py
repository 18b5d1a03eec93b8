"""What is true of a room, and a score of the service's outputs against it."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from devices.messages import Alert, AnyMessage, Command, GuidedPose, Metrics, Overlay
from devices.peer import Peer
from devices.quality import Quality
from sim.consumers import Console
from sim.gating import gating_score
from sim.implant import ImplantRow
from sim.lesions import lesion_score
from sim.phantom.freezing import FrozenTissue
from sim.phantom.world import World
from sim.placements import TargetRow, axis_of, placement_score
from sim.robot import Robot
from sim.scanner import Scanner
from sim.space import Vector, vector
from sim.therapy_device import TherapyDevice
from sim.thermal import ThermalTruth
from sim.tools import ToolMotion
from sim.tracker import Tracker

NECROSIS_MIN = 240.0
_COUNTED = (GuidedPose, Overlay, Metrics, Alert, Command)


class Truth:
    """Registry of what the peers know: tools by name, clocks by message name, therapy devices."""

    def __init__(
        self,
        world: World,
        targets: Sequence[TargetRow] = (),
        tips: dict[str, str] | None = None,
        implant: ImplantRow | None = None,
    ) -> None:
        self.world = world
        self.targets, self.tips, self.implant = targets, tips or {}, implant
        self.robots: dict[str, Robot] = {}
        self.tools: dict[str, ToolMotion] = {}
        self.therapies: list[TherapyDevice] = []
        self.scanners: list[Scanner] = []
        self.consoles: list[Console] = []
        self.thermal: list[ThermalTruth] = []
        self._measured: dict[str, Callable[[int], int]] = {}

    def watch(self, peer: Peer) -> None:
        """Learn what `peer` can tell."""
        if isinstance(peer, Tracker):
            self.tools |= peer.tools
            self._measured |= dict.fromkeys(peer.tools, peer.measured_ns)
        if isinstance(peer, TherapyDevice):
            self.therapies.append(peer)
        if isinstance(peer, Console):
            self.consoles.append(peer)
        if isinstance(peer, Robot):
            self.robots[peer.device] = peer
        if isinstance(peer, Scanner):
            self.scanners.append(peer)
        if isinstance(peer, ThermalTruth):
            self.thermal.append(peer)

    def tip_mm(self, tool: str, now_ns: int) -> Vector:
        """True tip of a tool at a service time, RAS mm."""
        return self.tools[tool].tip_mm(now_ns)

    def tip_and_axis(self, stream: str, now_ns: int) -> tuple[Vector, Vector] | None:
        """True tip and axis towards the hand of the tool on a stream; a robot's as they are at the end."""
        name = stream.partition("To")[0]
        if name in self.robots:
            return self.robots[name].tip_and_axis()
        tool = self.tools.get(self.tips.get(name, name))
        if tool is None:
            return None
        return tool.tip_mm(now_ns), axis_of(tool.ras_from_tool(now_ns))

    def target_mm(self, now_ns: int) -> Vector:
        """Where the target is at a service time, RAS mm."""
        return self.world.moved_mm(self.world.target_mm, now_ns)

    def peak_c(self, now_ns: int) -> float:
        """Hottest tissue at a service time, degC."""
        return self.world.peak_c(now_ns)

    def heat(self, end_ns: int) -> dict[str, float]:
        """State of the patient at `end_ns`: peak temperatures, dose in target and neighbours."""
        self.world.advance_to(end_ns)
        tissue, solver = self.world.tissue, self.world.tissue.solver
        if isinstance(tissue, FrozenTissue):
            return {"coldest_c": float(tissue.coldest_c.min())}
        target = tissue.dose_min("tumour")
        ablated_cm3 = float((solver.dose_min >= NECROSIS_MIN).sum()) * (tissue.grid.voxel_mm / 10) ** 3
        return {
            "peak_c": max((peak for _, peak in self.world.peaks), default=solver.arterial_c),
            "max_cem43_min": float(solver.dose_min.max()),
            "target_ablated_share": float((target >= NECROSIS_MIN).mean()) if target.size else 0.0,
            "ablated_cm3": ablated_cm3,
            "delivered_j": solver.delivered_j,
        }

    def score(self, outputs: Iterable[tuple[int, AnyMessage]]) -> dict[str, Any]:
        """Tip errors (mm) per tool, temperature errors (degC), what was said, what the therapy did.

        A guided pose is compared with the true tip at the time when its tool was measured
        (`evidence["<stream>.device_ns"]`, the stream named as the tool or as `<tool>ToTracker`).
        `max_c` of Metrics is compared with the hottest tissue at its image's time.
        """
        tips: dict[str, list[float]] = {}
        heat_errors: list[float] = []
        said = {kind.__name__: 0 for kind in _COUNTED}
        stops: list[int] = []
        end_ns = self.world.start_ns
        told = list(outputs)
        heats = not isinstance(self.world.tissue, FrozenTissue)
        for now_ns, message in told:
            end_ns = max(end_ns, now_ns)
            kind = type(message).__name__
            said[kind] = said.get(kind, 0) + 1
            if isinstance(message, GuidedPose) and message.quality is Quality.OK and message.tool in self.tools:
                tips.setdefault(message.tool, []).append(self._tip_error_mm(message, now_ns))
            if isinstance(message, Metrics) and "max_c" in message.values and heats:
                at_ns = max((v for k, v in message.evidence.items() if k.endswith(".device_ns")), default=now_ns)
                heat_errors.append(message.values["max_c"] - self.peak_c(at_ns))
            if isinstance(message, Command) and message.verb == "STOP":
                stops.append(now_ns)
        return {
            "outputs": said,
            "tip_error_mm": {tool: _spread(errors) for tool, errors in sorted(tips.items())},
            "temperature_error_c": _spread(heat_errors),
            "stops": len(stops),
            "consoles": [console.report() for console in self.consoles],
            "therapy": [self._therapy(device, end_ns) for device in self.therapies],
            "heat": self.heat(end_ns),
            **({"thermal": self.thermal[0].score()} if self.thermal else {}),
            **self._gating(told, end_ns),
            **lesion_score(self.world, told, self.therapies[0].switched if self.therapies else ()),
            "placements": placement_score(told, self.targets, self.tip_and_axis, self.implant),
        }

    def _gating(self, outputs: list[tuple[int, AnyMessage]], end_ns: int) -> dict[str, Any]:
        """What a beam that does not heat met in the phantom; nothing where images or beam are of another kind."""
        beams = [device for device in self.therapies if not device.heats]
        if not beams or not self.scanners:
            return {}
        found = gating_score(self.world, beams[0].switched, outputs, end_ns)
        return {"gating": found, "ok": found["ok"]}

    def _tip_error_mm(self, guided: GuidedPose, now_ns: int) -> float:
        device_ns = next(
            (guided.evidence[f"{name}.device_ns"] for name in (guided.tool, f"{guided.tool}ToTracker")
             if f"{name}.device_ns" in guided.evidence),
            max((v for k, v in guided.evidence.items() if k.endswith(".device_ns")), default=now_ns),
        )  # fmt: skip
        at_ns = self._measured[guided.tool](device_ns)
        tip = guided.ras_from_tool @ np.append(vector(self.tools[guided.tool].settings.tip_mm), 1.0)
        return float(np.linalg.norm(tip[:3] - self.tip_mm(guided.tool, at_ns)))

    def _therapy(self, device: TherapyDevice, end_ns: int) -> dict[str, Any]:
        changes = [*device.switched, (end_ns, 0.0)]
        on_ns = sum(off - on for (on, power), (off, _) in pairwise(changes) if power > 0)
        state = str(device.state)
        return {"link": device.name, "on_s": on_ns / 1e9, "state": state, "stopped_ns": device.stopped_at_ns}


def _spread(errors: list[float]) -> dict[str, float]:
    if not errors:
        return {"n": 0}
    values = np.asarray(errors)
    return {
        "n": len(errors),
        "mean": float(values.mean()),
        "rms": float(np.sqrt((values**2).mean())),
        "p95_abs": float(np.percentile(np.abs(values), 95)),
    }
