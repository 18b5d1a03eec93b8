"""Maps, masks and points travel with the tissue; dose lands at material points."""

import numpy as np
import pytest

from guidance.motion.compensation import (
    invert,
    mask_to_current,
    mask_to_reference,
    motion_sigma,
    points_to_current,
    to_current,
    to_reference,
)
from guidance.thermometry import cem43


@pytest.fixture
def field(truth):
    return truth.smooth_field((64, 80), 6.0, seed=4).astype(np.float32)


def grid():
    y, x = np.mgrid[:64, :80].astype(float)
    return x, y


def blob(x, y, centre=(40.0, 32.0), width=3.0):
    return 37 + 25 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * width**2))


def test_inverse_undoes_the_field(field):
    x, y = grid()
    back = invert(field)
    forth = points_to_current(np.stack([x.ravel(), y.ravel()], axis=-1), back)
    round_trip = points_to_current(forth, field).reshape(64, 80, 2)
    inner = (slice(10, -10), slice(10, -10))
    np.testing.assert_allclose(round_trip[inner], np.stack([x, y], axis=-1)[inner], atol=0.02)


def test_map_is_found_where_the_tissue_went(field):
    x, y = grid()
    current = blob(x, y)
    carried = to_reference(current, field)
    expected = blob(x + field[..., 0], y + field[..., 1])
    np.testing.assert_allclose(carried.values[carried.known], expected[carried.known], atol=0.02)
    assert carried.values.dtype == np.float32


def test_there_and_back_keeps_the_peak(field):
    x, y = grid()
    spot = blob(x, y, width=1.2)
    half = np.full((64, 80, 2), 0.5, np.float32)
    again = to_current(to_reference(spot, half).values, half).values
    assert again.max() - 37 > 0.93 * 25
    assert (again - 37).sum() == pytest.approx((spot - 37).sum(), rel=0.01)


def test_complex_baselines_and_coils(field):
    x, y = grid()
    baseline = np.stack([blob(x, y) * np.exp(0.1j * x), blob(x, y) * np.exp(-0.05j * y)], axis=-1)
    carried = to_reference(baseline, field)
    moved_x = x + field[..., 0]
    np.testing.assert_allclose(np.angle(carried.values[..., 0] * np.exp(-0.1j * moved_x))[carried.known], 0, atol=0.02)
    assert carried.values.shape == baseline.shape and carried.values.dtype == np.complex64


def test_tissue_that_left_the_image_is_not_known():
    carried = to_reference(np.ones((32, 32)), np.full((32, 32, 2), 5.0, np.float32))
    assert not carried.known[:, -4:].any() and carried.known[:20, :20].all()


def test_masks_and_points_agree(field):
    x, y = grid()
    disc = np.hypot(x - 40, y - 32) < 9
    now = mask_to_current(disc, field)
    again = mask_to_reference(now, field)
    assert (again ^ disc).sum() < 0.06 * disc.sum()
    centre = points_to_current(np.array([[40.0, 32.0]]), field)[0]
    np.testing.assert_allclose([x[now].mean(), y[now].mean()], centre, atol=0.5)


def test_dose_at_material_points_under_15_mm_of_breathing(truth):
    """A spot that follows the tissue: the dose added in the reference position is the dose of tissue at rest.

    1.8 mm pixels; contour of 240 CEM43 within half a voxel, peak within 5 %, against both of the moving image's
    own grid, which smears them.
    """
    x, y = grid()
    times = np.arange(0, 40, 0.5)
    strain = truth.smooth_field((64, 80), 1.0, seed=9)
    rest, still, compensated = [], [], []
    for t in times:
        lift = 15 / 1.8 / 2 * (1 - np.cos(2 * np.pi * t / 4))
        field = (strain * 0.5 * np.sin(t) + np.array([0.0, lift])).astype(np.float32)
        heat = 16 * min(t / 10, 1)
        spot = lambda a, b: 37 + heat * np.exp(-((a - 40) ** 2 + (b - 28) ** 2) / 32)  # noqa: B023, E731
        back = invert(field)
        current = spot(x + back[..., 0], y + back[..., 1])
        rest.append(spot(x, y))
        still.append(current)
        compensated.append(to_reference(current, field).values)
    dose = {name: cem43(np.array(h), times) for name, h in (("rest", rest), ("still", still), ("moved", compensated))}
    assert dose["rest"].max() > 240
    assert dose["moved"].max() == pytest.approx(dose["rest"].max(), rel=0.05)
    assert dose["still"].max() < 0.7 * dose["rest"].max()
    radius = {name: np.sqrt((d >= 240).sum() / np.pi) for name, d in dose.items()}
    assert radius["moved"] == pytest.approx(radius["rest"], abs=0.5)


def test_residual_motion_becomes_sigma():
    x, _ = grid()
    np.testing.assert_allclose(motion_sigma(2.0 * x, 0.5), 1.0, atol=1e-6)


def test_refuses_what_does_not_fit(field):
    with pytest.raises(ValueError, match="needs a field"):
        to_reference(np.ones((10, 10)), field)
    with pytest.raises(ValueError, match="finite"):
        to_reference(np.full((64, 80), np.nan), field)
    with pytest.raises(ValueError, match="shape"):
        points_to_current(np.zeros(3), field)
