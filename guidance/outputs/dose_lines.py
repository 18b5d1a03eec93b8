"""Contours of thermal dose (240 CEM43 thick) and of the forecast (dotted) on a view plane."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from devices.messages import Matrix
from guidance.outputs import draw
from guidance.outputs.planes import Plane, sample_nearest

LEVELS_MIN = (2.0, 10.0, 17.0, 40.0, 60.0, 100.0, 200.0, 240.0)
NECROSIS_MIN = 240.0
SMALLEST_PX = 8.0  # shorter outlines are single voxels' corners


def dose_lines(picture: draw.Picture, plane: Plane, volume: dict[str, Any]) -> None:
    """Draw what `volume` holds of `region_dose_min` and `forecast_min`, in place; nothing where it holds neither."""
    if "region_dose_min" in volume:
        on_plane = _on_plane(volume["region_dose_min"], volume["region_ras"], plane)
        for level in LEVELS_MIN:
            for outline in outlines_at(on_plane, level):
                draw.line(picture, outline, "dose", closed=True, width=3 if level == NECROSIS_MIN else 1)
    if "forecast_min" in volume:
        on_plane = _on_plane(volume["forecast_min"], volume["forecast_ras"], plane)
        for outline in outlines_at(on_plane, NECROSIS_MIN):
            draw.dotted(picture, np.vstack([outline, outline[:1]]), "forecast")


def _on_plane(dose_min: NDArray[Any], ras_from_box: Matrix, plane: Plane) -> NDArray[np.float32]:
    return sample_nearest(dose_min, ras_from_box, plane)


def outlines_at(on_plane: NDArray[np.float32], level: float) -> list[NDArray[np.float64]]:
    """Closed lines (N, 2) of (column, row) around where a picture reaches `level`; single voxels have none."""
    if on_plane.max() < level:
        return []
    found, _ = cv2.findContours((on_plane >= level).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    lines = [np.asarray(outline[:, 0, :], np.float64) for outline in found]
    return [line for line in lines if len(line) >= SMALLEST_PX]
