"""What radiology and radiotherapy systems write: DICOM SEG, RTSTRUCT, RTPLAN. LPS is turned to RAS here.

Sources: DICOM PS3.3 A.51 (Segmentation), A.19 (RT Structure Set), A.20 (RT Plan), C.8.20.
"""

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import pydicom
import pydicom.errors
from numpy.typing import NDArray

from devices.recorded.volume import ras_from_lps
from guidance.exact import Vector
from guidance.plan.segments import Identity, Segment, SegmentError, Segments

SEG = {"1.2.840.10008.5.1.4.1.1.66.4"}
RTSTRUCT = {"1.2.840.10008.5.1.4.1.1.481.3"}
RTPLAN = {"1.2.840.10008.5.1.4.1.1.481.5"}
STEP_MM = 0.01  # two frames nearer than this are the same slice
ASIDE_MM = 0.1  # slices of one stack lie above each other within this
MOST_BYTES = 1 << 30
FAR_MM = 1e5
OPEN_POINTS, OPEN_SIDES, OPEN_MM = (
    12,
    8.0,
    5.0,
)  # a contour drawn point by point whose last side is so long is not closed

_FLIP = np.array([-1.0, -1.0, 1.0])


GARBLED = (  # what pydicom and NumPy raise on missing, cut and garbled fields
    AttributeError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    ArithmeticError,
    NotImplementedError,
    OSError,
    EOFError,
    struct.error,
    pydicom.errors.BytesLengthException,
)

_P = ParamSpec("_P")
_R = TypeVar("_R")


def checked_fields(read: Callable[_P, _R]) -> Callable[_P, _R]:
    """A reader whose missing or garbled fields become a SegmentError that names them."""

    @wraps(read)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return read(*args, **kwargs)
        except SegmentError:
            raise
        except GARBLED as fault:
            raise SegmentError(f"a field is missing or garbled: {fault}") from fault

    return checked


def open_dicom(path: Path, classes: set[str], what: str) -> Any:
    """The dataset; SegmentError when it is no DICOM file or one of another kind."""
    try:
        data = pydicom.dcmread(path)
    except (pydicom.errors.InvalidDicomError, OSError, EOFError) as fault:
        raise SegmentError(f"is not a DICOM file: {fault}") from fault
    if str(data.get("SOPClassUID", "")) not in classes:
        raise SegmentError(f"is not a DICOM {what} but {data.get('SOPClassUID', 'of no class')}")
    return data


def identity(data: Any) -> Identity:
    """Patient and frame of reference of a dataset; structure sets keep the latter one level down."""
    uid = str(data.get("FrameOfReferenceUID", ""))
    if not uid and data.get("ReferencedFrameOfReferenceSequence"):
        uid = str(data.ReferencedFrameOfReferenceSequence[0].get("FrameOfReferenceUID", ""))
    return Identity(str(data.get("PatientID", "")), uid)


@checked_fields
def read_segmentation(path: Path) -> Segments:
    """Every segment of a SEG as a layer of its own; overlapping and fractional segments stay what they are."""
    data = open_dicom(path, SEG, "segmentation")
    pixels = frames(data)
    shared = data.get("SharedFunctionalGroupsSequence", [pydicom.Dataset()])[0]
    groups = list(data.PerFrameFunctionalGroupsSequence)
    if not len(groups) == len(pixels) == int(data.get("NumberOfFrames", 1)):
        raise SegmentError(f"has {data.get('NumberOfFrames')} frames, pixels of {len(pixels)}, places of {len(groups)}")
    numbers, lps = _stack(groups, shared)
    labels = [(int(s.SegmentNumber), str(s.get("SegmentLabel", s.SegmentNumber))) for s in data.SegmentSequence]
    layer_of = {number: layer for layer, number in enumerate(sorted(number for number, _ in labels))}
    if len(layer_of) != len(labels):
        raise SegmentError("two of its segments have the same number")
    scale = _share_scale(data)
    size = (int(numbers.max()) + 1, *pixels.shape[1:], len(layer_of))
    if math.prod(size) * (1 if scale is None else 4) > MOST_BYTES:
        raise SegmentError(f"spans {size[0]} slices of {len(layer_of)} segments: too many to be held")
    layers = np.zeros(size, np.uint8 if scale is None else np.float32)
    seen = set()
    for frame, group, number in zip(pixels, groups, numbers, strict=True):
        segment = int(_of(group, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
        if segment not in layer_of or (segment, number) in seen:
            raise SegmentError(f"segment {segment} is not listed, or has two frames in slice {number}")
        seen.add((segment, number))
        layers[number, :, :, layer_of[segment]] = frame if scale is None else frame * scale
    rows = tuple(Segment(label, n, layer_of[n], True) for n, label in sorted(labels))
    return Segments(layers, ras_from_lps(lps), rows, identity(data))


def _share_scale(data: Any) -> float | None:
    """What makes a share 0..1 of a stored value; None for binary segments."""
    kind = str(data.SegmentationType)
    if kind not in ("BINARY", "FRACTIONAL"):
        raise SegmentError(f"its segments are {kind}; BINARY and FRACTIONAL are read")
    most = float(data.get("MaximumFractionalValue", 255))
    if not most > 0:
        raise SegmentError(f"its MaximumFractionalValue is {most}")
    return None if kind == "BINARY" else 1.0 / most


def _stack(groups: list[Any], shared: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Slice number of every frame, and `lps_from_image` (4, 4) of the stack that they make."""
    positions = np.array([_of(g, shared, "PlanePositionSequence").ImagePositionPatient for g in groups], np.float64)
    turns = np.array([_of(g, shared, "PlaneOrientationSequence").ImageOrientationPatient for g in groups], np.float64)
    if not np.isfinite(positions).all():
        raise SegmentError("a frame's position is not finite")
    if not np.abs(turns - turns[0]).max() <= 1e-4:
        raise SegmentError("its frames are not parallel")
    measures = _of(groups[0], shared, "PixelMeasuresSequence")
    lps = plane_axes(turns[0], measures.PixelSpacing)
    normal = np.cross(turns[0, :3], turns[0, 3:])
    numbers, step = _slices(positions @ normal, measures)
    first = positions[np.argmin(positions @ normal)]
    aside = positions - first - np.outer((positions - first) @ normal, normal)
    if np.abs(aside).max() > ASIDE_MM:
        raise SegmentError(f"its slices do not lie above each other: up to {np.abs(aside).max():.2f} mm aside")
    lps[:3, 2] = normal * step
    lps[:3, 3] = first
    return numbers, lps


def plane_axes(turn: NDArray[np.float64], spacing: Sequence[float]) -> NDArray[np.float64]:
    """(4, 4) whose first two columns are the steps along columns and rows, from six cosines and (row, column) mm.

    SegmentError unless the cosines are two unit vectors at right angles and both spacings above 0.
    """
    row, column = turn[:3], turn[3:]
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=1e-3):
        raise SegmentError(f"its axes {turn.tolist()} are not two directions at right angles")
    down, along = (float(step) for step in spacing)
    if not (0 < down < math.inf and 0 < along < math.inf):
        raise SegmentError(f"its pixels are {along} x {down} mm")
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = row * along, column * down
    return lps


def frames(data: Any) -> NDArray[Any]:
    """Pixels [frame, row, column] as stored; SegmentError where they are not what the header says."""
    if int(data.Rows) * int(data.Columns) * int(data.get("NumberOfFrames", 1)) > MOST_BYTES:
        raise SegmentError(f"holds more than {MOST_BYTES >> 20} MiB of pixels")
    try:
        pixels = np.asarray(data.pixel_array)
    except (AttributeError, ValueError, NotImplementedError, RuntimeError) as fault:
        raise SegmentError(f"its pixels cannot be read: {fault}") from fault
    return pixels.reshape(-1, int(data.Rows), int(data.Columns))


def _of(group: Any, shared: Any, name: str) -> Any:
    """The functional group `name` of a frame, or the one that all frames share."""
    found = group.get(name) or shared.get(name)
    if not found:
        raise SegmentError(f"a frame has no {name}")
    return found[0]


def _slices(heights: Vector, measures: Any) -> tuple[NDArray[np.int64], float]:
    """Slice number of every frame and the distance of slices."""
    levels = np.unique(np.round(heights / STEP_MM)) * STEP_MM
    stated = abs(float(measures.get("SpacingBetweenSlices") or measures.get("SliceThickness") or 0))
    step = float(np.diff(levels).min()) if len(levels) > 1 else stated
    if STEP_MM <= stated < step:
        step = stated  # slices without any segment carry no frame
    if step <= 0:
        raise SegmentError("the thickness of its only slice is not stated")
    numbers = (heights - heights.min()) / step
    whole = np.rint(numbers)
    if np.abs(numbers - whole).max() > 0.1:
        raise SegmentError("its slices are unevenly spaced")
    return whole.astype(np.int64), step


@checked_fields
def read_contours(path: Path, name: str) -> tuple[list[NDArray[np.float64]], Identity]:
    """Closed planar contours (N, 3) in RAS mm of one region of a structure set; SegmentError lists the regions."""
    data = open_dicom(path, RTSTRUCT, "structure set")
    regions = list(data.get("StructureSetROISequence", []))
    wanted = [row for row in regions if str(row.get("ROIName", "")) == name]
    if len(wanted) != 1:
        have = sorted(str(row.get("ROIName", "")) for row in regions)
        raise SegmentError(f"{len(wanted)} regions are named {name!r}, one is needed; it holds {have}")
    number = int(wanted[0].ROINumber)
    if [int(row.ROINumber) for row in regions].count(number) != 1:
        raise SegmentError(f"region {name!r} shares its number {number} with another")
    drawn = [row for row in data.get("ROIContourSequence", []) if int(row.ReferencedROINumber) == number]
    if len(drawn) > 1:
        raise SegmentError(f"region {name!r} is drawn {len(drawn)} times")
    rows = [row for roi in drawn for row in roi.get("ContourSequence") or []]
    if not rows:
        raise SegmentError(f"region {name!r} is empty")
    found = [_contour(row, f"region {name!r}: contour {n}") for n, row in enumerate(rows)]
    whose = identity(data)
    uid = str(wanted[0].get("ReferencedFrameOfReferenceUID", "")) or whose.frame_of_reference_uid
    return found, Identity(whose.patient_id, uid)


def _contour(row: Any, what: str) -> NDArray[np.float64]:
    """Points (N, 3) RAS mm of a contour that encloses something; SegmentError where it cannot."""
    kind = str(row.ContourGeometricType)
    if kind not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
        raise SegmentError(f"{what} is {kind}, only CLOSED_PLANAR encloses anything")
    values = np.atleast_1d(np.array(row.get("ContourData") or [], np.float64))
    stated = int(row.get("NumberOfContourPoints") or len(values) // 3)
    if len(values) != 3 * stated:
        raise SegmentError(f"{what} has {len(values)} coordinates, not those of {stated} points")
    if not (np.abs(values) < FAR_MM).all():
        raise SegmentError(f"{what} has coordinates that are not finite, or beyond {FAR_MM:g} mm")
    points: NDArray[np.float64] = values.reshape(-1, 3) * _FLIP
    if len(points) >= OPEN_POINTS:
        sides = np.sqrt((np.diff(points, axis=0, append=points[:1]) ** 2).sum(axis=1))
        if sides[-1] > max(OPEN_MM, OPEN_SIDES * sides[:-1].max()):
            raise SegmentError(
                f"{what} is open: its ends are {sides[-1]:.1f} mm apart, its points {sides[:-1].max():.1f} mm at most"
            )
    return points


@dataclass(frozen=True, eq=False)
class TreatmentPlan:
    """What is taken from an RTPLAN: isocentres (N, 3) RAS mm without repeats, prescriptions in Gy by name."""

    label: str
    isocenters_mm: NDArray[np.float64]
    prescriptions_gy: dict[str, float]
    identity: Identity


@checked_fields
def read_rtplan(path: Path) -> TreatmentPlan:
    """An RTPLAN; a plan without beams or prescriptions has none of them."""
    data = open_dicom(path, RTPLAN, "radiotherapy plan")
    centers = [
        np.array(point.IsocenterPosition, np.float64) * _FLIP
        for beam in [*data.get("BeamSequence", []), *data.get("IonBeamSequence", [])]
        for point in [*beam.get("ControlPointSequence", []), *beam.get("IonControlPointSequence", [])]
        if point.get("IsocenterPosition")
    ]
    doses = {
        str(row.get("DoseReferenceDescription", f"reference {number}")): float(row.TargetPrescriptionDose)
        for number, row in enumerate(data.get("DoseReferenceSequence", []), start=1)
        if row.get("TargetPrescriptionDose") is not None
    }
    unique = np.unique(np.round(np.array(centers).reshape(-1, 3), 3), axis=0)
    return TreatmentPlan(str(data.get("RTPlanLabel", "")), unique, doses, identity(data))
