"""View planes through a point, and the sampling of volumes on them.

Radiological convention: the viewer's left is the patient's right; in axial views anterior is up,
in coronal and sagittal views superior is up, and sagittal views look from the patient's left with
anterior on the viewer's left.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from devices.messages import Matrix
from guidance.exact import compose, invert

# name -> (direction of columns, direction of rows) in RAS, and the letters left, right, top, bottom
VIEWS: dict[str, tuple[tuple[float, ...], tuple[float, ...], str]] = {
    "axial": ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), "RLAP"),
    "coronal": ((-1.0, 0.0, 0.0), (0.0, 0.0, -1.0), "RLSI"),
    "sagittal": ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), "APSI"),
}


# view -> columns, rows and normal of a plane, (4, 4)
_AXES = {view: np.eye(4) for view in VIEWS}
for _view, (_columns, _rows, _) in VIEWS.items():
    _AXES[_view][:3, :3] = np.column_stack([_columns, _rows, np.cross(_columns, _rows)])


@dataclass(frozen=True, eq=False)
class Plane:
    """A square picture in space: `ras_from_pixel` (4, 4) maps (column, row, 0) to RAS mm."""

    view: str
    ras_from_pixel: Matrix
    size: int
    pixel_mm: float


def plane_through(view: str, centre_ras_mm: NDArray[np.float64], size: int, pixel_mm: float) -> Plane:
    """The plane of `view` whose middle pixel lies at `centre_ras_mm`."""
    matrix = _AXES[view] * (pixel_mm, pixel_mm, pixel_mm, 1.0)
    middle = (size - 1) / 2.0
    matrix[:3, 3] = centre_ras_mm - matrix[:3, 0] * middle - matrix[:3, 1] * middle
    return Plane(view, matrix, size, pixel_mm)


@numba.njit(nogil=True, cache=True)
def _sample(volume, image_from_pixel, outside, out):  # type: ignore[no-untyped-def]
    slices, rows, columns = volume.shape
    m = image_from_pixel
    for v in range(out.shape[0]):
        i0 = m[0, 1] * v + m[0, 3] + 0.5
        j0 = m[1, 1] * v + m[1, 3] + 0.5
        k0 = m[2, 1] * v + m[2, 3] + 0.5
        for u in range(out.shape[1]):
            x, y, z = m[0, 0] * u + i0, m[1, 0] * u + j0, m[2, 0] * u + k0
            if 0.0 <= x < columns and 0.0 <= y < rows and 0.0 <= z < slices:
                out[v, u] = volume[int(z), int(y), int(x)]
            else:
                out[v, u] = outside


def image_from_plane(ras_from_image_mm: Matrix, plane: Plane) -> Matrix:
    """(4, 4): (column, row, 0) of the plane to (column, row, slice) of an image."""
    return compose(invert(np.ascontiguousarray(ras_from_image_mm, np.float64)), plane.ras_from_pixel)


def sample_nearest(
    volume: NDArray[Any], ras_from_image_mm: Matrix, plane: Plane, outside: float = 0.0
) -> NDArray[np.float32]:
    """`volume` [slice, row, column] on `plane`, nearest voxel, `outside` beyond the voxels' own edges.

    Temperature and labels are never smoothed, so that a reading equals the voxel.
    """
    image_from_pixel = image_from_plane(ras_from_image_mm, plane)
    out = np.empty((plane.size, plane.size), np.float32)
    _sample(np.ascontiguousarray(volume, np.float32), image_from_pixel, np.float32(outside), out)
    return out
