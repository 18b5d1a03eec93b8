"""Cryo desk: the iceball of every frame, the needles through their cycles, slower near an organ, thaw as planned only.

It asks the freezing device only while the treatment permits; every command is acknowledged or told as missing. The
limits on the gap between ice and organs stop the device without it.
"""

from collections.abc import Iterable

from devices.messages import Acknowledgement, Metrics
from guidance.core.asking import Asking
from guidance.core.scene import Desk, Scene
from guidance.events import Effect, JobDone
from guidance.safety.facts import Fact
from guidance.safety.phases import ENERGY_PERMITTED
from guidance.safety.treatment import Treatment
from guidance.therapy.cycles import Cycles, Step

FIRST_ID = 3_000_000
LINES = {"Iceball": "ice_depth_mm", "Lethal": "ice_lethal_mm"}
VOLUME = ("state", "ras_from_image", "magnitude", "temperature_c", "sigma_c", "valid")
RISK = "organ_at_risk"


class CryoDesk(Desk):
    """State of the needles of one target."""

    jobs = frozenset({"iceball"})
    judged = ("ice_gap_mm", "ice_unseen_frames", "organ_cold_c")

    def __init__(self, scene: Scene, treatment: Treatment) -> None:
        self._scene, self._treatment, self._row = scene, treatment, scene.settings.cryo
        settings, row = scene.settings, scene.settings.cryo
        therapy, thermometry = settings.therapy, settings.thermometry
        self._stream = thermometry.stream if thermometry else ""
        self._asking = Asking(therapy.link, therapy.device, FIRST_ID) if therapy else None
        self._organs = [s.name for s in scene.plan.structures if s.role == RISK] if row and scene.plan else []
        self._cycles: Cycles | None = None
        self._slow: set[int] = set()
        if row is not None:
            self._cycles = Cycles([(cycle.freeze_s, cycle.thaw_s) for cycle in row.cycles], row.active_thaw_s)
            scene.facts.declare("ice_unseen_frames", row.target)
            for organ in self._organs:
                scene.facts.declare("ice_gap_mm", organ)
        self._seen = self._unseen = 0
        self._asked: tuple[float, ...] = (0.0,) * (len(row.needles) if row else 0)
        self.facts: dict[str, float | int | str | bool | None] = {}

    def tick(self, now_ns: int) -> Iterable[Effect]:
        """Time of the cycles passes while the treatment permits; a new frame goes to the iceball."""
        scene, cycles = self._scene, self._cycles
        if self._row is None or cycles is None:
            return
        permitted = self._treatment.phase in ENERGY_PERMITTED
        cycles.pass_time(now_ns / 1e9, permitted)
        yield from self._drive(permitted, now_ns)
        if self._seen == scene.volume_number or "temperature_c" not in scene.volume:
            return
        self._seen = scene.volume_number
        inputs = {key: scene.volume[key] for key in VOLUME}
        inputs["time_s"] = scene.volume_evidence[f"{self._stream}.device_ns"] / 1e9
        inputs["freezing"] = self._asked if permitted else (0.0,) * len(self._asked)
        inputs["cycle"], inputs["begun"] = cycles.number, cycles.begun
        yield scene.job("guard", "", "iceball", inputs, scene.volume_evidence)

    def _drive(self, permitted: bool, now_ns: int) -> Iterable[Effect]:
        cycles, asking, row = self._cycles, self._asking, self._row
        assert cycles is not None and asking is not None and row is not None
        if not permitted:
            asking.forget()
            return
        if cycles.step is Step.DONE:
            self._asked = (0.0,) * len(row.needles)
            self._treatment.act("FINISH", now_ns)
            return
        shares = {Step.FREEZE: 1.0, Step.THAW: -1.0}.get(cycles.step, 0.0)
        count = len(row.needles)
        slow = self._slow if cycles.step is Step.FREEZE else set()
        self._asked = tuple(row.slow_share if n in slow else shares for n in range(count))
        values = {f"needle_{n + 1}": share for n, share in enumerate(self._asked)}
        yield from asking.tell("NEEDLES", values, cycles.step.value, now_ns)

    def done(self, result: JobDone, told: dict[str, int]) -> Iterable[Effect]:
        """The iceball of one frame: facts for the rules, which needle to slow, outlines for whoever draws."""
        row, cycles, now_ns = self._row, self._cycles, result.now_ns
        if row is None or cycles is None:
            return
        known = bool(result.facts.get("known")) and not result.failed
        self._unseen = 0 if known else self._unseen + 1
        self._scene.facts.set("ice_unseen_frames", row.target, Fact(float(self._unseen), now_ns))
        if result.failed:
            return
        self.facts = dict(result.facts)
        numbers = {key: float(value) for key, value in result.facts.items() if isinstance(value, (int, float))}
        if known:
            self._organ_facts(numbers, now_ns)
            self._scene.region = {**self._scene.region, **result.arrays}
        numbers |= {"cycle": float(cycles.number), "step_s": cycles.step_s, "slow_needles": float(len(self._slow))}
        numbers |= {f"needle_{n + 1}": share for n, share in enumerate(self._asked)}
        quality = self._scene.quality(told, now_ns)
        message = Metrics(name="cryo", device_time_ns=now_ns, values=numbers, quality=quality, evidence=told)
        yield from self._scene.routes.to("metrics", message)
        yield from self._scene.outlines(LINES, result)

    def _organ_facts(self, numbers: dict[str, float], now_ns: int) -> None:
        assert self._row is not None
        self._slow = set()
        for organ in self._organs:
            gap = numbers[f"{organ}.gap_next_mm"]
            self._scene.facts.set("ice_gap_mm", organ, Fact(gap, now_ns))
            if gap < self._row.slow_gap_mm and numbers[f"{organ}.needle"] >= 0:
                self._slow.add(int(numbers[f"{organ}.needle"]))
            if f"{organ}.cold_c" in numbers:
                self._scene.facts.set("organ_cold_c", organ, Fact(numbers[f"{organ}.cold_c"], now_ns))

    def heard(self, answer: Acknowledgement, now_ns: int) -> None:
        """The device's answer to a command."""
        if self._asking is not None:
            self._asking.heard(answer)
