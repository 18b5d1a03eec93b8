"""Outlines of a lesion that grows from an applicator, on a view plane: burnt, or frozen."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.outputs import draw
from guidance.outputs.dose_lines import outlines_at
from guidance.outputs.planes import Plane, sample_nearest

NOWHERE = -1e6  # below every level


def _dots(picture: draw.Picture, outline: NDArray[np.float64], kind: str) -> None:
    draw.dotted(picture, np.vstack([outline, outline[:1]]), kind)


_THICK = partial(draw.line, closed=True, width=3)
_THIN = partial(draw.line, closed=True, width=1)
# map of the region, whose outline is where it is 0 -> how it is drawn, in which colour; later ones over earlier ones
LESIONS: dict[str, tuple[Callable[..., None], str]] = {
    "damage_forecast_log10": (_dots, "forecast"),
    "damage_sure_log10": (_THIN, "dose"),
    "damage_log10": (_THICK, "dose"),
    "ice_below_-20": (_dots, "forecast"),
    "ice_below_-40": (_dots, "forecast"),
    "ice_depth_mm": (partial(draw.line, closed=True), "ice"),
    "ice_lethal_mm": (_THICK, "dose"),
}

# what plane views take of a volume and of what was computed from it
DRAWN = frozenset(
    {"magnitude", "ras_from_image", "state", "temperature_c", "valid"}
    | {"region_dose_min", "region_ras", "forecast_min", "forecast_ras", "lesion_ras", *LESIONS}
)


def lesion_lines(picture: draw.Picture, plane: Plane, volume: dict[str, Any]) -> None:
    """Draw what `volume` holds of damage (forecast dotted, sure thin, damage 1 thick) or of ice.

    Of ice: the visible edge, the model's isotherms dotted, what is lethal by its depth thick.
    """
    for name, (stroke, kind) in LESIONS.items():
        if name in volume:
            on_plane = sample_nearest(volume[name], volume["lesion_ras"], plane, outside=NOWHERE)
            for outline in outlines_at(on_plane, 0.0):
                stroke(picture, outline, kind)
