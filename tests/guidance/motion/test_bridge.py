"""Displacement of a heated region, told by the tissue around it."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from guidance.motion.bridge import Bridge

Y, X = np.mgrid[:80, :80].astype(np.float64)
HEATED = np.hypot(X - 40, Y - 40) < 9
TRUE = np.stack([0.3 + 0.01 * (X - 40), 4.6 + 0.02 * (Y - 40)], axis=-1)


def tissue(seed: int):
    return 1.0 + 0.15 * gaussian_filter(np.random.default_rng(seed).standard_normal((80, 80)), 1.5) * 5


def moved(reference, field):
    """The image in which the tissue of p lies at p + field(p), for a field that is a plane."""
    back = -field
    for _ in range(30):
        there = [Y + back[..., 1], X + back[..., 0]]
        back = -np.stack([map_coordinates(field[..., c], there, order=1, mode="nearest") for c in (0, 1)], axis=-1)
    return map_coordinates(reference, [Y + back[..., 1], X + back[..., 0]], order=5, mode="nearest")


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_a_flow_that_is_off_is_put_right(noise):
    rng, reference = np.random.default_rng(2), tissue(1)
    current = 1.1 * moved(reference, TRUE) + 0.05  # louder, and brighter
    current[np.hypot(X - 40.3, Y - 44.6) < 7] *= 0.8  # heat
    off = (TRUE + np.array([0.03, -0.08])).astype(np.float32)
    off[HEATED] += 3.0
    found = Bridge(reference + noise * rng.standard_normal(reference.shape), HEATED).fill(
        off, current + noise * rng.standard_normal(reference.shape)
    )
    assert np.abs((found - TRUE)[HEATED].mean(axis=0)).max() < 0.015
    far = np.hypot(X - 40, Y - 40) > 13
    assert np.array_equal(found[far], off[far])


def test_tissue_behind_a_sliding_border_is_outvoted():
    reference = tissue(3)
    current = moved(reference, TRUE)
    current[:, 52:] = reference[:, 52:]  # the wall rests
    flow = TRUE.astype(np.float32)
    flow[:, 52:] = 0.0
    found = Bridge(reference, HEATED).fill(flow, current)
    assert np.abs((found - TRUE)[HEATED]).max() < 0.6 * np.abs(plain(flow) - TRUE[HEATED]).max()


def plain(flow):
    """The plane of least squares through the ring's flow, without the pictures."""
    ring = (np.hypot(X - 40, Y - 40) < 15) & (np.hypot(X - 40, Y - 40) > 10)
    terms = np.stack([np.ones(Y.shape), X - 40, Y - 40], axis=-1)
    return terms[HEATED] @ np.linalg.lstsq(terms[ring], flow[ring].astype(float), rcond=None)[0]


def test_nothing_heated_changes_nothing():
    field = TRUE.astype(np.float32)
    assert Bridge(tissue(4), np.zeros((80, 80), bool)).fill(field, tissue(4)) is field
    assert Bridge(tissue(4), np.ones((80, 80), bool)).fill(field, tissue(4)) is field
