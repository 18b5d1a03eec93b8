"""Cost of navigation: numbers of one pose, outlines of one overlay, and what each stands on.

Peers in the same run: SimpleITK's Maurer filter for the distance field, SciPy's SLERP and spline
look-up for what kernels do here. Limits: a pose with 5 structures and a 256-sample tool within
0.1 ms, the outlines of an 820x616 overlay within 10 ms.
Run: guidance bench navigation
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation, Slerp

from devices.messages import Image
from guidance.lanes.show import ShowWork
from guidance.load import config_file, load_room
from guidance.navigation.targeting import TOOL_SAMPLES, Targeting
from guidance.plan import Plan, SignedDistance, Structure, Target, Trajectory
from guidance.settings import Tool
from guidance.space import FrameGraph
from guidance.timing import PoseRing

POSE_LIMIT_MS, OVERLAY_LIMIT_MS = 0.1, 10.0
ROW, COLUMN = 616, 820


def _ball(size: int, radius: float) -> NDArray[np.bool_]:
    k, j, i = np.indices((size, size, size))
    found: NDArray[np.bool_] = (i - size / 2) ** 2 + (j - size / 2) ** 2 + (k - size / 2) ** 2 < radius**2
    return found


def _plan(count: int) -> Plan:
    """A plan with label-map structures around a target."""
    structures = []
    for n in range(count):
        geometry = np.eye(4)
        geometry[:3, 3] = [40.0 * np.cos(n), 40.0 * np.sin(n), 10.0 * n]
        structures.append(Structure(f"organ-{n}", "organ_at_risk", SignedDistance(_ball(64, 20.0), geometry)))
    goal = np.array([32.0, 32.0, 32.0])
    way = Trajectory("way", goal + np.array([0.0, 90.0, 0.0]), goal, "goal", 4.0, 5.0)
    return Plan("bench", "bench", "1", "midline", (Target("goal", goal, None, 5.0, {}),), (way,), tuple(structures))


def _median_ms(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each call, one after the other in every round."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter_ns()
            call()
            taken[name].append((time.perf_counter_ns() - start) / 1e6)
    return {name: statistics.median(values) for name, values in taken.items()}


def _row(name: str, size: str, ours: float, peer: str = "", peer_ms: float = 0.0, limit: float | None = None) -> Any:
    return {
        "name": name,
        "size": size,
        "ours_ms": ours,
        "peer": peer or None,
        "peer_ms": peer_ms or None,
        "ratio": ours / peer_ms if peer_ms else None,
        "limit": limit,
        "ok": True if limit is None else ours <= limit,
    }


def rows(quick: bool) -> list[dict[str, Any]]:
    """Rows of the table; `quick` takes fewer rounds."""
    rounds = 30 if quick else 300
    return [*_pose_rows(rounds), *_overlay_rows(max(5, rounds // 10)), *_parts_rows(rounds)]


def _pose_rows(rounds: int) -> list[dict[str, Any]]:
    plan = _plan(5)
    needle = Tool(name="Needle", stream="Needle", tip_mm=(0.0, 0.0, 150.0), length_mm=150.0)
    targeting = Targeting(plan, [needle])
    ras_from_tool = np.eye(4)
    ras_from_tool[:3, 3] = 32.0, 40.0, -120.0
    points = np.random.default_rng(0).uniform(0, 60, (TOOL_SAMPLES, 3))
    out = np.empty(TOOL_SAMPLES)
    field = plan.structures[0].shape
    assert isinstance(field, SignedDistance)
    taken = _median_ms(
        {
            "pose": lambda: targeting.measure("Needle", ras_from_tool),
            "look_up": lambda: field.distance_into(points, out),
            "scipy": lambda: map_coordinates(field.field_mm, points.T[::-1] + 31.0, order=1),
        },
        rounds,
    )
    return [
        _row("targeting of a pose", "5 label maps, 256 + 64 samples", taken["pose"], limit=POSE_LIMIT_MS),
        _row("distance look-up", "256 samples", taken["look_up"], "scipy map_coordinates", taken["scipy"]),
    ]


def _overlay_rows(rounds: int) -> list[dict[str, Any]]:
    plan = _plan(5)
    settings, _, _ = load_room(config_file("procedures", "fusion_biopsy_prostate"))
    show = ShowWork(settings, plan)
    pixels = np.random.default_rng(2).integers(0, 255, (1, ROW, COLUMN), np.uint8)
    plane = np.diag([0.2, 0.2, 1.0, 1.0])
    plane[:3, 3] = -60.0, -40.0, 32.0
    image = Image(name="Ultrasound", pixels=pixels, frame="Image", frame_from_image_mm=np.eye(4))
    drawn: dict[str, Any] = {
        "stream": "Ultrasound", "image": image, "tools": {"Needle": np.eye(4)}, "void": "", "ras_from_image": plane,
        "tips": {"Needle": ((0.0, 0.0, 150.0), 0.7)}, "zones": [(plan.structures[0].shape, np.eye(4))],
    }  # fmt: skip
    mask = _ball(128, 40.0)
    volume = sitk.GetImageFromArray(mask.astype(np.uint8))
    taken = _median_ms(
        {
            "whole": lambda: show.frame(**drawn),
            "outlines": lambda: [s.contours(plane, (ROW, COLUMN)) for s in plan.structures],
            "field": lambda: SignedDistance(mask, np.eye(4)),
            "maurer": lambda: sitk.SignedMaurerDistanceMap(volume, squaredDistance=False, useImageSpacing=True),
        },
        rounds,
    )
    return [
        _row(
            "whole overlay: picture, plan, way, tool, zone",
            f"5 structures, {COLUMN}x{ROW}",
            taken["whole"],
            limit=OVERLAY_LIMIT_MS,
        ),
        _row("outlines of an overlay", f"5 structures, {COLUMN}x{ROW}", taken["outlines"], limit=OVERLAY_LIMIT_MS),
        _row("distance field, once a plan", "128^3", taken["field"], "SimpleITK Maurer", taken["maurer"]),
    ]


def _parts_rows(rounds: int) -> list[dict[str, Any]]:
    ring = PoseRing(512)
    turns = Rotation.random(2, rng=1)
    for n in range(512):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("z", n, degrees=True).as_matrix()
        ring.append((n + 1) * 10_000_000, pose)
    graph = FrameGraph([("Tracker", "RAS", np.eye(4))], [("Needle", "Tracker"), ("Reference", "Tracker")])
    for tool in ("Needle", "Reference"):
        graph.set(tool, "Tracker", np.eye(4))
    path = graph.path("Needle", "Reference")
    taken = _median_ms(
        {
            "ring": lambda: ring.at(2_504_000_000),
            "scipy": lambda: Slerp([0.0, 1.0], turns)(0.4),
            "path": lambda: graph.evaluate(path),
        },
        rounds,
    )
    return [
        _row("pose at a time", "512 samples", taken["ring"], "scipy Slerp", taken["scipy"]),
        _row("path of two edges", "4x4", taken["path"]),
    ]
