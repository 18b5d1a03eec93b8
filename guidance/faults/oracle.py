"""Oracles: what must have happened, computed from what was measured and from nothing else.

Each oracle is a row of `ORACLES`: it reads a `Trace` and yields `Expectation`s with the moment of the first
evidence (or of the missed deadline) and the bound of docs/safety.md. None of them calls the judge's code.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from guidance.faults.trace import Answer, Sample, Trace

ENERGY = frozenset({"TREATING", "HOLD"})
ARMED = frozenset({"READY", "TREATING", "HOLD"})
ALWAYS = frozenset({"IDLE", "READY", "TREATING", "HOLD", "STOPPED"})
REST = ALWAYS - ENERGY
GRACE_NS = 25_000_000  # a tick and a transport: what ends within it may or may not be seen
ENERGY_ROLE = "therapy"  # link id of the energy device
STATES = {  # of a thermometry answer -> the rule that stops
    "no_signal": "H2v", "missing_slice": "H2v",
    "shape_changed": "T6s", "echo_time_changed": "T6s", "field_changed": "T6s",
}  # fmt: skip
SPEED_MM_PER_S = 3000.0
ALIKE_MIN = 0.5  # sound pictures stay above 0.75, breathing or not; 5 pixels aside are below 0.5
MS = 1_000_000
GLANCE_NS = 2000 * MS  # a tool that is away for longer is told of


class Expectation(msgspec.Struct, frozen=True):
    """By `since_ns` + `bound_ms` the rule must have spoken and the device must have been told `effect`.

    `optional`: the evidence is so near to the limit that either is right.
    """

    hazard: str
    rule: str
    subject: str
    since_ns: int
    bound_ms: float
    effect: str  # STOP | HOLD | OFF (nothing told) | BLOCK (told, and never armed after it) | ALERT | NOT_LIVE |
    # REFUSED (nothing told, and never armed while it lasts)
    phases: frozenset[str]
    optional: bool = False
    ripe_ns: int = 0  # when the evidence was complete; 0 = at once
    ends_ns: int = 0  # when what was seen was over; 0 = it lasted


Limits = Mapping[str, float]
Oracle = Callable[[Trace, Limits, int], Iterator[Expectation]]


def stale_thermometry(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """T2: no frame within 1.5 periods and jitter: HOLD; within 3: STOP."""
    period = trace.period_ns
    for now, following in pairwise([*(frame.at_ns for frame in trace.frames), until_ns]):
        for rule, key, nominal, effect, phases in (
            ("T2", "thermometry_hold_periods", 1.5, "HOLD", ARMED),
            ("T2s", "thermometry_stop_periods", 3.0, "STOP", ENERGY),
        ):
            over = now + round(limits[key] * period)
            if following <= over:
                continue
            yield Expectation(
                "T2", rule, trace.thermometry, now + round(nominal * period), 100.0, effect, phases,
                optional=following <= over + GRACE_NS, ripe_ns=over,
            )  # fmt: skip


def frozen_frames(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """T3: number or time not rising in two frames in a row; T3p: the same picture in two frames in a row."""
    number = device = -1
    pixels = b""
    stuck: dict[str, list[int]] = {"T3": [], "T3p": []}
    for frame in trace.frames:
        same = {"T3": frame.number <= number or frame.device_ns <= device, "T3p": frame.pixels == pixels}
        for rule, times in stuck.items():
            times[:] = [*times, frame.at_ns] if same[rule] else []
            if times:
                bound_ms = (2 * trace.period_ns) / 1e6 + 50.0
                optional = len(times) == 1
                late = not optional and times[1] - times[0] > 2 * trace.period_ns  # a pause between: T2's matter
                since, ripe = (times[1] if late else times[0]), times[-1]
                yield Expectation("T3", rule, trace.thermometry, since, bound_ms, "STOP", ENERGY, optional, ripe)
        number, device, pixels = max(number, frame.number), max(device, frame.device_ns), frame.pixels


def heat(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """T1, T1v, T1x, T1d: what thermometry said of each guard against its limit."""
    bound_ms = trace.period_ns / 1e6 + 50.0
    last_voxel: dict[str, float] = {}
    for answer, guard in _guards(trace):
        facts = answer.facts
        dose = facts.get(f"{guard}.dose_upper_cem43_min")  # also of what was not seen
        own = trace.guard_limits[guard]
        if isinstance(dose, float) and dose > (own[1] or limits["guard_dose_cem43_min"]):
            yield Expectation("T1", "T1d", guard, answer.told_ns, bound_ms, "STOP", ALWAYS, False, answer.at_ns)
        if not facts.get(f"{guard}.known"):
            continue
        voxel = float(facts[f"{guard}.voxel_c"])
        limit = own[0] or limits["guard_temperature_c"]
        over = {
            "T1": float(facts[f"{guard}.region_c"]) - limit,
            "T1v": min(voxel, last_voxel.get(guard, -273.15)) - limit,
            "T1x": voxel - limit - limits["guard_excess_c"],
        }
        last_voxel[guard] = voxel
        for rule, excess in over.items():
            if excess > 0:
                yield Expectation("T1", rule, guard, answer.told_ns, bound_ms, "STOP", ALWAYS, False, answer.at_ns)


def unseen_guards(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """T1u, T1us: a guard without temperature: HOLD at the first frame, STOP at the third, lost ones counted.

    A picture of other tissue than before shows no guard, whatever was answered.
    """
    period = trace.period_ns
    elsewhere = {frame.at_ns for frame in trace.frames if frame.alike < ALIKE_MIN}
    unseen: dict[str, list[int]] = {}
    seen: dict[str, int] = {}
    for answer, guard in _guards(trace):
        times = unseen.setdefault(guard, [])
        if answer.facts.get(f"{guard}.known") and answer.frame_ns not in elsewhere:
            times.clear()
            seen[guard] = answer.frame_ns
            continue
        times.append(answer.frame_ns)
        missing = (answer.frame_ns - seen.get(guard, answer.frame_ns)) / period
        if len(times) == 1:
            since, bound_ms = answer.told_ns, period / 1e6 + 50.0
            yield Expectation("T1", "T1u", guard, since, bound_ms, "HOLD", ARMED, False, answer.at_ns)
        if len(times) > 1 or missing > 1.25:
            optional, bound_ms = len(times) < 3 and missing < 2.75, 3 * period / 1e6 + 50.0
            since = times[0]
            for before, at in pairwise(times):
                since = at if at - before > 2 * period else since  # a pause between is T2's matter
            yield Expectation("T1", "T1us", guard, since, bound_ms, "STOP", ENERGY, optional, answer.at_ns)


def _guards(trace: Trace) -> Iterator[tuple[Answer, str]]:
    """Every answer that thermometry gave, with every guard; what could not be computed knows no guard."""
    for answer in trace.answers:
        if answer.facts.get("state") != "baseline":
            for guard in trace.guards:
                yield answer, guard


def few_valid(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """T4: too few voxels with a temperature: HOLD."""
    bound_ms = trace.period_ns / 1e6 + 50.0
    for answer in trace.answers:
        share = answer.facts.get("valid_share")
        if isinstance(share, float) and share < limits["thermometry_valid_share"] and _measured(answer):
            yield Expectation(
                "T4", "T4", trace.thermometry, answer.told_ns, bound_ms, "HOLD", ARMED, False, answer.at_ns
            )


def fast_change(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """T4r: the mean of a guard changed faster than tissue can: HOLD."""
    bound_ms = trace.period_ns / 1e6 + 50.0
    last: dict[str, tuple[float, int]] = {}
    for answer, guard in _guards(trace):
        mean = answer.facts.get(f"{guard}.mean_c")
        if not answer.facts.get(f"{guard}.known") or not isinstance(mean, float):
            continue
        before, last[guard] = last.get(guard), (mean, answer.at_ns)
        if before is not None:
            rate = abs(mean - before[0]) / (max(answer.at_ns - before[1], trace.period_ns) / 1e9)
            if rate > limits["heat_rate_c_per_s"]:
                since = answer.told_ns
                yield Expectation("T4", "T4r", guard, since, bound_ms, "HOLD", ARMED, False, answer.at_ns)


def told_states(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """H2v: a slice or the whole picture without signal: STOP. T6s: another sequence or shape than planned: STOP."""
    bound_ms = trace.period_ns / 1e6 + 50.0
    for answer in trace.answers:
        rule = STATES.get(str(answer.facts.get("state")))
        if rule is not None:
            subject = trace.thermometry
            yield Expectation(rule[:2], rule, subject, answer.told_ns, bound_ms, "STOP", ENERGY, False, answer.at_ns)


def wrong_settings(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """T6: at rest, another sequence or shape than planned: told, and nothing is armed while it lasts."""
    bound_ms, since = trace.period_ns / 1e6 + 50.0, 0
    for answer in [*trace.answers, Answer(until_ns, until_ns, {}, until_ns)]:
        wrong = STATES.get(str(answer.facts.get("state"))) == "T6s"
        if wrong and trace.phase_at(answer.at_ns) not in ENERGY:
            since = since or answer.told_ns
        elif since:
            yield Expectation("T6", "T6", trace.thermometry, since, bound_ms, "BLOCK", REST, ends_ns=answer.at_ns)
            since = 0


def _measured(answer: Answer) -> bool:
    return answer.facts.get("state") in ("ok", "few_valid_voxels")


def stale_tools(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """K1: no pose for longer than the stream's limit: not shown as live, and told when it lasts."""
    for stream, samples in trace.poses.items():
        limit = trace.limits_ns[stream]
        for now, following in pairwise([*(sample.at_ns for sample in samples), until_ns]):
            since = now + limit
            if following > since + GRACE_NS:
                yield Expectation("K1", "K1", stream, since, 50.0, "NOT_LIVE", ALWAYS)
            yield from _told_late(trace, "K1", "K1", stream, since, following, 50.0)


def _told_late(
    trace: Trace, hazard: str, rule: str, subject: str, since_ns: int, until_ns: int, bound_ms: float
) -> Iterator[Expectation]:
    """What lasts longer than a glance away is told; a service that stood still has its glance after that."""
    over = GLANCE_NS + max([since_ns, *(at for before, at in trace.standstills() if before < since_ns < at)])
    if until_ns > over:
        optional = until_ns <= over + GRACE_NS
        yield Expectation(hazard, rule, subject, over, bound_ms, "ALERT", ALWAYS, optional)


def repeated_poses(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """K2: a free tool sent as valid whose pose repeats bit by bit ten times, and longer than a tick."""
    for stream in trace.poses:
        last: Sample | None = None
        repeats = first_ns = over_ns = 0
        for sample in kept(trace, stream):
            if sample.usable and last is not None and np.array_equal(sample.matrix, last.matrix):
                repeats += 1
                first_ns = first_ns if repeats > 1 else sample.at_ns
                over_ns = over_ns or (sample.at_ns if repeats > limits["pose_repeats"] else 0)
            else:
                yield from _repeated(stream, first_ns, over_ns, sample.at_ns)
                repeats = over_ns = 0
            last = sample
        yield from _repeated(stream, first_ns, over_ns, until_ns)


def _repeated(stream: str, first_ns: int, over_ns: int, end_ns: int) -> Iterator[Expectation]:
    if over_ns:
        since = max(first_ns, over_ns - 200 * MS)
        yield Expectation("K2", "K2", stream, since, 250.0, "ALERT", ALWAYS, end_ns <= over_ns + GRACE_NS)


def invalid_poses(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """K2i: a tool reported invalid: not shown as live, and told when it lasts beyond its limit."""
    limit = round(limits["pose_invalid_ms"] * MS)
    for stream in trace.poses:
        since = 0
        for sample in kept(trace, stream):
            if not sample.usable and not since:
                since = sample.at_ns
                yield Expectation("K2", "K2i", stream, since, 250.0, "NOT_LIVE", ALWAYS)
            elif sample.usable and since:
                yield from _told_late(trace, "K2", "K2i", stream, since + limit, sample.at_ns, 50.0)
                since = 0
        if since:
            yield from _told_late(trace, "K2", "K2i", stream, since + limit, until_ns, 50.0)


def impossible(samples: Sequence[Sample], period_ns: int) -> list[bool]:
    """Which poses, though sent as usable, cannot be.

    Not finite, not orthonormal within 1e-3, mirrored, or faster than a hand from the last pose that was kept.
    """
    matrices = np.array([sample.matrix for sample in samples]).reshape(-1, 4, 4)
    finite = np.isfinite(matrices).all(axis=(1, 2))
    matrices[~finite] = np.eye(4)
    rotation, places = matrices[:, :3, :3], matrices[:, :3, 3].tolist()
    skew = np.abs(rotation.transpose(0, 2, 1) @ rotation - np.eye(3)).max(axis=(1, 2)) > 1e-3
    odd = np.abs(matrices[:, 3] - (0.0, 0.0, 0.0, 1.0)).max(axis=1) > 1e-9
    broken: list[bool] = (~finite | skew | odd | (np.linalg.det(rotation) <= 0)).tolist()
    last: int | None = None
    for now, sample in enumerate(samples):
        if sample.usable and last is not None and samples[last].usable and not broken[now]:
            passed_s = max(sample.at_ns - samples[last].at_ns, period_ns) / 1e9
            broken[now] = math.dist(places[now], places[last]) > SPEED_MM_PER_S * passed_s
        broken[now] = broken[now] and sample.usable
        last = last if broken[now] else now
    return broken


def kept(trace: Trace, stream: str) -> Iterator[Sample]:
    """Poses of a stream without those that cannot be."""
    samples = trace.poses[stream]
    wrong = impossible(samples, trace.periods_ns[stream])
    return (sample for sample, bad in zip(samples, wrong, strict=True) if not bad)


def impossible_poses(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """K3: more impossible poses in a second than the limit: HOLD."""
    for stream, samples in trace.poses.items():
        bad: list[int] = []
        over = False
        for sample, wrong in zip(samples, impossible(samples, trace.periods_ns[stream]), strict=True):
            if wrong:
                bad = [at for at in bad if sample.at_ns - at < 1_000_000_000] + [sample.at_ns]
                if len(bad) > limits["impossible_poses_per_s"] and not over:
                    over = True
                    yield Expectation("K3", "K3", stream, sample.at_ns, 50.0, "HOLD", ALWAYS)
                continue
            over = over and len([at for at in bad if sample.at_ns - at < 1_000_000_000]) > 0


def lost_device(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """N1: the energy device's link down for longer than its limit while energy may flow: STOP."""
    changes = [(at, up) for at, link, up in trace.links if link == ENERGY_ROLE]
    for (at, up), (back, _) in pairwise([*changes, (until_ns, True)]):
        over = at + round(limits["link_down_ms"] * MS)
        if not up and back > over:
            optional = back <= over + GRACE_NS
            yield Expectation("N1", "N1", ENERGY_ROLE, at, 300.0, "STOP", ENERGY, optional, over)


def silent_device(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """N1d: an energy or motion device says nothing for three of its beats while energy may flow: STOP."""
    limit = round(limits.get("device_silent_ms", 300.0) * MS)
    for stream, times in trace.readings.items():
        for now, following in pairwise([*times, until_ns]):
            if following > now + limit:
                optional = following <= now + limit + GRACE_NS
                yield Expectation("N1", "N1d", stream, now + limit, 50.0, "STOP", ENERGY, optional)


def broken_messages(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """N3: a link refused something: told."""
    for at, link, reason in trace.losses:
        if reason.startswith("rejected"):
            yield Expectation("N3", "N3", link, at, 50.0, "ALERT", ALWAYS)


def unconfirmed_stop(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """N2: a STOP that nobody confirmed for longer than its limit is told, and repeated meanwhile."""
    first: dict[int, tuple[int, str]] = {}
    for said in trace.said:
        if said.verb == "STOP":
            first.setdefault(said.command_id, (said.at_ns, said.device))
    for command_id, (at, device) in first.items():
        done = min((when for when, number in trace.confirmations if number == command_id), default=until_ns)
        over = at + round(limits["stop_unconfirmed_ms"] * MS)
        if done > over:
            optional = done <= over + GRACE_NS
            yield Expectation("N2", "N2", device, over, 50.0, "ALERT", ALWAYS, optional)


def clock_step(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """C1: the wall clock moved against the clock that never steps."""
    for (_, before), (at, after) in pairwise(trace.walls):
        if abs(after - before) > limits["clock_step_ms"] * MS:
            yield Expectation("C1", "C1", "clock", at, 1000.0, "ALERT", ALWAYS)


ORACLES: tuple[Oracle, ...] = (
    stale_thermometry,
    frozen_frames,
    heat,
    unseen_guards,
    few_valid,
    fast_change,
    told_states,
    wrong_settings,
    stale_tools,
    repeated_poses,
    invalid_poses,
    impossible_poses,
    lost_device,
    silent_device,
    broken_messages,
    unconfirmed_stop,
    clock_step,
)
