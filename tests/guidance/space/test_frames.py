"""The frame graph: resolved by name, evaluated from current matrices, errors that name both ends."""

import numpy as np
import pytest

from guidance.space import FrameError, FrameGraph, is_rigid, rotation_angle_deg, slerp


def shift(x: float, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose


def turn(degrees: float) -> np.ndarray:
    pose = np.eye(4)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    pose[:2, :2] = [[c, -s], [s, c]]
    return pose


def test_a_path_follows_edges_forward_and_backward() -> None:
    graph = FrameGraph([("Reference", "RAS", shift(10))], [("Stylus", "Tracker"), ("Reference", "Tracker")])
    path = graph.path("Stylus", "RAS")
    assert path.edges == (("Stylus", "Tracker"), ("Reference", "Tracker"), ("Reference", "RAS"))
    graph.set("Stylus", "Tracker", shift(1, 2, 3) @ turn(30))
    assert graph.evaluate(path) is None
    assert path.missing(graph.matrices) == [("Reference", "Tracker")]
    graph.set("Reference", "Tracker", shift(5, 0, 1) @ turn(-20))
    expected = shift(10) @ np.linalg.inv(shift(5, 0, 1) @ turn(-20)) @ shift(1, 2, 3) @ turn(30)
    assert np.allclose(graph.evaluate(path), expected, atol=1e-12)
    graph.forget("Stylus", "Tracker")
    assert graph.evaluate(path) is None


def test_a_path_to_itself_is_identity() -> None:
    graph = FrameGraph([("A", "B", shift(1))])
    assert np.array_equal(graph.evaluate(graph.path("A", "A")), np.eye(4))


def test_an_unjoined_pair_is_named_with_what_is_joined() -> None:
    graph = FrameGraph([("A", "B", shift(1))], [("C", "D")])
    with pytest.raises(FrameError, match=r"'A' to frame 'D': 'A' reaches \['A', 'B'\]; joined are A-B, C-D"):
        graph.path("A", "D")
    with pytest.raises(FrameError, match="'X'"):
        graph.path("X", "X")


def test_faulty_edges_are_listed_all_at_once() -> None:
    singular = np.diag([1.0, 1.0, 0.0, 1.0])
    with pytest.raises(FrameError) as caught:
        FrameGraph([("A", "B", singular), ("B", "A", shift(1))], [("C", "C")])
    text = str(caught.value)
    assert "A to B: matrix is singular" in text
    assert "B and A are joined twice" in text
    assert "C is joined to itself" in text


def test_an_edge_is_set_only_in_its_own_direction() -> None:
    graph = FrameGraph(dynamic=[("Probe", "Tracker")])
    with pytest.raises(FrameError, match="Tracker to Probe is no edge"):
        graph.set("Tracker", "Probe", np.eye(4))


def test_image_geometry_may_scale_and_mirror() -> None:
    graph = FrameGraph([("Image", "Probe", np.diag([0.2, -0.2, 1.0, 1.0]))])
    back = graph.evaluate(graph.path("Probe", "Image"))
    assert back is not None and np.allclose(np.diag(back), [5, -5, 1, 1])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda m: None, ""),
        (lambda m: m.__setitem__((0, 0), np.nan), "not finite"),
        (lambda m: m.__setitem__((1, 3), np.inf), "not finite"),
        (lambda m: m.__setitem__((3, 0), 1.0), "last row is not 0 0 0 1"),
        (lambda m: m.__setitem__((0, 0), 1.001), "not orthonormal"),
        (lambda m: m.__setitem__((0, 1), 0.01), "not orthonormal"),
        (lambda m: m.__setitem__((0, 0), -1.0), "mirrored (determinant -1)"),
        (lambda m: m.__setitem__((2, 3), 20_000.0), "out of range"),
        (lambda m: m.__setitem__((slice(3), slice(3)), 0.0), "not orthonormal"),
    ],
)
def test_impossible_poses_are_named(change, fault) -> None:  # type: ignore[no-untyped-def]
    pose = np.eye(4)
    change(pose)
    assert is_rigid(pose) == fault


def test_a_pose_of_another_shape_is_named() -> None:
    assert is_rigid(np.eye(3)) == "shape (3, 3), not (4, 4)"


def test_slerp_takes_the_shortest_arc_and_never_extrapolates() -> None:
    middle = slerp(turn(170), turn(-170), 0.5)
    assert rotation_angle_deg(middle, turn(180)) == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="extrapolate"):
        slerp(turn(0), turn(1), 1.01)
