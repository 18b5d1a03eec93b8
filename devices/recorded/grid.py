"""What MetaImage and NRRD have in common: an array, its axes, and a header of key-values."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from devices.messages import Matrix
from devices.recorded.errors import RecordedDataError
from devices.recorded.volume import Pixels, Tags, Volume, read_only, turn_to_ras


@dataclass(frozen=True, eq=False)
class Grid:
    """Pixels as stored, slowest axis first: [list?, slice, row, column, component?].

    `listed` says whether the first axis is a list (frames, layers), `components` whether the last one
    is. `space_from_image_mm` (4, 4) is in the file's own space, named by `space` ("" = unnamed).
    """

    path: Path
    pixels: Pixels
    listed: bool
    components: bool
    space_from_image_mm: Matrix
    space: str
    fields: Tags

    def frames(self) -> Pixels:
        """[frame, slice, row, column(, component)]: a file without a list is one frame."""
        return self.pixels if self.listed else self.pixels[np.newaxis]

    def volume(self, assume_space: str | None) -> Volume:
        """One volume in RAS; a list of layers becomes the last axis."""
        pixels = self.pixels
        if pixels.size == 0:
            raise RecordedDataError(self.path, "pixels", "the file holds no pixels")
        if self.listed and self.components:
            raise RecordedDataError(self.path, "axes", "both a list and components: read it as a series")
        if self.listed:
            pixels = read_only(np.moveaxis(pixels, 0, -1))
        ras_from_image = turn_to_ras(self.space_from_image_mm, self.space, self.path, assume_space)
        return Volume(pixels, ras_from_image, dict(self.fields))
