"""The face of every baseline method."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complexfloating[Any, Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """What the frame would be without heating.

    `image` has the frame's shape and dtype. `averaged` is the number of frames whose noise it
    averages. `model_rad` is the standard deviation of the model itself in radians, beyond thermal
    noise: a number or an array of the frame's shape.
    """

    image: Complex
    averaged: float
    model_rad: float | NDArray[np.float32]


class Baseline(Protocol):
    """A baseline method: learns unheated frames, then answers for each new one."""

    minimum_frames: int

    def learn(self, image: Complex) -> None:
        """Take one unheated frame [slice, row, column]."""

    def estimate(self, image: Complex, fit: Mask, heated: Mask) -> Estimate:
        """The unheated counterpart of `image`.

        Only the voxels `fit` (tissue that is not heated) may be looked at; `heated` is where the
        answer matters (all False: everywhere).
        """
