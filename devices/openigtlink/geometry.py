"""Where an image lies: the wire speaks of the centre of the whole volume, the room of its first voxel.

The centre lies between the voxels' centres, at index (size - 1) / 2, as 3D Slicer's and PLUS's
converters and pyigtl have it. LPS is turned to RAS here, once.
"""

import numpy as np

from devices.messages import Matrix
from devices.openigtlink.bodies import ImageData, matrix_from
from devices.openigtlink.bodies.images import LPS, Triple

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def frame_from_image(wire: ImageData) -> Matrix:
    """(4, 4): index (i, j, k) of the sub-volume sent to mm in the image's frame, RAS."""
    matrix = matrix_from(wire.columns)
    centre = (np.array(wire.size, dtype=np.float64) - 1.0) / 2.0
    matrix[:3, 3] += matrix[:3, :3] @ (np.array(wire.offset, dtype=np.float64) - centre)
    return _RAS_FROM_LPS @ matrix if wire.coordinates == LPS else matrix


def columns_of(frame_from_image_mm: Matrix, size: Triple) -> tuple[float, ...]:
    """The 12 numbers of IMAGE for a whole volume of `size` (i, j, k), in RAS."""
    axes = frame_from_image_mm[:3, :3]
    centre = frame_from_image_mm[:3, 3] + axes @ ((np.array(size, dtype=np.float64) - 1.0) / 2.0)
    return tuple(np.concatenate([axes.T.ravel(), centre]).tolist())
