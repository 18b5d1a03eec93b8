"""Complex images that come as two: real and imaginary part, or magnitude and phase, under two device names."""

from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from devices.errors import RemoteProtocolError
from devices.messages import Image


@dataclass(frozen=True)
class PairSettings:
    """Which two images make one, and how.

    `phase_unit_rad` is the phase of one grey level (2 pi / 4096 for a 12-bit phase image). For
    `real_imaginary` the two are the parts themselves.
    """

    first: str  # magnitude or real part
    second: str  # phase or imaginary part
    name: str  # of the complex image
    kind: Literal["magnitude_phase", "real_imaginary"] = "magnitude_phase"
    phase_unit_rad: float = 1.0


class ImagePair:
    """Joins the two images of one device time. Latest-only: a half that was left alone is counted in `dropped`."""

    def __init__(self, settings: PairSettings) -> None:
        self.settings = settings
        self.dropped = 0
        self._waiting: Image | None = None

    def accept(self, image: Image) -> Image | None:
        """The complex image when `image` completes one, else None. Images of other names are not ours: ValueError.

        RemoteProtocolError where the halves are of one time and do not fit each other.
        """
        if image.name not in (self.settings.first, self.settings.second):
            raise ValueError(f"image {image.name!r} is not of the pair {self.settings.first}, {self.settings.second}")
        other, self._waiting = self._waiting, image
        if other is None:
            return None
        if other.name == image.name or other.device_time_ns != image.device_time_ns:
            self.dropped += 1
            return None
        self._waiting = None
        first, second = (image, other) if image.name == self.settings.first else (other, image)
        if first.pixels.shape != second.pixels.shape or not np.array_equal(
            first.frame_from_image_mm, second.frame_from_image_mm
        ):
            raise RemoteProtocolError(
                f"images {first.name!r} {first.pixels.shape} and {second.name!r} {second.pixels.shape} do not fit"
            )
        worst = first.quality if not first.quality.usable else second.quality
        return msgspec.structs.replace(
            first,
            name=self.settings.name,
            pixels=self._join(first.pixels, second.pixels),
            quality=worst,
            receive_time_ns=max(first.receive_time_ns, second.receive_time_ns),
            tags=second.tags | first.tags | {"Component": "complex"},
        )

    def _join(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.complex64]:
        joined = np.empty(first.shape, np.complex64)
        if self.settings.kind == "real_imaginary":
            joined.real, joined.imag = first, second
        else:
            phase_rad = second.astype(np.float32) * np.float32(self.settings.phase_unit_rad)
            joined.real = first * np.cos(phase_rad)
            joined.imag = first * np.sin(phase_rad)
        joined.flags.writeable = False
        return joined
