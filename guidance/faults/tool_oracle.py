"""Oracles of what moves: the robot in its corridor, needles among each other and to what must be spared, references,
the organ before the beam. Computed from poses and pictures as they came, and from the numbers that were shown.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guidance.faults.oracle import ALWAYS, ARMED, ENERGY, GLANCE_NS, GRACE_NS, MS, Expectation, Limits, kept
from guidance.faults.trace import Sample, Told, Trace

Vector = NDArray[np.float64]
BESIDE_NS = 10_000 * MS  # what a gate holds for longer than any breath is told
PAST_MM = 1.0  # how far past its target a robot may go
REACTION_S = 0.1
SIGMAS = 2.0
CALIBRATED = 0.03  # share by which a picture's scale may differ


def _runs(rows: Iterable[tuple[int, bool]], until_ns: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of every time that something was so."""
    begin = 0
    for at, so in rows:
        if so:
            begin = begin or at
        elif begin:
            yield begin, at
            begin = 0
    if begin:
        yield begin, until_ns


def _lasting(
    rule: str, subject: str, runs: Iterable[tuple[int, int]], effect: str, phases: frozenset[str], bound_ms: float,
    delay_ms: float = 0.0,
) -> Iterator[Expectation]:  # fmt: skip
    """What lasted past a tick (and its delay) must have been seen."""
    for begin, end in runs:
        since = begin + round(delay_ms * MS)
        if end > since:
            yield Expectation(rule[:2], rule, subject, since, bound_ms, effect, phases, end <= since + GRACE_NS)


def robot_corridor(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """R1, R1p: the tip beside its way or past its target; R1h: it will be beside it before it stands."""
    robot, plan = trace.settings.robot, trace.plan
    if robot is None or robot.trajectory is None or robot.tool is None or plan is None:
        return
    tool = next(row for row in trace.settings.tools if row.name == robot.tool)
    line = plan.trajectory(robot.trajectory)
    along = (line.target_mm - line.entry_mm) / np.linalg.norm(line.target_mm - line.entry_mm)
    places: list[tuple[int, float, float]] = []  # (ns, mm beside, mm past)
    for sample in kept(trace, tool.stream):
        if sample.usable:
            off = (sample.matrix @ np.array([*tool.tip_mm, 1.0]))[:3] - line.target_mm
            past = float(off @ along)
            places.append((sample.at_ns, float(np.linalg.norm(off - past * along)), past))
    device = robot.device
    beside = _runs(((at, mm > robot.outer_mm) for at, mm, _ in places), until_ns)
    yield from _lasting("R1", device, beside, "STOP", ALWAYS, 50.0)
    beyond = _runs(((at, mm > PAST_MM) for at, _, mm in places), until_ns)
    yield from _lasting("R1p", device, beyond, "STOP", ALWAYS, 50.0)
    foretold = _runs(_will_be(places, robot.outer_mm), until_ns)
    yield from _lasting("R1h", device, foretold, "HOLD", ENERGY, 70.0)


def _will_be(places: list[tuple[int, float, float]], outer_mm: float) -> Iterator[tuple[int, bool]]:
    """True where the speed over the last 60 ms takes the tip beyond its outer margin within the reaction."""
    first = 0
    for at, beside, _ in places:
        while places[first][0] < at - 60 * MS:
            first += 1
        before, then_mm, _ = places[first]
        passed_s = (at - before) / 1e9
        speed = (beside - then_mm) / passed_s if passed_s > 0.03 else 0.0
        yield at, beside <= outer_mm and beside + 0.8 * speed * REACTION_S > outer_mm


def robot_silent(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """K1r: the robot's own usable pose is old."""
    robot = trace.settings.robot
    streams = [row for row in trace.settings.streams if robot and row.link == robot.link and row.kind == "pose"]
    for stream in streams:
        limit = trace.limits_ns[stream.name]
        times = [row.at_ns for row in trace.poses[stream.name] if row.usable]
        for now, following in zip(times, [*times[1:], until_ns], strict=True):
            over = now + limit
            if following > over:
                optional = following <= over + GRACE_NS
                yield Expectation("K1", "K1r", stream.name, over, 50.0, "HOLD", ENERGY, optional)


def moved_references(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """K4: the first reference against the second, from where both lay at the begin of what is looked at."""
    space = trace.settings.space
    streams = {row.name: row.stream for row in trace.settings.tools}
    if not (space.moving_reference and space.second_reference):
        return
    name = space.moving_reference
    names = (streams[name], streams[space.second_reference])
    rows = sorted(
        ((row.at_ns, which, row) for which, stream in enumerate(names) for row in trace.poses[stream]),
        key=lambda row: row[:2],
    )
    newest: dict[int, Sample] = {}
    first: Vector | None = None
    off: list[tuple[int, float]] = []
    for at, which, row in rows:
        newest[which] = row
        if which == 0 or len(newest) < 2:
            continue
        if not all(seen.usable and at - seen.at_ns <= trace.limits_ns[names[w]] for w, seen in newest.items()):
            off.append((at, 0.0))  # a reference that is not seen is told as such, and has no distance
            continue
        between = (np.linalg.inv(newest[1].matrix) @ newest[0].matrix)[:3, 3]
        first = between if first is None else first
        off.append((at, float(np.linalg.norm(between - first))))
    limit = limits["reference_shift_mm"]
    yield from _lasting("K4", name, _runs(((at, mm > limit + 0.3) for at, mm in off), until_ns), "STOP", ALWAYS, 200.0)


def shown_margins(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """G1, G1s: a live tool near what must be spared; G2: beside its corridor, by the numbers that were shown."""
    plan = trace.plan
    if plan is None:
        return
    for tool, rows in _by_source(trace.placed).items():
        for structure in plan.structures:
            key = f"{structure.name}.margin_mm"
            if key not in rows[-1].values:
                continue
            for rule, limit, effect, phases in (
                ("G1", structure.limits.warn_mm, "ALERT", ALWAYS),
                ("G1s", structure.limits.stop_mm, "STOP", ARMED),
            ):
                own = limits[f"structure_{'warn' if rule == 'G1' else 'stop'}_mm"] if limit is None else limit
                near = _live_runs(
                    trace, tool, [(row.at_ns, row.values.get(key, np.inf) < own) for row in rows], until_ns
                )
                yield from _lasting(rule, f"{tool}-{structure.name}", near, effect, phases, 50.0)
        way = next((row for row in plan.trajectories if row.tool == tool), None)
        if way is not None:
            beside = [(row.at_ns, _beside(row.values, way.length_mm) > way.corridor_mm) for row in rows]
            runs = _live_runs(trace, tool, beside, until_ns)
            yield from _lasting("G2", tool, runs, "HOLD", ARMED, 50.0, delay_ms=100.0)


def _beside(values: Mapping[str, float], length_mm: float) -> float:
    if values.get("depth_to_go_mm", np.inf) >= length_mm:
        return 0.0
    return values.get("lateral_mm", 0.0) + SIGMAS * values["sigma_mm"]


def _live_runs(trace: Trace, tool: str, rows: list[tuple[int, bool]], until_ns: int) -> Iterator[tuple[int, int]]:
    """Runs of what was so, each ending where the tool was shown as not live."""
    dead = [(at, False) for at, name, quality in trace.shown if name == tool and quality != "ok"]
    yield from _runs(sorted([*rows, *dead]), until_ns)


def _by_source(rows: Iterable[Told]) -> dict[str, list[Told]]:
    out: dict[str, list[Told]] = {}
    for row in rows:
        out.setdefault(row.source, []).append(row)
    return out


def needle_groups(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """G3: distance, angle or depth of needles, from the newest live pose of each."""
    for group in trace.settings.navigation.groups:
        rows = sorted(
            ((at.at_ns, name, at.values) for name, told in _by_source(trace.placed).items() for at in told
             if name in group.tools),
            key=lambda row: row[0],
        )  # fmt: skip
        axes = {name: _axes(trace, name) for name in group.tools}
        newest: dict[str, tuple[Vector, Vector]] = {}
        wrong: list[tuple[int, bool]] = []
        for at, name, values in rows:
            tip = np.array([values["tip_r_mm"], values["tip_a_mm"], values["tip_s_mm"]])
            newest[name] = (tip, _axis_at(axes[name], at))
            if len(newest) == len(group.tools):
                wrong.append((at, _out_of_group(list(newest.values()), group)))
        dead = [(at, False) for at, name, quality in trace.shown if name in group.tools and quality != "ok"]
        title = "-".join(group.tools)
        yield from _lasting("G3", title, _runs(sorted([*wrong, *dead]), until_ns), "HOLD", ALWAYS, 50.0)


def _axes(trace: Trace, name: str) -> tuple[list[int], list[Vector]]:
    """When each pose came, and the needle's direction towards the hand, in RAS."""
    tool = next(row for row in trace.settings.tools if row.name == name)
    turn = next(np.array(row.fixed_from_moving)[:3, :3] for row in trace.settings.space.static if row.fixed_from_moving)
    samples = [row for row in trace.poses[tool.stream] if row.usable]
    return [row.at_ns for row in samples], [turn @ row.matrix[:3, :3] @ np.array(tool.axis) for row in samples]


def _axis_at(axes: tuple[list[int], list[Vector]], at: int) -> Vector:
    times, found = axes
    return found[max(int(np.searchsorted(times, at, side="right")) - 1, 0)]


def _out_of_group(needles: list[tuple[Vector, Vector]], group: Any) -> bool:
    """Some pair out of spacing, angle or depth; too far apart are only neighbours, with no third nearer to both."""
    pairs = {(i, j): _pair(needles[i], needles[j]) for i, j in combinations(range(len(needles)), 2)}
    far = {key: spacing for key, (spacing, _, _) in pairs.items()}
    for (i, j), (spacing, angle, depth) in pairs.items():
        between = [k for k in range(len(needles)) if k not in (i, j)]
        nearer = any(max(far[min(i, k), max(i, k)], far[min(j, k), max(j, k)]) < spacing + 0.2 for k in between)
        too_far = spacing > group.most_mm + 0.2 and not nearer
        if too_far or spacing < group.least_mm - 0.2 or angle > group.angle_deg + 0.2 or depth > group.depth_mm + 0.2:
            return True
    return False


def _pair(a: tuple[Vector, Vector], b: tuple[Vector, Vector]) -> tuple[float, float, float]:
    """Distance across the mean direction and along it, mm, and the angle in degrees: (across, angle, along)."""
    mean = (a[1] + b[1]) / np.linalg.norm(a[1] + b[1])
    off = a[0] - b[0]
    along = float(off @ mean)
    across = float(np.linalg.norm(off - along * mean))
    return across, float(np.degrees(np.arccos(np.clip(a[1] @ b[1], -1.0, 1.0)))), abs(along)


def gated_target(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """M1, M1c: the target out of its place, or not known: the beam is off at once, and told when it lasts."""
    row, gating = trace.settings.motion, trace.settings.gating
    if row is None or gating is None:
        return
    answers = [a for a in trace.jobs.get("cine", ()) if a.facts.get("state") != "acquiring_reference"]
    for rule, limit in (("M1", "target_outside_share"), ("M1c", "target_centroid_mm")):
        out = ((a.at_ns, not a.facts.get("usable") or _away(a.facts, rule) > limits[limit]) for a in answers)
        runs = list(_runs(out, until_ns))
        for begin, _ in runs:
            yield Expectation("M1", rule, row.target, begin, 100.0, "OFF", ENERGY)
        yield from _lasting(rule, row.target, runs, "HOLD", ENERGY, 300.0, delay_ms=BESIDE_NS / MS)


def _away(facts: Mapping[str, Any], rule: str) -> float:
    """Share of the target outside its boundary, or mm from its place."""
    if rule == "M1":
        return float(facts.get("share_outside") or 0.0)
    return float(np.hypot(facts.get("x_mm") or 0.0, facts.get("y_mm") or 0.0))


def stale_cine(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """M1 where no picture comes: what is not known is not in its place."""
    row, gating = trace.settings.motion, trace.settings.gating
    if row is None or gating is None:
        return
    period_ns = trace.periods_ns[row.stream]
    times = sorted(trace.arrived.get(row.stream, ()))
    for now, following in zip(times, [*times[1:], until_ns], strict=True):
        over = now + round((gating.stale_intervals + 0.5) * period_ns)
        if following > over + GRACE_NS:
            yield Expectation("M1", "M1", row.target, over, 100.0, "OFF", ENERGY)


def changed_picture(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """K5: a picture's pixels are of another size than the calibration was made with."""
    for row in trace.settings.space.static:
        then = row.conditions.get("pixel_mm")
        for at, frame, pixel_mm in trace.pixels_mm:
            if then and frame == row.moving and abs(pixel_mm - then) / then > CALIBRATED:
                yield Expectation("K5", "K5", f"{row.moving}-{row.fixed}", at, 50.0, "HOLD", ALWAYS)


def bent_needles(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """K7: the sensor in the tip lies beside where a straight needle would have its own."""
    tools = {row.name: row for row in trace.settings.tools}
    for row in trace.settings.navigation.bends:
        hub, tip = tools[row.hub], tools[row.tip]
        rows = [(s.at_ns, 0, s) for s in trace.poses[hub.stream]] + [(s.at_ns, 1, s) for s in trace.poses[tip.stream]]
        newest: dict[int, Sample] = {}
        off: list[tuple[int, bool]] = []
        for at, which, sample in sorted(rows, key=lambda item: item[:2]):
            newest[which] = sample
            if len(newest) < 2 or not all(s.usable for s in newest.values()):
                off.append((at, False))
                continue
            straight = newest[0].matrix @ np.array([*hub.tip_mm, 1.0])
            seen = newest[1].matrix @ np.array([*tip.tip_mm, 1.0])
            aside = newest[0].matrix[:3, :3].T @ (seen - straight)[:3]
            along = np.array(hub.axis)
            bent = float(np.linalg.norm(aside - (aside @ along) * along))
            off.append((at, bent > limits["needle_bend_mm"] + 0.3))
        yield from _lasting("K7", row.hub, _runs(off, until_ns), "ALERT", ALWAYS, 50.0)


def coarse_landmarks(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """K4t: a registration whose predicted error at the target is beyond its limit: told, and nothing is armed."""
    row = trace.settings.navigation.registration
    for answer in trace.jobs.get("register", ()):
        if row is not None and float(answer.facts.get("tre_mm") or 0.0) > row.tre_mm:
            yield Expectation("K4", "K4t", f"{row.moving}-{row.fixed}", answer.at_ns, 100.0, "BLOCK", ALWAYS)


def lost_surrogate(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """M5: the respiratory signal is learnt, and not understood or not seen any more."""
    answers = [a for a in trace.jobs.get("respiration", ()) if a.facts.get("state") != "learning"]
    strange = _runs(((a.at_ns, not a.facts.get("usable")) for a in answers), until_ns)
    times = [b.at_ns for a, b in pairwise(trace.breath) if b.usable and not np.array_equal(a.matrix, b.matrix)]
    away = [(at + GLANCE_NS, to) for at, to in pairwise([*times, until_ns]) if to > at + GLANCE_NS]
    for runs in (strange, away):
        yield from _lasting("M5", trace.marker, runs, "ALERT", ARMED, 50.0)


ORACLES = (
    robot_corridor, robot_silent, moved_references, shown_margins, needle_groups, gated_target, stale_cine,
    changed_picture, bent_needles, coarse_landmarks, lost_surrogate,
)  # fmt: skip
