"""Files of planning systems that somebody broke: each is refused with its reason, none loads as something else."""

import os
import re
import struct
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.guidance.plan.test_formats import (
    CUBE,
    label_map,
    lesion,
    write_nifti,
    write_nrrd,
    write_rtstruct,
    write_seg,
    write_stl,
)

SEGMENT = 'kind = "segment", file = "{}"'
LINE = """{"markups": [{"type": "Line", "coordinateSystem": "RAS", "coordinateUnits": "mm",
 "controlPoints": [{"label": "a", "position": [50, 90, 0]}, {"label": "b", "position": [50, 10, 0]}]}]}"""
DRAWN = ("entry_mm = [50.0, 90.0, 0.0]", 'line = { file = "way.mrk.json" }')


def refused(plan_file, shape: str, fault: str) -> None:
    faults = plan_file.faults(lesion(shape))
    assert any(re.search(fault, text) for text in faults), faults


def nrrd_text(change) -> bytes:
    mask = label_map()
    lines = [
        "NRRD0004", "type: unsigned char", "dimension: 3", "space: left-posterior-superior", "sizes: 62 80 34",
        "space directions: (-1,0,0) (0,-1,0) (0,0,2.5)", "kinds: domain domain domain", "encoding: raw",
        "space origin: (-20,30,-40)",
    ]  # fmt: skip
    return change("\n".join(lines)).encode() + b"\n\n" + mask.astype(np.uint8).tobytes()


SLICER = "\nSegment0_Name:=a\nSegment0_LabelValue:=1\nSegment1_Name:=b\nSegment1_LabelValue:=1"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda t: t.replace("(-1,0,0) (0,-1,0) (0,0,2.5)", "(-.001,0,0) (0,-.001,0) (0,0,.0025)"), "is it in metres"),
        (lambda t: t + '\nspace units: "m" "m" "m"', "only mm is read"),
        (lambda t: t.replace("(-1,0,0)", "(0,0,0)"), "do not span space"),
        (lambda t: t.replace("(-1,0,0)", "(-1,0.4,0)"), "not orthogonal"),
        (lambda t: t.replace("sizes: 62 80 34", "sizes: 62000 80000 34000"), "above the limit"),
        (lambda t: t.replace("left-posterior", "right-anterior"), "if it were LPS"),
        (lambda t: t + SLICER, "stand in the same voxels"),
    ],
)
def test_segmentations_of_slicer(plan_file, change, fault: str) -> None:
    (plan_file.folder / "a.seg.nrrd").write_bytes(nrrd_text(change))
    refused(plan_file, SEGMENT.format("a.seg.nrrd") + (', name = "a"' if "voxels" in fault else ""), fault)


@pytest.mark.parametrize("value", [np.nan, 0.4, 1e30])
def test_a_map_of_numbers_is_no_label_map(plan_file, value: float) -> None:
    image = nibabel.Nifti1Image(np.where(label_map(), value, 0.0).T.astype(np.float32), np.eye(4))
    nibabel.save(image, plan_file.folder / "a.nii")
    refused(plan_file, SEGMENT.format("a.nii"), "is no label map: .* no whole numbers")


@pytest.mark.parametrize(
    ("offset", "values", "fault"),
    [
        (252, struct.pack("<2h", 0, 4), "space of a template"),
        (252, struct.pack("<2h2x", 1, 1) + struct.pack("<6f", 0, 0, 0, 9, 9, 9)[2:], "and sform differ by"),
        (252, struct.pack("<2h", 0, 0), "names no patient space"),
        (123, b"\x03", "too many"),  # micrometres
        (280, struct.pack("<4f", np.nan, 0, 0, 0), "do not span space"),
        (40, struct.pack("<4h", 3, 32767, 32767, 32767), "above the limit"),
    ],
)
def test_geometry_of_nifti(plan_file, offset: int, values: bytes, fault: str) -> None:
    write_nifti(plan_file.folder / "a.nii", label_map())
    data = bytearray((plan_file.folder / "a.nii").read_bytes())
    data[offset : offset + len(values)] = values
    (plan_file.folder / "a.nii").write_bytes(bytes(data))
    refused(plan_file, SEGMENT.format("a.nii"), fault)


def place(data: Dataset, frame: int, position: list[float]) -> None:
    data.PerFrameFunctionalGroupsSequence[frame].PlanePositionSequence[0].ImagePositionPatient = position


def shared(data: Dataset) -> Dataset:
    return data.SharedFunctionalGroupsSequence[0]


def aside(data: Dataset) -> None:
    x, y, z = data.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0].ImagePositionPatient
    place(data, 3, [x + 5, y, z])


def twice(data: Dataset) -> None:
    rows = data.PerFrameFunctionalGroupsSequence
    place(data, 3, list(rows[4].PlanePositionSequence[0].ImagePositionPatient))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda d: place(d, 3, [-20, 30, 1e12]), "too many to be held"),
        (aside, "do not lie above each other: up to 5.00 mm"),
        (twice, "has two frames in slice"),
        (lambda d: setattr(shared(d).PixelMeasuresSequence[0], "PixelSpacing", [0, 0]), "its pixels are"),
        (lambda d: setattr(shared(d).PixelMeasuresSequence[0], "PixelSpacing", [0.001, 0.001]), "too many"),
        (
            lambda d: setattr(shared(d).PlaneOrientationSequence[0], "ImageOrientationPatient", [-1, 0.5, 0, 0, -1, 0]),
            "not two directions at right angles",
        ),
        (lambda d: d.SegmentSequence.append(d.SegmentSequence[0]), "the same number"),
        (lambda d: setattr(d, "SegmentationType", "SOMETHING"), "BINARY and FRACTIONAL are read"),
        (lambda d: setattr(d, "MaximumFractionalValue", 0), "MaximumFractionalValue is 0"),
        (lambda d: setattr(d, "NumberOfFrames", 3), "has 3 frames"),
        (lambda d: delattr(d, "FrameOfReferenceUID"), "frame of reference that it does not name"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_dicom_segmentations(plan_file, change, fault: str) -> None:
    path = plan_file.folder / "s.dcm"
    write_seg(path, label_map())
    data = pydicom.dcmread(path)
    change(data)
    data.save_as(path)
    refused(plan_file, SEGMENT.format("s.dcm"), fault)


def contour(data: Dataset, change) -> None:
    row = data.ROIContourSequence[0].ContourSequence[3]
    points = change(np.array(row.ContourData, float).reshape(-1, 3).copy())
    row.ContourData, row.NumberOfContourPoints = [f"{v:.3f}" for v in points.ravel()], len(points)


def far(points: np.ndarray) -> np.ndarray:
    points[3, 0] = 1e9
    return points


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda d: contour(d, lambda p: p[:100]), "contour 3 is open: its ends are"),
        (lambda d: contour(d, far), "not finite, or beyond"),
        (
            lambda d: setattr(d.ROIContourSequence[0].ContourSequence[3], "NumberOfContourPoints", 150),
            "not those of 150",
        ),
        (lambda d: d.ROIContourSequence.append(d.ROIContourSequence[0]), "is drawn 2 times"),
        (
            lambda d: d.ROIContourSequence[0].ContourSequence.append(d.ROIContourSequence[0].ContourSequence[5]),
            "the same contour is drawn twice",
        ),
        (lambda d: setattr(d.StructureSetROISequence[0], "ReferencedFrameOfReferenceUID", "9.9"), "reference '9.9'"),
    ],
)
def test_structure_sets(plan_file, change, fault: str) -> None:
    path = plan_file.folder / "s.dcm"
    write_rtstruct(path)
    data = pydicom.dcmread(path)
    change(data)
    data.save_as(path)
    refused(plan_file, 'kind = "contours", file = "s.dcm", name = "lesion"', fault)


VTP = (
    '<VTKFile type="PolyData" byte_order="LittleEndian"><PolyData><Piece><Points><DataArray type="Float64" '
    'format="ascii">{}</DataArray></Points><Lines><DataArray type="Int64" Name="connectivity" format="ascii">{}'
    '</DataArray><DataArray type="Int64" Name="offsets" format="ascii">{}</DataArray></Lines></Piece></PolyData>'
    "</VTKFile>"
)
SQUARES = " ".join(f"-40 0 {z} -60 0 {z} -60 -20 {z} -40 -20 {z}" for z in (-4, 0, 4))
CLOSED = "0 1 2 3 0 4 5 6 7 4 8 9 10 11 8"


@pytest.mark.parametrize(
    ("points", "cells", "ends", "fault"),
    [
        (SQUARES, "0 1 2 3 4 5 6 7 8 9 10 11", "4 8 12", "3 of its 3 contours are open"),
        (SQUARES, CLOSED.replace("11", "99"), "5 10 15", "names a point that is not among the 12"),
        (SQUARES, CLOSED, "10 5 15", "do not divide"),
        (SQUARES + " x", CLOSED, "5 10 15", "cannot be decoded"),
        (SQUARES + " 1", CLOSED, "5 10 15", "are no points"),
    ],
)
def test_contours_of_slicer(plan_file, points: str, cells: str, ends: str, fault: str) -> None:
    shape = 'kind = "contours", file = "v.vtp", name = "x"'
    (plan_file.folder / "v.vtp").write_text(VTP.format(SQUARES, CLOSED, "5 10 15"))
    assert plan_file.load(lesion(shape))
    (plan_file.folder / "v.vtp").write_text(VTP.format(points, cells, ends))
    refused(plan_file, shape, fault)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda t: t.replace('"RAS"', '"LPS"'), r"ends 94.0 mm from its target 'lesion' \(.* if it were LPS"),
        (lambda t: t.replace("[50, 90", "[50, 9X").replace("[50, 10", "[50, 90").replace("9X", "10"), "to entry\\?"),
        (lambda t: t.replace('"RAS"', '"LPS", "coordinateSystem": "RAS"'), "a name stands twice"),
        (lambda t: t.replace("[50, 90, 0]", '"509"'), "are not 3 numbers"),
        (lambda t: t.replace("[50, 90", "[true, 90"), "are not 3 numbers"),
        (lambda t: t.replace("[50, 90", "[50, " + "9" * 400), "too large"),
        (lambda t: t.replace("[50, 90", "[50, " + "9" * 5000), "is not JSON"),
        (lambda t: t.replace('{"label": "b"', '{"position": [1, 2, 3]}, {"label": "b"'), "a Line has two points"),
        (lambda t: t.replace('"type"', '"size": ["x"], "type"'), "size"),
    ],
)
def test_lines_of_slicer(plan_file, change, fault: str) -> None:
    (plan_file.folder / "way.mrk.json").write_text("\ufeff" + LINE)
    assert plan_file.load(DRAWN)
    (plan_file.folder / "way.mrk.json").write_text(change(LINE))
    faults = plan_file.faults(DRAWN)
    assert any(re.search(fault, text) for text in faults), faults


@pytest.mark.parametrize(
    "change",
    [
        ("radius_mm = 8.0", 'radius_mm = "8"'),
        ("radius_mm = 8.0", "radius_mm = true"),
        ("radius_mm = 8.0", "radius_mm = " + "9" * 5000),
        ("[50.0, 90.0, 0.0]", '["50", 90.0, 0.0]'),
        ('"P1"', '" P1"'),
        ('"P1"', '"P1\\u200b"'),
        ('structure = "lesion"', 'structure = "lesion"\nmargin_mm = 1e9'),
        ('name = "small"', "name." + "a." * 3000 + "a = 1"),
    ],
)
def test_values_of_a_plan(plan_file, change: tuple[str, str]) -> None:
    assert plan_file.faults(change)


def test_what_is_no_file_is_not_waited_for(plan_file) -> None:
    os.mkfifo(plan_file.folder / "pipe.nrrd")
    refused(plan_file, SEGMENT.format("pipe.nrrd"), "is no file")
    refused(plan_file, SEGMENT.format("a\\u0000b.nrrd"), "is no name of a file")
    write_nrrd(plan_file.folder / "a.nrrd", label_map())
    write_stl(plan_file.folder / "a.stl", CUBE, False)
    refused(plan_file, 'kind = "surface", file = "a.stl", spacing_mm = 1e-6', "too many")


def write_dose(path: Path, peak_gy: float, uid: str = "1.2.3") -> None:
    data = Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.2"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.6"
    data.PatientID, data.FrameOfReferenceUID, data.DoseUnits = "P1", uid, "GY"
    data.Rows, data.Columns, data.NumberOfFrames = 60, 60, 60
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.DoseGridScaling = 15, peak_gy / 1000
    data.PixelSpacing, data.GridFrameOffsetVector = [2, 2], [2.0 * k for k in range(60)]
    data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-110, -70, -60]
    k, j, i = np.indices((60, 60, 60)) * 2.0
    away = np.sqrt((i - 110 + 50) ** 2 + (j - 70 + 10) ** 2 + (k - 60) ** 2)
    data.PixelData = np.where(away < 14, 1000, 100).astype("<u2").tobytes()
    data.save_as(path, enforce_file_format=True)


DOSE = '[dose]\nfile = "d.dcm"\n'
TARGET_DOSE = ('structure = "lesion"', 'structure = "lesion"\ndose_gy = 60.0')
LIMIT = ('role = "vessel"', 'role = "vessel"\nlimits = { dose_gy = 20.0 }')


def test_the_planned_dose_belongs_to_the_plan(plan_file) -> None:
    path = plan_file.folder / "d.dcm"
    write_dose(path, 60.0)
    plan = plan_file.load(TARGET_DOSE, LIMIT, extra=DOSE)
    assert plan.dose is not None and set(plan.files) == {"plan.toml", "d.dcm"}
    assert plan.content_sha256 != plan_file.load(TARGET_DOSE, LIMIT).content_sha256
    for peak_gy, uid, fault in [
        (0.6, "1.2.3", "targets.lesion.dose_gy: half of 'lesion' gets 0.60 Gy as planned, 60.00 Gy are prescribed"),
        (6000.0, "1.2.3", "structures.vessel.limits.dose_gy: 600.0 Gy are planned, 20.0 Gy allowed"),
        (60.0, "9.9", "d.dcm: is in frame of reference '9.9'"),
    ]:
        write_dose(path, peak_gy, uid)
        faults = plan_file.faults(TARGET_DOSE, LIMIT, extra=DOSE)
        assert any(fault in text for text in faults), faults


@pytest.mark.data
def test_the_isocentre_of_a_treatment_plan_is_a_point(plan_file, data_dir: Path) -> None:
    path = data_dir / "plan" / "pydicom" / "rtplan.dcm"
    isocenter = f'center_mm = {{ file = "{path}", label = "isocenter" }}\ns'
    faults = plan_file.faults(("center_mm = [50.0, 10.0, 0.0]\ns", isocenter))
    assert any("is of patient" in text for text in faults), faults
    faults = plan_file.faults(("center_mm = [50.0, 10.0, 0.0]\ns", isocenter.replace("isocenter", "tip")))
    assert any("has no point 'tip'" in text for text in faults), faults
