"""NRRD: every variant against what was written and against ITK, and every fault with its name."""

import gzip
import itertools
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.recorded import Limits, RecordedDataError
from devices.recorded.nrrd import read_grid, read_volume

ARRAY = np.arange(2 * 3 * 4).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("dtype", "encoding", "detached", "big"),
    list(
        itertools.product(
            ["i1", "u1", "i2", "i4", "f4", "f8"], ["raw", "gz", "gzip", "bzip2"], [False, True], [False, True]
        )
    ),
)
def test_every_variant_reads_back(write_nrrd: Any, dtype: str, encoding: str, detached: bool, big: bool) -> None:
    array = ARRAY.astype(dtype)
    volume = read_volume(write_nrrd(array, encoding=encoding, detached=detached, big=big))
    np.testing.assert_array_equal(volume.pixels, array)
    assert volume.pixels.dtype == np.dtype(dtype) and volume.pixels.dtype.isnative
    assert not volume.pixels.flags.writeable


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (-1, -1, 1)),
        ("LPS", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("LAS", (-1, 1, 1)),
    ],
)
def test_named_spaces_turn_to_ras(write_nrrd: Any, space: str, signs: tuple[int, int, int]) -> None:
    fields = {"space": space, "space origin": "(10,20,30)", "space directions": "(2,0,0) (0,3,0) (0,0,4)"}
    volume = read_volume(write_nrrd(ARRAY.astype("u1"), fields=fields))
    point = (volume.ras_from_image_mm @ [1, 1, 1, 1])[:3]
    np.testing.assert_allclose(point, np.array([12, 23, 34]) * signs)
    assert np.sign(np.linalg.det(volume.ras_from_image_mm[:3, :3])) == np.prod(signs)


def test_oblique_geometry_is_as_itk_has_it(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(ARRAY.astype(np.float32))
    image.SetSpacing((0.5, 1.5, 3.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection(np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0].ravel().tolist())
    path = tmp_path / "itk.nrrd"
    sitk.WriteImage(image, str(path), useCompression=True)
    volume = read_volume(path)
    for index in ((0, 0, 0), (3, 0, 0), (1, 2, 1)):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose((volume.ras_from_image_mm @ [*index, 1])[:3], lps * [-1, -1, 1], atol=1e-9)


def test_a_file_without_a_patient_space_needs_one_named(write_nrrd: Any) -> None:
    fields = {"space": None, "space dimension": "3", "space origin": "(1,2,3)"}
    path = write_nrrd(ARRAY.astype("u1"), fields=fields)
    with pytest.raises(RecordedDataError, match="assume_space"):
        read_volume(path)
    ras = read_volume(path, assume_space="left-posterior-superior").ras_from_image_mm
    np.testing.assert_allclose(ras[:3, 3], [-1, -2, 3])


def test_layers_come_last_wherever_they_lie(write_nrrd: Any) -> None:
    array = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    first = {"kinds": "list domain domain domain", "space directions": "none (1,0,0) (0,1,0) (0,0,1)"}
    np.testing.assert_array_equal(read_volume(write_nrrd(array, fields=first)).pixels, array)
    last = {
        "kinds": "domain domain domain list",
        "space directions": "(1,0,0) (0,1,0) (0,0,1) none",
    }
    np.testing.assert_array_equal(read_volume(write_nrrd(array, fields=last)).pixels, np.moveaxis(array, 0, -1))


def test_an_old_segmentation_starts_at_its_extent(write_nrrd: Any) -> None:
    """Four space axes, no named space (RAS), and the origin of the whole image: as Slicer wrote before 4.11."""
    fields = {
        "space": None,
        "space dimension": "4",
        "kinds": "domain domain domain domain",
        "space directions": "(-2,0,0,0) (0,-2,0,0) (0,0,5,0) (0,0,0,1)",
        "space origin": "(250,250,-100,0)",
    }
    values = {"Segmentation_Extent": "10 13 20 22 3 4", "Segment0_ID": "Bladder", "Segment0_Name": "Bladder: all"}
    volume = read_volume(write_nrrd(ARRAY.astype("u1")[np.newaxis], fields=fields, values=values))
    assert volume.pixels.shape == (2, 3, 4, 1)
    assert volume.tags["Segment0_Name"] == "Bladder: all"
    np.testing.assert_allclose(volume.ras_from_image_mm[:3, 3], [250 - 20, 250 - 40, -100 + 15])


def test_lines_and_bytes_are_skipped(write_nrrd: Any) -> None:
    before = b"first\nsecond\nxyz"
    path = write_nrrd(ARRAY.astype("u1"), before=before, fields={"line skip": "2", "byte skip": "3"})
    np.testing.assert_array_equal(read_volume(path).pixels, ARRAY)
    path = write_nrrd(ARRAY.astype("u1"), before=before, fields={"byte skip": "-1"}, detached=True)
    np.testing.assert_array_equal(read_volume(path).pixels, ARRAY)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("dimension", "7", "dimension"),
        ("dimension", None, "dimension"),
        ("sizes", "4 3", "sizes"),
        ("sizes", "4 3 999999999999", "sizes"),
        ("sizes", "4 -3 2", "sizes"),
        ("sizes", "4 3 3", "pixels"),
        ("type", "block", "type"),
        ("type", None, "type"),
        ("encoding", "hex", "encoding"),
        ("space", "scanner-xyz", "space"),
        ("space directions", "(1,0,0) (0,1,0)", "space directions"),
        ("space directions", "(1,0,0) (0,1,0) (0,0,nan)", "space directions"),
        ("space directions", "(1,0,0) (0,1,0) oops", "space directions"),
        ("space directions", "(1,0,0) (1,0,0) (0,0,1)", "geometry"),
        ("kinds", "domain list domain", "kinds"),
        ("kinds", "domain domain", "kinds"),
        ("data file", "../secret.raw", "data file"),
        ("data file", "LIST", "data file"),
        ("byte skip", "many", "byte skip"),
    ],
)
def test_a_wrong_field_is_named(write_nrrd: Any, field: str, value: str | None, named: str) -> None:
    path = write_nrrd(ARRAY.astype("u1"), fields={field: value})
    with pytest.raises(RecordedDataError) as fault:
        read_volume(path)
    assert fault.value.field == named


def test_pixels_of_several_bytes_need_their_order_said(write_nrrd: Any) -> None:
    with pytest.raises(RecordedDataError) as fault:
        read_volume(write_nrrd(ARRAY.astype("i2"), fields={"endian": None}))
    assert fault.value.field == "endian"


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_a_file_cut_anywhere_is_refused(write_nrrd: Any, tmp_path: Path, encoding: str) -> None:
    whole = write_nrrd(ARRAY.astype("i2"), encoding=encoding).read_bytes()
    cut = tmp_path / "cut.nrrd"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        with pytest.raises(RecordedDataError):
            read_volume(cut)


def test_a_gzip_file_may_have_several_members(write_nrrd: Any) -> None:
    path = write_nrrd(ARRAY.astype("u1"), encoding="gzip", detached=True)
    data = ARRAY.astype("u1").tobytes()
    path.with_name("image.raw").write_bytes(gzip.compress(data[:10]) + gzip.compress(data[10:]))
    np.testing.assert_array_equal(read_volume(path).pixels, ARRAY)


def test_a_damaged_checksum_is_seen(write_nrrd: Any) -> None:
    path = write_nrrd(ARRAY.astype("u1"), encoding="gzip")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # the CRC of the gzip member
    path.write_bytes(content)
    with pytest.raises(RecordedDataError, match="damaged"):
        read_volume(path)


def test_compressed_data_cannot_outgrow_the_header(write_nrrd: Any) -> None:
    path = write_nrrd(ARRAY.astype("u1"), encoding="gzip", detached=True)
    path.with_name("image.raw").write_bytes(zlib.compress(bytes(50 << 20)))
    with pytest.raises(RecordedDataError, match="more bytes"):
        read_volume(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), value=st.integers(0, 255), encoding=st.sampled_from(["raw", "gzip"]))
def test_a_changed_byte_gives_a_volume_or_a_named_fault(write_nrrd: Any, at: int, value: int, encoding: str) -> None:
    path = write_nrrd(ARRAY.astype("i2"), encoding=encoding, values={"Segmentation_Extent": "0 3 0 2 0 1"})
    content = bytearray(path.read_bytes())
    content[at % len(content)] = value
    path.write_bytes(content)
    try:
        assert read_grid(path, Limits(max_pixel_bytes=1 << 20)).volume("RAS") is not None
    except RecordedDataError as fault:
        assert fault.field


# The surfaces of the same structures (EclipseProstate_Structures.seg/*.vtp, in RAS): least and greatest corner.
RECTUM = ([-13.259753, -53.610027, -117.5], [18.241432, -16.335869, -20.0])
BLADDER = ([-24.838165, -16.759178, -60.0], [31.279705, 55.6423, -10.0])


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "surface", "margin_mm"),
    [
        ("Expanded_5_5_5_Rectum", RECTUM, 5),
        ("Expanded_5_5_5_Bladder", BLADDER, 5),
        ("Shrunk_5_5_5_Bladder", BLADDER, -5),
    ],
)
def test_real_segments_lie_where_their_surfaces_do(
    data_dir: Path, name: str, surface: tuple[list[float], list[float]], margin_mm: float
) -> None:
    volume = read_volume(data_dir / "plan" / "slicerrt" / f"EclipseProstate_{name}.seg.nrrd")
    slices, rows, columns, _ = np.nonzero(volume.pixels)
    points = (volume.ras_from_image_mm @ np.array([columns, rows, slices, np.ones(len(rows))]))[:3]
    voxel_mm = np.array([0.98, 0.98, 2.5])
    if margin_mm > 0:  # a shrunk body may lose a thin end altogether: it must only lie inside
        assert (abs(points.min(axis=1) - (np.array(surface[0]) - margin_mm)) <= 1.5 * voxel_mm).all()
        assert (abs(points.max(axis=1) - (np.array(surface[1]) + margin_mm)) <= 1.5 * voxel_mm).all()
    assert (points.min(axis=1) >= np.array(surface[0]) - margin_mm - 1.5 * voxel_mm).all()
    assert (points.max(axis=1) <= np.array(surface[1]) + margin_mm + 1.5 * voxel_mm).all()


@pytest.mark.data
def test_real_volumes_lie_where_itk_puts_them(data_dir: Path) -> None:
    paths = [path for path in sorted((data_dir / "plan").rglob("*.nrrd")) if ".seg." not in path.name]
    assert len(paths) == 10
    for path in paths:
        volume, image = read_volume(path), sitk.ReadImage(str(path))
        np.testing.assert_array_equal(volume.pixels, sitk.GetArrayViewFromImage(image))
        for index in ((0, 0, 0), (5, 7, 2)):
            lps = np.array(image.TransformIndexToPhysicalPoint(index))
            np.testing.assert_allclose((volume.ras_from_image_mm @ [*index, 1])[:3], lps * [-1, -1, 1], atol=1e-6)


@pytest.mark.data
def test_real_segmentations_keep_their_layers_and_names(data_dir: Path) -> None:
    plain = read_volume(data_dir / "plan" / "Segmentation.seg.nrrd")
    layered = read_volume(data_dir / "plan" / "SegmentationOverlapping.seg.nrrd")
    assert plain.pixels.shape == (34, 128, 128) and layered.pixels.shape == (34, 128, 128, 2)
    assert plain.tags["Segment0_Name"] == layered.tags["Segment0_Name"] == "ribs"
    np.testing.assert_allclose(plain.ras_from_image_mm, layered.ras_from_image_mm)
