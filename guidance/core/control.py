"""Control desk: filtered heat of the target, what power to ask for, what to expect, where the scanner looks.

It asks the energy device only while the treatment permits, never for more than the power that was confirmed,
and every command is acknowledged or told as missing.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.messages import Acknowledgement, Command, Metrics
from guidance.core.devices import DeviceDesk
from guidance.core.scene import ActHandler, Answer, Desk, Scene
from guidance.events import Act, Effect, JobDone, Send
from guidance.safety.facts import Fact
from guidance.safety.phases import ENERGY_PERMITTED
from guidance.safety.treatment import Treatment
from guidance.units import NS_PER_S

FIRST_ID = 1_000_000  # commands of control are numbered apart from those of the treatment
AGAIN_NS = NS_PER_S  # a command without an answer is sent again
FORECAST_NS = NS_PER_S
SMALLEST_W = 0.5  # a smaller change of power is not worth a command
PLANE_KEYS = ("x_mm", "y_mm", "z_mm")


class Emission(NamedTuple):
    """What the beam has done since then."""

    since_ns: int
    power_w: float
    point: int


class ControlDesk(Desk):
    """State of the loop: what was asked for, what was answered."""

    jobs = frozenset({"heating", "power", "forecast", "re_zero"})
    judged = ("forecast_over_plan", "target_unseen_frames")

    def __init__(self, scene: Scene, devices: DeviceDesk, treatment: Treatment) -> None:
        self._scene, self._devices, self._treatment = scene, devices, treatment
        settings = scene.settings
        self._row = settings.heating
        self._thermometry = settings.thermometry
        self._guards = settings.guards
        therapy = settings.therapy
        self._link, self._device = (therapy.link, therapy.device) if therapy else ("", "")
        self._reading = next((s.name for s in settings.streams if s.kind == "reading" and s.link == self._link), "")
        self._seen = 0
        self._forecast_ns = 0
        self._commands = FIRST_ID
        self._open: dict[str, tuple[int, int]] = {}  # verb -> (id, time) of the command that waits for its answer
        self._told: dict[str, Any] = {}  # verb -> values the device has acknowledged
        self._point = 0
        self._sent_point = 0  # of the newest FOCUS
        self._beam = [Emission(0, 0.0, 0)]
        self._reading_told: dict[str, float] | None = None
        self._beam_ns = 0  # up to here the filter knows what the beam did
        self._delivered_j = 0.0
        self._unseen = -1  # frames in a row; below 0: never seen yet
        if self._row is not None:
            scene.facts.declare("target_unseen_frames", self._row.target)
        self.answers: dict[str, int] = {"done": 0, "refused": 0, "repeated": 0}
        self.facts: dict[str, float | int | str | bool | None] = {}

    @property
    def verbs(self) -> dict[str, ActHandler]:
        """Another power; a new reference; another scan plane."""
        power: dict[str, ActHandler] = {"SET_POWER": self._set_power} if self._device else {}
        if self._thermometry is None:
            return power
        return power | {"RE_ZERO": self._re_zero, "SCAN_PLANE": self._scan_plane}

    def tick(self, now_ns: int) -> Iterable[Effect]:
        """A new thermometry answer goes to the filter, with what the beam did since the last."""
        scene = self._scene
        self._note_reading(now_ns)
        if self._row is None or self._seen == scene.volume_number or "temperature_c" not in scene.volume:
            return
        self._seen = scene.volume_number
        volume, told = scene.volume, scene.volume_evidence
        stream = self._thermometry.stream if self._thermometry else ""
        keys = ("state", "ras_from_image", "magnitude", "temperature_c", "sigma_c", "valid")
        settings = scene.streams[stream].settings
        acquired_ns = scene.tracking.time_ns(settings, told[f"{stream}.device_ns"], now_ns)
        inputs = {key: volume[key] for key in keys}
        inputs |= {"time_s": acquired_ns / 1e9, "beam": self._emitted(acquired_ns)}
        yield scene.job("guard", "", "heating", inputs, told)

    def _note_reading(self, now_ns: int) -> None:
        """The device's own word on its power, once for every reading."""
        reading = self._devices.readings.get(self._reading)
        if reading is None or reading is self._reading_told:
            return
        self._reading_told = reading
        self._note(now_ns, power_w=float(reading.get("power_w", 0.0)))

    def _note(self, now_ns: int, power_w: float | None = None, point: int | None = None) -> None:
        last = self._beam[-1]
        new = Emission(now_ns, last.power_w if power_w is None else power_w, last.point if point is None else point)
        if new[1:] != last[1:]:
            self._beam.append(new)

    def _emitted(self, until_ns: int) -> NDArray[np.float64]:
        """Rows (seconds, W, sonication point) from the last call up to `until_ns`."""
        since_ns = self._beam_ns or until_ns
        ends = [row.since_ns for row in self._beam[1:]] + [until_ns]
        rows = [
            (max(min(end, until_ns) - max(row.since_ns, since_ns), 0) / NS_PER_S, row.power_w, row.point)
            for row, end in zip(self._beam, ends, strict=True)
        ]
        rows = [row for row in rows if row[0] > 0.0]
        self._beam = [row for row, end in zip(self._beam, ends, strict=True) if end > until_ns] or self._beam[-1:]
        self._beam_ns = max(until_ns, since_ns)
        self._delivered_j += sum(seconds * power for seconds, power, _ in rows)
        return np.array(rows, np.float64).reshape(-1, 3)

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """An answer of a lane."""
        if result.kind == "heating":
            self._see(not result.failed and bool(result.facts.get("known")), result.now_ns)
        if result.failed:
            return ()
        takers = {"heating": self._filtered, "power": self._asked, "forecast": self._expected}
        return takers[result.kind](result, told) if result.kind in takers else ()

    def _see(self, known: bool, now_ns: int) -> None:
        """Frames in a row in which control did not see its target."""
        if self._row is None or (self._unseen < 0 and not known):
            return
        self._unseen = 0 if known else self._unseen + 1
        self._scene.facts.set("target_unseen_frames", self._row.target, Fact(float(self._unseen), now_ns))

    def _filtered(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        self.facts |= result.facts
        numbers = {key: float(value) for key, value in result.facts.items() if isinstance(value, (int, float))}
        now_ns, quality = result.now_ns, self._scene.quality(told, result.now_ns)
        message = Metrics(name="heating", device_time_ns=now_ns, values=numbers, quality=quality, evidence=told)
        yield from self._scene.routes.to("metrics", message)
        if not result.arrays:
            return
        self._scene.region = {**self._scene.region, **result.arrays}
        stream = self._thermometry.stream if self._thermometry else ""
        running = self._treatment.phase in ENERGY_PERMITTED and bool(result.facts.get("known"))
        guards = {row.structure: self._scene.facts.get("hot_region_c", row.structure) for row in self._guards}
        inputs = {
            **result.arrays,
            "time_s": told[f"{stream}.device_ns"] / 1e9,
            "running": running,
            "delivered_j": self._delivered_j,
            "guards_c": {name: fact.value for name, fact in guards.items() if fact is not None and fact.proven},
        }
        yield self._scene.job("study", "power", "power", inputs, told)
        if result.now_ns - self._forecast_ns >= FORECAST_NS:
            self._forecast_ns = result.now_ns
            yield self._scene.job("study", "forecast", "forecast", dict(result.arrays), told)

    def _asked(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        self.facts |= {f"power.{key}": value for key, value in result.facts.items()}
        if self._treatment.phase not in ENERGY_PERMITTED or self._row is None:
            self._told.clear()
            return
        self._point = int(result.facts["point"] or 0)
        if self._row.points_mm:
            self._sent_point = self._sent_point if "FOCUS" in self._open else self._point
            yield from self._tell("FOCUS", dict(zip(PLANE_KEYS, self._row.points_mm[self._point], strict=True)), result)
        asked = min(float(result.facts["power_w"] or 0.0), self._treatment.shown()["power_w"])
        yield from self._tell("POWER", {"power_w": round(asked, 1)}, result)

    def _tell(self, verb: str, values: dict[str, float], result: JobDone) -> Iterable[Effect]:
        """Send what differs from what the device has; one command of a verb is open at a time."""
        known = self._told.get(verb)
        if known is not None and all(abs(known[key] - value) < SMALLEST_W for key, value in values.items()):
            return
        waiting = self._open.get(verb)
        if waiting is not None and result.now_ns - waiting[1] < AGAIN_NS:
            return
        self.answers["repeated"] += waiting is not None
        self._commands += 1
        self._open[verb] = (self._commands, result.now_ns)
        self._told[verb] = values
        yield Send(self._link, self._command(self._device, verb, values, result.now_ns), urgent=True)

    def _command(self, name: str, verb: str, values: dict[str, float], now_ns: int) -> Command:
        return Command(
            name=name, command_id=self._commands, verb=verb, values=values,
            reason=self._treatment.phase.value, device_time_ns=now_ns,
        )  # fmt: skip

    def heard(self, answer: Acknowledgement, now_ns: int) -> None:
        """An open command is answered; a refused one is forgotten, so that it is asked again."""
        waiting = self._open.get(answer.verb)
        if waiting is None or waiting[0] != answer.command_id:
            return
        del self._open[answer.verb]
        told = self._told.get(answer.verb, {})
        if answer.done and answer.verb == "FOCUS":
            self._note(now_ns, point=self._sent_point)
        elif answer.done and answer.verb == "POWER" and self._beam[-1].power_w > 0.0:
            self._note(now_ns, power_w=told.get("power_w"))
        self.answers["done" if answer.done else "refused"] += 1
        if not answer.done:
            self._told.pop(answer.verb, None)

    def _expected(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        self.facts |= {f"forecast.{key}": value for key, value in result.facts.items()}
        self._scene.region = {**self._scene.region, **result.arrays}
        subject = self._row.target if self._row else ""
        self._scene.facts.set(
            "forecast_over_plan", subject, Fact(float(result.facts["over_plan"] or 0.0), result.now_ns)
        )
        numbers = {f"forecast_{k}": float(v) for k, v in result.facts.items() if isinstance(v, (int, float))}
        message = Metrics(name="forecast", device_time_ns=result.now_ns, values=numbers, evidence=told)
        return self._scene.routes.to("metrics", message)

    def _set_power(self, act: Act) -> Answer:
        power_w = act.values.get("power_w")
        if isinstance(power_w, bool) or not isinstance(power_w, (int, float)):
            return (f"power_w must be a number, not {power_w!r}",), []
        refusal = self._treatment.set_power(float(power_w))
        return ((refusal,) if refusal else ()), []

    def _re_zero(self, act: Act) -> Answer:
        """A new reference; the dose stays. While energy flows there is none."""
        if self._treatment.phase in ENERGY_PERMITTED:
            return ("a new reference needs the energy off",), []
        inputs = {"carry": bool(act.values.get("carry", False))}
        return (), [self._scene.job("guard", "", "re_zero", inputs, {})]

    def _scan_plane(self, act: Act) -> Answer:
        """Ask the scanner to look elsewhere (x_mm, y_mm, z_mm in RAS; absent: the target); a new reference follows."""
        plan, stream = self._scene.plan, self._thermometry.stream if self._thermometry else ""
        if self._treatment.phase in ENERGY_PERMITTED:
            return ("the slices stay where they are while energy flows",), []
        given = [act.values.get(key) for key in PLANE_KEYS]
        if any(value is None for value in given) and not (plan and plan.targets):
            return ("no position was given and the plan has no target",), []
        at = plan.targets[0].center_mm.tolist() if plan and any(v is None for v in given) else given
        self._commands += 1
        self._open["PLANE"] = (self._commands, act.now_ns)
        values = {key: float(value or 0.0) for key, value in zip(PLANE_KEYS, at, strict=True)}
        source = self._scene.streams[stream].settings
        return (), [Send(source.link, self._command(source.message_name, "PLANE", values, act.now_ns), urgent=True)]
