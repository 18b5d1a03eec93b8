"""Where an image lies: the wire speaks of the centre of the whole volume, the room of its first voxel.

The centre lies between the voxels' centres, at index (size - 1) / 2, as 3D Slicer's and PLUS's
converters and pyigtl have it. LPS is turned to RAS here, once.
"""

import numpy as np

from devices.messages import Matrix
from devices.openigtlink.bodies import ImageData
from devices.openigtlink.bodies.images import LPS, Triple

# Plain floats: for matrices this small they are several times faster than array operations.


def frame_from_image(wire: ImageData) -> Matrix:
    """(4, 4): index (i, j, k) of the sub-volume sent to mm in the image's frame, RAS."""
    c = wire.columns
    i, j, k = (start - (whole - 1) / 2.0 for start, whole in zip(wire.offset, wire.size, strict=True))
    rows = []
    for axis in range(3):
        x, y, z = c[axis], c[axis + 3], c[axis + 6]
        row = (x, y, z, c[axis + 9] + x * i + y * j + z * k)
        rows.append(tuple(-value for value in row) if wire.coordinates == LPS and axis < 2 else row)
    return np.array((*rows, (0.0, 0.0, 0.0, 1.0)))


def columns_of(frame_from_image_mm: Matrix, size: Triple) -> tuple[float, ...]:
    """The 12 numbers of IMAGE for a whole volume of `size` (i, j, k), in RAS."""
    i, j, k = ((extent - 1) / 2.0 for extent in size)
    x, y, z, _ = frame_from_image_mm.tolist()
    centre = (row[3] + row[0] * i + row[1] * j + row[2] * k for row in (x, y, z))
    return (x[0], y[0], z[0], x[1], y[1], z[1], x[2], y[2], z[2], *centre)
