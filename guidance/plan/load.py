"""From a plan file to a `Plan`: every fault of it and of the files it names, at once, with its path."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from guidance.errors import PlanError, SettingsError
from guidance.exact import Vector
from guidance.plan import schema
from guidance.plan.checks import plan_faults
from guidance.plan.dose import Dose
from guidance.plan.model import Landmark, Plan, Seeds, Structure, Target, Trajectory, Zone, content_sha256
from guidance.plan.shapes import Box, Capsule, Grown, Shape, Sphere
from guidance.plan.sources import SourceError, Sources
from guidance.settings import describe, read_toml

_FLIP = {"RAS": np.array([1.0, 1.0, 1.0]), "LPS": np.array([-1.0, -1.0, 1.0])}
_PRESCRIPTION = ("cem43_min", "dose_gy", "temperature_c")


class _Resolver:
    """Turns rows into what they mean; `faults` collects what cannot be."""

    def __init__(self, rows: schema.PlanRows, folder: Path) -> None:
        self.rows = rows
        self.sources = Sources(folder)
        self.faults: list[str] = []
        self.shapes: dict[str, Shape] = {}
        self._flip = _FLIP[rows.coordinates]
        self._builders: dict[str, Callable[[Any, str], Shape | None]] = {
            "sphere": self._sphere,
            "capsule": self._capsule,
            "box": self._box,
            "segment": lambda row, path: self.sources.segment(row),
            "contours": lambda row, path: self.sources.contours(row),
            "surface": lambda row, path: self.sources.surface(row),
            "grown": self._grown,
        }

    def fault(self, path: str, what: str) -> None:
        self.faults.append(f"{path}: {what}")

    def point(self, row: schema.Point | None, path: str) -> Vector | None:
        if row is None:
            return None
        if isinstance(row, schema.PointInFile):
            try:
                return self.sources.point(row)
            except SourceError as fault:
                self.fault(path, str(fault))
                return None
        given: Vector = np.array(row) * self._flip
        return given

    def shape(self, row: Any, path: str) -> Shape | None:
        try:
            return self._builders[row.kind](row, path)
        except SourceError as fault:
            self.fault(path, str(fault))
            return None

    def _sphere(self, row: schema.SphereRow, path: str) -> Shape | None:
        center = self.point(row.center_mm, f"{path}.center_mm")
        return None if center is None else Sphere(center, row.radius_mm)

    def _capsule(self, row: schema.CapsuleRow, path: str) -> Shape | None:
        start = self.point(row.start_mm, f"{path}.start_mm")
        end = self.point(row.end_mm, f"{path}.end_mm")
        return None if start is None or end is None else Capsule(start, end, row.radius_mm)

    def _box(self, row: schema.BoxRow, path: str) -> Shape | None:
        center = self.point(row.center_mm, f"{path}.center_mm")
        axes = np.eye(3) if row.axes is None else (np.array(row.axes) * self._flip).T
        lengths = np.sqrt((axes**2).sum(axis=0))
        if (lengths < 1e-9).any() or not np.allclose(axes.T @ axes, np.diag(lengths**2), atol=1e-6):
            self.fault(f"{path}.axes", "are not three directions at right angles")
            return None
        if min(row.size_mm) <= 0:
            self.fault(f"{path}.size_mm", f"{row.size_mm} must be above 0")
            return None
        return None if center is None else Box(center, np.array(row.size_mm), axes / lengths)

    def _grown(self, row: schema.GrownRow, path: str) -> Shape | None:
        of = self.shapes.get(row.of)
        if of is None:
            self.fault(f"{path}.of", f"{row.of!r} is no usable structure above this one")
            return None
        return Grown(of, row.margin_mm)

    def structures(self) -> Iterable[Structure]:
        for row in self.rows.structures:
            shape = self.shape(row.shape, f"structures.{row.name}.shape")
            if shape is None:
                continue
            self.shapes[row.name] = shape
            yield Structure(row.name, row.role, shape, row.tissue, row.limits, row.surrogate, row.planned_contact)

    def targets(self) -> Iterable[Target]:
        for row in self.rows.targets:
            center = self.point(row.center_mm, f"targets.{row.name}.center_mm")
            given = {key: getattr(row, key) for key in _PRESCRIPTION if getattr(row, key) is not None}
            if center is not None:
                yield Target(row.name, center, row.structure, row.margin_mm, given)

    def trajectories(self, targets: dict[str, Target]) -> Iterable[Trajectory]:
        for row in self.rows.trajectories:
            path = f"trajectories.{row.name}"
            entry = self.point(row.entry_mm, f"{path}.entry_mm")
            end = self.point(row.target_mm, f"{path}.target_mm")
            if row.line is not None:
                if row.entry_mm is not None or row.target_mm is not None:
                    self.fault(path, "give either line or entry_mm and target_mm")
                try:
                    entry, end = self.sources.line(row.line.file, row.line.name)
                except SourceError as fault:
                    self.fault(f"{path}.line", str(fault))
            elif row.entry_mm is None:
                self.fault(path, "needs entry_mm, or a line")
            if end is None and row.target is not None and row.target in targets:
                end = targets[row.target].center_mm
            elif end is None and row.target is None and row.target_mm is None and row.line is None:
                self.fault(path, "needs target, target_mm, or a line")
            if entry is not None and end is not None:
                yield Trajectory(row.name, entry, end, row.target, row.corridor_mm, row.max_angle_deg, row.tool)

    def zones(self) -> Iterable[Zone]:
        for row in self.rows.zones:
            shape = self.shape(row.shape, f"zones.{row.name}.shape")
            if shape is not None:
                yield Zone(row.name, shape, row.trajectory)

    def landmarks(self) -> Iterable[Landmark]:
        for row in self.rows.landmarks:
            position = self.point(row.position_mm, f"landmarks.{row.name}.position_mm")
            if position is not None:
                yield Landmark(row.name, position, row.inside)

    def dose(self) -> Dose | None:
        if self.rows.dose is None:
            return None
        try:
            return self.sources.dose(self.rows.dose.file)
        except SourceError as fault:
            self.fault("dose.file", str(fault))
            return None

    def check_files(self) -> None:
        for file, whose in self.sources.identities.items():
            if whose.patient_id != self.rows.patient_id:
                self.fault(file, f"is of patient {whose.patient_id!r}, the plan of {self.rows.patient_id!r}")
            if whose.frame_of_reference_uid != self.rows.frame_of_reference_uid:
                told = repr(whose.frame_of_reference_uid) if whose.frame_of_reference_uid else "that it does not name"
                self.fault(file, f"is in frame of reference {told}, the plan in {self.rows.frame_of_reference_uid!r}")
        for row in self.rows.files:
            try:
                found = self.sources.hash(row.path)
            except SourceError as fault:
                self.fault(f"files.{row.path}", str(fault))
                continue
            if found != row.sha256:
                self.fault(
                    f"files.{row.path}", f"was edited: its SHA-256 is {found}, the plan was made with {row.sha256}"
                )


def load_plan(path: Path | str) -> Plan:
    """Read and check a plan TOML and every file it names. PlanError lists every fault at once with its path."""
    where = Path(path)
    try:
        rows = schema.PlanRows.model_validate(read_toml(where))
    except pydantic.ValidationError as fault:
        raise PlanError(str(where), [describe(error) for error in fault.errors()]) from fault
    except SettingsError as fault:
        raise PlanError(fault.where, fault.faults) from fault
    resolver = _Resolver(rows, where.parent)
    structures = tuple(resolver.structures())
    targets = tuple(resolver.targets())
    plan = Plan(
        rows.name,
        rows.patient_id,
        rows.frame_of_reference_uid,
        rows.laterality,
        targets,
        tuple(resolver.trajectories({target.name: target for target in targets})),
        structures,
        tuple(resolver.zones()),
        tuple(resolver.landmarks()),
        tuple(Seeds(row.trajectory, row.model, row.strength_u, row.behind_mm) for row in rows.seeds),
        rows.reason,
        rows.replaces,
        resolver.dose(),
    )
    resolver.check_files()
    faults = resolver.faults + plan_faults(plan, rows)
    if faults:
        raise PlanError(str(where), faults)
    own = hashlib.sha256(where.read_bytes()).hexdigest()
    return replace(plan, files={where.name: own, **resolver.sources.files}, content_sha256=content_sha256(plan))
