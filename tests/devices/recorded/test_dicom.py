"""DICOM: the real files, and synthetic ones for what they lack; every fault with its name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
)

from devices.recorded import Limits, RecordedDataError
from devices.recorded.dicom import read_series, read_volume

Write = Callable[..., Path]
PIXELS = np.arange(6, dtype=np.uint16).reshape(2, 3)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(name, pixels, keyword=value, ...)`: a plain image; None removes an element."""

    def make(name: str, pixels: np.ndarray[Any, Any] = PIXELS, **elements: Any) -> Path:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{sum(map(ord, name))}"
        header = FileDataset(str(tmp_path / name), {}, file_meta=meta, preamble=b"\0" * 128)
        plain: dict[str, Any] = {
            "SOPClassUID": MRImageStorage,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "SeriesInstanceUID": "1.2.3",
            "Rows": pixels.shape[-2],
            "Columns": pixels.shape[-1],
            "NumberOfFrames": len(pixels) if pixels.ndim == 3 else None,
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": pixels.itemsize * 8,
            "BitsStored": pixels.itemsize * 8,
            "HighBit": pixels.itemsize * 8 - 1,
            "PixelRepresentation": int(pixels.dtype.kind == "i"),
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [10, 20, 30],
            "PixelSpacing": [2, 0.5],
            "SliceThickness": 4,
            "PixelData": pixels.tobytes(),
        }
        for keyword, value in (plain | elements).items():
            if value is not None:
                setattr(header, keyword, value)
        path = tmp_path / name
        header.save_as(path, enforce_file_format=True)
        return path

    return make


def test_golden_points_of_one_slice(write: Write) -> None:
    """Row spacing 2, column spacing 0.5, thickness 4: LPS (10, 20, 30) is RAS (-10, -20, 30)."""
    volume = read_volume(write("a.dcm"))
    np.testing.assert_array_equal(volume.pixels, PIXELS[np.newaxis])
    ras = volume.ras_from_image_mm
    np.testing.assert_allclose(ras @ [0, 0, 0, 1], [-10, -20, 30, 1])
    np.testing.assert_allclose(ras @ [2, 0, 0, 1], [-11, -20, 30, 1])
    np.testing.assert_allclose(ras @ [0, 1, 0, 1], [-10, -22, 30, 1])
    np.testing.assert_allclose(ras @ [0, 0, 1, 1], [-10, -20, 34, 1])


def test_golden_points_of_a_sagittal_slice(write: Write) -> None:
    """Columns run to the back, rows to the feet; column x row points to the patient's right (-L)."""
    ras = read_volume(write("a.dcm", ImageOrientationPatient=[0, 1, 0, 0, 0, -1])).ras_from_image_mm
    np.testing.assert_allclose(ras @ [2, 1, 1, 1], [-10 + 4, -20 - 1, 30 - 2, 1])


def test_slices_are_sorted_by_where_they_lie(write: Write, tmp_path: Path) -> None:
    for name, height, value in (("z.dcm", 30, 0), ("a.dcm", 36, 2), ("m.dcm", 33, 1)):
        write(name, PIXELS + 10 * value, ImagePositionPatient=[10, 20, height], InstanceNumber=9 - value)
    (tmp_path / "notes.txt").write_text("not DICOM")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.pixels[:, 0, 0], [0, 10, 20])
    np.testing.assert_allclose(volume.ras_from_image_mm @ [0, 0, 2, 1], [-10, -20, 36, 1])


def test_a_tilted_gantry_gives_a_sheared_matrix(write: Write, tmp_path: Path) -> None:
    for number in range(3):
        write(f"{number}.dcm", ImagePositionPatient=[10, 20 + number, 30 + 3 * number])
    np.testing.assert_allclose(read_volume(tmp_path).ras_from_image_mm[:, 2], [0, -1, 3, 0])


@pytest.mark.parametrize("heights", [[0, 3, 9], [0, 3, 6.1], [0, 3, 6, 6]])
def test_missing_or_uneven_slices_are_refused(write: Write, tmp_path: Path, heights: list[float]) -> None:
    for number, height in enumerate(heights):
        write(f"{number}.dcm", ImagePositionPatient=[0, 0, height], InstanceNumber=number)
    with pytest.raises(RecordedDataError) as fault:
        read_volume(tmp_path)
    assert fault.value.field == "ImagePositionPatient"


def test_positions_that_repeat_are_a_series_in_time(write: Write, tmp_path: Path) -> None:
    for moment in range(3):
        for slice_number in range(2):
            seconds = 59.5 + moment * 0.5 + slice_number * 0.1
            clock = f"2359{seconds:09.6f}" if seconds < 60 else f"0000{seconds - 60:09.6f}"
            write(
                f"{moment}{slice_number}.dcm",
                PIXELS + 10 * moment + 100 * slice_number,
                ImagePositionPatient=[0, 0, 5.0 * slice_number],
                AcquisitionDate="20240229" if seconds < 60 else "20240301",
                AcquisitionTime=clock,
            )
    series = read_series(tmp_path)
    np.testing.assert_allclose(series.times_s, [0, 0.5, 1.0])  # across midnight
    assert [frame[:, 0, 0].tolist() for frame in (series.frames[n] for n in range(3))] == [
        [0, 100],
        [10, 110],
        [20, 120],
    ]
    assert series.first_ns == 1709251199_500_000_000
    with pytest.raises(RecordedDataError, match="series"):
        read_volume(tmp_path)


def test_frames_that_no_time_tells_apart_need_a_period(write: Write, tmp_path: Path) -> None:
    for number in range(2):
        write(f"{number}.dcm", InstanceNumber=number, AcquisitionDate="20240101", AcquisitionTime="101010")
    with pytest.raises(RecordedDataError, match="period"):
        read_series(tmp_path)
    np.testing.assert_allclose(read_series(tmp_path, period_s=0.2).times_s, [0, 0.2])


def _enhanced(order: list[tuple[float, str]]) -> dict[str, Any]:
    measures, orientation, values, shared = Dataset(), Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [2, 0.5]
    measures.SliceThickness = 4
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    values.RescaleSlope, values.RescaleIntercept = 0.5, 1
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    shared.PixelValueTransformationSequence = Sequence([values])
    frames = []
    for height, moment in order:
        position, content, frame = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [10, 20, height]
        content.FrameAcquisitionDateTime = moment
        frame.PlanePositionSequence = Sequence([position])
        frame.FrameContentSequence = Sequence([content])
        frames.append(frame)
    absent = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SliceThickness")
    return dict.fromkeys(absent) | {
        "SOPClassUID": EnhancedMRImageStorage,
        "SharedFunctionalGroupsSequence": Sequence([shared]),
        "PerFrameFunctionalGroupsSequence": Sequence(frames),
    }


def test_an_enhanced_file_is_sorted_too(write: Write) -> None:
    pixels = np.stack([PIXELS, PIXELS + 10, PIXELS + 20])
    moment = "20240101101010.5"
    volume = read_volume(write("e.dcm", pixels, **_enhanced([(36, moment), (30, moment), (33, moment)])))
    np.testing.assert_allclose(volume.pixels[:, 0, 0], [10 * 0.5 + 1, 20 * 0.5 + 1, 1])
    assert volume.pixels.dtype == np.float32
    np.testing.assert_allclose(volume.ras_from_image_mm @ [2, 1, 2, 1], [-11, -22, 36, 1])


def test_an_enhanced_file_may_be_a_series(write: Write) -> None:
    pixels = np.stack([PIXELS, PIXELS + 10, PIXELS + 20, PIXELS + 30])
    order = [(30, "20240101101010"), (33, "20240101101010"), (30, "20240101101011.25"), (33, "20240101101011.25")]
    series = read_series(write("e.dcm", pixels, **_enhanced(order)))
    np.testing.assert_allclose(series.times_s, [0, 1.25])
    np.testing.assert_allclose(series.frames[1][:, 0, 0], [11, 16])


@pytest.mark.parametrize(
    ("dtype", "slope", "intercept", "result"),
    [
        ("u2", None, None, "u2"),
        ("i2", 1, -1024, "i4"),
        ("u2", 0.25, 3, "f4"),
        ("u4", 0.001, 0, "f8"),
    ],
)
def test_rescale(write: Write, dtype: str, slope: float | None, intercept: float | None, result: str) -> None:
    volume = read_volume(write("a.dcm", PIXELS.astype(dtype), RescaleSlope=slope, RescaleIntercept=intercept))
    assert volume.pixels.dtype == np.dtype(result)
    np.testing.assert_allclose(volume.pixels[0], PIXELS.astype(float) * (slope or 1) + (intercept or 0))
    assert not volume.pixels.flags.writeable


def test_tags_have_our_names_and_units_and_no_patient(write: Write) -> None:
    path = write(
        "a.dcm", EchoTime=19.1, ImagingFrequency=123.2, MagneticFieldStrength=3, PatientName="Doe", Modality="MR"
    )
    tags = read_volume(path).tags
    assert tags["EchoTime_s"] == "0.0191" and tags["ImagingFrequency_MHz"] == "123.2" and tags["FieldStrength_T"] == "3"
    assert not any("Doe" in value for value in tags.values())


@pytest.mark.parametrize(
    ("elements", "named"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "ImageOrientationPatient"),
        ({"ImageOrientationPatient": [2, 0, 0, 0, 1, 0]}, "ImageOrientationPatient"),
        ({"ImagePositionPatient": [1, 2]}, "ImageOrientationPatient"),
        ({"PixelSpacing": [0, 1]}, "PixelSpacing"),
        ({"PixelSpacing": None}, "PixelSpacing"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient"),
        ({"Rows": 60000, "Columns": 60000}, "NumberOfFrames"),
        ({"Rows": 3}, "pixels"),
        ({"NumberOfFrames": 2}, "ImagePositionPatient"),
        ({"PixelData": None, "Rows": None}, "Rows"),
        ({"PixelData": None}, "pixels"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}, "SOPClassUID"),
    ],
)
def test_a_wrong_element_is_named(write: Write, elements: dict[str, Any], named: str) -> None:
    path = write("a.dcm", **elements)
    with pytest.raises(RecordedDataError) as fault:
        read_volume(path, limits=Limits(max_pixel_bytes=1 << 20))
    assert fault.value.field == named


def test_several_series_need_a_choice(write: Write, tmp_path: Path) -> None:
    write("a.dcm", SeriesInstanceUID="1.2.3")
    write("b.dcm", SeriesInstanceUID="1.2.4")
    with pytest.raises(RecordedDataError, match="series_uid"):
        read_volume(tmp_path)
    assert read_volume(tmp_path, series_uid="1.2.4").tags["SeriesInstanceUID"] == "1.2.4"
    with pytest.raises(RecordedDataError, match="no series"):
        read_volume(tmp_path, series_uid="9")


def test_slices_that_are_not_parallel_are_refused(write: Write, tmp_path: Path) -> None:
    write("a.dcm")
    write("b.dcm", ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    with pytest.raises(RecordedDataError, match="parallel"):
        read_volume(tmp_path)


def test_a_deflated_file_is_refused_before_it_grows(write: Write) -> None:
    path = write("a.dcm")
    header = pydicom.dcmread(path)
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    header.save_as(path)
    with pytest.raises(RecordedDataError, match="deflated"):
        read_volume(path)


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecordedDataError, match="no DICOM file"):
        read_volume(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_a_file_cut_anywhere_is_refused(write: Write, tmp_path: Path) -> None:
    path = write("a.dcm")
    whole = path.read_bytes()
    for length in range(0, len(whole), 5):
        path.write_bytes(whole[:length])
        with pytest.raises(RecordedDataError):
            read_volume(path)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(128, 5000), value=st.integers(0, 255))
def test_a_changed_byte_gives_a_volume_or_a_named_fault(write: Write, at: int, value: int) -> None:
    path = write("a.dcm", RescaleSlope=2, RescaleIntercept=1, SOPClassUID=CTImageStorage)
    content = bytearray(path.read_bytes())
    content[128 + (at - 128) % (len(content) - 128)] = value
    path.write_bytes(content)
    try:
        assert read_volume(path, limits=Limits(max_pixel_bytes=1 << 20)).pixels is not None
    except RecordedDataError as fault:
        assert fault.field


@pytest.mark.data
def test_real_ct_slices(data_dir: Path) -> None:
    volume = read_volume(data_dir / "plan" / "dcmqi" / "ct-3slice")
    assert volume.pixels.shape == (3, 512, 512)
    assert (volume.pixels.min(), volume.pixels.max()) == (-3024, 1381)
    np.testing.assert_allclose(volume.ras_from_image_mm[:3, 3], [235.199997, 226.800003, -128.690002])


@pytest.mark.data
def test_real_dose_grid(data_dir: Path) -> None:
    header = pydicom.dcmread(data_dir / "plan" / "pydicom" / "rtdose.dcm")
    volume = read_volume(data_dir / "plan" / "pydicom" / "rtdose.dcm")
    np.testing.assert_allclose(volume.pixels, header.pixel_array * float(header.DoseGridScaling))
    offset = float(header.GridFrameOffsetVector[14])
    np.testing.assert_allclose(volume.ras_from_image_mm @ [0, 0, 14, 1], [-189.43125, -199.43125, -761.87 + offset, 1])


@pytest.mark.data
def test_real_cine_files(data_dir: Path) -> None:
    angiography = read_series(data_dir / "xray" / "XA_512x512x96_fo-dicom_HasFragmentSequence.dcm")
    assert (len(angiography.frames), angiography.frames[95].shape) == (96, (1, 512, 512))
    np.testing.assert_allclose(angiography.times_s, np.arange(96) * 0.033)
    assert angiography.frame == "Image" and angiography.tags["PositionerPrimaryAngle_deg"] == "-32"
    ultrasound = read_series(data_dir / "xray" / "US_456x576x65_fo-dicom_DIRW0007.dcm")
    assert (len(ultrasound.frames), ultrasound.frames[64].shape) == (65, (1, 456, 576, 3))
    np.testing.assert_allclose(ultrasound.times_s[:4], [0, 0.033333, 0.083333, 0.116666])
    np.testing.assert_allclose(np.diag(ultrasound.frame_from_image_mm[0])[:2], 0.52478133506629575)
    assert ultrasound.tags["PhotometricInterpretation"] == "RGB"


@pytest.mark.data
def test_real_liver_slices_are_a_series(data_dir: Path) -> None:
    series = read_series(data_dir / "liver_cine_mr" / "dicom_sample")
    assert len(series.frames) == 12 and series.frames[0].shape == (1, 176, 176)
    np.testing.assert_allclose(np.diff(series.times_s), 0.167, atol=0.003)
    assert series.tags["EchoTime_s"] == "0.00149"
