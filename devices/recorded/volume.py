"""What a recorded file holds once it is read: one volume, or a series of frames with times.

Both carry pixels indexed [slice, row, column] and a 4x4 matrix from the voxel (i, j, k) =
(column, row, slice) to mm. Patient space is RAS; files in another space are turned at the door, once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from devices.messages import Matrix
from devices.quality import Quality
from devices.recorded.errors import RecordedDataError

Pixels = NDArray[Any]
Tags = dict[str, str]

RAS = "right-anterior-superior"
LPS = "left-posterior-superior"

# Signs that turn the axes of a named patient space into RAS (NRRD format, "space" field).
RAS_FROM_SPACE: dict[str, tuple[int, int, int]] = {
    RAS: (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),  # a left-handed space
    LPS: (-1, -1, 1),
}


@dataclass(frozen=True)
class Limits:
    """What a file may ask of this machine; checked before anything is allocated."""

    max_pixel_bytes: int = 4 << 30
    max_header_bytes: int = 64 << 20
    max_line_bytes: int = 1 << 20


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, eq=False)
class Volume:
    """One image: `pixels` [slice, row, column] native and read-only; a fourth axis (layers, colour) comes last.

    `ras_from_image_mm` (4, 4) maps (i, j, k) = (column, row, slice) to RAS mm.
    """

    pixels: Pixels
    ras_from_image_mm: Matrix
    tags: Tags


class Frames(Protocol):
    """Frames by number: an array, or something that decodes each when it is asked for."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int, /) -> Pixels:
        """One frame, [slice, row, column], native and read-only."""
        ...


@dataclass(frozen=True, eq=False)
class Series:
    """Frames in time.

    `frames` [slice, row, column] each, decoded when asked for where the format allows it;
    `times_s` (n,) relative to the first; `frame_from_image_mm` one (4, 4) per frame, in mm of the frame
    named `frame` ("RAS", or "Image" where the device gave no patient position, as X-ray and
    ultrasound do); `first_ns` the first frame's absolute device time, ns since the epoch, where known.
    """

    frames: Frames
    times_s: NDArray[np.float64]
    frame_from_image_mm: Sequence[Matrix]
    tags: Tags
    frame: str = "RAS"
    first_ns: int | None = None
    frame_tags: Sequence[Mapping[str, str]] = field(default_factory=tuple)
    qualities: Sequence[Quality] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        """Fails with ValueError where the parts have different lengths."""
        counts = {len(self.frames), len(self.times_s), len(self.frame_from_image_mm)}
        counts |= {len(part) for part in (self.frame_tags, self.qualities) if part}
        if len(counts) != 1:
            raise ValueError(f"the parts of a series have different lengths: {sorted(counts)}")


def read_only(array: Pixels) -> Pixels:
    """The array in native byte order, contiguous and not writeable; copies only where it must."""
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    if native is array and native.flags.writeable:
        native = native.view()
    native.flags.writeable = False
    return native


def matrix(value: Any) -> Matrix:
    """A read-only float64 (4, 4)."""
    result: Matrix = np.array(value, dtype=np.float64).reshape(4, 4)
    result.flags.writeable = False
    return result


def ras_from_lps(lps_from_image: Matrix) -> Matrix:
    """DICOM and ITK geometry (LPS) as RAS: the first two axes of the target change sign."""
    return matrix(np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps_from_image)


def affine(origin_mm: Sequence[float], axes_mm: Sequence[Sequence[float]]) -> Matrix:
    """(4, 4) from the origin and the step of each image axis (i, j, k), all in mm."""
    result = np.eye(4)
    for column, axis in enumerate(axes_mm):
        result[: len(axis), column] = axis
    result[: len(origin_mm), 3] = origin_mm
    return matrix(result)


def turn_to_ras(space_from_image: Matrix, space: str, path: Path, assume_space: str | None) -> Matrix:
    """`space_from_image` in RAS. A file that names no patient space is refused unless `assume_space` says which."""
    named = space or assume_space
    if not named:
        raise RecordedDataError(path, "space", f"names no patient space; say assume_space={LPS!r} if you know it is so")
    signs = RAS_FROM_SPACE.get(named.lower())
    if signs is None:
        raise RecordedDataError(path, "space", f"{named!r} is none of {sorted(RAS_FROM_SPACE)}")
    turned = matrix(np.diag([*signs, 1.0]) @ space_from_image)
    if not np.isfinite(turned).all() or abs(np.linalg.det(turned[:3, :3])) < 1e-12:
        raise RecordedDataError(path, "geometry", f"axes {turned[:3, :3].tolist()} do not span space")
    return turned
