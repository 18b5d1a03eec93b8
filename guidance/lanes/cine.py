"""The show lane's part of motion: the cine frame with target, gate boundary and the target where its tissue is now."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from devices.messages import Image, Matrix
from devices.quality import Quality
from guidance.motion.compensation import points_to_current
from guidance.outputs import draw
from guidance.outputs.draw import Picture
from guidance.plan import Plan, Structure
from guidance.plan.raster import contours
from guidance.plan.shapes import Grown
from guidance.settings import Gating, RoomSettings

Facts = dict[str, float | int | str | bool | None]
Result = tuple[Facts, dict[str, Any]]
SHOWN_PX = 480  # the shorter side of the picture is at least this
LINE_PX = 18


class CineShow:
    """Draws cine frames; its only state is the grey level that keeps the picture steady."""

    def __init__(self, settings: RoomSettings, plan: Plan | None) -> None:
        self._structure: Structure | None = plan.structure(settings.motion.target) if plan and settings.motion else None
        self._others = [s for s in plan.structures if s is not self._structure] if plan else []
        self._boundary_mm = (settings.gating or Gating()).boundary_mm
        self._white = 0.0

    def frame(
        self,
        image: Image,
        lines: tuple[str, ...],
        open_gate: bool,
        usable: bool,
        displacement_px: NDArray[np.float32] | None = None,
    ) -> Result:
        """One frame. `lines` are written in its corner; without a usable displacement no moved outline is drawn.

        The planned target is thin, its boundary dash-dotted; thick is the target where its tissue is now,
        and the other structures are where theirs is.
        """
        assert self._structure is not None, "a room without motion sends no such job"
        plane = np.asarray(image.pixels[0] if image.pixels.ndim == 3 else image.pixels, np.float32)
        size = (plane.shape[0], plane.shape[1])
        factor = max(1, -(-SHOWN_PX // min(size)))
        picture = self._grey(plane, factor)
        ras = image.frame_from_image_mm
        known = displacement_px if usable else None
        for other in self._others:
            for outline in other.contours(ras, size):
                now = outline if known is None else points_to_current(outline, known)
                draw.line(picture, _enlarged(now, factor), "organ", width=1)
        for outline in contours(Grown(self._structure.shape, self._boundary_mm), ras, size):
            draw.dash_dot(picture, _enlarged(outline, factor), "gate")
        for outline in self._structure.contours(ras, size):
            draw.line(picture, _enlarged(outline, factor), "target", width=1)
            if known is not None:
                now = _enlarged(points_to_current(outline, known), factor)
                draw.line(picture, now, "target" if open_gate else "organ_at_risk")
        for row, text in enumerate(lines):
            draw.label(picture, text, (8, LINE_PX * (row + 1)), size=0.5)
        if not usable:
            draw.hatch(picture, np.ones(picture.shape[:2], np.bool_), "not_live", period=24)
        quality = Quality.OK if usable else Quality.SUSPECT
        return {"quality": quality.value}, {"frame": picture, "frame.ras": _ras_enlarged(ras, factor)}

    def _grey(self, plane: NDArray[np.float32], factor: int) -> Picture:
        white = float(np.percentile(plane[::2, ::2], 99.5)) or 1.0
        self._white = 0.95 * (self._white or white) + 0.05 * white
        large = cv2.resize(plane, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        return draw.grey_rgba(np.asarray(large, np.float32), self._white)


def _enlarged(points: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    return (points + 0.5) * factor - 0.5


def _ras_enlarged(ras_from_image: Matrix, factor: int) -> Matrix:
    """`ras_from_pixel` of the picture whose pixels are `factor` times smaller."""
    pixel = np.diag([1 / factor, 1 / factor, 1.0, 1.0])
    pixel[:2, 3] = (1 / factor - 1) / 2
    return np.asarray(ras_from_image @ pixel)
