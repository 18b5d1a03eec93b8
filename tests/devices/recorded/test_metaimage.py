"""MetaImage: every variant against what was written and against ITK, and every fault with its name."""

import itertools
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.recorded import Limits, RecordedDataError
from devices.recorded.metaimage import read_grid, read_volume

ARRAY = np.arange(2 * 3 * 4).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("dtype", "compressed", "detached", "big"),
    list(itertools.product(["i1", "u1", "i2", "u2", "i4", "f4", "f8"], [False, True], [False, True], [False, True])),
)
def test_every_variant_reads_back(write_mha: Any, dtype: str, compressed: bool, detached: bool, big: bool) -> None:
    array = ARRAY.astype(dtype)
    volume = read_volume(write_mha(array, compressed=compressed, detached=detached, big=big))
    np.testing.assert_array_equal(volume.pixels, array)
    assert volume.pixels.dtype == np.dtype(dtype) and volume.pixels.dtype.isnative
    assert not volume.pixels.flags.writeable


def test_channels_are_the_last_axis(write_mha: Any) -> None:
    array = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    np.testing.assert_array_equal(read_volume(write_mha(array, channels=3)).pixels, array)


def test_a_plane_has_one_slice(write_mha: Any) -> None:
    volume = read_volume(write_mha(ARRAY[0].astype("u1"), fields={"ElementSpacing": "2 3", "Offset": "5 7"}))
    assert volume.pixels.shape == (1, 3, 4)
    np.testing.assert_allclose(volume.ras_from_image_mm @ [1, 1, 0, 1], [-7, -10, 0, 1])


def test_lps_becomes_ras_as_itk_has_it(write_mha: Any, tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(ARRAY.astype(np.int16))
    image.SetSpacing((0.5, 1.5, 3.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    image.SetDirection(turn.ravel().tolist())
    path = tmp_path / "itk.mha"
    sitk.WriteImage(image, str(path), useCompression=True)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.pixels, ARRAY)
    for index in ((0, 0, 0), (3, 0, 0), (1, 2, 1)):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose((volume.ras_from_image_mm @ [*index, 1])[:3], lps * [-1, -1, 1], atol=1e-9)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("NDims", "5", "NDims"),
        ("NDims", None, "NDims"),
        ("DimSize", "4 3", "DimSize"),
        ("DimSize", "4 x 2", "DimSize"),
        ("DimSize", "-4 3 2", "DimSize"),
        ("DimSize", "400000 300000 200000", "DimSize"),
        ("DimSize", "4 3 3", "pixels"),
        ("ElementType", "MET_OTHER", "ElementType"),
        ("ElementType", "MET_UCHAR_ARRAY", "ElementType"),
        ("ElementSpacing", "1 nan 1", "ElementSpacing"),
        ("ElementSpacing", "0 1 1", "geometry"),
        ("TransformMatrix", "1 0 0 0 1 0 0 0", "TransformMatrix"),
        ("BinaryDataByteOrderMSB", "perhaps", "BinaryDataByteOrderMSB"),
        ("BinaryData", "False", "BinaryData"),
        ("Kinds", "list domain domain", "Kinds"),
        ("ElementDataFile", "../secret", "ElementDataFile"),
        ("ElementDataFile", "/etc/passwd", "ElementDataFile"),
        ("ElementDataFile", "gone.raw", "data file"),
        ("ElementDataFile", "LIST", "ElementDataFile"),
    ],
)
def test_a_wrong_field_is_named(write_mha: Any, field: str, value: str | None, named: str) -> None:
    path = write_mha(ARRAY.astype("u1"), fields={field: value})
    with pytest.raises(RecordedDataError) as fault:
        read_volume(path)
    assert fault.value.field == named
    assert str(path) in str(fault.value)


def test_a_field_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.mha"
    path.write_bytes(b"NDims = 3\nNDims = 2\nElementDataFile = LOCAL\n")
    with pytest.raises(RecordedDataError, match="twice"):
        read_volume(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_cut_anywhere_is_refused(write_mha: Any, tmp_path: Path, compressed: bool) -> None:
    whole = write_mha(ARRAY.astype("i2"), compressed=compressed).read_bytes()
    cut = tmp_path / "cut.mha"
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        with pytest.raises(RecordedDataError):
            read_volume(cut)


def test_what_follows_compressed_pixels_is_not_read(write_mha: Any) -> None:
    path = write_mha(ARRAY.astype("u1"), compressed=True)
    path.write_bytes(path.read_bytes() + b"more")
    np.testing.assert_array_equal(read_volume(path).pixels, ARRAY)


def test_compressed_data_cannot_outgrow_the_header(write_mha: Any) -> None:
    bomb = zlib.compress(bytes(200 << 20))
    fields = {"CompressedData": "True", "CompressedDataSize": str(len(bomb))}
    path = write_mha(ARRAY.astype("u1"), fields=fields)
    path.write_bytes(path.read_bytes()[: -ARRAY.size] + bomb)
    tracemalloc.start()
    with pytest.raises(RecordedDataError, match="more bytes"):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_limits_come_before_allocation(write_mha: Any) -> None:
    path = write_mha(ARRAY.astype("u1"))
    with pytest.raises(RecordedDataError, match="limit"):
        read_volume(path, limits=Limits(max_pixel_bytes=ARRAY.size - 1))
    with pytest.raises(RecordedDataError, match="header"):
        read_volume(path, limits=Limits(max_header_bytes=30))
    assert read_volume(path, limits=Limits(max_pixel_bytes=ARRAY.size)).pixels.size == ARRAY.size


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), value=st.integers(0, 255), compressed=st.booleans())
def test_a_changed_byte_gives_a_volume_or_a_named_fault(write_mha: Any, at: int, value: int, compressed: bool) -> None:
    path = write_mha(ARRAY.astype("i2"), compressed=compressed)
    content = bytearray(path.read_bytes())
    content[at % len(content)] = value
    path.write_bytes(content)
    try:
        assert read_grid(path, Limits(max_pixel_bytes=1 << 20)).pixels is not None
    except RecordedDataError as fault:
        assert fault.field
