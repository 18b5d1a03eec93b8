"""NIfTI-1 and -2 (.nii, .nii.gz) by nibabel. NIfTI space is RAS; its affine maps (i, j, k) as ours does.

Source: https://nifti.nimh.nih.gov/nifti-1. A file whose sform and qform codes are both 0 names no patient
space and is refused unless the caller says which it is.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from devices.messages import Matrix
from devices.recorded.encoding import pixel_bytes
from devices.recorded.errors import RecordedDataError
from devices.recorded.grid_series import check_times, even_times
from devices.recorded.sidecar import sidecar_of
from devices.recorded.volume import DEFAULT_LIMITS, RAS, Limits, Pixels, Series, Volume, matrix, read_only, turn_to_ras

SUFFIXES = (".nii", ".nii.gz")

_FAULTS = (
    ImageFileError,
    HeaderDataError,
    WrapStructError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    ArithmeticError,
    zlib.error,
)
_MILLIMETRES = {"mm": 1.0, "meter": 1000.0, "micron": 1e-3, "unknown": 1.0}  # unknown: mm by convention
_SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
_TEMPLATES = {3, 4}  # Talairach and MNI
FORMS_MM = 1.0
_SMALL_BYTES = 2  # stored values up to this wide keep their precision in float32


@dataclass(frozen=True, eq=False)
class _Nifti:
    frames: Pixels  # [frame, slice, row, column]
    ras_from_image_mm: Matrix
    period_s: float | None
    axes: int


def _scaled(image: nibabel.Nifti1Image) -> Pixels:
    """(i, j, k, t) values with the file's slope and intercept; integers that have none stay integers."""
    stored = image.header.get_data_dtype()
    if (image.dataobj.slope, image.dataobj.inter) == (1.0, 0.0):
        return np.asanyarray(image.dataobj.get_unscaled())
    width = np.float32 if stored.itemsize <= _SMALL_BYTES or stored == np.float32 else np.float64
    return np.asarray(image.dataobj, dtype=width)


def _check_space(path: Path, header: nibabel.Nifti1Header, shape: tuple[int, ...]) -> None:
    """Refuses a template's space, and two matrices that place the far corner more than FORMS_MM apart."""
    sform, qform = int(header["sform_code"]), int(header["qform_code"])
    if (sform or qform) in _TEMPLATES:
        raise RecordedDataError(path, "sform_code", f"{sform or qform} is the space of a template, not of the patient")
    if not sform or not qform:
        return
    corners = np.array([[0, 0, 0, 1], [*(extent - 1 for extent in (*shape, 1, 1)[:3]), 1]], np.float64)
    apart = float(np.abs((header.get_sform() - header.get_qform()) @ corners.T).max())
    if not apart <= FORMS_MM:
        raise RecordedDataError(path, "qform", f"and sform differ by {apart:.1f} mm: which of them holds is not said")


def _load(path: Path, limits: Limits, assume_space: str | None) -> _Nifti:
    try:
        image = nibabel.load(path, mmap=False)
        if not isinstance(image, nibabel.Nifti1Image):
            raise RecordedDataError(path, "file", f"is a {type(image).__name__}, not NIfTI")
        header = image.header
        shape = tuple(int(extent) for extent in header.get_data_shape())
        stored = header.get_data_dtype()
        if not 2 <= len(shape) <= 4 or min(shape) < 1:
            raise RecordedDataError(path, "dim", f"{list(shape)}: 2 to 4 axes of at least one voxel can be read")
        if stored.names or stored.kind not in "iufc":
            raise RecordedDataError(path, "datatype", f"{stored} pixels are not read")
        pixel_bytes(shape, max(stored.itemsize, 8), path, "dim", limits)
        if not int(header["sform_code"]) and not int(header["qform_code"]) and assume_space is None:
            raise RecordedDataError(path, "sform_code", "names no patient space; say assume_space if you know it")
        _check_space(path, header, shape)
        values = _scaled(image)
        length, duration = header.get_xyzt_units()
        unit = _SECONDS.get(duration)
        zooms = header.get_zooms()
        affine = matrix(np.diag([*[_MILLIMETRES[length]] * 3, 1.0]) @ image.affine)
    except RecordedDataError:
        raise
    except _FAULTS as fault:
        raise RecordedDataError(path, "file", f"damaged or not NIfTI: {fault}") from fault
    values = values.reshape(shape + (1,) * (4 - len(shape)))
    period_s = float(zooms[3]) * unit if unit is not None and len(zooms) == 4 and zooms[3] > 0 else None
    return _Nifti(read_only(values.transpose(3, 2, 1, 0)), affine, period_s, len(shape))


def _ras(loaded: _Nifti, path: Path, assume_space: str | None) -> Matrix:
    return turn_to_ras(loaded.ras_from_image_mm, RAS, path, assume_space)


def read_volume(path: Path, *, limits: Limits = DEFAULT_LIMITS, assume_space: str | None = None) -> Volume:
    """One volume in RAS; a fourth axis (echoes, labels) comes last."""
    loaded = _load(path, limits, assume_space)
    pixels = loaded.frames[0] if loaded.axes < 4 else read_only(np.moveaxis(loaded.frames, 0, -1))
    return Volume(pixels, _ras(loaded, path, assume_space), dict(sidecar_of(path, limits).tags))


def read_series(
    path: Path, *, limits: Limits = DEFAULT_LIMITS, period_s: float | None = None, assume_space: str | None = None
) -> Series:
    """The fourth axis as time, by `frame_times_s` of a JSON beside it, `period_s`, or the header's own time step."""
    loaded = _load(path, limits, assume_space)
    beside = sidecar_of(path, limits)
    count = len(loaded.frames)
    step_s = loaded.period_s if period_s is None else period_s
    times_s = even_times(path, count, step_s) if beside.times_s is None else np.array(beside.times_s)
    geometry = _ras(loaded, path, assume_space)
    return Series(loaded.frames, check_times(path, times_s, count), [geometry] * count, dict(beside.tags))
