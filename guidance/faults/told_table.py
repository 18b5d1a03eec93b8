"""Faults that are told: by devices of themselves, by the service of itself, by people, and as answers of lanes."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from devices.messages import AnyMessage, Reading, Status
from guidance.events import AnyEvent, Health, LinkChange, Loss
from guidance.faults.rooms import CONSOLE
from guidance.faults.row import LASTS, OPERATOR_STOP, SECOND, Make, Stage, drawn, lasting
from guidance.faults.spoiler import Active, Moment, Mutation, Spoiled, replaced
from guidance.safety.evidence.reports import FAULT_CODES

SELF_NS = 250_000_000  # how often the service tells of itself


def reads(**ranges: tuple[float, float]) -> Make:
    """A reading says so, with values drawn from these ranges."""

    def mutation(rng: np.random.Generator) -> Mutation:
        values = {name: float(rng.uniform(*span)) for name, span in ranges.items()}

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            if not isinstance(message, Reading):
                return [(0, message)]
            return [(0, replaced(message, values={**message.values, **values}))]

        return mutate

    return drawn(mutation, "reading")


def _faulty(stream: str) -> Make:
    """The device tells a status that is a fault, once."""

    def mutation(rng: np.random.Generator) -> Mutation:
        code = int(rng.choice(sorted(FAULT_CODES)))

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            status = Status(name=stream, device_time_ns=message.device_time_ns, code=code)
            return [(0, message), *([(0, status)] if moment.count == 0 else [])]

        return mutate

    return drawn(mutation, "status")


def _emits(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
    """Power is told although the room was stopped."""
    fault = reads(power_w=(1.0, 60.0))(stage, rng, start_ns)
    fault.name = OPERATOR_STOP
    return fault


def tells(source: str, seconds: float = 4.0, **ranges: tuple[float, float]) -> Make:
    """The rim's own measurements, four times a second."""

    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        facts = {name: float(rng.uniform(*span)) for name, span in ranges.items()}
        end_ns = start_ns + round(seconds * SECOND)
        told = (Health(now_ns=at, source=source, facts=facts) for at in range(start_ns, end_ns, SELF_NS))
        return Active("health", start_ns, end_ns, happens=tuple(told))

    return make


def _events(events: Callable[[np.random.Generator, int], Iterable[AnyEvent]]) -> Make:
    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        return Active("events", start_ns, start_ns + LASTS, happens=tuple(events(rng, start_ns)))

    return make


def _link(name: str, low_s: float, high_s: float) -> Make:
    def events(rng: np.random.Generator, start_ns: int) -> Iterable[AnyEvent]:
        back_ns = start_ns + round(rng.uniform(low_s, high_s) * SECOND)
        yield LinkChange(now_ns=start_ns, link=name, up=False, reason="fault")
        yield LinkChange(now_ns=back_ns, link=name, up=True, reason="fault")

    return _events(events)


def _supervisor(rng: np.random.Generator, start_ns: int) -> Iterable[AnyEvent]:
    yield LinkChange(now_ns=start_ns, link="supervisor", up=True, reason="fault")
    yield LinkChange(now_ns=start_ns + 100_000_000, link="supervisor", up=False, reason="fault")


def _losses(reason: str, count: tuple[int, int], times: int) -> Make:
    def events(rng: np.random.Generator, start_ns: int) -> Iterable[AnyEvent]:
        for n in range(times):
            yield Loss(
                now_ns=start_ns + n * 50_000_000, link="bus", stream="viewer", count=int(rng.integers(*count)),
                reason=reason,
            )  # fmt: skip

    return _events(events)


def _stalled(low_s: float, high_s: float) -> Make:
    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        return Active("stall", start_ns, start_ns + round(rng.uniform(low_s, high_s) * SECOND), stands_still=True)

    return make


def _lane(kind: str, **facts: Any) -> Make:
    """What a lane finds is this."""
    return lasting("lane", 12.0, answers=(kind, lambda found: {**found, **facts}))


def lane_more(kind: str, key: str, more: float) -> Make:
    """What a lane finds is so much more than it was."""
    return lasting("lane", 12.0, answers=(kind, lambda found: {**found, key: float(found.get(key) or 0.0) + more}))


REPORTS: dict[str, Make] = {
    "coolant lost": reads(coolant_ok=(0.0, 0.0)),
    "coupling lost": reads(coupling_ok=(0.0, 0.0)),
    "cavitation heard": reads(cavitation=(1.0, 1.0)),
    "device tells a fault": _faulty("TherapyStatus"),
    "device emits after STOP": _emits,
    "guard's lane hangs": lasting("hang", 1.2, hangs="guard"),
    "pictures are drawn late": lasting("late", 1.2, hangs="show"),
    "unheated tissue reads wrong": lane_more("thermometry", "vessel.mean_c", 3.5),
    "near field has its dose": lane_more("thermometry", "liver.dose_upper_cem43_min", 40.0),
    "target about to boil": lane_more("thermometry", "tumour.max_c", 60.0),
    "target stays hot": lane_more("thermometry", "intercostal-muscle.mean_c", 3.0),
}
PULSES: dict[str, Make] = {
    "R-wave lost": reads(r_wave_sync=(0.0, 0.0)),
}
XRAY: dict[str, Make] = {
    "kerma": reads(kerma_mgy=(3100.0, 4800.0)),
    "kerma, substantial": reads(kerma_mgy=(5100.0, 9000.0)),
    "kerma-area product": reads(kap_gycm2=(310.0, 480.0)),
    "kerma-area product, substantial": reads(kap_gycm2=(510.0, 900.0)),
    "fluoroscopy time": reads(fluoroscopy_min=(31.0, 58.0)),
    "fluoroscopy time, substantial": reads(fluoroscopy_min=(61.0, 90.0)),
}
SERVICE: dict[str, Make] = {
    "disk nearly full": tells("recorder", record_free_mb=(5.0, 480.0)),
    "disk syncs slowly": tells("recorder", record_sync_ms=(520.0, 5000.0)),
    "records lost": tells("recorder", record_lost=(1.0, 9.0)),
    "broker gone": tells("alerts", alert_age_ms=(110.0, 60_000.0)),
    "supervisor stopped the devices": tells("supervisor", supervisor_stops=(1.0, 1.0)),
    "supervisor dead": _events(_supervisor),
    "plan edited after loading": tells("plan", plan_edited_files=(1.0, 3.0)),
    "slow reader": _losses("shed: the reader is slow", (310, 4000), 1),
    "hostile peer": _losses("rejected: header version 99", (1, 3), 4),
    "loop blocked": _stalled(0.27, 0.9),
    "loop late": _stalled(0.03, 0.15),
}
PEOPLE: dict[str, Make] = {
    "console's heart stops": lasting("hand", lets_go=frozenset({"BEAT"})),
    "console covered": lasting("hand", lets_go=frozenset({"LEASE"})),
    "pedal released": lasting("hand", lets_go=frozenset({"HELD"})),
    "browser asleep": lasting("hand", lets_go=frozenset({"BEAT", "LEASE", "HELD"})),
    "console's link down": _link(CONSOLE, 0.3, 1.5),
}
ORGAN = "colon"
CRYO: dict[str, Make] = {
    "ice comes near": _lane("iceball", **{f"{ORGAN}.gap_next_mm": 3.4}),
    "ice reaches the organ": _lane("iceball", **{f"{ORGAN}.gap_next_mm": 1.2}),
    "organ grows cold": _lane("iceball", **{f"{ORGAN}.cold_c": 3.0}),
    "iceball unseen": _lane("iceball", known=False, state="no_signal"),
}
LASER: dict[str, Make] = {
    "frames too slow for the heat": _lane("damage", frame_s=4.2, heating_c_per_s=1.2),
    "forecast beyond the plan": _lane("damage", over_plan=1.4, known=True),
}
DRUG: dict[str, Make] = {
    "target not seen": _lane("heating", known=False),
}
