"""The plan as the service uses it: RAS mm, every reference resolved, frozen, with its content hash."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from guidance.errors import PlanError
from guidance.exact import Matrix, Vector
from guidance.plan import raster
from guidance.plan.dose import Dose
from guidance.plan.schema import LimitsRow
from guidance.plan.shapes import Points, Shape, canonical_mm, signed_distance_mm

Limits = LimitsRow


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_T = TypeVar("_T", bound=_Named)


@dataclass(frozen=True, eq=False)
class Structure:
    """A named part of the patient with its shape and limits."""

    name: str
    role: str
    shape: Shape
    tissue: str = "soft"
    limits: Limits = field(default_factory=Limits)
    surrogate: str | None = None
    planned_contact: bool = False

    def signed_distance_mm(self, points: Points) -> Vector:
        """Distances (N,) of points (N, 3) in RAS mm to the surface, negative inside."""
        return signed_distance_mm(self.shape, points)

    def mask(self, ras_from_image: Matrix, size: tuple[int, int, int]) -> NDArray[np.bool_]:
        """Voxels [slice, row, column] of an image inside the structure; see `raster.mask`."""
        return raster.mask(self.shape, ras_from_image, size)

    def contours(self, ras_from_plane: Matrix, size: tuple[int, int]) -> list[NDArray[np.float64]]:
        """Polylines (N, 2) of (column, row) where a plane of (rows, columns) cuts it; see `raster.contours`."""
        return raster.contours(self.shape, ras_from_plane, size)


@dataclass(frozen=True, eq=False)
class Target:
    """Where the therapy shall act. `structure` names its outline, if it has one."""

    name: str
    center_mm: Vector
    structure: str | None
    margin_mm: float
    prescription: dict[str, float]  # of cem43_min, dose_gy, temperature_c


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A way in: entry and target (3,) RAS mm, the radius of its corridor, the angle allowed."""

    name: str
    entry_mm: Vector
    target_mm: Vector
    target: str | None
    corridor_mm: float
    max_angle_deg: float
    tool: str | None = None

    @property
    def length_mm(self) -> float:
        """From entry to target."""
        return float(np.sqrt(((self.target_mm - self.entry_mm) ** 2).sum()))

    @property
    def direction(self) -> Vector:
        """Unit vector (3,) from entry to target."""
        return (self.target_mm - self.entry_mm) / self.length_mm


@dataclass(frozen=True, eq=False)
class Zone:
    """What one application is expected to treat."""

    name: str
    shape: Shape
    trajectory: str | None = None


@dataclass(frozen=True, eq=False)
class Seeds:
    """Seeds of one needle, each of `strength_u`, their centres `behind_mm` its target."""

    trajectory: str
    model: str
    strength_u: float
    behind_mm: tuple[float, ...]

    def places_mm(self, tip_mm: Vector, axis: Vector) -> NDArray[np.float64]:
        """Centres (N, 3) RAS mm for a needle whose tip is at `tip_mm`, `axis` unit towards the hand."""
        places: NDArray[np.float64] = np.asarray(tip_mm) + np.array(self.behind_mm)[:, None] * np.asarray(axis)
        return places


@dataclass(frozen=True, eq=False)
class Guard:
    """A thermal limit: `structure` is protected, the temperature is taken in `measured_in`."""

    structure: str
    measured_in: str
    temperature_c: float | None
    cem43_min: float | None


@dataclass(frozen=True, eq=False)
class Landmark:
    """A named point (3,) RAS mm for registration or as a golden point."""

    name: str
    position_mm: Vector
    inside: str | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything that was planned. `content_sha256` is of what it describes, not of how it was written down."""

    name: str
    patient_id: str
    frame_of_reference_uid: str
    laterality: str
    targets: tuple[Target, ...]
    trajectories: tuple[Trajectory, ...] = ()
    structures: tuple[Structure, ...] = ()
    zones: tuple[Zone, ...] = ()
    landmarks: tuple[Landmark, ...] = ()
    seeds: tuple[Seeds, ...] = ()
    reason: str = ""
    replaces: str = ""
    dose: Dose | None = None  # as planned
    files: dict[str, str] = field(default_factory=dict)  # path -> SHA-256 of its bytes, the plan's own file first
    content_sha256: str = ""

    def structure(self, name: str) -> Structure:
        """The structure of that name; PlanError says which there are."""
        return self._find("structure", self.structures, name)

    def target(self, name: str) -> Target:
        """The target of that name; PlanError says which there are."""
        return self._find("target", self.targets, name)

    def trajectory(self, name: str) -> Trajectory:
        """The trajectory of that name; PlanError says which there are."""
        return self._find("trajectory", self.trajectories, name)

    def guards(self) -> tuple[Guard, ...]:
        """Every structure with a temperature or dose limit, and where its temperature is taken."""
        return tuple(
            Guard(s.name, s.surrogate or s.name, s.limits.temperature_c, s.limits.cem43_min)
            for s in self.structures
            if s.limits.temperature_c is not None or s.limits.cem43_min is not None
        )

    def _find(self, what: str, rows: Iterable[_T], name: str) -> _T:
        for row in rows:
            if row.name == name:
                return row
        raise PlanError(f"plan {self.name}", [f"no {what} {name!r} (have {sorted(row.name for row in rows)})"])


def canonical(plan: Plan) -> dict[str, Any]:
    """What the plan describes as plain values: equal for two plans that say the same in different formats."""
    return ({} if plan.dose is None else {"dose": plan.dose.canonical()}) | {
        "name": plan.name,
        "patient_id": plan.patient_id,
        "frame_of_reference_uid": plan.frame_of_reference_uid,
        "laterality": plan.laterality,
        "replaces": plan.replaces,
        "targets": {
            t.name: [canonical_mm(t.center_mm), t.structure, t.margin_mm, sorted(t.prescription.items())]
            for t in plan.targets
        },
        "trajectories": {
            t.name: [canonical_mm(t.entry_mm), canonical_mm(t.target_mm), t.target, t.corridor_mm, t.max_angle_deg]
            for t in plan.trajectories
        },
        "structures": {
            s.name: [s.role, s.tissue, s.shape.canonical(), s.limits.model_dump(), s.surrogate, s.planned_contact]
            for s in plan.structures
        },
        "zones": {z.name: [z.shape.canonical(), z.trajectory] for z in plan.zones},
        "seeds": {s.trajectory: [s.model, s.strength_u, *canonical_mm(s.behind_mm)] for s in plan.seeds},
        "landmarks": {mark.name: [canonical_mm(mark.position_mm), mark.inside] for mark in plan.landmarks},
    }


def content_sha256(plan: Plan) -> str:
    """SHA-256 of the canonical content."""
    text = json.dumps(canonical(plan), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(first: Plan, second: Plan) -> list[str]:
    """Paths in which two plans describe different things; empty when they are equal."""
    a, b = canonical(first), canonical(second)
    found = []
    for key in {**a, **b}:
        if not isinstance(a.get(key), dict):
            found += [key] if a.get(key) != b.get(key) else []
            continue
        names = sorted(a[key].keys() | b[key].keys())
        found += [f"{key}.{name}" for name in names if a[key].get(name) != b[key].get(name)]
    return found
