"""Temperature laid over a picture, half transparent: every pixel shows the voxel that it lies in, never a mean."""

import numba
import numpy as np
from numpy.typing import NDArray

from devices.messages import Matrix
from guidance.outputs.palette import Scale, colours_of
from guidance.outputs.planes import Plane, image_from_plane

OPACITY = 0.65


@numba.njit(nogil=True, cache=True)
def _lay(temperature, valid, image_from_pixel, scale, cold, colours, picture):  # type: ignore[no-untyped-def]
    slices, rows, columns = temperature.shape
    low, high, shown = scale
    m = image_from_pixel
    for v in range(picture.shape[0]):
        i0 = m[0, 1] * v + m[0, 3] + 0.5
        j0 = m[1, 1] * v + m[1, 3] + 0.5
        k0 = m[2, 1] * v + m[2, 3] + 0.5
        for u in range(picture.shape[1]):
            x, y, z = m[0, 0] * u + i0, m[1, 0] * u + j0, m[2, 0] * u + k0
            if not (0.0 <= x < columns and 0.0 <= y < rows and 0.0 <= z < slices):
                continue
            i, j, k = int(x), int(y), int(z)
            t = temperature[k, j, i]
            if not (valid[k, j, i] and (t <= shown if cold else t >= shown)):  # NaN is never shown
                continue
            away = (high - t if cold else t - low) * (255.0 / (high - low))
            colour = colours[int(min(max(away, 0.0), 255.0))]
            for c in range(3):
                picture[v, u, c] = int(OPACITY * colour[c] + (1.0 - OPACITY) * picture[v, u, c])


def lay_heat(
    picture: NDArray[np.uint8],
    temperature_c: NDArray[np.float32],
    valid: NDArray[np.bool_],
    ras_from_image_mm: Matrix,
    plane: Plane,
    scale: Scale,
) -> None:
    """Colour the pixels of `picture` [row, column, RGBA] whose voxel is valid and away from body temperature, in place.

    `temperature_c` and `valid` are [slice, row, column].
    """
    image_from_pixel = image_from_plane(ras_from_image_mm, plane)
    ends = np.array([scale.low_c, scale.high_c, scale.shown_c])
    _lay(temperature_c, valid, image_from_pixel, ends, scale.cold, colours_of(scale), picture)
