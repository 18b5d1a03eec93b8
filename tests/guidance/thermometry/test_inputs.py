"""Phase in every unit that scanners send, and the refusal of the wrong one."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from guidance.thermometry.inputs import (
    PHASE_UNITS,
    field_from_frequency,
    from_components,
    from_magnitude_phase,
    from_real_imaginary,
    sequence_tags,
    split_echoes,
)

ANGLE = np.linspace(-3.1, 3.1, 60).reshape(3, 4, 5)


@pytest.mark.parametrize("unit", PHASE_UNITS)
def test_every_unit_gives_the_same_image(unit: str) -> None:
    per_count, offset, _, _ = PHASE_UNITS[unit]
    image = from_magnitude_phase(np.full(ANGLE.shape, 7.0), ANGLE / per_count - offset, unit=unit)
    assert image.dtype == np.complex64
    np.testing.assert_allclose(image, 7.0 * np.exp(1j * ANGLE), atol=1e-4)


@pytest.mark.parametrize(
    ("sent", "believed"), [("0..4095", "radian"), ("milliradian", "radian"), ("-4096..4095", "0..4095")]
)
def test_the_wrong_unit_is_refused(sent: str, believed: str) -> None:
    per_count, offset, _, _ = PHASE_UNITS[sent]
    with pytest.raises(ValueError, match="not possible in"):
        from_magnitude_phase(np.ones(ANGLE.shape), ANGLE / per_count - offset, unit=believed)


def test_alternating_slices() -> None:
    flipped = ANGLE.copy()
    flipped[1::2] *= -1.0
    image = from_magnitude_phase(np.ones(ANGLE.shape), flipped, unit="radian", alternate_slices=True)
    np.testing.assert_allclose(np.angle(image), ANGLE, atol=1e-5)


def test_pairs_and_components() -> None:
    real, imaginary = np.cos(ANGLE), np.sin(ANGLE)
    np.testing.assert_allclose(np.angle(from_real_imaginary(real, imaginary)), ANGLE, atol=1e-5)
    np.testing.assert_allclose(np.angle(from_components(np.stack((real, imaginary), -1))), ANGLE, atol=1e-5)
    with pytest.raises(ValueError, match="shape"):
        from_real_imaginary(real, imaginary[:2])
    with pytest.raises(ValueError, match="exchanged"):
        from_magnitude_phase(ANGLE, np.ones(ANGLE.shape), unit="radian")
    with pytest.raises(ValueError, match="known"):
        from_magnitude_phase(np.ones(1), np.ones(1), unit="degree")


def test_tags() -> None:
    assert sequence_tags({}) == (None, None)
    assert sequence_tags({"EchoTime_s": "0.016"}) == ((0.016,), None)
    for several in ("0.005 0.010 0.015", "0.005, 0.010,0.015"):
        assert sequence_tags({"EchoTimes_s": several, "EchoTime_s": "0.005"})[0] == (0.005, 0.010, 0.015)
    assert sequence_tags({"ImagingFrequency_MHz": "123.259"})[1] == pytest.approx(2.895, abs=1e-3)
    for tags in (
        {"EchoTime_s": "16"},
        {"EchoTime_s": "fast"},
        {"EchoTimes_s": "0.01 20"},
        {"ImagingFrequency_MHz": "123259000"},
    ):
        with pytest.raises(ValueError, match=r"seconds|number|Hz"):
            sequence_tags(tags)
    assert field_from_frequency(63.87) == pytest.approx(1.5, abs=1e-3)


def test_echoes_are_shared_out_slice_after_slice() -> None:
    pixels = np.arange(6 * 4 * 5).reshape(6, 4, 5)
    first, second, third = split_echoes(pixels, 3)
    assert (first == pixels[:2]).all() and (second == pixels[2:4]).all() and (third == pixels[4:]).all()
    assert split_echoes(pixels[0], 1)[0].shape == (1, 4, 5)
    with pytest.raises(ValueError, match="6 slices are not 4 echoes"):
        split_echoes(pixels, 4)


@pytest.mark.data
def test_real_three_echo_data_in_milliradian(data_dir: Path) -> None:
    """Phase of this file is in radian / 855: any declared unit that cannot hold is refused, milliradian is accepted."""
    folder = data_dir / "thermometry" / "multi_echo_gre"
    magnitude, phase = (np.asanyarray(nibabel.load(folder / name).dataobj) for name in ("Mag.nii", "Phase.nii"))
    scaled = phase / np.abs(phase).max() * np.pi
    image = from_magnitude_phase(magnitude[..., 0].T, scaled[..., 0].T, unit="radian")
    assert image.shape == (41, 51, 51)
    np.testing.assert_allclose(np.abs(image), magnitude[..., 0].T, rtol=1e-5)
