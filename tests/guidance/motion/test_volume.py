"""Volumes: a known 3-D warp is found, slice stacks go slice by slice."""

import time

import numpy as np
import pytest
from scipy import ndimage

from guidance.motion.quality import Verdict
from guidance.motion.volume import StackFlow, VolumeFlow

SHAPE = (28, 48, 40)


@pytest.fixture(scope="module")
def organ():
    rng = np.random.default_rng(2)
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    volume = 100.0 * ((z - 14) ** 2 / 144 + (y - 24) ** 2 / 400 + (x - 20) ** 2 / 260 < 1) + 20
    texture = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.8)
    return ndimage.gaussian_filter(volume, 1.0) + 25 * texture / texture.std()


def known(peak, seed=0, lift=0.0):
    rng = np.random.default_rng(seed)
    field = np.stack([ndimage.gaussian_filter(rng.standard_normal(SHAPE), 12, mode="wrap") for _ in range(3)], axis=-1)
    return field * peak / np.linalg.norm(field, axis=-1).max() + np.array([0, lift, 0])


@pytest.mark.parametrize(("peak", "lift"), [(1.5, 0.0), (3.0, 4.0)])
def test_a_known_warp_is_found(organ, peak, lift):
    truth = known(peak, lift=lift)
    places = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]] + np.moveaxis(truth[..., ::-1], -1, 0)
    reference = ndimage.map_coordinates(organ, places, order=5, mode="nearest")
    flow = VolumeFlow(reference)
    found = flow.estimate(1.1 * organ + 7)
    assert found.displacement_px.shape == (*SHAPE, 3) and found.displacement_px.dtype == np.float32
    inner = (slice(5, -5), slice(9, -9), slice(6, -6))
    error = np.linalg.norm(found.displacement_px - truth, axis=-1)[inner]
    assert error.mean() < 0.2
    assert found.verdict is Verdict.OK


def test_a_volume_is_done_within_its_frame_time():
    """32x96x96 voxels every second is what fast 3-D sequences give; measured as work of one core."""
    rng = np.random.default_rng(1)
    volume = ndimage.gaussian_filter(rng.standard_normal((32, 96, 96)), 2.0)
    flow = VolumeFlow(volume)
    begun = time.thread_time()
    found = flow.estimate(np.roll(volume, 2, axis=1))
    taken_s = time.thread_time() - begun
    np.testing.assert_allclose(
        np.median(found.displacement_px[8:-8, 16:-16, 16:-16], axis=(0, 1, 2)), (0, 2, 0), atol=0.1
    )
    assert taken_s < 1.0


def test_bad_volumes_are_named(organ):
    flow = VolumeFlow(organ)
    assert flow.estimate(np.full(SHAPE, 3.0)).verdict is Verdict.BLANK
    assert not flow.estimate(np.random.default_rng(0).uniform(0, 200, SHAPE)).verdict.usable
    with pytest.raises(ValueError, match="differs"):
        flow.estimate(organ[:-1])
    with pytest.raises(ValueError, match="no structure"):
        VolumeFlow(np.ones(SHAPE))


def test_stacks_go_slice_by_slice_and_leave_out_what_is_empty(liver):
    stack = np.stack([liver, np.zeros_like(liver), liver[::-1]])
    flows = StackFlow(stack).estimate(np.roll(stack, 2, axis=2))
    assert flows[1] is None
    assert [round(float(np.median(f.displacement_px[20:-20, 20:-20, 0]))) for f in flows if f] == [2, 2]
    with pytest.raises(ValueError, match="slices"):
        StackFlow(stack).estimate(stack[:2])
