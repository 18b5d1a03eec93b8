"""Rows of a room's file for what heat and cold do: a laser fibre, freezing needles, carriers that release a drug."""

from pydantic import Field

from guidance.setting_types import Strict

NAME = Field(min_length=1, max_length=64)


class Laser(Strict):
    """Control of a laser fibre with a cooled tip. Sources: docs/thermometry.md.

    The light is on until `covered_share` of the target with its margin has, or is forecast to have, damage 1 of the
    parameter set `damage`. It pauses while the hottest tissue is expected above `off_above_c` or a guard within
    `guard_reserve_c` of its limit at the next frame, and comes back below `on_below_c`.
    """

    target: str = NAME
    damage: str = "brain"
    covered_share: float = Field(default=0.97, gt=0, le=1)
    off_above_c: float = Field(default=85.0, gt=45, lt=95)
    on_below_c: float = Field(default=80.0, gt=40, lt=95)
    guard_reserve_c: float = Field(default=2.0, ge=0, le=10)
    longest_s: float = Field(default=300.0, gt=0)
    perfusion_kg_m3_s: float = Field(default=6.0, ge=0)
    reach_mm: float = Field(default=20.0, gt=5, le=100)
    over_treated_cm3: float = Field(default=2.0, gt=0)


class FreezeCycle(Strict):
    """Freezing and the passive thaw after it, in seconds."""

    freeze_s: float = Field(gt=0)
    thaw_s: float = Field(default=0.0, ge=0)


class Cryo(Strict):
    """Control of freezing needles. Sources: docs/thermometry.md.

    `needles` are trajectories of the plan: they lie on them, their tips at the trajectories' targets. Lethal is ice
    `margin_mm` inside of the visible edge. A needle runs at `slow_share` while the ice nearest to it is within
    `slow_gap_mm` of an organ at risk. `active_thaw_s` after the last cycle; 0 = none is planned.
    """

    target: str = NAME
    needles: tuple[str, ...] = Field(min_length=1, max_length=16)
    cycles: tuple[FreezeCycle, ...] = Field(min_length=1)
    active_thaw_s: float = Field(default=0.0, ge=0)
    active_mm: float = Field(default=30.0, gt=0)
    needle_radius_mm: float = Field(default=0.75, gt=0)
    needle_c: float = Field(default=-140.0, lt=-40)
    reference_frames: int = Field(default=4, ge=1, le=32)
    margin_mm: float = Field(default=5.0, ge=0, le=20)
    edge_sigma_mm: float = Field(default=0.6, ge=0)
    slow_gap_mm: float = Field(default=7.0, ge=0)
    slow_share: float = Field(default=0.4, ge=0, le=1)
    reach_mm: float = Field(default=36.0, gt=5, le=100)


class Release(Strict):
    """A drug in carriers that heat opens, with its maker's numbers. Model: `guidance.thermometry.release`.

    `half_c` opens half as fast as `most_per_s`; `transit_s` is how long blood stays in the heated tissue.
    """

    half_c: float = Field(gt=37, lt=50)
    width_c: float = Field(gt=0, le=3)
    most_per_s: float = Field(gt=0, le=10)
    transit_s: float = Field(gt=0, le=120)
    plasma_half_s: float = Field(gt=0)
    source: str = Field(min_length=1)
