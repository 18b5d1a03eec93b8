"""Nominal treatment for hours of virtual time, without faults: nothing may stop or hold, and few alarms sound."""

import math
import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

from devices.messages import Alert
from guidance.core import Core
from guidance.events import Act, AnyEvent, Effect, Send
from guidance.load import config_file, load_room
from guidance.safety.phases import Phase
from guidance.safety.rules import Reaction
from guidance.settings import read_toml
from guidance.trial import EPOCH_NS, build
from guidance.units import NS_PER_S
from guidance.virtual import VirtualRoom

TREAT_S, REST_S = 12, 20
PATIENT_H, SHARED_H, WORKERS = 5.0, 0.5, 2
COARSE_TICK_MS, COARSE_HZ = 50.0, 25.0
TOLD_OF_A_PATIENT = 10  # lines of progress
STEP = {Phase.STOPPED: "RESET", Phase.IDLE: "ARM", Phase.READY: "START"}


class Nominal:
    """A watcher that counts STOPs, HOLDs and alarms; and the operator who treats, lets it cool and treats again.

    A HOLD by a row that only gates the beam (breathing) is no news; every other one counts, and every alarm that is
    told or told again.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._since_s = 0
        self._phase = core.treatment.phase
        self.stops: Counter[str] = Counter()
        self.holds: Counter[str] = Counter()
        self.alarms: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.gated = self.treated_s = 0

    def __call__(self, event: AnyEvent, effects: Sequence[Effect]) -> None:
        """See one step."""
        phase, before = self._core.treatment.phase, self._phase
        if phase is not before:
            self._phase = phase
            self._moved(before, phase)
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, Alert) and effect.message.state == "active":
                self.alarms[effect.message.name] += 1

    def _moved(self, before: Phase, phase: Phase) -> None:
        if phase is Phase.STOPPED:
            self.stops[self._causes(Reaction.STOP)] += 1
        elif phase is Phase.HOLD or (before, phase) == (Phase.READY, Phase.IDLE):
            causes = self._causes(Reaction.HOLD)
            self.gated += not causes
            if causes:
                self.holds[causes] += 1

    def _causes(self, reaction: Reaction) -> str:
        return " ".join(alarm.id for alarm in self._core.judge.present(reaction) if not alarm.rule.gate)

    def _warm(self) -> bool:
        return any(alarm.rule.fact == "residual_heat_c" for alarm in self._core.judge.present(Reaction.BLOCK))

    def act(self, room: VirtualRoom, second: int) -> None:
        """What the operator does in this second."""
        phase = self._core.treatment.phase
        self.treated_s += phase is Phase.TREATING
        due = {Phase.TREATING: TREAT_S, Phase.IDLE: REST_S}.get(phase, 1)
        if second - self._since_s < due:
            return
        verb = "FINISH" if phase in (Phase.TREATING, Phase.HOLD) else STEP[phase]
        if verb == "ARM" and self._warm():
            return
        for word in ("ACKNOWLEDGE", *(("RESET",) if verb == "ARM" else ()), verb):  # a HOLD may have latched
            values = self._core.treatment.shown() if word == "START" else {}
            room.take(Act(now_ns=room.now_ns, verb=word, actor="operator", values={**values}))
        self._phase = self._core.treatment.phase
        if self._phase is not phase:
            self._since_s = second
        for reason in self._core.last_verdict.reasons:
            self.refused[reason] += 1

    @property
    def words(self) -> str:
        """How it goes."""
        counts = f"{self.stops.total()} STOP, {self.holds.total()} HOLD, {self.alarms.total()} alarms"
        return f"{counts}, {self.treated_s / 3600:.2f} h with energy on"


class Quiet(NamedTuple):
    """What one patient's hours were like."""

    stops: Counter[str]
    holds: Counter[str]
    alarms: Counter[str]
    refused: Counter[str]
    gated: int
    treated_s: int


def _scenario(procedure: str) -> dict[str, Any]:
    """The room's devices as nothing goes wrong with them: tools keep to their way.

    The campaign's small room is made coarser in time: nothing is timed here, and a hundred hours are many.
    """
    values = read_toml(config_file("scenarios", procedure))
    for row in values["peers"]:
        given = row.get("with", {})
        if row["link"] == "tracker" and procedure == "campaign":
            given["rate_hz"] = COARSE_HZ
        for tool in given.get("tools", ()):
            if "lateral_mm" in tool:  # a demonstration shows how far beside its way a needle is; nobody leaves it there
                tool["lateral_mm"] = 0.0
    return values


def treat(procedure: str, hours: float, seed: int) -> Quiet:
    """So many hours of one patient; tells now and then how it goes."""
    settings, plan, limits = load_room(config_file("procedures", procedure))
    if procedure == "campaign":
        settings = settings.model_copy(update={"tick_ms": COARSE_TICK_MS})
    simulated = build(_scenario(procedure), seed, EPOCH_NS, procedure)
    core = Core(settings, plan, limits)
    room = VirtualRoom(core, simulated.peers, EPOCH_NS)
    nominal = Nominal(core)
    room.watchers.append(nominal)
    seconds = round(hours * 3600)
    for second in range(seconds):
        room.run_until(EPOCH_NS + second * NS_PER_S)
        nominal.act(room, second)
        if (second + 1) * TOLD_OF_A_PATIENT // seconds > second * TOLD_OF_A_PATIENT // seconds:
            _tell(f"patient {seed}, {(second + 1) / 3600:.2f} of {hours:g} h: {nominal.words}")
    return Quiet(nominal.stops, nominal.holds, nominal.alarms, nominal.refused, nominal.gated, nominal.treated_s)


def _tell(words: str) -> None:
    os.write(2, f"{words}\n".encode())  # a whole line: two processes write


def run_nominal(procedure: str, hours: float, seed: int) -> dict[str, Any]:
    """So many hours of `procedure`, each patient for `PATIENT_H` at most; counts, and how fast it went.

    A simulated patient's organ sinks all the time, as real ones do: after 14 hours it lies 9 cm lower, and a room
    asks for a new reference.
    """
    patients = max(1 if hours < SHARED_H else WORKERS, math.ceil(hours / PATIENT_H))
    began = time.perf_counter()
    asked = ([procedure] * patients, [hours / patients] * patients, range(seed, seed + patients))
    if patients == 1:
        rows = list(map(treat, *asked))
    else:
        with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
            rows = list(pool.map(treat, *asked))
    wall_s = time.perf_counter() - began
    stops = sum((row.stops for row in rows), Counter[str]())
    holds = sum((row.holds for row in rows), Counter[str]())
    alarms = sum((row.alarms for row in rows), Counter[str]())
    refused = sum((row.refused for row in rows), Counter[str]())
    return {
        "procedure": procedure,
        "seed": seed,
        "patients": len(rows),
        "hours": hours,
        "treated_h": round(sum(row.treated_s for row in rows) / 3600, 3),
        "stops": dict(stops),
        "holds": dict(holds),
        "gated": sum(row.gated for row in rows),
        "holds_per_h": round(holds.total() / hours, 3),
        "alarms_per_h": round(alarms.total() / hours, 3),
        "alarms": dict(alarms),
        "counts": {"stops": stops.total(), "holds": holds.total(), "alarms": alarms.total()},
        "refused": dict(refused.most_common(5)),
        "hours_per_minute": round(hours / max(wall_s / 60, 1e-9), 2),
        "ok": not stops and holds.total() <= hours and alarms.total() <= 6 * hours,
    }
