"""NIfTI: variants written by nibabel, geometry, scaling, and every fault with its name."""

import gzip
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.recorded import Limits, RecordedDataError
from devices.recorded.nifti import read_series, read_volume

ARRAY = np.arange(4 * 3 * 2, dtype=np.int16).reshape(4, 3, 2)  # (i, j, k), as NIfTI has it
AFFINE = np.array([[0.0, -2, 0, 5], [3, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])


def _save(path: Path, array: np.ndarray[Any, Any], *, slope: float | None = None, big: bool = False) -> Path:
    image = nibabel.Nifti1Image(array, AFFINE, nibabel.Nifti1Header(endianness=">" if big else "<"))
    image.header.set_sform(AFFINE, 1)
    image.header.set_qform(AFFINE, 0)
    image.header.set_data_dtype(array.dtype)
    if array.ndim == 4:
        image.header.set_zooms((3, 2, 4, 0.25))
        image.header.set_xyzt_units("mm", "sec")
        image.header.set_sform(AFFINE, 1)
    nibabel.save(image, path)
    if slope is not None:
        content = bytearray(path.read_bytes())
        content[112:120] = np.array([slope, 1.0], "<f4").tobytes()  # scl_slope, scl_inter
        path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8", "c8"])
def test_every_variant_reads_back(tmp_path: Path, name: str, dtype: str, big: bool) -> None:
    volume = read_volume(_save(tmp_path / name, ARRAY.astype(dtype), big=big))
    np.testing.assert_array_equal(volume.pixels, ARRAY.transpose(2, 1, 0))
    assert volume.pixels.dtype == np.dtype(dtype) and volume.pixels.dtype.isnative
    assert not volume.pixels.flags.writeable
    np.testing.assert_allclose(volume.ras_from_image_mm, AFFINE)


def test_scaled_values_become_real_numbers(tmp_path: Path) -> None:
    volume = read_volume(_save(tmp_path / "a.nii", ARRAY, slope=0.5))
    assert volume.pixels.dtype == np.float32
    np.testing.assert_allclose(volume.pixels, ARRAY.transpose(2, 1, 0) * 0.5 + 1)


def test_lengths_in_metres_become_millimetres(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii", ARRAY)
    content = bytearray(path.read_bytes())
    content[123] = 1  # xyzt_units: metres
    path.write_bytes(content)
    np.testing.assert_allclose(read_volume(path).ras_from_image_mm[:3], AFFINE[:3] * 1000)


def test_a_fourth_axis_is_time_or_comes_last(tmp_path: Path) -> None:
    array = np.arange(4 * 3 * 2 * 5, dtype=np.int16).reshape(4, 3, 2, 5)
    path = _save(tmp_path / "a.nii.gz", array)
    np.testing.assert_array_equal(read_volume(path).pixels, array.transpose(2, 1, 0, 3))
    series = read_series(path)
    np.testing.assert_allclose(series.times_s, np.arange(5) * 0.25)
    np.testing.assert_array_equal(series.frames[3], array[..., 3].transpose(2, 1, 0))
    np.testing.assert_allclose(read_series(path, period_s=2.0).times_s, np.arange(5) * 2.0)


def test_the_sidecar_gives_times_and_tags(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii.gz", np.zeros((2, 2, 1, 3), np.int16))
    (tmp_path / "a.json").write_text(json.dumps({"EchoTime": 0.012, "frame_times_s": [1, 1.5, 3], "Modality": "MR"}))
    series = read_series(path)
    np.testing.assert_allclose(series.times_s, [0, 0.5, 2])
    assert series.tags == {"EchoTime_s": "0.012", "Modality": "MR"}
    (tmp_path / "a.json").write_text('{"frame_times_s": [1, 3]}')
    with pytest.raises(RecordedDataError, match="2 times for 3 frames"):
        read_series(path)
    (tmp_path / "a.json").write_text('{"frame_times_s": [1, 3')
    with pytest.raises(RecordedDataError, match="JSON"):
        read_series(path)


def test_a_file_without_a_patient_space_needs_one_named(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii", ARRAY)
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)  # qform_code, sform_code
    path.write_bytes(content)
    with pytest.raises(RecordedDataError, match="assume_space"):
        read_volume(path)
    assert read_volume(path, assume_space="right-anterior-superior").pixels.size == ARRAY.size


def test_limits_come_before_allocation(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii", ARRAY)
    content = bytearray(path.read_bytes())
    content[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()  # dim[1..3]
    path.write_bytes(content)
    with pytest.raises(RecordedDataError, match="limit"):
        read_volume(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_cut_file_is_refused(tmp_path: Path, name: str) -> None:
    path = _save(tmp_path / name, ARRAY)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 8, 3):  # the last 8 of a gzip file are its checksum
        path.write_bytes(whole[:length])
        with pytest.raises(RecordedDataError):
            read_volume(path)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 399), value=st.integers(0, 255), packed=st.booleans())
def test_a_changed_byte_gives_a_volume_or_a_named_fault(tmp_path: Path, at: int, value: int, packed: bool) -> None:
    content = bytearray(_save(tmp_path / "a.nii", ARRAY).read_bytes())
    content[at] = value
    path = tmp_path / ("b.nii.gz" if packed else "b.nii")
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    try:
        assert read_volume(path, limits=Limits(max_pixel_bytes=1 << 20)).pixels is not None
    except RecordedDataError as fault:
        assert fault.field


@pytest.mark.data
def test_real_multi_echo(data_dir: Path) -> None:
    for name, low, high in (("Mag", 3.0e-5, 8.1e-4), ("Phase", -3.68e-3, 3.68e-3)):
        volume = read_volume(data_dir / "thermometry" / "multi_echo_gre" / f"{name}.nii")
        assert volume.pixels.shape == (41, 51, 51, 3) and volume.pixels.dtype == np.float32
        assert low <= volume.pixels.min() <= volume.pixels.max() <= high
        np.testing.assert_allclose(volume.ras_from_image_mm @ [1, 0, 1, 1], [-104.0625, -104.53125, -54, 1])
