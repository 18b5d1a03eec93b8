"""One structure in every format gives one plan; what is not whole is refused with the reason."""

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from devices.recorded.files import read_volume
from guidance.plan import differences
from guidance.plan.dicom import read_rtplan, read_segmentation
from guidance.plan.meshes import read_surface
from guidance.plan.polygons import contours_to_mask
from guidance.plan.segments import SegmentError, fill_gaps, segments_of

SPACING = np.array([1.0, 1.0, 2.5])
ORIGIN = np.array([20.0, -30.0, -40.0])  # RAS of voxel 0, 0, 0
CENTER, HALF = np.array([50.0, 10.0, 0.0]), np.array([20.0, 15.0, 18.0])
SIZE = (34, 80, 62)


def inside(points: np.ndarray) -> np.ndarray:
    return (((points - CENTER) / HALF) ** 2).sum(axis=-1) < 1


def label_map() -> np.ndarray:
    k, j, i = np.indices(SIZE)
    return inside(np.stack([i, j, k], axis=-1) * SPACING + ORIGIN)


def write_nrrd(path: Path, mask: np.ndarray) -> None:
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(SPACING.tolist())
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    image.SetOrigin([-ORIGIN[0], -ORIGIN[1], ORIGIN[2]])
    sitk.WriteImage(image, str(path))


def write_nifti(path: Path, mask: np.ndarray) -> None:
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = ORIGIN
    flipped = mask.transpose(2, 1, 0)[::-1]
    affine[:3, 3] += affine[:3, 0] * (mask.shape[2] - 1)
    affine[:3, 0] *= -1
    image = nibabel.Nifti1Image(np.ascontiguousarray(flipped).astype(np.uint8), affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def write_rtstruct(path: Path, kind: str = "CLOSED_PLANAR", skip: tuple[int, ...] = (), patient: str = "P1") -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
    data.PatientID, data.FrameOfReferenceUID = patient, "1.2.3"
    roi, drawn = Dataset(), Dataset()
    roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = 7, "lesion", "1.2.3"
    drawn.ReferencedROINumber, contours = 7, []
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    for k in range(SIZE[0]):
        z = ORIGIN[2] + 2.5 * k
        share = 1 - ((z - CENTER[2]) / HALF[2]) ** 2
        if share <= 0 or k in skip:
            continue
        x = CENTER[0] + HALF[0] * np.sqrt(share) * np.cos(turn)
        y = CENTER[1] + HALF[1] * np.sqrt(share) * np.sin(turn)
        row = Dataset()
        row.ContourGeometricType, row.NumberOfContourPoints = kind, len(turn)
        row.ContourData = [f"{v:.4f}" for v in np.column_stack([-x, -y, np.full_like(x, z)]).ravel()]
        contours.append(row)
    drawn.ContourSequence, data.ROIContourSequence, data.StructureSetROISequence = contours, [drawn], [roi]
    data.save_as(path, enforce_file_format=True)


def write_seg(path: Path, mask: np.ndarray, empty: bool = False) -> None:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.5"
    data.PatientID, data.FrameOfReferenceUID, data.SegmentationType = "P1", "1.2.3", "BINARY"
    used = [k for k in range(mask.shape[0]) if mask[k].any()]
    data.Rows, data.Columns, data.NumberOfFrames = *mask.shape[1:], len(used)
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated = data.BitsStored = 1
    data.HighBit = 0
    pixels = mask[used] & (not empty)
    packed = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    data.PixelData = packed + b"\0" * (len(packed) % 2)
    segment, measures, turn, shared = Dataset(), Dataset(), Dataset(), Dataset()
    segment.SegmentNumber, segment.SegmentLabel = 1, "lesion"
    measures.PixelSpacing, measures.SliceThickness = [SPACING[1], SPACING[0]], SPACING[2]
    turn.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [turn]
    data.SegmentSequence, data.SharedFunctionalGroupsSequence = [segment], [shared]
    groups = []
    for k in used[::-1]:
        group, place, number = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [-ORIGIN[0], -ORIGIN[1], ORIGIN[2] + 2.5 * k]
        number.ReferencedSegmentNumber = 1
        group.PlanePositionSequence, group.SegmentIdentificationSequence = [place], [number]
        groups.append(group)
    data.PixelData = np.packbits(pixels[::-1].ravel(), bitorder="little").tobytes()
    data.PixelData += b"\0" * (len(data.PixelData) % 2)
    data.PerFrameFunctionalGroupsSequence = groups
    data.save_as(path, enforce_file_format=True)


SPHERE = 'shape = { kind = "sphere", center_mm = [50.0, 10.0, 0.0], radius_mm = 8.0 }'


def lesion(shape: str) -> tuple[str, str]:
    return (SPHERE, f"shape = {{ {shape} }}")


def test_label_maps_and_segmentations_load_equal(plan_file) -> None:
    folder, mask = plan_file.folder, label_map()
    write_nrrd(folder / "a.nrrd", mask)
    write_nifti(folder / "a.nii.gz", mask)
    write_seg(folder / "a.dcm", mask)
    plans = [plan_file.load(lesion(f'kind = "segment", file = "{name}"')) for name in ("a.nrrd", "a.nii.gz", "a.dcm")]
    for other in plans[1:]:
        assert differences(plans[0], other) == []
        assert other.content_sha256 == plans[0].content_sha256
    mask[10, 40, 30] ^= True
    write_nrrd(folder / "a.nrrd", mask)
    assert differences(plans[0], plan_file.load(lesion('kind = "segment", file = "a.nrrd"'))) == ["structures.lesion"]


def test_contours_segments_and_truth_agree_within_half_a_voxel(plan_file) -> None:
    write_nrrd(plan_file.folder / "a.nrrd", label_map())
    write_rtstruct(plan_file.folder / "s.dcm")
    segment = plan_file.load(lesion('kind = "segment", file = "a.nrrd"')).structure("lesion")
    region = plan_file.load(lesion('kind = "contours", file = "s.dcm", name = "lesion"')).structure("lesion")
    points = np.random.default_rng(1).uniform(CENTER - 45, CENTER + 45, (20000, 3))
    away = np.abs(segment.signed_distance_mm(points) - region.signed_distance_mm(points))
    assert np.percentile(away, 99) <= 0.5 * SPACING.max()
    assert away.mean() <= 0.5 * SPACING.min()


@pytest.mark.parametrize(
    ("make", "shape", "fault"),
    [
        (lambda f: write_rtstruct(f / "s.dcm", "OPEN_PLANAR"), 'kind = "contours", file = "s.dcm", name = "lesion"',
         "is OPEN_PLANAR, only CLOSED_PLANAR encloses"),
        (lambda f: write_rtstruct(f / "s.dcm"), 'kind = "contours", file = "s.dcm", name = "liver"',
         "0 regions are named 'liver', one is needed; it holds ['lesion']"),
        (lambda f: write_rtstruct(f / "s.dcm", skip=(14, 15)), 'kind = "contours", file = "s.dcm", name = "lesion"',
         "misses 2 slices after slice"),
        (lambda f: write_rtstruct(f / "s.dcm", patient="P2"), 'kind = "contours", file = "s.dcm", name = "lesion"',
         "is of patient 'P2', the plan of 'P1'"),
        (lambda f: write_seg(f / "s.dcm", label_map(), empty=True), 'kind = "segment", file = "s.dcm"',
         "segment 'lesion' is empty"),
        (lambda f: write_seg(f / "s.dcm", label_map()), 'kind = "segment", file = "s.dcm", name = "liver"',
         "0 segments match 'liver', one is needed; it holds lesion (1)"),
        (lambda f: (f / "s.dcm").write_bytes(b"no"), 'kind = "segment", file = "s.dcm"', "is not a DICOM file"),
        (lambda f: write_rtstruct(f / "s.dcm"), 'kind = "segment", file = "s.dcm"', "is not a DICOM segmentation"),
    ],
)  # fmt: skip
def test_what_is_not_whole_is_refused(plan_file, make, shape: str, fault: str) -> None:
    make(plan_file.folder)
    faults = plan_file.faults(lesion(shape))
    assert any(fault in text for text in faults), faults


def test_missing_slices_may_be_allowed_and_are_interpolated(plan_file) -> None:
    write_rtstruct(plan_file.folder / "s.dcm")
    write_rtstruct(plan_file.folder / "gap.dcm", skip=(14, 15))
    text = 'kind = "contours", file = "{}.dcm", name = "lesion", max_gap_slices = 2'
    whole, gap = (plan_file.load(lesion(text.format(name))).structure("lesion") for name in ("s", "gap"))
    points = np.random.default_rng(1).uniform(CENTER - 25, CENTER + 25, (5000, 3))
    assert np.abs(whole.signed_distance_mm(points) - gap.signed_distance_mm(points)).max() < 1.5
    with pytest.raises(SegmentError, match="misses 1 slices after slice 0"):
        fill_gaps(np.array([True, False, True])[:, None, None] & np.ones((3, 4, 4), bool), 0, "it")


def test_contours_with_a_hole_and_oblique_planes() -> None:
    turn = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    ring = np.column_stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)])
    tilt = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.2, 1, 0.3], [-0.1, -0.3, 1]]))[0]
    contours = [(ring * r + [0, 0, z]) @ tilt.T for z in np.arange(-10, 10.1, 2) for r in (20, 8)]
    mask, ras_from_image = contours_to_mask(contours, 0, "ring")
    volume = mask.sum() * abs(np.linalg.det(ras_from_image[:3, :3]))
    assert volume == pytest.approx(np.pi * (20**2 - 8**2) * 22, rel=0.01)
    with pytest.raises(SegmentError, match="not planar"):
        contours_to_mask([*contours, ring * [5, 5, 0] + [0, 0, 1] * np.sin(turn)[:, None] * 3], 0, "ring")
    with pytest.raises(SegmentError, match="unevenly spaced"):
        contours_to_mask([*contours, (ring * 5 + [0, 0, 13.1]) @ tilt.T], 0, "ring")
    with pytest.raises(SegmentError, match="one plane only"):
        contours_to_mask(contours[:2], 0, "ring")


CUBE = np.array(
    [[0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4], [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6],
     [3, 0, 4], [3, 4, 7]]
)  # fmt: skip
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], float)


def write_stl(path: Path, triangles: np.ndarray, text: bool) -> None:
    corners = (CORNERS * 20 + [40, 0, -10]) * [-1, -1, 1]
    if text:
        lines = ["solid x"]
        for row in triangles:
            lines += ["facet normal 0 0 0", "outer loop", *(f"vertex {x} {y} {z}" for x, y, z in corners[row])]
            lines += ["endloop", "endfacet"]
        path.write_text("\n".join([*lines, "endsolid x"]))
        return
    rows = np.zeros(len(triangles), np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("tag", "<u2")]))
    rows["corners"] = corners[triangles]
    path.write_bytes(b"\0" * 80 + np.uint32(len(triangles)).tobytes() + rows.tobytes())


@pytest.mark.parametrize("text", [False, True])
def test_a_closed_surface(plan_file, text: bool) -> None:
    write_stl(plan_file.folder / "c.stl", CUBE, text)
    shape = 'kind = "surface", file = "c.stl", spacing_mm = 0.5'
    cube = plan_file.load(lesion(shape)).structure("lesion")
    points = np.array([[50.0, 10.0, 0.0], [50, 10, 15], [65, 10, 0], [35, 10, 0]])
    assert cube.signed_distance_mm(points) == pytest.approx([-10, 5, 5, 5], abs=0.5)
    write_stl(plan_file.folder / "c.stl", CUBE[:-1], text)
    assert any("surface is not closed: 3 edges" in fault for fault in plan_file.faults(lesion(shape)))
    (plan_file.folder / "c.stl").write_text("solid nothing")
    assert any("neither a binary nor a text STL" in fault for fault in plan_file.faults(lesion(shape)))


@pytest.mark.data
def test_overlapping_segments_of_a_dicom_file(data_dir: Path) -> None:
    folder = data_dir / "plan" / "dcmqi"
    segments = read_segmentation(folder / "partial_overlaps.dcm")
    assert [row.name for row in segments.rows] == ["GREEN", "ORANGE", "PURPLE", "LIGHT_BLUE", "DARK_BLUE"]
    masks = [segments.mask(row.name, None, 0.5, 5) for row in segments.rows]
    assert any((a & b).any() for n, a in enumerate(masks) for b in masks[n + 1 :]), "none overlap"
    data = pydicom.dcmread(folder / "partial_overlaps.dcm")
    assert sum(int(m.sum()) for m in masks) == int(data.pixel_array.sum())


@pytest.mark.data
def test_a_segmentation_and_its_label_map_load_equal(plan_file, data_dir: Path) -> None:
    folder = data_dir / "plan" / "dcmqi"
    identity = read_segmentation(folder / "liver.dcm").identity
    assert identity is not None
    base = [
        ('patient_id = "P1"', f'patient_id = "{identity.patient_id}"'),
        ('"1.2.3"', f'"{identity.frame_of_reference_uid}"'),
        ('structure = "lesion"', ""),
    ]
    plans = [
        plan_file.load(*base, lesion(f'kind = "segment", file = "{folder / name}"'))
        for name in ("liver.dcm", "liver_seg.nrrd")
    ]
    assert differences(*plans) == []
    faults = plan_file.faults(lesion(f'kind = "segment", file = "{folder / "liver.dcm"}"'))
    assert any("is of patient '99000', the plan of 'P1'" in fault for fault in faults)
    assert any("is in frame of reference" in fault for fault in faults)


@pytest.mark.data
def test_fractional_segments_take_a_threshold(data_dir: Path) -> None:
    folder = data_dir / "plan" / "highdicom"
    binary = read_segmentation(folder / "seg_image_ct_binary.dcm")
    same = read_segmentation(folder / "seg_image_ct_binary_fractional.dcm")
    assert np.array_equal(binary.mask(None, None, 0.5, 0), same.mask(None, None, 0.5, 0))
    true = read_segmentation(folder / "seg_image_ct_true_fractional.dcm")
    low, high = true.mask(None, None, 0.1, 0), true.mask(None, None, 0.45, 0)
    assert low.sum() > high.sum() > 0 and (low | ~high).all()


@pytest.mark.data
def test_a_label_map_whose_labels_have_gaps(data_dir: Path) -> None:
    segments = segments_of(read_volume(data_dir / "plan" / "dcmqi" / "liver_spine_gapped_seg.nrrd"))
    assert [row.label for row in segments.rows] == [1, 5]
    assert segments.mask(None, 5, 0.5, 0).sum() == 4135 + 4200 + 4104
    with pytest.raises(SegmentError, match=r"0 segments match 'label 3', one is needed; it holds 1 \(1\), 5 \(5\)"):
        segments.mask(None, 3, 0.5, 0)
    with pytest.raises(SegmentError, match="2 segments match 'any'"):
        segments.mask(None, None, 0.5, 0)


@pytest.mark.data
def test_slicer_segments_by_name(data_dir: Path) -> None:
    single = segments_of(read_volume(data_dir / "plan" / "Segmentation.seg.nrrd"))
    layered = segments_of(read_volume(data_dir / "plan" / "SegmentationOverlapping.seg.nrrd"))
    assert single.rows[0].name == layered.rows[0].name == "ribs"
    assert layered.layers.shape[3] == 2
    assert np.array_equal(single.mask("ribs", None, 0.5, 40), layered.mask("ribs", None, 0.5, 40))


@pytest.mark.data
def test_radiotherapy_plan(data_dir: Path) -> None:
    plan = read_rtplan(data_dir / "plan" / "pydicom" / "rtplan.dcm")
    assert plan.isocenters_mm.shape[1] == 3 and len(plan.isocenters_mm) >= 1
    with pytest.raises(SegmentError, match="is not a DICOM radiotherapy plan"):
        read_rtplan(data_dir / "plan" / "dcmqi" / "liver.dcm")


def test_a_surface_of_another_kind_is_refused(tmp_path: Path) -> None:
    for name, text in [("a.obj", "v"), ("a.vtp", "<VTKFile/>"), ("b.vtp", "<")]:
        (tmp_path / name).write_text(text)
        with pytest.raises(SegmentError):
            read_surface(tmp_path / name)
