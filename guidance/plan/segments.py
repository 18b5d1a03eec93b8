"""Segments of a segmentation: overlapping layers (.seg.nrrd) and label maps (.nrrd, .mha, .nii, .nii.gz)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from devices.recorded.volume import Volume
from guidance.exact import Matrix


class SegmentError(ValueError):
    """A segmentation that does not hold what is asked of it."""


@dataclass(frozen=True)
class Identity:
    """Whose file it says it is, and in which space; "" where it does not say."""

    patient_id: str
    frame_of_reference_uid: str


@dataclass(frozen=True, eq=False)
class Segment:
    """Where one segment stands: the voxels of `layer` equal to `label`; `share`: its layer holds shares (0..1)."""

    name: str
    label: int
    layer: int = 0
    share: bool = False


@dataclass(frozen=True, eq=False)
class Segments:
    """A segmentation: `layers` [slice, row, column, layer], what stands in them, and whose it says it is."""

    layers: NDArray[Any]
    ras_from_image_mm: Matrix
    rows: tuple[Segment, ...]
    identity: Identity | None = None

    def mask(self, name: str | None, label: int | None, threshold: float, max_gap: int) -> NDArray[np.bool_]:
        """Voxels [slice, row, column] of one segment, by name, by label, or the only one there is."""
        row = self._choose(name, label)
        layer = self.layers[..., row.layer]
        found = layer >= threshold if row.share else layer == row.label
        if not found.any():
            raise SegmentError(f"segment {row.name!r} is empty")
        return fill_gaps(found, max_gap, f"segment {row.name!r}")

    def _choose(self, name: str | None, label: int | None) -> Segment:
        found = [row for row in self.rows if name in (None, row.name) and label in (None, row.label)]
        if len(found) != 1:
            asked = name if name is not None else "any" if label is None else f"label {label}"
            have = ", ".join(f"{row.name} ({row.label})" for row in self.rows[:40])
            raise SegmentError(f"{len(found)} segments match {asked!r}, one is needed; it holds {have or 'none'}")
        return found[0]


def fill_gaps(mask: NDArray[np.bool_], max_gap: int, what: str) -> NDArray[np.bool_]:
    """The mask with up to `max_gap` missing slices between filled ones interpolated by shape.

    The distance maps of the slices around the gap are blended linearly (Raya and Udupa 1990).
    SegmentError names the gap where it is longer than allowed.
    """
    filled = np.nonzero(mask.any(axis=(1, 2)))[0]
    result = mask
    for before, after in pairwise(filled):
        gap = int(after - before - 1)
        if gap == 0:
            continue
        if gap > max_gap:
            raise SegmentError(
                f"{what} misses {gap} slices after slice {before}; contour them, or allow it by max_gap_slices = {gap}"
            )
        if result is mask:
            result = mask.copy()
        low, high = (_slice_distance(mask[n]) for n in (before, after))
        for n in range(1, gap + 1):
            weight = n / (gap + 1)
            result[before + n] = (1 - weight) * low + weight * high < 0
    return result


def _slice_distance(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    signed: NDArray[np.float64] = distance_transform_edt(~inside) - distance_transform_edt(inside)
    return signed


def segments_of(volume: Volume) -> Segments:
    """The segments of a label map or Slicer segmentation; without names, every label is one."""
    layers = volume.pixels if volume.pixels.ndim == 4 else volume.pixels[..., np.newaxis]
    rows = _slicer_rows(volume.tags, layers.shape[3])
    layers = _whole_labels(layers) if np.issubdtype(layers.dtype, np.inexact) else layers
    if not rows:
        rows = tuple(
            Segment(str(label), int(label), layer)
            for layer in range(layers.shape[3])
            for label in np.unique(layers[..., layer])
            if label != 0
        )
    return Segments(layers, volume.ras_from_image_mm, rows)


def _whole_labels(layers: NDArray[Any]) -> NDArray[np.int32]:
    """A label map that was saved in floating point; SegmentError where its values are no labels."""
    whole = np.rint(layers.real)
    odd = ~(np.abs(layers - whole) < 1e-3) | (np.abs(whole) > np.iinfo(np.int32).max // 2)
    if odd.any():
        raise SegmentError(
            f"is no label map: {int(odd.sum())} voxels such as {layers[odd][0]:.6g} are no whole numbers"
        )
    labels: NDArray[np.int32] = whole.astype(np.int32)
    return labels


def _slicer_rows(tags: dict[str, str], layers: int) -> tuple[Segment, ...]:
    """Rows of a Slicer segmentation's key-values: Segment0_Name, Segment0_LabelValue, Segment0_Layer."""
    rows = []
    number = 0
    while f"Segment{number}_Name" in tags or f"Segment{number}_ID" in tags:
        prefix = f"Segment{number}_"
        name = tags.get(prefix + "Name", tags.get(prefix + "ID", ""))
        layer = _whole(tags.get(prefix + "Layer", str(number if layers > 1 else 0)), prefix + "Layer")
        if not 0 <= layer < layers:
            raise SegmentError(f"{prefix}Layer: {layer} is not one of the file's {layers} layers")
        rows.append(Segment(name, _whole(tags.get(prefix + "LabelValue", "1"), prefix + "LabelValue"), layer))
        number += 1
    places = [(row.layer, row.label) for row in rows]
    if twice := sorted({row.name for row, place in zip(rows, places, strict=True) if places.count(place) > 1}):
        raise SegmentError(f"segments {twice} stand in the same voxels: equal Layer and LabelValue")
    return tuple(rows)


def _whole(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError as fault:
        raise SegmentError(f"{where}: {text!r} is not a whole number") from fault
