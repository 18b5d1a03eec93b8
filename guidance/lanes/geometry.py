"""Geometry of the plan for consoles that draw it themselves: outlines on axial planes, and a label map."""

from typing import Any

import numpy as np

from guidance.plan import Plan, Structure
from guidance.plan.raster import contours, mask

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
PLANE_MM = 3.0
PIXEL_MM = 1.0
LABEL_MM = 2.0
REACH_MM = 64.0  # the label map reaches this far around the first target


class GeometryWork:
    """Made once a plan; pure."""

    def __init__(self, plan: Plan | None) -> None:
        self._plan = plan

    def geometry(self) -> Result:
        """For every structure NAME.points (N, 3) RAS mm and NAME.counts (M,); `labels` with its `labels.ras`."""
        arrays: dict[str, Any] = {}
        plan = self._plan
        if plan is None:
            return {"structures": 0}, arrays
        for structure in plan.structures:
            points, counts = _outlines(structure)
            arrays[f"{structure.name}.points"], arrays[f"{structure.name}.counts"] = points, counts
        side = int(2 * REACH_MM / LABEL_MM)
        ras = np.diag([LABEL_MM, LABEL_MM, LABEL_MM, 1.0])
        ras[:3, 3] = np.asarray(plan.targets[0].center_mm, np.float64) - REACH_MM
        labels = np.zeros((side, side, side), np.uint8)
        masks = [mask(structure.shape, ras, (side, side, side)) for structure in plan.structures]
        for n in sorted(range(len(masks)), key=lambda n: -int(masks[n].sum())):
            labels[masks[n]] = n + 1  # the smallest last: a lesion is not hidden by its organ
        arrays["labels"], arrays["labels.ras"] = labels, ras
        return {"structures": len(plan.structures)}, arrays


def _outlines(structure: Structure) -> tuple[Any, Any]:
    low, high = structure.shape.bounds_mm
    size = tuple(int(np.ceil((high[axis] - low[axis]) / PIXEL_MM)) + 5 for axis in (1, 0))
    lines = []
    for height in np.arange(low[2] + PLANE_MM / 2, high[2], PLANE_MM):
        plane = np.diag([PIXEL_MM, PIXEL_MM, 1.0, 1.0])
        plane[:3, 3] = low[0] - 2.0, low[1] - 2.0, height
        for line in contours(structure.shape, plane, (size[0], size[1])):
            pixels = np.column_stack([line, np.zeros(len(line)), np.ones(len(line))])
            lines.append((pixels[:, None, :] * plane[None, :3, :]).sum(axis=2))
    points = np.concatenate(lines) if lines else np.zeros((0, 3))
    return np.ascontiguousarray(points), np.array([len(line) for line in lines], np.int32)
