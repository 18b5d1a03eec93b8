"""Colours of overlays (RGB) and the fixed temperature scale; one table for every picture."""

import matplotlib
import numpy as np
from numpy.typing import NDArray

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
    "text": (0xD6, 0xDB, 0xDF),
    "not_live": (0x8E, 0x10, 0x62),
}

SCALE_C = (37.0, 60.0)  # ends of the colour scale
SHOWN_FROM_C = 39.0  # cooler than this stays transparent

_INFERNO: NDArray[np.uint8] = (matplotlib.colormaps["inferno"](np.linspace(0.25, 0.97, 256))[:, :3] * 255).astype(
    np.uint8
)


def temperature_rgb(temperature_c: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours (..., 3) uint8 of temperatures in degC on the fixed scale; NaN is coloured as its low end."""
    low, high = SCALE_C
    index = np.nan_to_num((temperature_c - low) * (255.0 / (high - low)), nan=0.0).clip(0, 255).astype(np.uint8)
    colours: NDArray[np.uint8] = _INFERNO[index]
    return colours
