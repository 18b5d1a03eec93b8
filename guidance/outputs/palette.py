"""Colours of overlays (RGB) and the fixed temperature scales; one table for every picture."""

from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray

from guidance.settings import RoomSettings

RGB = tuple[int, int, int]

OUTLINE: dict[str, RGB] = {
    "target": (0x7C, 0xFC, 0x9A),
    "organ_at_risk": (0xFF, 0x8A, 0x3D),
    "organ": (0xA7, 0xB0, 0xB7),
    "gate": (0xB4, 0x8C, 0xFF),
    "forecast": (0xE6, 0xB3, 0xFF),
    "way": (0x6E, 0xC6, 0xFF),
    "tool": (0xFF, 0xFF, 0xFF),
    "dose": (0xFF, 0xFF, 0xFF),
    "ice": (0x9F, 0xD3, 0xFF),
    "text": (0xD6, 0xDB, 0xDF),
    "not_live": (0x8E, 0x10, 0x62),
}


class Scale(NamedTuple):
    """A fixed temperature scale: its ends, from where it is drawn, and whether cold is what matters."""

    low_c: float
    high_c: float
    shown_c: float  # nearer to body temperature than this stays transparent
    cold: bool


WARM = Scale(37.0, 60.0, 39.0, cold=False)
MILD = Scale(37.0, 45.0, 39.0, cold=False)
COLD = Scale(-40.0, 37.0, 35.0, cold=True)


def scale_of(settings: RoomSettings) -> Scale:
    """The scale of a room: what freezes, what is held in a window of a few degrees, everything else that heats."""
    if settings.therapy is not None and settings.therapy.modality == "cryo":
        return COLD
    return MILD if settings.heating is not None and settings.heating.goal == "temperature" else WARM


_INFERNO: NDArray[np.uint8] = (matplotlib.colormaps["inferno"](np.linspace(0.25, 0.97, 256))[:, :3] * 255).astype(
    np.uint8
)


_BLUE = np.ascontiguousarray(_INFERNO[:, ::-1])  # the same steps of brightness, from dark to light blue


def colours_of(scale: Scale) -> NDArray[np.uint8]:
    """The 256 colours (256, 3) of a scale, from body temperature outwards."""
    return _BLUE if scale.cold else _INFERNO


def temperature_rgb(temperature_c: NDArray[np.float32], scale: Scale = WARM) -> NDArray[np.uint8]:
    """Colours (..., 3) uint8 of temperatures in degC: the brighter, the farther from body temperature; NaN is dark."""
    away = (scale.high_c - temperature_c) if scale.cold else (temperature_c - scale.low_c)
    place = np.nan_to_num(away * (255.0 / (scale.high_c - scale.low_c)), nan=0.0)
    colours: NDArray[np.uint8] = colours_of(scale)[place.clip(0, 255).astype(np.uint8)]
    return colours
