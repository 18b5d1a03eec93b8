"""Distances, masks and outlines of shapes against brute force."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from guidance.plan import Box, Capsule, Grown, SignedDistance, Sphere
from guidance.plan.raster import contours, mask
from guidance.plan.shapes import signed_distance_mm

RNG = np.random.default_rng(7)
POINTS = RNG.uniform(-40, 40, (500, 3))
TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
BOX = Box(np.array([3.0, 4.0, 5.0]), np.array([10.0, 20.0, 30.0]), TURN)


def test_sphere_and_capsule_distances() -> None:
    center = np.array([1.0, 2.0, 3.0])
    expected = np.linalg.norm(POINTS - center, axis=1) - 9
    assert np.allclose(signed_distance_mm(Sphere(center, 9), POINTS), expected)
    start, end = np.array([0.0, 0, 0]), np.array([20.0, 10, -5])
    line = start + np.linspace(0, 1, 20001)[:, None] * (end - start)
    expected = cKDTree(line).query(POINTS)[0] - 4
    assert np.allclose(signed_distance_mm(Capsule(start, end, 4), POINTS), expected, atol=1e-3)
    assert signed_distance_mm(Capsule(start, start, 4), np.array([[0.0, 0, 5]])) == pytest.approx([1])


def test_box_distance_against_its_surface() -> None:
    u = np.linspace(-1, 1, 201)
    faces = []
    for axis in range(3):
        for side in (-1.0, 1.0):
            a, b = np.meshgrid(u, u)
            face = np.empty((a.size, 3))
            face[:, axis], face[:, axis - 1], face[:, axis - 2] = side, a.ravel(), b.ravel()
            faces.append(face)
    surface = np.concatenate(faces) * BOX.half_mm @ TURN.T + [3, 4, 5]
    local = (POINTS - [3, 4, 5]) @ TURN
    sign = np.where((np.abs(local) < BOX.half_mm).all(axis=1), -1, 1)
    expected = sign * cKDTree(surface).query(POINTS)[0]
    assert np.allclose(signed_distance_mm(BOX, POINTS), expected, atol=0.03)


def test_grown_moves_the_surface() -> None:
    assert np.allclose(signed_distance_mm(Grown(BOX, 5), POINTS), signed_distance_mm(BOX, POINTS) - 5)


def faces_of(inside: np.ndarray, spacing_kji: np.ndarray) -> np.ndarray:
    found = []
    for axis in range(3):
        where = np.argwhere(np.diff(inside, axis=axis)).astype(float)
        where[:, axis] += 0.5
        found.append(where * spacing_kji)
    return np.concatenate(found)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.1, 2.5)])
def test_the_field_is_the_distance_to_the_faces_between_voxels(spacing) -> None:
    inside = np.random.default_rng(5).random((6, 7, 8)) > 0.8
    inside[2:4, 2:5, 2:5] = True
    spacing = np.array(spacing)
    geometry = np.diag([*spacing, 1.0])
    field = SignedDistance(inside, geometry)
    nodes = np.argwhere(np.ones_like(inside)).astype(float) * spacing[::-1]
    tree = cKDTree(faces_of(np.pad(inside, 1), spacing[::-1]) - spacing[::-1])
    expected = np.where(inside.ravel(), -1, 1) * tree.query(nodes)[0]
    assert np.allclose(field.at(nodes[:, ::-1]), expected, atol=1e-4)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5)])
def test_a_ball_of_voxels_is_a_ball_within_half_a_voxel(spacing) -> None:
    spacing = np.array(spacing)
    size = (np.array([60, 60, 60]) / spacing[::-1]).astype(int)
    k, j, i = np.indices(size)
    centers = np.stack([i, j, k], axis=-1) * spacing
    inside = np.linalg.norm(centers - [30, 31, 29], axis=-1) < 18.3
    field = SignedDistance(inside, np.diag([*spacing, 1.0]))
    points = np.random.default_rng(2).uniform(0, 60, (20000, 3))
    error = field.at(points) - (np.linalg.norm(points - [30, 31, 29], axis=1) - 18.3)
    assert abs(error.mean()) < 0.5 * spacing.min()
    assert np.percentile(np.abs(error), 95) < 0.5 * spacing.max()
    assert field.volume_mm3 == pytest.approx(4 / 3 * np.pi * 18.3**3, rel=0.02)


def test_beyond_the_field_the_answer_is_never_too_large() -> None:
    inside = np.zeros((4, 4, 4), bool)
    inside[1:3, 1:3, 1:3] = True
    field = SignedDistance(inside, np.eye(4), margin_mm=10.0)
    points = np.random.default_rng(9).uniform(-200, 200, (5000, 3))
    nearest = np.clip(points, 0.5, 2.5)
    true = np.linalg.norm(points - nearest, axis=1)
    far = true > 1
    assert (field.at(points)[far] <= true[far] + 0.5).all()
    assert (field.at(points)[far] >= 1e-6).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(), (0,), (1, 2)])
def test_axis_order_of_the_file_does_not_matter(order, flips) -> None:
    rng = np.random.default_rng(4)
    inside = rng.random((5, 6, 7)) > 0.5
    geometry = np.diag([1.0, 1.5, 2.0, 1.0])
    geometry[:3, 3] = 10, 20, 30
    turned = inside.transpose(order)
    to_turned = [2 - axis for axis in order][::-1]
    other = geometry.copy()
    other[:3, :3] = geometry[:3, to_turned]
    for axis in flips:
        turned = np.flip(turned, axis)
        column = 2 - axis
        other[:3, 3] += other[:3, column] * (turned.shape[axis] - 1)
        other[:3, column] *= -1
    assert SignedDistance(turned, other).canonical() == SignedDistance(inside, geometry).canonical()


def test_an_empty_or_sheared_label_map_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        SignedDistance(np.zeros((3, 3, 3)), np.eye(4))
    sheared = np.eye(4)
    sheared[0, 1] = 0.5
    with pytest.raises(ValueError, match="not orthogonal"):
        SignedDistance(np.ones((3, 3, 3)), sheared)
    with pytest.raises(ValueError, match="slice, row, column"):
        SignedDistance(np.ones((3, 3)), np.eye(4))


def test_mask_takes_the_voxels_whose_centre_is_inside() -> None:
    geometry = np.eye(4)
    geometry[:3, :3] = TURN * [1.0, 1.2, 3.0]
    geometry[:3, 3] = geometry[:3, :3] @ [-15.0, -20.0, -6.0]
    size = (12, 40, 30)
    k, j, i = np.indices(size)
    centers = np.stack([i, j, k], axis=-1).reshape(-1, 3) @ geometry[:3, :3].T + geometry[:3, 3]
    for shape in (BOX, Sphere(np.array([0.0, 0, 0]), 11.03), Capsule(np.zeros(3), np.array([9.0, 9, 9]), 5.01)):
        expected = (signed_distance_mm(shape, centers) <= 0).reshape(size)
        assert expected.any()
        assert np.array_equal(mask(shape, geometry, size), expected)
    assert not mask(Sphere(np.array([900.0, 0, 0]), 5), geometry, size).any()


def test_outlines_lie_on_the_surface_and_close() -> None:
    plane = np.eye(4)
    plane[:3, :3] = TURN * [0.3, 0.3, 1.0]
    plane[:3, 3] = TURN @ [-60.0, -60.0, 2.0]
    for shape in (Sphere(np.array([0.0, 0, 0]), 20), Capsule(np.zeros(3), np.array([20.0, 9, 9]), 6), BOX):
        lines = contours(shape, plane, (400, 400))
        assert len(lines) == 1 and np.allclose(lines[0][0], lines[0][-1])
        points = np.column_stack([lines[0], np.zeros(len(lines[0]))]) @ plane[:3, :3].T + plane[:3, 3]
        assert np.abs(signed_distance_mm(shape, points)).max() < 0.5
        assert len(lines[0]) > 20
    assert contours(Sphere(np.array([0.0, 0, 500]), 20), plane, (400, 400)) == []


def test_a_small_shape_is_not_missed_between_samples() -> None:
    plane = np.eye(4)
    for x in np.linspace(100, 104, 9):
        assert contours(Sphere(np.array([x, 100.0, 0.0]), 1.0), plane, (200, 200))
