"""What radiology and radiotherapy systems write: DICOM SEG, RTSTRUCT, RTPLAN. LPS is turned to RAS here.

Sources: DICOM PS3.3 A.51 (Segmentation), A.19 (RT Structure Set), A.20 (RT Plan), C.8.20.
"""

import struct
from collections.abc import Callable
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
MOST_BYTES = 1 << 30

_FLIP = np.array([-1.0, -1.0, 1.0])


GARBLED = (  # what pydicom and NumPy raise on missing, cut and garbled fields
    AttributeError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    OverflowError,
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
    frames = _frames(data)
    shared = data.get("SharedFunctionalGroupsSequence", [pydicom.Dataset()])[0]
    groups = list(data.PerFrameFunctionalGroupsSequence)
    if len(groups) != len(frames):
        raise SegmentError(f"has {len(frames)} frames and places for {len(groups)}")
    positions = np.array([_of(g, shared, "PlanePositionSequence").ImagePositionPatient for g in groups], np.float64)
    turns = np.array([_of(g, shared, "PlaneOrientationSequence").ImageOrientationPatient for g in groups], np.float64)
    if np.abs(turns - turns[0]).max() > 1e-4:
        raise SegmentError("its frames are not parallel")
    measures = _of(groups[0], shared, "PixelMeasuresSequence")
    row, column = turns[0, :3], turns[0, 3:]
    normal = np.cross(row, column)
    numbers, step = _slices(positions @ normal, measures)
    labels = {int(s.SegmentNumber): str(s.get("SegmentLabel", s.SegmentNumber)) for s in data.SegmentSequence}
    order = sorted(labels)
    fractional = str(data.SegmentationType) == "FRACTIONAL"
    size = (int(numbers.max()) + 1, *frames.shape[1:], len(order))
    layers = np.zeros(size, np.float32 if fractional else np.uint8)
    scale = 1.0 / float(data.get("MaximumFractionalValue", 255)) if fractional else 1.0
    for frame, group, number in zip(frames, groups, numbers, strict=True):
        segment = int(_of(group, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
        layers[number, :, :, order.index(segment)] = frame * scale
    lps = np.eye(4)
    lps[:3, 0] = row * float(measures.PixelSpacing[1])
    lps[:3, 1] = column * float(measures.PixelSpacing[0])
    lps[:3, 2] = normal * step
    lps[:3, 3] = positions[np.argmin(positions @ normal)]
    rows = tuple(Segment(labels[n], n, layer, True) for layer, n in enumerate(order))
    return Segments(layers, ras_from_lps(lps), rows, identity(data))


def _frames(data: Any) -> NDArray[Any]:
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
    stated = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness")
    step = float(np.diff(levels).min()) if len(levels) > 1 else float(stated or 0)
    if stated and len(levels) > 1 and float(stated) < step:
        step = float(stated)  # slices without any segment carry no frame
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
    names = {int(s.ROINumber): str(s.get("ROIName", "")) for s in data.get("StructureSetROISequence", [])}
    wanted = [number for number, given in names.items() if given == name]
    if len(wanted) != 1:
        raise SegmentError(
            f"{len(wanted)} regions are named {name!r}, one is needed; it holds {sorted(names.values())}"
        )
    found = []
    for roi in data.get("ROIContourSequence", []):
        if int(roi.ReferencedROINumber) != wanted[0]:
            continue
        for number, contour in enumerate(roi.get("ContourSequence", [])):
            kind = str(contour.ContourGeometricType)
            if kind not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
                raise SegmentError(f"region {name!r}: contour {number} is {kind}, only CLOSED_PLANAR encloses anything")
            found.append(np.array(contour.ContourData, np.float64).reshape(-1, 3) * _FLIP)
    if not found:
        raise SegmentError(f"region {name!r} is empty")
    return found, identity(data)


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
