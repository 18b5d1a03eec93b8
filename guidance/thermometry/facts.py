"""Numbers of one region of a frame, as the safety rules and the console read them."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from guidance.thermometry.frame import ThermometryFrame

NECROSIS_CEM43_MIN = 240.0
Fact = float | int | str | bool | None


def region_facts(
    frame: ThermometryFrame,
    mask: NDArray[np.bool_],
    *,
    limit_c: float | None = None,
    dose_limit_min: float = NECROSIS_CEM43_MIN,
) -> dict[str, Fact]:
    """Temperature and dose in `mask` [slice, row, column] of `frame`, over its valid voxels.

    Temperatures: `max_c`, `mean_c`, `min_c`, `sigma_at_max_c`, `max_upper_c` (highest T + 2 sigma),
    `min_lower_c`, and `t10_c`, `t50_c`, `t90_c` (what 10, 50, 90 % of the region exceed); None
    without a valid voxel. Dose: `max_dose_min`, `mean_dose_min`, `max_upper_dose_min` (infinite
    where any dose is unknown), `dose_coverage` (share of the region with a known dose of at least
    `dose_limit_min`). With `limit_c`: `over_voxels`, `over_connected` (largest group joined by
    faces, edges or corners). `valid_share` is the share of the region that is valid.
    Raises ValueError for an empty mask or another shape.
    """
    if mask.shape != frame.valid.shape:
        raise ValueError(f"region mask has shape {mask.shape}, the frame {frame.valid.shape}")
    size = int(np.count_nonzero(mask))
    if size == 0:
        raise ValueError("the region has no voxel in this image: check its position against the slices")
    valid = frame.valid & mask
    known = frame.dose_known & mask
    facts: dict[str, Fact] = {
        "state": frame.state,
        "quality": frame.quality.value,
        "voxels": size,
        "valid_share": float(np.count_nonzero(valid) / size),
        "dose_known_share": float(np.count_nonzero(known) / size),
        "dose_coverage": float(np.count_nonzero(known & (frame.dose_cem43_min >= dose_limit_min)) / size),
        "max_dose_min": float(frame.dose_cem43_min[mask].max()),
        "mean_dose_min": float(frame.dose_cem43_min[mask].mean(dtype=np.float64)),
        "max_upper_dose_min": float(frame.dose_upper_cem43_min[mask].max()),
    }
    return facts | _temperatures(frame, valid) | _over(frame, valid, limit_c)


def _temperatures(frame: ThermometryFrame, valid: NDArray[np.bool_]) -> dict[str, Fact]:
    values, sigmas = frame.temperature_c[valid].astype(np.float64), frame.sigma_c[valid].astype(np.float64)
    names = ("max_c", "mean_c", "min_c", "sigma_at_max_c", "max_upper_c", "min_lower_c", "t10_c", "t50_c", "t90_c")
    if values.size == 0:
        return dict.fromkeys(names)
    t10, t50, t90 = np.percentile(values, (90.0, 50.0, 10.0))
    hottest = int(values.argmax())
    numbers = (
        values[hottest],
        values.mean(),
        values.min(),
        sigmas[hottest],
        (values + 2.0 * sigmas).max(),
        (values - 2.0 * sigmas).min(),
        t10,
        t50,
        t90,
    )
    return {name: float(number) for name, number in zip(names, numbers, strict=True)}


def _over(frame: ThermometryFrame, valid: NDArray[np.bool_], limit_c: float | None) -> dict[str, Fact]:
    if limit_c is None:
        return {}
    over = valid & (np.nan_to_num(frame.temperature_c, nan=-np.inf) > limit_c)
    labels, groups = ndimage.label(over, structure=np.ones((3, 3, 3)))
    largest = int(np.bincount(labels.ravel())[1:].max()) if groups else 0
    return {"over_voxels": int(np.count_nonzero(over)), "over_connected": largest}
