"""Faults of campaign A beside thermometry and tracking: motion, plan, robot, people, broker, disk, devices."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.messages import Acknowledgement, AnyMessage, Image, Pose, Reading, Status
from devices.quality import Quality
from guidance.events import AnyEvent, Health, LinkChange, Loss
from guidance.faults.rooms import CONSOLE, SET_UP
from guidance.faults.spoiler import Active, Moment, Mutation, Spoiled, replaced
from guidance.faults.table import LINK_DOWN, OPERATOR_STOP, SECOND, FaultRow, Make, Stage
from guidance.safety.evidence.reports import FAULT_CODES

Vector = NDArray[np.float64]
SELF_NS = 250_000_000  # how often the service tells of itself
LASTS = 3 * SECOND
LONG_S = 14.0  # for what is told after ten seconds


def _lasting(name: str, seconds: float = 3.0, **more: Any) -> Make:
    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        return Active(name, start_ns, start_ns + round(seconds * SECOND), **more)

    return make


def _drawn(mutation: Callable[[np.random.Generator], Mutation], name: str, seconds: float = 3.0) -> Make:
    """A mutation whose strength is drawn once for the case."""

    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        return Active(name, start_ns, start_ns + round(seconds * SECOND), mutation(rng))

    return make


# --- what devices report of themselves -----------------------------------------------------------


def _reads(**ranges: tuple[float, float]) -> Make:
    """A reading says so, with values drawn from these ranges."""

    def mutation(rng: np.random.Generator) -> Mutation:
        values = {name: float(rng.uniform(*span)) for name, span in ranges.items()}

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            if not isinstance(message, Reading):
                return [(0, message)]
            return [(0, replaced(message, values={**message.values, **values}))]

        return mutate

    return _drawn(mutation, "reading")


def _faulty(stream: str) -> Make:
    """The device tells a status that is a fault, once."""

    def mutation(rng: np.random.Generator) -> Mutation:
        code = int(rng.choice(sorted(FAULT_CODES)))

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            status = Status(name=stream, device_time_ns=message.device_time_ns, code=code)
            return [(0, message), *([(0, status)] if moment.count == 0 else [])]

        return mutate

    return _drawn(mutation, "status")


def _emits(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
    """Power is told although the room was stopped."""
    fault = _reads(power_w=(1.0, 60.0))(stage, rng, start_ns)
    fault.name = OPERATOR_STOP
    return fault


def _nothing(message: AnyMessage, moment: Moment) -> Spoiled:
    return []


# --- the service of itself, its feeds and peers --------------------------------------------------


def _tells(source: str, seconds: float = 4.0, **ranges: tuple[float, float]) -> Make:
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
    return _lasting("lane", 12.0, answers=(kind, lambda found: {**found, **facts}))


def _lane_more(kind: str, key: str, more: float) -> Make:
    """What a lane finds is so much more than it was."""
    return _lasting("lane", 12.0, answers=(kind, lambda found: {**found, key: float(found.get(key) or 0.0) + more}))


# --- poses of robots, needles and references -----------------------------------------------------


def _shift(direction: Callable[[Stage], Vector], low_mm: float, high_mm: float, mm_per_s: float = 0.0) -> Make:
    """Poses of one name lie aside: at once, or drifting away at `mm_per_s`."""

    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        way, most = direction(stage), float(rng.uniform(low_mm, high_mm))

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            if not isinstance(message, Pose):
                return [(0, message)]
            passed_s = (moment.now_ns - moment.since_ns) / SECOND
            matrix = message.fixed_from_moving.copy()
            matrix[:3, 3] += way * (min(most, mm_per_s * passed_s) if mm_per_s else most)
            return [(0, replaced(message, fixed_from_moving=matrix))]

        return Active("shift", start_ns, start_ns + LASTS, mutate)

    return make


def _named(make: Make, name: str) -> Make:
    """The same for messages of one name."""

    def named(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        fault = make(stage, rng, start_ns)
        fault.message = name
        return fault

    return named


def _along(stage: Stage) -> Vector:
    assert stage.way is not None
    along: Vector = stage.way / np.linalg.norm(stage.way)
    return along


def _aside(stage: Stage) -> Vector:
    across: Vector = np.cross(_along(stage), (0.0, 0.0, 1.0))
    return across / float(np.linalg.norm(across))


def _fixed(x: float, y: float, z: float) -> Callable[[Stage], Vector]:
    return lambda stage: np.array([x, y, z])


def _turned(message: AnyMessage, moment: Moment) -> Spoiled:
    """An electrode that points 14 degrees elsewhere."""
    if not isinstance(message, Pose):
        return [(0, message)]
    c, s = np.cos(np.radians(14.0)), np.sin(np.radians(14.0))
    matrix = message.fixed_from_moving.copy()
    matrix[:3, :3] = matrix[:3, :3] @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return [(0, replaced(message, fixed_from_moving=matrix))]


def _stop_answer(change: Callable[[Acknowledgement], Spoiled]) -> Mutation:
    def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
        return change(message) if isinstance(message, Acknowledgement) else [(0, message)]

    return mutate


def _invalid(message: AnyMessage, moment: Moment) -> Spoiled:
    return [(0, replaced(message, quality=Quality.INVALID) if isinstance(message, Pose) else message)]


def _same_pose(message: AnyMessage, moment: Moment) -> Spoiled:
    """Not seen, but sent as valid: the last pose under new times."""
    old = moment.history[-min(moment.count + 1, len(moment.history))] if moment.history else message
    if not isinstance(message, Pose) or not isinstance(old, Pose):
        return [(0, message)]
    return [(0, replaced(message, fixed_from_moving=old.fixed_from_moving))]


# --- pictures of a moving organ ------------------------------------------------------------------


def _rolled(low_px: int, high_px: int, gradual: bool = False) -> Callable[[np.random.Generator], Mutation]:
    """The organ lies some pixels lower, at once or more with every picture."""

    def mutation(rng: np.random.Generator) -> Mutation:
        most = int(rng.integers(low_px, high_px + 1)) * int(rng.choice([-1, 1]))

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            if not isinstance(message, Image):
                return [(0, message)]
            by = round(most * min(1.0, moment.count / 12)) if gradual else most
            return [(0, replaced(message, pixels=np.ascontiguousarray(np.roll(message.pixels, by, axis=-2))))]

        return mutate

    return mutation


def _noise(message: AnyMessage, moment: Moment) -> Spoiled:
    if not isinstance(message, Image):
        return [(0, message)]
    pixels = moment.rng.permuted(message.pixels.ravel()).reshape(message.pixels.shape)
    return [(0, replaced(message, pixels=pixels))]


def _other_plane(message: AnyMessage, moment: Moment) -> Spoiled:
    if not isinstance(message, Image):
        return [(0, message)]
    return [(0, replaced(message, pixels=np.ascontiguousarray(message.pixels[..., ::-1])))]


def _first_again(message: AnyMessage, moment: Moment) -> Spoiled:
    """Breath held: the picture at the fault's begin under new times."""
    old = moment.history[-min(moment.count + 1, len(moment.history))] if moment.history else message
    if not isinstance(message, Image) or not isinstance(old, Image):
        return [(0, message)]
    return [(0, replaced(message, pixels=old.pixels))]


def _other_patient(message: AnyMessage, moment: Moment) -> Spoiled:
    if not isinstance(message, Image):
        return [(0, message)]
    return [(0, replaced(message, tags={**message.tags, "PatientID": "SIM-9999"}))]


def _other_tag(tag: str) -> Callable[[np.random.Generator], Mutation]:
    """The scanner says another echo time or frequency than the room was set for; its pictures look as before."""

    def mutation(rng: np.random.Generator) -> Mutation:
        by = float(rng.choice([0.5, 0.95, 1.01, 1.3]))

        def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
            if not isinstance(message, Image) or tag not in message.tags:
                return [(0, message)]
            return [(0, replaced(message, tags={**message.tags, tag: f"{by * float(message.tags[tag]):g}"}))]

        return mutate

    return mutation


def _only_first(message: AnyMessage, moment: Moment) -> Spoiled:
    return [(0, message)] if moment.count == 0 else []


def _zoomed(rng: np.random.Generator) -> Mutation:
    """The scanner shows another depth: its pixels are of another size."""
    by = float(rng.choice([0.8, 0.9, 1.1, 1.5]))

    def mutate(message: AnyMessage, moment: Moment) -> Spoiled:
        if not isinstance(message, Image):
            return [(0, message)]
        matrix = message.frame_from_image_mm.copy()
        matrix[:3, :3] *= by
        return [(0, replaced(message, frame_from_image_mm=matrix))]

    return mutate


def _rows(room: str, link: str, makes: dict[str, Make], seconds: float = 4.0) -> tuple[FaultRow, ...]:
    return tuple(FaultRow(name, link, make, room, seconds) for name, make in makes.items())


def _silent(low_s: float, high_s: float) -> Make:
    def make(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
        return Active("silent", start_ns, start_ns + round(rng.uniform(low_s, high_s) * SECOND), _nothing)

    return make


def _down(stage: Stage, rng: np.random.Generator, start_ns: int) -> Active:
    return Active(LINK_DOWN, start_ns, start_ns + round(rng.uniform(0.3, 1.5) * SECOND), _nothing, deaf=True)


REPORTS: dict[str, Make] = {
    "coolant lost": _reads(coolant_ok=(0.0, 0.0)),
    "coupling lost": _reads(coupling_ok=(0.0, 0.0)),
    "cavitation heard": _reads(cavitation=(1.0, 1.0)),
    "device tells a fault": _faulty("TherapyStatus"),
    "device emits after STOP": _emits,
    "guard's lane hangs": _lasting("hang", 1.2, hangs="guard"),
    "pictures are drawn late": _lasting("late", 1.2, hangs="show"),
    "unheated tissue reads wrong": _lane_more("thermometry", "vessel.mean_c", 3.5),
    "near field has its dose": _lane_more("thermometry", "liver.dose_upper_cem43_min", 40.0),
    "target about to boil": _lane_more("thermometry", "tumour.max_c", 60.0),
    "target stays hot": _lane_more("thermometry", "intercostal-muscle.mean_c", 3.0),
}
PICTURES: dict[str, Make] = {
    "images of another patient": _lasting("tags", mutate=_other_patient),
    "another echo time": _drawn(_other_tag("EchoTime_s"), "echo time"),
    "another field": _drawn(_other_tag("ImagingFrequency_MHz"), "field"),
    "last picture is never computed": _lasting("hang", 1.2, mutate=_only_first, hangs="guard"),
}
ROBOT: dict[str, Make] = {
    "robot's tip jumps aside": _shift(_aside, 3.4, 9.0),
    "robot drifts aside": _shift(_aside, 4.0, 8.0, 12.0),
    "robot rushes aside": _shift(_aside, 2.8, 2.95, 40.0),
    "robot past its target": _shift(_along, 94.0, 130.0, 300.0),
    "robot's pose silent": _named(_silent(0.2, 1.5), "RobotToRAS"),
    "robot's pose invalid": _lasting("invalid", mutate=_invalid),
    "robot silent": _silent(0.5, 1.5),
    "robot's link down": _down,
    "following error": _reads(following_error_mm=(1.3, 9.0)),
    "robot ignores STOP": _lasting(OPERATOR_STOP, mutate=_stop_answer(lambda answer: [])),
    "robot refuses STOP": _lasting(
        OPERATOR_STOP, mutate=_stop_answer(lambda answer: [(0, replaced(answer, done=False))])
    ),
}
XRAY: dict[str, Make] = {
    "kerma": _reads(kerma_mgy=(3100.0, 4800.0)),
    "kerma, substantial": _reads(kerma_mgy=(5100.0, 9000.0)),
    "kerma-area product": _reads(kap_gycm2=(310.0, 480.0)),
    "kerma-area product, substantial": _reads(kap_gycm2=(510.0, 900.0)),
    "fluoroscopy time": _reads(fluoroscopy_min=(31.0, 58.0)),
    "fluoroscopy time, substantial": _reads(fluoroscopy_min=(61.0, 90.0)),
}
SERVICE: dict[str, Make] = {
    "disk nearly full": _tells("recorder", record_free_mb=(5.0, 480.0)),
    "disk syncs slowly": _tells("recorder", record_sync_ms=(520.0, 5000.0)),
    "records lost": _tells("recorder", record_lost=(1.0, 9.0)),
    "broker gone": _tells("alerts", alert_age_ms=(110.0, 60_000.0)),
    "supervisor stopped the devices": _tells("supervisor", supervisor_stops=(1.0, 1.0)),
    "supervisor dead": _events(_supervisor),
    "plan edited after loading": _tells("plan", plan_edited_files=(1.0, 3.0)),
    "slow reader": _losses("shed: the reader is slow", (310, 4000), 1),
    "hostile peer": _losses("rejected: header version 99", (1, 3), 4),
    "loop blocked": _stalled(0.27, 0.9),
    "loop late": _stalled(0.03, 0.15),
}
PEOPLE: dict[str, Make] = {
    "console's heart stops": _lasting("hand", lets_go=frozenset({"BEAT"})),
    "console covered": _lasting("hand", lets_go=frozenset({"LEASE"})),
    "pedal released": _lasting("hand", lets_go=frozenset({"HELD"})),
    "browser asleep": _lasting("hand", lets_go=frozenset({"BEAT", "LEASE", "HELD"})),
    "console's link down": _link(CONSOLE, 0.3, 1.5),
}
MOTION: dict[str, Make] = {
    "patient shifts": _drawn(_rolled(2, 5), "rolled"),
    "organ drifts": _drawn(_rolled(2, 4, gradual=True), "drift"),
    "pictures of noise": _lasting("noise", 1.5, mutate=_noise),
    "pictures of another plane": _lasting("plane", mutate=_other_plane),
    "no cine picture": _silent(0.4, 1.5),
    "breath held": _lasting("held", mutate=_first_again),
    "mean place drifts": _lane_more("cine", "drift_mm", 3.5),
}
CHEST: dict[str, Make] = {
    "marker falls off the chest": _shift(_fixed(0.3, -0.5, -0.8), 60.0, 300.0),
    "marker slides over the chest": _shift(_fixed(0.0, 0.0, -1.0), 60.0, 200.0, 80.0),
    "marker hidden": _lasting("invalid", mutate=_invalid),
    "hidden marker repeats its pose": _lasting("hidden", mutate=_same_pose),
}
FAR_AWAY: dict[str, Make] = {
    "shifted for long": _drawn(_rolled(4, 6), "rolled", 12.0),
}
NEEDLES: dict[str, Make] = {
    "electrode aside": _named(_shift(_fixed(1.0, 0.0, 0.0), 4.0, 12.0), "Electrode1ToTracker"),
    "electrode drifts to the vein": _named(_shift(_fixed(0.46, 0.89, 0.0), 8.0, 30.0, 10.0), "Electrode2ToTracker"),
    "electrode turned": _named(_lasting("turned", mutate=_turned), "Electrode3ToTracker"),
    "electrode too deep": _named(_shift(_fixed(0.0, 0.0, -1.0), 7.0, 12.0), "Electrode2ToTracker"),
    "electrode invalid": _named(_lasting("invalid", mutate=_invalid), "Electrode1ToTracker"),
}
PULSES: dict[str, Make] = {
    "R-wave lost": _reads(r_wave_sync=(0.0, 0.0)),
}
BRAIN: dict[str, Make] = {
    "reference pushed": _named(_shift(_fixed(0.6, 0.0, 0.8), 1.5, 9.0), "ReferenceToTracker"),
    "second reference pushed": _named(_shift(_fixed(0.0, 1.0, 0.0), 1.5, 9.0), "Reference2ToTracker"),
    "reference hidden": _named(_lasting("invalid", mutate=_invalid), "ReferenceToTracker"),
}
DEPTH: dict[str, Make] = {
    "depth changed": _drawn(_zoomed, "zoom"),
}
BENDING: dict[str, Make] = {
    "needle bends": _named(_shift(_fixed(0.7, 0.7, 0.0), 3.5, 9.0), "NeedleTipToTracker"),
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
ROOM_FAULTS: tuple[FaultRow, ...] = (
    *_rows("thermal", "therapy", REPORTS),
    *_rows("thermal", "mr", PICTURES),
    *_rows("robot", "robot", ROBOT),
    *_rows("robot", "xray", XRAY),
    *_rows("robot", "xray", {"dose no longer told": _lasting("silent", 13.0, mutate=_nothing)}, LONG_S),
    *_rows("robot", "", SERVICE),
    *_rows("robot", "", PEOPLE),
    *_rows("robot", "", {"nobody looks": _tells("supervisor", supervisor_stops=(1.0, 1.0))}, LONG_S),
    *_rows("motion", "mr", MOTION),
    *_rows("motion", "mr", FAR_AWAY, LONG_S),
    *_rows("motion", "camera", CHEST),
    *_rows("needles", "tracker", NEEDLES),
    *_rows("needles", "therapy", PULSES),
    *_rows("brain", "tracker", BRAIN),
    *_rows("picture", "ultrasound", DEPTH),
    *_rows("seeds", "tracker", BENDING),
    *_rows("cryo", "", CRYO, LONG_S),
    *_rows("laser", "", LASER, 10.0),
    *_rows("drug", "", DRUG, 30.0),
    *(FaultRow(name, "", _lasting("set-up"), name) for name in SET_UP),
)
