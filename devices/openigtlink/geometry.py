"""Where an image lies: the wire speaks of the centre of the whole volume, the room of its first voxel.

The centre lies between the voxels' centres, at index (size - 1) / 2, as 3D Slicer's and PLUS's
converters and pyigtl have it. LPS is turned to RAS here, once.
"""

from devices.messages import Matrix
from devices.openigtlink.bodies import ImageData
from devices.openigtlink.bodies.images import LPS, Triple
from devices.openigtlink.bodies.poses import matrix_of

# Plain floats: for matrices this small they are several times faster than array operations.


def frame_from_image(wire: ImageData) -> Matrix:
    """(4, 4): index (i, j, k) of the sub-volume sent to mm in the image's frame, RAS."""
    ix, iy, iz, jx, jy, jz, kx, ky, kz, x, y, z = wire.columns
    i, j, k = (start - (whole - 1) / 2.0 for start, whole in zip(wire.offset, wire.size, strict=True))
    x = x + ix * i + jx * j + kx * k
    y = y + iy * i + jy * j + ky * k
    z = z + iz * i + jz * j + kz * k
    if wire.coordinates == LPS:
        return matrix_of(-ix, -jx, -kx, -x, -iy, -jy, -ky, -y, iz, jz, kz, z)
    return matrix_of(ix, jx, kx, x, iy, jy, ky, y, iz, jz, kz, z)


def columns_of(frame_from_image_mm: Matrix, size: Triple) -> tuple[float, ...]:
    """The 12 numbers of IMAGE for a whole volume of `size` (i, j, k), in RAS."""
    i, j, k = (size[0] - 1) / 2.0, (size[1] - 1) / 2.0, (size[2] - 1) / 2.0
    (ix, jx, kx, x), (iy, jy, ky, y), (iz, jz, kz, z), _ = frame_from_image_mm.tolist()
    return (
        ix, iy, iz, jx, jy, jz, kx, ky, kz,
        x + ix * i + jx * j + kx * k, y + iy * i + jy * j + ky * k, z + iz * i + jz * j + kz * k,
    )  # fmt: skip
