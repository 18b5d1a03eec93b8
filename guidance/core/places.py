"""Places desk: points that a person puts on the image. Each becomes a monitored region, guarded where it has a limit.

The console only asks: what is measured there is looked up again here, in the newest volume.
"""

import math
import re

import msgspec
import numpy as np

from guidance.core.scene import ActHandler, Answer, Desk, Scene
from guidance.core.thermometry import ThermometryDesk
from guidance.events import Act
from guidance.safety.phases import ENERGY_PERMITTED
from guidance.safety.treatment import Treatment

MOST = 8
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,23}")
RADIUS_MM = (0.5, 20.0)
LIMIT_C = (38.0, 100.0)
FARTHEST_MM = 1000.0
DEFAULT_RADIUS_MM = 3.0
AT = ("r_mm", "a_mm", "s_mm")


class Placed(msgspec.Struct, frozen=True):
    """One region: a ball round a point in RAS; `limit_c` None = watched, not guarded."""

    name: str
    at_mm: tuple[float, float, float]
    radius_mm: float
    limit_c: float | None
    actor: str
    at_ns: int


class PlaceDesk(Desk):
    """Acts PLACE_POINT (name, r_mm, a_mm, s_mm, radius_mm, limit_c) and REMOVE_POINT (name)."""

    jobs = frozenset({"place"})

    def __init__(self, scene: Scene, thermometry: ThermometryDesk, treatment: Treatment) -> None:
        self._scene, self._thermometry, self._treatment = scene, thermometry, treatment
        self._measures = scene.settings.thermometry is not None
        self.points: dict[str, Placed] = {}

    @property
    def verbs(self) -> dict[str, ActHandler]:
        """Place a point; take it away again."""
        return {"PLACE_POINT": self._place, "REMOVE_POINT": self._remove}

    def _place(self, act: Act) -> Answer:
        point = self._read(act)
        if isinstance(point, str):
            return (point,), []
        self.points[point.name] = point
        if not self._measures:
            return (), []
        if point.limit_c is not None:
            self._thermometry.guard(point.name, point.limit_c)
        return (), [self._scene.job("guard", "", "place", _job(point, point.radius_mm), {})]

    def _remove(self, act: Act) -> Answer:
        name = str(act.values.get("name", ""))
        point = self.points.get(name)
        if point is None:
            return (f"there is no point {name!r} (have {sorted(self.points)})",), []
        if point.limit_c is not None and self._treatment.phase in ENERGY_PERMITTED:
            return (f"{name} is guarded while energy flows",), []
        del self.points[name]
        if not self._measures:
            return (), []
        self._thermometry.unguard(name)
        return (), [self._scene.job("guard", "", "place", _job(point, 0.0), {})]

    def _read(self, act: Act) -> Placed | str:
        """The point that an act names, or why it cannot be placed."""
        name = str(act.values.get("name", ""))
        if not NAME.fullmatch(name):
            return f"a point's name is a letter and up to 23 letters, digits, - or _, not {name!r}"
        if name in self.points or (self._scene.plan and name in {s.name for s in self._scene.plan.structures}):
            return f"the name {name!r} is taken"
        if len(self.points) >= MOST:
            return f"there are {MOST} points already: remove one first"
        numbers = {key: act.values.get(key) for key in AT}
        numbers |= {"radius_mm": act.values.get("radius_mm", DEFAULT_RADIUS_MM)}
        limit_c = act.values.get("limit_c", 0.0) or None  # 0: no limit
        if limit_c is not None:
            numbers["limit_c"] = limit_c
        read: dict[str, float] = {}
        for key, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                return f"{key} must be a number, not {value!r}"
            read[key] = float(value)
        low, high = RADIUS_MM
        if not low <= read["radius_mm"] <= high:
            return f"radius_mm must be {low:g} to {high:g}, not {read['radius_mm']:g}"
        if "limit_c" in read and not LIMIT_C[0] <= read["limit_c"] <= LIMIT_C[1]:
            return f"limit_c must be {LIMIT_C[0]:g} to {LIMIT_C[1]:g}, not {read['limit_c']:g}"
        at = (read["r_mm"], read["a_mm"], read["s_mm"])
        fault = self._measured(at, "limit_c" in read)
        return fault or Placed(name, at, read["radius_mm"], read.get("limit_c"), act.actor, act.now_ns)

    def _measured(self, at_mm: tuple[float, float, float], guarded: bool) -> str:
        """Why nothing can be watched at a place, or "": the newest volume must have a temperature there."""
        if not self._measures:
            far = max(abs(value) for value in at_mm) > FARTHEST_MM
            if far:
                return f"{at_mm} lies more than {FARTHEST_MM:g} mm away"
            return "this room measures no temperature: a point here has no limit" if guarded else ""
        volume = self._scene.volume
        if "temperature_c" not in volume:
            return "there is no temperature yet"
        i, j, k = np.floor(np.linalg.solve(volume["ras_from_image"], [*at_mm, 1.0])[:3] + 0.5).astype(int)
        slices, rows, columns = volume["temperature_c"].shape
        where = "R {:.1f} A {:.1f} S {:.1f} mm".format(*at_mm)
        if not (0 <= i < columns and 0 <= j < rows and 0 <= k < slices):
            return f"{where} lies outside of the image"
        return "" if volume["valid"][k, j, i] else f"nothing is measured at {where}"


def _job(point: Placed, radius_mm: float) -> dict[str, object]:
    return {"name": point.name, "at_mm": point.at_mm, "radius_mm": radius_mm}
