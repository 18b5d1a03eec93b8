"""The numbers that a page shows: each with its name, value, unit, limit and age; and one point of the graphs."""

from typing import Any

from devices.messages import GuidedPose
from guidance.console.heated import FIRST, REST, heated
from guidance.console.number import number
from guidance.console.regions import Regions
from guidance.service.histogram import Histogram
from guidance.service.room import Room

_AIMS = (("lateral_mm", "lateral", "mm"), ("depth_to_go_mm", "to go", "mm"), ("angle_deg", "angle", "deg"))


class Numbers:
    """Looks at the core and says what there is to show; decides nothing."""

    def __init__(self, room: Room, regions: Regions, tools: dict[str, GuidedPose]) -> None:
        self._room = room
        self._regions = regions
        self._tools = tools
        self.drawn: dict[str, Histogram] = {}  # stream -> times from an image's receive stamp to "drawn" come back

    def rows(self, now_ns: int) -> list[dict[str, Any]]:
        """Every number, in the order in which they are shown."""
        return [*self._temperatures(now_ns), *self._motion(now_ns), *self._aims(now_ns)]

    def sample(self, now_ns: int) -> dict[str, Any]:
        """One point of the graphs."""
        core = self._room.core
        point: dict[str, Any] = {"t_ms": now_ns // 1_000_000, "phase": core.treatment.phase.value}
        for row in self.rows(now_ns):
            if row["graph"] and row["value"] is not None:
                point[row["id"]] = row["value"]
        for reading in core.devices.readings.values():
            if "power_w" in reading:
                point["power_w"] = reading["power_w"]
        if core.settings.therapy is not None:
            point["confirmed_w"] = core.treatment.shown().get("power_w")
        motion, gate = core.motion.facts, core.motion.gate
        if core.motion.row is not None:
            usable = bool(motion.get("usable"))
            point["motion_mm"] = motion.get("y_mm") if usable else None
            point["predicted_mm"] = motion.get("ahead.y_mm") if usable else None
            point["beam_on"] = bool(gate and gate.beam_on)
        for name, state in core.streams.items():
            point[f"age.{name}"] = state.age_ms(now_ns) if state.received else None
        timed = {"pose": self._room.meter.latency["pose_to_output"], **self.drawn}
        point |= {f"latency.{name}": histogram.take_worst_ms() for name, histogram in timed.items()}
        return point

    def _motion(self, now_ns: int) -> list[dict[str, Any]]:
        core = self._room.core
        row, gate = core.motion.row, core.motion.gate
        if row is None or gate is None:
            return []
        state = core.streams[row.stream]
        age_ms, facts = state.age_ms(now_ns), core.motion.facts
        seen = state.is_live(now_ns) and bool(facts.get("usable"))
        share, x, y = (facts.get(key) if seen else None for key in ("share_outside", "x_mm", "y_mm"))
        percent = 100 * share if isinstance(share, float) else None
        way = (x * x + y * y) ** 0.5 if isinstance(x, float) and isinstance(y, float) else None
        limits, book = gate.settings, gate.book
        return [
            number("outside", f"{row.target} outside", percent, "%", 0, age_ms,
                    limit=100 * limits.most_outside_share, graph=False),
            number("moved", f"{row.target} moved", way, "mm", 1, age_ms, limit=limits.centroid_mm, graph=False),
            number("duty", "duty cycle", 100 * book.duty_cycle if book.frames else None, "%", 0, age_ms, graph=False),
            number("residual", "residual motion, rms", book.residual_rms_mm, "mm", 1, age_ms, graph=False),
            number("residual_max", "residual motion, most", book.most_on_mm, "mm", 1, age_ms, graph=False),
            number("ungated", "motion without a gate, rms", book.ungated_rms_mm, "mm", 1, age_ms, graph=False),
        ]  # fmt: skip

    def _temperatures(self, now_ns: int) -> list[dict[str, Any]]:
        core = self._room.core
        row = core.settings.thermometry
        if row is None:
            return []
        age_ms = core.streams[row.stream].age_ms(now_ns)
        live = core.streams[row.stream].is_live(now_ns)
        facts, rows = core.thermometry.facts if live else {}, []
        for name, numbers in self._regions.numbers.items():
            rows += self._target(name, numbers if live else {}, live, age_ms)
        for guard in core.settings.guards:
            name = guard.structure
            limit = guard.limit_c or core.scene.limits["guard_temperature_c"].value
            rows.append(
                number(f"{name}.max_c", f"T max {name}", facts.get(f"{name}.max_c"), "degC", 1, age_ms, limit=limit)
            )
            dose = facts.get(f"{name}.dose_upper_cem43_min")
            limit_dose = guard.limit_cem43_min
            rows.append(number(f"{name}.dose", f"dose {name}", dose, "CEM43 min", 1, age_ms, limit=limit_dose))
        for point in core.places.points.values():
            value = facts.get(f"{point.name}.max_c")
            key, word = f"{point.name}.max_c", f"T max {point.name}"
            rows.append(number(key, word, value, "degC", 1, age_ms, limit=point.limit_c))
        return rows + heated(core, REST, live, age_ms)

    def _target(self, name: str, shown: dict[str, float], live: bool, age_ms: float) -> list[dict[str, Any]]:
        core = self._room.core
        hottest = number(f"{name}.max_c", f"T max {name}", shown.get("max_c"), "degC", 1, age_ms)
        hottest["sigma"] = shown.get("sigma_c")
        mean = number(f"{name}.mean_c", f"T mean {name}", shown.get("mean_c"), "degC", 1, age_ms)
        if core.settings.cryo:
            share = core.cryo.facts.get("lethal_covered") if live else None
            percent = 100 * share if isinstance(share, float) else None
            frozen = number(f"{name}.treated", f"{name} in lethal ice", percent, "%", 0, age_ms, graph=False)
            return [hottest, frozen, mean]
        row = core.settings.heating
        warmed = heated(core, FIRST, live, age_ms) if row is not None and row.target == name else []
        treated = 100 * shown["treated"] if "treated" in shown else None
        dosed = number(f"{name}.treated", f"{name} at 240 CEM43", treated, "%", 0, age_ms, graph=False)
        dose = number(f"{name}.dose", f"dose max {name}", shown.get("dose_min"), "CEM43 min", 0, age_ms)
        return [hottest, *(warmed or [dosed]), mean, dose]

    def _aims(self, now_ns: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for tool in (row for row in self._room.core.settings.tools if row.role == "tool"):
            pose = self._tools.get(tool.name)
            values = pose.values if pose is not None and pose.quality.usable else {}
            if pose is None or (values and "lateral_mm" not in values):
                continue
            age_ms = (now_ns - pose.device_time_ns) / 1e6
            for key, word, unit in _AIMS:
                rows.append(
                    number(f"{tool.name}.{key}", f"{tool.name} {word}", values.get(key), unit, 1, age_ms, graph=False)
                )
            break
        return rows
