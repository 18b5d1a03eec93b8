"""Do the stated 95 % intervals hold? Independent registrations and placements, as a room does them.

Every run: new fiducials, a new localisation error, a new tracker-to-patient pose, a new calibration error of
the needle's tip and a new placement; the fit is the lane's, the bound is the one told beside the guided pose.
Known FLE: the tracker's is given. Measured: only FRE is known (3 N - 6 degrees of freedom). Plain: 2.80 times the
rms TRE / sqrt 3 from the measured FRE, as if it were known.
Run: guidance bench intervals
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from guidance.lanes.verify import register
from guidance.navigation.targeting import ISOTROPIC_95, Targeting
from guidance.settings import Tool

FLE_MM = 0.6  # rms over three axes, of one touched landmark
TIP_SIGMA_MM = 0.2  # per axis
COUNTS = (4, 5, 6, 8, 10)
LIMITS = (0.93, 0.97)


def _pose(rng: np.random.Generator) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(rng=rng).as_matrix()
    pose[:3, 3] = rng.uniform(-300, 300, 3)
    return pose


def one(count: int, rng: np.random.Generator) -> dict[str, bool]:
    """One registration and one placement: was the tip's true error within each stated bound?"""
    fixed = rng.uniform(-90, 90, (count, 3))
    goal = rng.uniform(-40, 40, 3)
    ras_from_reference = _pose(rng)
    true = np.linalg.inv(ras_from_reference)
    moving = fixed @ true[:3, :3].T + true[:3, 3] + rng.normal(0, FLE_MM / 3**0.5, (count, 3))
    needle = Tool(name="Needle", stream="Needle", tip_mm=(0.0, 0.0, 150.0), tip_sigma_mm=TIP_SIGMA_MM)
    tip = np.array([0.0, 0.0, 150.0]) + rng.normal(0, TIP_SIGMA_MM, 3)  # where it really is in its own frame
    ras_from_needle = _pose(rng)
    ras_from_needle[:3, 3] = goal - ras_from_needle[:3, :3] @ tip  # the true tip is at the goal
    found: dict[str, bool] = {}
    for name, fle in (("known", FLE_MM), ("measured", None)):
        facts, _ = register(moving, fixed, goal, fle)
        fit = np.eye(4)
        fit[:3] = [[float(facts[f"m{i}{j}"] or 0.0) for j in range(4)] for i in range(3)]
        targeting = Targeting(None, [needle])
        sigma, bound = float(facts["sigma_mm"] or 0.0), float(facts["bound_mm"] or 0.0)
        targeting.uncertain("Needle", sigma, bound)
        told = targeting.measure("Needle", fit @ true @ ras_from_needle)
        error = float(np.linalg.norm([told["tip_r_mm"], told["tip_a_mm"], told["tip_s_mm"]] - goal))
        found[name] = error <= told["bound_mm"]
    found["plain"] = error <= ISOTROPIC_95 * float(np.hypot(sigma, TIP_SIGMA_MM))
    return found


def rows(quick: bool) -> list[dict[str, Any]]:
    """One row a number of fiducials and kind of interval; `ours_ms` holds the share covered, in per cent."""
    runs = 300 if quick else 3000
    table = []
    for count in COUNTS:
        rng = np.random.default_rng([7, count])
        held = [one(count, rng) for _ in range(runs)]
        for name in ("known", "measured", "plain"):
            share = sum(row[name] for row in held) / runs
            judged = name != "plain"
            table.append(
                {
                    "name": f"covered by 95 %, {name} FLE",
                    "size": f"{count} fiducials, {runs} runs",
                    "ours_ms": 100 * share,
                    "peer": None,
                    "peer_ms": None,
                    "ratio": None,
                    "limit": f"{LIMITS[0]:.0%} to {LIMITS[1]:.0%}" if judged else None,
                    "ok": not judged or quick or LIMITS[0] <= share <= LIMITS[1],
                }
            )
    return table
