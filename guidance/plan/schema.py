"""What a plan file may say: one row of the TOML, one class here. Resolved by `guidance.plan.load`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from guidance.setting_types import Identifier

Number = Annotated[float, Strict()]  # no text and no truth value
Vector3 = Annotated[tuple[Number, ...], Field(min_length=3, max_length=3)]
Role = Literal["target", "organ_at_risk", "vessel", "eloquent", "organ", "surface", "forbidden"]
Tissue = Literal[
    "soft", "liver", "muscle", "skin", "bone", "fat", "gas", "fluid", "brain", "prostate", "kidney", "lung"
]


def _plain(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("has spaces around it or signs that cannot be seen")
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PointInFile(_Strict):
    """One point of a Slicer markups file (.mrk.json) or fiducial list (.fcsv), by its label.

    Of an RTPLAN (.dcm) it is the isocentre, by the label "isocenter".
    """

    file: str
    label: str


Point = Vector3 | PointInFile


class SphereRow(_Strict):
    """A ball."""

    kind: Literal["sphere"]
    center_mm: Point
    radius_mm: Number = Field(gt=0)


class CapsuleRow(_Strict):
    """A line with a thickness."""

    kind: Literal["capsule"]
    start_mm: Point
    end_mm: Point
    radius_mm: Number = Field(gt=0)


class BoxRow(_Strict):
    """A box; `axes` rows are the directions of its three edges (default: along the axes)."""

    kind: Literal["box"]
    center_mm: Point
    size_mm: Vector3
    axes: tuple[Vector3, Vector3, Vector3] | None = None


class SegmentRow(_Strict):
    """A segment of a label map or segmentation, by name or by label value."""

    kind: Literal["segment"]
    file: str
    name: str | None = None
    label: int | None = None
    threshold: Number = Field(default=0.5, gt=0, lt=1)  # of fractional segments
    max_gap_slices: int = Field(default=0, ge=0, le=20)  # missing slices that may be interpolated


class ContoursRow(_Strict):
    """A region of a radiotherapy structure set, by name, or the planar contours in a .vtp."""

    kind: Literal["contours"]
    file: str
    name: str
    space: Literal["LPS", "RAS"] = "LPS"  # of a .vtp, which does not say: Slicer writes LPS since 4.11
    max_gap_slices: int = Field(default=0, ge=0, le=20)


class SurfaceRow(_Strict):
    """A closed surface: .stl or .vtp."""

    kind: Literal["surface"]
    file: str
    space: Literal["LPS", "RAS"] = "LPS"  # Slicer writes LPS since 4.11
    spacing_mm: Number = Field(default=1.0, gt=0)  # of the field that it is looked up in


class GrownRow(_Strict):
    """Another structure of the plan with a margin."""

    kind: Literal["grown"]
    of: Identifier
    margin_mm: Number


ShapeRow = Annotated[
    SphereRow | CapsuleRow | BoxRow | SegmentRow | ContoursRow | SurfaceRow | GrownRow, Field(discriminator="kind")
]


class LimitsRow(_Strict):
    """Limits of one structure. Distances are those of the tool's predicted path minus two sigma."""

    warn_mm: Number = Field(default=5.0, ge=0, le=100)
    stop_mm: Number = Field(default=2.0, ge=0, le=100)
    temperature_c: Number | None = Field(default=None, gt=-60, lt=120)
    cem43_min: Number | None = Field(default=None, gt=0, le=1e6)
    dose_gy: Number | None = Field(default=None, gt=0, le=1000)


class StructureRow(_Strict):
    """A named part of the patient."""

    name: Identifier
    role: Role
    shape: ShapeRow
    tissue: Tissue = "soft"
    limits: LimitsRow = LimitsRow()
    surrogate: Identifier | None = None  # structure that PRF can see beside bone, fat or gas
    planned_contact: bool = False  # the tool is meant to touch or enter it
    volume_ml: Number | None = Field(default=None, gt=0)  # as the planning system states it: checked within 5 %


class TargetRow(_Strict):
    """Where the therapy shall act."""

    name: Identifier
    center_mm: Point
    structure: Identifier | None = None
    margin_mm: Number = Field(default=5.0, ge=0, le=100)
    cem43_min: Number | None = Field(default=None, gt=0, le=1e6)
    dose_gy: Number | None = Field(default=None, gt=0, le=1000)
    temperature_c: Number | None = Field(default=None, gt=-200, lt=120)


class LineInFile(_Strict):
    """A line of a Slicer markups file: entry first, target second."""

    file: str
    name: str | None = None


class TrajectoryRow(_Strict):
    """A way in. Either `entry_mm` with `target` or `target_mm`, or `line`."""

    name: Identifier
    entry_mm: Point | None = None
    target_mm: Point | None = None
    target: Identifier | None = None
    line: LineInFile | None = None
    corridor_mm: Number = Field(default=3.0, gt=0, le=50)
    max_angle_deg: Number = Field(default=5.0, gt=0, lt=90)
    tool: Identifier | None = None


class ZoneRow(_Strict):
    """What one application is expected to treat."""

    name: Identifier
    shape: ShapeRow
    trajectory: Identifier | None = None


class SeedsRow(_Strict):
    """Seeds that stay along one needle: their centres this far behind the trajectory's target."""

    trajectory: Identifier
    model: Literal["6711"] = "6711"
    strength_u: Number = Field(gt=0, lt=10)  # air-kerma strength of each at implantation
    behind_mm: tuple[Annotated[Number, Field(ge=0)], ...] = Field(min_length=1)


class LandmarkRow(_Strict):
    """A point of the patient for registration, or a golden point (`inside` names the structure it must lie in)."""

    name: Identifier
    position_mm: Point
    inside: Identifier | None = None


class DoseRow(_Strict):
    """The planned dose, a DICOM RTDOSE in Gy: organs must keep their `dose_gy` in it, targets get theirs."""

    file: str


class FileRow(_Strict):
    """The SHA-256 that a file named in the plan must have."""

    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class PlanRows(_Strict):
    """A whole plan file."""

    schema_version: Literal[1]
    name: Identifier
    patient_id: Annotated[str, AfterValidator(_plain)] = Field(min_length=1, max_length=64)
    frame_of_reference_uid: str = Field(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)
    coordinates: Literal["RAS", "LPS"]
    unit: Literal["mm"]
    laterality: Literal["left", "right", "midline", "both"]
    midline_r_mm: Number = 0.0  # R coordinate of the body's midline, for the check of the side
    reason: str = ""  # why this plan replaces `replaces`
    replaces: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")  # content hash of the plan before
    structures: tuple[StructureRow, ...] = ()
    targets: tuple[TargetRow, ...] = Field(min_length=1)
    trajectories: tuple[TrajectoryRow, ...] = ()
    zones: tuple[ZoneRow, ...] = ()
    seeds: tuple[SeedsRow, ...] = ()
    landmarks: tuple[LandmarkRow, ...] = ()
    dose: DoseRow | None = None
    files: tuple[FileRow, ...] = ()
