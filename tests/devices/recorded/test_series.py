"""Series that are no DICOM: field maps, cine, sequences as series; and the one face over all readers."""

import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from devices.recorded import KINDS, RecordedDataError, read_series, read_volume
from devices.recorded.files import kind_of

FIELDMAP = Path("thermometry") / "free_breathing_gre_3t" / "realtime_fmap"


@pytest.mark.data
def test_the_field_map_run_as_complex_images(data_dir: Path) -> None:
    series = read_series(data_dir / FIELDMAP)
    assert len(series.frames) == 10
    assert series.frames[0].shape == (1, 96, 64) and series.frames[0].dtype == np.complex64
    np.testing.assert_allclose(series.times_s, np.arange(10) * 0.786667, atol=1e-5)
    for tag, value in (("EchoTime_s", 0.00246), ("ImagingFrequency_MHz", 123.259), ("FieldStrength_T", 3.0)):
        assert float(series.tags[tag]) == pytest.approx(value)
    parts = {
        part: np.asanyarray(nibabel.load(data_dir / FIELDMAP / f"sub-realtime_{part}.nii.gz").dataobj).T
        for part in ("magnitude1", "magnitude2", "phasediff", "fieldmap")
    }
    for index in (0, 9):
        frame = series.frames[index]
        expected = np.sqrt(parts["magnitude1"][index].astype(float) * parts["magnitude2"][index])
        np.testing.assert_allclose(np.abs(frame), expected, rtol=1e-5, atol=1e-3)
        bright = np.abs(frame) > 200
        turns = parts["fieldmap"][index] * 0.00246  # the public field map of the same run, Hz * s
        apart = np.angle(frame) / (2 * np.pi) - turns
        assert np.abs(apart - np.round(apart))[bright].max() < 0.02
    np.testing.assert_allclose(
        series.frame_from_image_mm[0] @ [1, 1, 1, 1], [-0.61446, 98.85033, -126.93797, 1], atol=1e-4
    )


@pytest.mark.data
def test_a_field_map_run_must_be_whole(data_dir: Path, tmp_path: Path) -> None:
    for file in (data_dir / FIELDMAP).iterdir():
        shutil.copyfile(file, tmp_path / file.name)
    (tmp_path / "sub-realtime_magnitude2.nii.gz").unlink()
    with pytest.raises(RecordedDataError, match="magnitude2"):
        read_series(tmp_path)
    shutil.copyfile(tmp_path / "sub-realtime_magnitude1.nii.gz", tmp_path / "sub-realtime_magnitude2.nii.gz")
    (tmp_path / "sub-realtime_phasediff.json").write_text(
        '{"EchoTime1": 0.004, "EchoTime2": 0.002, "ImagingFrequency": 1}'
    )
    with pytest.raises(RecordedDataError, match="EchoTime2"):
        read_series(tmp_path)
    (tmp_path / "sub-realtime_phasediff.json").unlink()
    with pytest.raises(RecordedDataError, match="EchoTime1"):
        read_series(tmp_path)


@pytest.mark.data
@pytest.mark.parametrize(("name", "columns"), [("2020-11-17_CS31_Nav_Pur_2", 176), ("2020-11-10_KS81_Nav_Pur_1", 140)])
def test_the_liver_cine(data_dir: Path, name: str, columns: int) -> None:
    series = read_series(data_dir / "liver_cine_mr" / f"{name}.mha")
    assert len(series.frames) == 498 and series.frames[0].shape == (1, 176, columns)
    assert series.frames[0].dtype == np.uint16
    gaps = np.diff(series.times_s)
    assert gaps.min() > 0.16 and gaps.max() < 0.18
    assert series.tags["EchoTime_s"] == "0.00149" and series.frame == "RAS"


@pytest.mark.data
def test_cine_and_its_dicom_original_are_the_same(data_dir: Path) -> None:
    cine = read_series(data_dir / "liver_cine_mr" / "2020-11-17_CS31_Nav_Pur_2.mha")
    original = read_series(data_dir / "liver_cine_mr" / "dicom_sample")
    np.testing.assert_allclose(cine.frame_from_image_mm[0], original.frame_from_image_mm[0], atol=1e-6)
    np.testing.assert_allclose(cine.times_s[:12], original.times_s, atol=1e-6)
    for index in range(12):
        np.testing.assert_array_equal(cine.frames[index], original.frames[index])


@pytest.mark.data
def test_a_sequence_is_a_series_too(data_dir: Path) -> None:
    series = read_series(data_dir / "tracked_ultrasound" / "SpinePhantomFreehand.igs.mha")
    assert len(series.frames) == 21 and series.frame == "Image"
    assert series.first_ns == pytest.approx(215.102186e9, abs=500)


def test_a_list_without_times_needs_a_period(write_mha: Any) -> None:
    path = write_mha(np.zeros((3, 2, 2), "u1"), fields={"Kinds": "domain domain list"})
    with pytest.raises(RecordedDataError, match="period"):
        read_series(path)
    np.testing.assert_allclose(read_series(path, period_s=0.5).times_s, [0, 0.5, 1])


def test_kinds_are_told_by_name(tmp_path: Path) -> None:
    names = {
        "a.mha": "metaimage",
        "a.igs.mha": "metaimage",
        "a.seg.nrrd": "nrrd",
        "a.nii.gz": "nifti",
        "A.NII": "nifti",
        "image1.IMA": "dicom",
        "a.dcm": "dicom",
    }
    for name, kind in names.items():
        assert kind_of(tmp_path / name) == kind
    assert set(names.values()) | {"fieldmap"} == set(KINDS)
    assert kind_of(tmp_path) == "dicom"
    (tmp_path / "x_phasediff.nii").touch()
    assert kind_of(tmp_path) == "fieldmap"
    with pytest.raises(RecordedDataError, match="not a volume"):
        read_volume(tmp_path)
    with pytest.raises(RecordedDataError, match="say kind"):
        read_volume(tmp_path / "a.xyz")
    with pytest.raises(RecordedDataError, match="kind"):
        read_volume(tmp_path / "a.mha", kind="film")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("a.mha", "a.nrrd", "a.nii", "a.nii.gz", "a.dcm"):
        with pytest.raises(RecordedDataError, match=name):
            read_volume(tmp_path / name)
