"""Virtual fixtures: a corridor that a robot is kept in, narrower the faster it moves.

Within the inner margin motion is free; between inner and outer it is slowed and pushed back; the
robot is held where it would leave the outer margin before a stop takes effect, and stopped when it
has left it (SAFETY.md R1).
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from guidance.exact import Vector
from guidance.plan import Trajectory


class Verdict(StrEnum):
    """What the robot may do, from most to least."""

    FREE = "free"
    SLOW = "slow"
    HOLD = "hold"
    STOP = "stop"


@dataclass(frozen=True)
class Fixture:
    """Margins around a trajectory, mm. `reaction_s`: from measurement to standstill, whole chain."""

    inner_mm: float = 1.0
    outer_mm: float = 3.0
    beyond_mm: float = 1.0  # how far past the target the tip may go
    reaction_s: float = 0.1
    least_speed_share: float = 0.1


@dataclass(frozen=True, eq=False)
class FixtureState:
    """Lateral distance and its foretold value in mm, the share of speed allowed, the push back (3,) RAS mm."""

    verdict: Verdict
    lateral_mm: float
    foretold_mm: float
    to_go_mm: float
    speed_share: float
    correction_mm: Vector
    reason: str = ""


def judge_fixture(fixture: Fixture, way: Trajectory, tip_mm: Vector, velocity_mm_s: Vector) -> FixtureState:
    """State of a tip (3,) moving with `velocity_mm_s` (3,) along a trajectory."""
    u = way.direction
    offset = np.asarray(tip_mm, np.float64) - way.target_mm
    axial = _dot(offset, u)
    aside = offset - axial * u
    lateral = _dot(aside, aside) ** 0.5
    speed = np.asarray(velocity_mm_s, np.float64)
    forward = _dot(speed, u)
    sideways = speed - forward * u
    outward = _dot(sideways, aside) / lateral if lateral > 1e-9 else _dot(sideways, sideways) ** 0.5
    foretold = lateral + max(0.0, outward) * fixture.reaction_s
    past = axial + max(0.0, forward) * fixture.reaction_s - fixture.beyond_mm
    share = 1.0
    if foretold > fixture.inner_mm:
        rest = (fixture.outer_mm - foretold) / (fixture.outer_mm - fixture.inner_mm)
        share = min(1.0, max(fixture.least_speed_share, rest))
    rows = [
        (lateral > fixture.outer_mm, Verdict.STOP, f"{lateral:.1f} mm beside the way, outer margin {fixture.outer_mm}"),
        (axial > fixture.beyond_mm, Verdict.STOP, f"{axial:.1f} mm past the target"),
        (foretold > fixture.outer_mm, Verdict.HOLD, f"will be {foretold:.1f} mm beside the way before it stands"),
        (past > 0.0, Verdict.HOLD, f"will be {past + fixture.beyond_mm:.1f} mm past the target before it stands"),
        (
            foretold > fixture.inner_mm,
            Verdict.SLOW,
            f"{lateral:.1f} mm beside the way, inner margin {fixture.inner_mm}",
        ),
    ]
    verdict, reason = next(((v, why) for failed, v, why in rows if failed), (Verdict.FREE, ""))
    allowed = 0.0 if verdict in (Verdict.HOLD, Verdict.STOP) else share
    return FixtureState(verdict, lateral, foretold, -axial, allowed, -aside, reason)


def _dot(a: Vector, b: Vector) -> float:
    return float(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])
