"""The plan on the pictures: outlines where planes cut it, labels of voxels, numbers of the target for display.

Nothing here decides: the rules have their own numbers from the guard lane.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.messages import Matrix
from guidance.outputs.planes import VIEWS, plane_through
from guidance.plan import Plan
from guidance.plan.raster import contours
from guidance.plan.shapes import Grown
from guidance.settings import RoomSettings

WINDOW = 320  # side in mm of the square in which outlines are cut
TREATED_CEM43_MIN = 240.0
SAME_PLACE_MM = 0.25  # a live picture that moved by less keeps its outlines: that is thinner than their lines
_DRAWN_LAST = {"target": 2, "organ_at_risk": 1}  # where structures overlap, the more important label wins


class Regions:
    """Outlines, labels and display numbers of one plan."""

    def __init__(self, plan: Plan | None, settings: RoomSettings) -> None:
        self._plan = plan
        self._settings = settings
        self._structures = sorted(plan.structures, key=lambda s: _DRAWN_LAST.get(s.role, 0)) if plan else []
        self._masks: dict[str, NDArray[np.intp]] = {}  # flat places of each target's voxels
        self._masked_for: tuple[bytes, tuple[int, ...]] = (b"", ())
        self._lines: list[dict[str, Any]] = []  # of the newest live picture
        self._lines_for: tuple[Matrix, tuple[int, ...]] | None = None
        self.numbers: dict[str, dict[str, float]] = {}  # target -> its newest numbers

    def names(self) -> list[str]:
        """Structures in the order of their label values, from 1."""
        return [structure.name for structure in self._structures]

    def labels(self, ras_from_image: Matrix, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
        """Label of every voxel [slice, row, column]; 0 = none, else 1 + place in `names`."""
        out = np.zeros(shape, np.uint8)
        for value, structure in enumerate(self._structures, start=1):
            out[structure.mask(ras_from_image, shape)] = value
        return out

    def outlines(
        self, at_mm: NDArray[np.float64], planes: dict[str, Matrix] | None = None
    ) -> dict[str, list[dict[str, Any]]]:
        """For each view: where its plane through `at_mm` (3,) cuts the structures, polylines in RAS mm.

        `planes`: further views by name, `ras_from_pixel` of squares of `WINDOW` mm.
        """
        cuts = {view: plane_through(view, at_mm, WINDOW, 1.0).ras_from_pixel for view in VIEWS}
        return {view: self._cut(ras, (WINDOW, WINDOW)) for view, ras in {**cuts, **(planes or {})}.items()}

    def _cut(self, ras_from_pixel: Matrix, size: tuple[int, int]) -> list[dict[str, Any]]:
        rows = []
        for name, role, shape in self._drawn():
            for line in contours(shape, ras_from_pixel, size):
                points = line @ ras_from_pixel[:3, :2].T + ras_from_pixel[:3, 3]
                rows.append({"name": name, "role": role, "ras": np.round(points, 2).tolist()})
        return rows

    def _drawn(self) -> Iterator[tuple[str, str, Any]]:
        """(name, role, shape) of what planes are cut with: the structures, and the gate round the gated target."""
        for structure in self._structures:
            yield structure.name, structure.role, structure.shape
        motion, gating = self._settings.motion, self._settings.gating
        for structure in self._structures:
            if motion and gating and structure.name == motion.target:
                yield f"gate {gating.boundary_mm:g} mm", "gate", Grown(structure.shape, gating.boundary_mm)

    def has_lines(self, live: dict[str, Any]) -> bool:
        """Whether the outlines of the last live picture are those of this one: no corner moved by `SAME_PLACE_MM`."""
        ras, shape = live.get("ras"), live["pixels"].shape
        if ras is None or "target" in live or self._lines_for is None or self._lines_for[1] != shape:
            return ras is None
        rows, columns = shape
        corners = np.array([[0, 0, 0, 1], [columns, 0, 0, 1], [0, rows, 0, 1], [columns, rows, 0, 1]], np.float64)
        moved = corners @ (ras - self._lines_for[0])[:3].T
        return bool((moved * moved).sum(axis=1).max() < SAME_PLACE_MM**2)

    def lines_on(self, live: dict[str, Any]) -> list[dict[str, Any]]:
        """Where a live picture cuts the structures: polylines in its own (column, row) pixels."""
        ras = live.get("ras")
        if ras is None:
            return []
        if self.has_lines(live):
            return self._lines  # the picture is where the last one was
        rows = [
            {"name": structure.name, "role": structure.role, "at": np.round(line, 1).tolist()}
            for structure in self._structures
            for line in structure.contours(ras, live["pixels"].shape)
        ]
        self._lines, self._lines_for = rows, (ras, live["pixels"].shape)
        return rows if "target" not in live else self._gated(live, rows)

    def _gated(self, live: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The target where it is now, and the gate's boundary around where it was planned."""
        ras, name, moved = live["ras"], live["target"], live["moved_mm"]
        gating = self._settings.gating
        others = [row for row in rows if row["name"] != name]
        boundary = gating.boundary_mm if gating else 0.0
        grown = Grown(next(s for s in self._structures if s.name == name).shape, boundary)
        gate = [
            {"name": f"gate {boundary:g} mm", "role": "gate", "at": np.round(line, 1).tolist()}
            for line in contours(grown, ras, live["pixels"].shape)
        ]
        if moved is None:
            return others + gate
        step = np.array(moved) / np.linalg.norm(ras[:3, :2], axis=0)
        target = [
            {**row, "at": np.round(np.array(row["at"]) + step, 1).tolist()} for row in rows if row["name"] == name
        ]
        return others + gate + target

    def wires(self) -> list[dict[str, Any]]:
        """Every structure as three outlines through its middle, in RAS mm, for the view in space."""
        rows = []
        for structure in self._structures:
            middle = structure.shape.bounds_mm.mean(axis=0)
            planes = [plane_through(view, middle, WINDOW, 1.0).ras_from_pixel for view in VIEWS]
            lines = [
                np.round(line[::2] @ ras[:3, :2].T + ras[:3, 3], 1).tolist()
                for ras in planes
                for line in structure.contours(ras, (WINDOW, WINDOW))
            ]
            rows.append({"name": structure.name, "role": structure.role, "lines": lines})
        return rows

    def has_masks(self, volume: dict[str, Any]) -> bool:
        """Whether the targets' voxels are known for this volume's geometry."""
        return self._masked_for == (volume["ras_from_image"].tobytes(), volume["magnitude"].shape)

    def measure(self, volume: dict[str, Any]) -> None:
        """Display numbers of each target from the newest volume."""
        if self._plan is None or "temperature_c" not in volume:
            return
        if not self.has_masks(volume):
            ras, shape = volume["ras_from_image"], volume["magnitude"].shape
            named = {t.structure for t in self._plan.targets if t.structure}
            self._masks = {name: np.flatnonzero(self._plan.structure(name).mask(ras, shape)) for name in sorted(named)}
            self._masked_for = (ras.tobytes(), shape)
        temperature, sigma = volume["temperature_c"].reshape(-1), volume["sigma_c"].reshape(-1)
        valid, doses = volume["valid"].reshape(-1), volume["dose_cem43_min"].reshape(-1)
        numbers = {}
        for name, mask in self._masks.items():
            seen = mask[valid[mask]]
            if seen.size:
                warm, dose = temperature[seen], doses[seen]
                numbers[name] = {
                    "max_c": float(warm.max()),
                    "mean_c": float(warm.mean()),
                    "sigma_c": float(sigma[seen].mean()),
                    "dose_min": float(dose.max()),
                    "treated": float((dose >= TREATED_CEM43_MIN).mean()),
                    "seen": seen.size / mask.size,
                }
        self.numbers = numbers

    def at(self, volume: dict[str, Any], point: NDArray[np.float64]) -> dict[str, float] | None:
        """The voxel of the newest volume at a point (3,) RAS mm, as it was measured; None outside."""
        if not volume:
            return None
        i, j, k = np.floor(np.linalg.solve(volume["ras_from_image"], [*point, 1.0])[:3] + 0.5).astype(int)
        slices, rows, columns = volume["magnitude"].shape
        if not (0 <= i < columns and 0 <= j < rows and 0 <= k < slices):
            return None
        voxel = {"magnitude": float(volume["magnitude"][k, j, i])}
        if "temperature_c" in volume and volume["valid"][k, j, i]:
            voxel["temperature"] = float(volume["temperature_c"][k, j, i])
            voxel["sigma"] = float(volume["sigma_c"][k, j, i])
        return voxel
