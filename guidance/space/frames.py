"""The frame graph: which frames are joined, and the way from one to another.

An edge joins `moving` to `fixed` by the matrix `fixed_from_moving` (4, 4), mm. Static edges carry
their matrix (a calibration, a registration); dynamic edges get theirs with every pose. A path is
resolved once, by name, and then only multiplied.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from guidance.errors import GuidanceError
from guidance.exact import Matrix, compose_into, invert_into
from guidance.space.poses import is_rigid

Edge = tuple[str, str]  # (moving, fixed)


class FrameError(GuidanceError):
    """Two frames that are not joined, joined twice, or joined by a matrix that cannot be."""


class FramePath:
    """The way from one frame to another: `evaluate()` gives `to_from_start` (4, 4) from current matrices."""

    __slots__ = ("_inverse", "_steps", "edges", "fixed", "moving")

    def __init__(self, moving: str, fixed: str, steps: list[tuple[Edge, bool]]) -> None:
        self.moving = moving
        self.fixed = fixed
        self.edges: tuple[Edge, ...] = tuple(edge for edge, _ in steps)  # in order from `moving` to `fixed`
        self._steps = tuple(steps)
        self._inverse = np.empty((4, 4))

    def evaluate(self, matrices: Mapping[Edge, Matrix]) -> Matrix | None:
        """`fixed_from_moving` as a new array, or None while an edge of the way has no matrix."""
        result: Matrix | None = None
        for edge, forward in self._steps:
            matrix = matrices.get(edge)
            if matrix is None:
                return None
            if not forward:
                invert_into(matrix, self._inverse)
                matrix = self._inverse
            if result is None:
                result = matrix.copy()
                continue
            product = np.empty((4, 4))
            compose_into(matrix, result, product)
            result = product
        return np.eye(4) if result is None else result

    def missing(self, matrices: Mapping[Edge, Matrix]) -> list[Edge]:
        """The edges of the way that have no matrix yet."""
        return [edge for edge in self.edges if edge not in matrices]


class FrameGraph:
    """Frames and what joins them.

    `static` rows are (moving, fixed, fixed_from_moving); `dynamic` rows are (moving, fixed).
    FrameError lists every faulty row. Between two frames the shortest way is taken, and of two
    equally short ones the way whose edges were given first.
    """

    def __init__(self, static: Iterable[tuple[str, str, Matrix]] = (), dynamic: Iterable[Edge] = ()) -> None:
        self.matrices: dict[Edge, Matrix] = {}
        self._neighbours: dict[str, dict[str, tuple[Edge, bool]]] = {}
        faults: list[str] = []
        for moving, fixed, matrix in static:
            given = np.array(matrix, dtype=np.float64, order="C")
            faults += self._join(moving, fixed)
            if fault := affine_fault(given):
                faults.append(f"{moving} to {fixed}: matrix is {fault}")
            self.matrices[moving, fixed] = given
        for moving, fixed in dynamic:
            faults += self._join(moving, fixed)
        if faults:
            raise FrameError("frames: " + "; ".join(faults))

    def _join(self, moving: str, fixed: str) -> list[str]:
        if moving == fixed:
            return [f"{moving} is joined to itself"]
        if fixed in self._neighbours.get(moving, {}):
            return [f"{moving} and {fixed} are joined twice"]
        self._neighbours.setdefault(moving, {})[fixed] = ((moving, fixed), True)
        self._neighbours.setdefault(fixed, {})[moving] = ((moving, fixed), False)
        return []

    def set(self, moving: str, fixed: str, fixed_from_moving: Matrix) -> None:
        """The current matrix of an edge; it is kept, not copied, and must be float64 C-contiguous (4, 4)."""
        if self._neighbours.get(moving, {}).get(fixed, (None, False))[0] != (moving, fixed):
            raise FrameError(f"{moving} to {fixed} is no edge of the frame graph; joined are {self.describe()}")
        self.matrices[moving, fixed] = fixed_from_moving

    def forget(self, moving: str, fixed: str) -> None:
        """Drop the current matrix of an edge (the tool was lost): paths over it give None."""
        self.matrices.pop((moving, fixed), None)

    def path(self, moving: str, fixed: str) -> FramePath:
        """The way from `moving` to `fixed`; FrameError names both and what is joined."""
        came: dict[str, str] = {moving: moving}
        queue = [moving]
        for frame in queue:
            for following in self._neighbours.get(frame, {}):
                if following not in came:
                    came[following] = frame
                    queue.append(following)
        if fixed not in came or moving not in self._neighbours:
            raise FrameError(
                f"no way from frame {moving!r} to frame {fixed!r}: {moving!r} reaches {sorted(came)}; "
                f"joined are {self.describe()}"
            )
        steps: list[tuple[Edge, bool]] = []
        frame = fixed
        while frame != moving:
            steps.append(self._neighbours[came[frame]][frame])
            frame = came[frame]
        return FramePath(moving, fixed, steps[::-1])

    def evaluate(self, path: FramePath) -> Matrix | None:
        """`path` with the graph's current matrices."""
        return path.evaluate(self.matrices)

    def describe(self) -> str:
        """Every joined pair, e.g. `Stylus-Tracker, Tracker-RAS`."""
        pairs = {edge for row in self._neighbours.values() for edge, _ in row.values()}
        return ", ".join(f"{moving}-{fixed}" for moving, fixed in sorted(pairs)) or "none"


def affine_fault(matrix: Matrix) -> str:
    """ "" for a usable affine matrix (scale and shear allowed: image geometry), otherwise its fault."""
    fault = is_rigid(matrix)
    if fault not in {"not orthonormal", "mirrored (determinant -1)", "out of range"}:
        return fault
    volume = float(np.linalg.det(matrix[:3, :3]))
    return "" if abs(volume) > 1e-12 else "singular"
