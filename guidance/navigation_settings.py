"""Rows of a room's file for navigation: registrations, calibrations, needles and their limits."""

from pydantic import Field

from guidance.setting_types import Identifier, Strict, Vector3


class Registration(Strict):
    """A live registration of paired points: the plan's landmarks, touched with `pointer`."""

    moving: Identifier
    fixed: Identifier = "RAS"
    pointer: Identifier
    least_points: int = Field(default=4, ge=3)
    fre_mm: float = Field(default=1.0, gt=0)  # largest that is used
    tre_mm: float = Field(default=2.0, gt=0)  # largest predicted (rms) error at the target that is used
    fle_mm: float | None = Field(default=None, gt=0)  # localisation error known of the tracker (rms over three axes)
    valid_s: float = Field(default=12 * 3600.0, gt=0)


class SurfaceRegistration(Strict):
    """A registration refined by points that `pointer` took, sliding over a structure's surface."""

    moving: Identifier
    fixed: Identifier = "RAS"
    pointer: Identifier
    structure: Identifier
    apart_mm: float = Field(default=2.0, gt=0)  # the tip has moved by this before another point is taken
    least_points: int = Field(default=60, ge=12)
    rms_mm: float = Field(default=1.0, gt=0)  # largest that is used, over the pairs kept
    tre_mm: float = Field(default=2.0, gt=0)  # largest predicted (rms) error at the target that is used
    valid_s: float = Field(default=12 * 3600.0, gt=0)


class WireRow(Strict):
    """Three wires of one N in the phantom's frame, mm: front and back end of each."""

    first: tuple[Vector3, Vector3]
    middle: tuple[Vector3, Vector3]
    last: tuple[Vector3, Vector3]


class ProbeCalibration(Strict):
    """A probe that is swept over N-shaped wires: its pictures' frame is placed on it."""

    probe: Identifier  # the tool that carries it
    picture: Identifier = "Image"
    phantom: Identifier = "RAS"  # the frame in which the wires are given
    wires: tuple[WireRow, ...] = Field(min_length=2)
    pixel_mm: float = Field(gt=0)  # about
    least_pictures: int = Field(default=40, ge=15)
    mean_mm: float = Field(default=1.0, gt=0)  # largest mean error over pictures that were left out of the fit
    span_mm: float = Field(default=10.0, gt=0)  # least way of the picture along the wires
    valid_s: float = Field(default=30 * 24 * 3600.0, gt=0)


class HandEyeCalibration(Strict):
    """How an eye (camera, sensor) sits on a hand (robot, probe), from a target that stays where it is."""

    hand: Identifier  # tool whose stream is the hand in its base
    target: Identifier  # tool whose stream is the target as the eye sees it
    least_poses: int = Field(default=8, ge=4)
    rms_mm: float = Field(default=1.5, gt=0)
    rms_deg: float = Field(default=1.0, gt=0)
    span_deg: float = Field(default=30.0, gt=0)
    valid_s: float = Field(default=30 * 24 * 3600.0, gt=0)


class BendRow(Strict):
    """A needle tracked at its hub, with a sensor in its tip: they part where it bends."""

    hub: Identifier
    tip: Identifier


class NeedleGroup(Strict):
    """Needles whose distance, angle and depth must fit each other."""

    tools: tuple[Identifier, ...] = Field(min_length=2)
    least_mm: float = Field(default=15.0, ge=0)
    most_mm: float = Field(default=20.0, gt=0)
    angle_deg: float = Field(default=10.0, gt=0)
    depth_mm: float = Field(default=5.0, gt=0)


class Navigation(Strict):
    """What is navigated and watched beside the tools' poses."""

    notch_mm: tuple[float, float] = (0.0, 18.0)  # part that a biopsy core samples, ahead of the tip
    registration: Registration | None = None
    surface: SurfaceRegistration | None = None
    probe: ProbeCalibration | None = None
    hand_eye: HandEyeCalibration | None = None
    bends: tuple[BendRow, ...] = ()
    groups: tuple[NeedleGroup, ...] = ()

    def named_tools(self) -> list[tuple[str, str]]:
        """(path, tool) of every tool that is named here."""
        rows = [("registration.pointer", self.registration.pointer)] if self.registration else []
        rows += [("surface.pointer", self.surface.pointer)] if self.surface else []
        rows += [("probe.probe", self.probe.probe)] if self.probe else []
        if self.hand_eye:
            rows += [("hand_eye.hand", self.hand_eye.hand), ("hand_eye.target", self.hand_eye.target)]
        rows += [("bends", name) for row in self.bends for name in (row.hub, row.tip)]
        return rows + [("groups.tools", name) for row in self.groups for name in row.tools]
