"""Laser desk: damage around the fibre, the light on and off, and the end of the treatment when the damage is reached.

It asks the laser only while the treatment permits and never for more than the power that was confirmed; every command
is acknowledged or told as missing. The guards' limits stop the laser without it.
"""

from collections.abc import Iterable

from devices.messages import Acknowledgement, Metrics
from guidance.core.asking import Asking
from guidance.core.scene import Desk, Scene
from guidance.events import Effect, JobDone
from guidance.safety.facts import Fact
from guidance.safety.phases import ENERGY_PERMITTED
from guidance.safety.treatment import Treatment
from guidance.therapy.onoff import Expected, OnOffControl, OnOffSettings, Why

FIRST_ID = 2_000_000
LINES = {"Damage": "damage", "DamageSure": "damage_sure", "DamageForecast": "damage_forecast"}
VOLUME = ("state", "ras_from_image", "temperature_c", "sigma_c", "valid")
SLOW_S = 2.0  # frames further apart than this tell too little of fast heating (docs/thermometry.md)


class LaserDesk(Desk):
    """State of the one fibre of a room."""

    jobs = frozenset({"damage"})
    judged = ("forecast_over_plan", "slow_frame_c_per_s")

    def __init__(self, scene: Scene, treatment: Treatment) -> None:
        self._scene, self._treatment, self._row = scene, treatment, scene.settings.laser
        settings = scene.settings
        therapy, thermometry, row = settings.therapy, settings.thermometry, self._row
        self._stream = thermometry.stream if thermometry else ""
        self._power_w = therapy.power_w if therapy else 0.0
        self._asking = Asking(therapy.link, therapy.device, FIRST_ID) if therapy else None
        self._control: OnOffControl | None = None
        if row is not None:
            limits = (row.off_above_c, row.on_below_c, row.guard_reserve_c, row.longest_s, row.covered_share)
            self._control = OnOffControl(OnOffSettings(*limits))
            scene.facts.declare("forecast_over_plan", row.target)
        self._seen = 0
        self.facts: dict[str, float | int | str | bool | None] = {}

    def tick(self, now_ns: int) -> Iterable[Effect]:
        """A new thermometry answer goes to the damage map."""
        scene = self._scene
        if self._row is None or self._seen == scene.volume_number or "temperature_c" not in scene.volume:
            return
        self._seen = scene.volume_number
        inputs = {key: scene.volume[key] for key in VOLUME}
        inputs["time_s"] = scene.volume_evidence[f"{self._stream}.device_ns"] / 1e9
        yield scene.job("guard", "", "damage", inputs, scene.volume_evidence)

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """Damage so far and to be expected; what follows for the light."""
        row, now_ns = self._row, result.now_ns
        if result.failed or row is None or self._control is None:
            return
        self.facts = dict(result.facts)
        known = bool(result.facts.get("known"))
        numbers = {key: float(value) for key, value in result.facts.items() if isinstance(value, (int, float))}
        slow = numbers.get("frame_s", 0.0) > SLOW_S
        rate = numbers.get("heating_c_per_s", 0.0) if slow else 0.0
        self._scene.facts.set("slow_frame_c_per_s", self._stream, Fact(rate, now_ns))
        if "over_plan" in numbers:
            self._scene.facts.set("forecast_over_plan", row.target, Fact(numbers["over_plan"], now_ns, known))
            self._scene.region = {**self._scene.region, **result.arrays}
        yield from self._drive(numbers, known, told, now_ns)
        permitted = self._treatment.phase in ENERGY_PERMITTED
        numbers["light_on"] = float(permitted and self._control.why is Why.ON)
        quality = self._scene.quality(told, now_ns)
        message = Metrics(name="laser", device_time_ns=now_ns, values=numbers, quality=quality, evidence=told)
        yield from self._scene.routes.to("metrics", message)
        yield from self._scene.outlines(LINES, result)

    def _drive(self, numbers: dict[str, float], known: bool, told: dict[str, int], now_ns: int) -> Iterable[Effect]:
        control, asking = self._control, self._asking
        assert control is not None and asking is not None
        if self._treatment.phase not in ENERGY_PERMITTED:
            asking.forget()
            return
        expected = Expected(
            known, numbers.get("expected_c", 0.0), self._room_c(), numbers.get("forecast_margin_covered", 0.0)
        )
        on = control.update(expected, told[f"{self._stream}.device_ns"] / 1e9)
        yield from asking.tell("POWER", {"power_w": self._power_w if on else 0.0}, control.why.value, now_ns)
        if control.done:
            self._treatment.act("FINISH", now_ns)

    def _room_c(self) -> float:
        """Degrees between the guards and their limits, expected at the next frame; none where one is not known."""
        rooms = [
            fact.limit - fact.value if fact.proven and fact.limit is not None else float("-inf")
            for fact in self._scene.facts.subjects("hot_region_c").values()
            if fact is not None
        ]
        return min(rooms, default=float("inf"))

    def heard(self, answer: Acknowledgement, now_ns: int) -> None:
        """The laser's answer to a command."""
        if self._asking is not None:
            self._asking.heard(answer)
