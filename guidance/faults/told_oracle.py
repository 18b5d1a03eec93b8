"""Oracles of what was told: readings, statuses, the service of itself, the answers of lanes, people and set-up.

A row of a table each: which value, beyond which limit, for how long, and what must follow by when.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from guidance.faults.oracle import ALWAYS, ARMED, ENERGY, GRACE_NS, MS, REST, Expectation, Limits
from guidance.faults.rooms import CONSOLE
from guidance.faults.trace import Told, Trace

FAULT_CODES = frozenset({2, 3, 10, 11, 15, 16, 18, 19})  # OpenIGTLink: what a device tells of being unwell


class Row(NamedTuple):
    """`value` above (or `below`) its limit for `lasting_ms` -> `effect` of `rule` within `bound_ms` in `phases`."""

    value: str
    rule: str
    limit: str
    effect: str
    phases: frozenset[str] = ALWAYS
    bound_ms: float = 100.0
    below: bool = False
    lasting_ms: float = 0.0
    subject: str = ""  # "" = who told it


READINGS: tuple[Row, ...] = (
    Row("code", "H2", "device_fault", "STOP", ENERGY),
    Row("coolant_ok", "H2c", "interlock", "STOP", ENERGY, below=True),
    Row("coupling_ok", "H2w", "interlock", "STOP", ENERGY, below=True),
    Row("cavitation", "H2k", "interlock", "STOP"),
    Row("r_wave_sync", "E1", "interlock", "BLOCK", REST, below=True),
    Row("r_wave_sync", "E1h", "interlock", "HOLD", ENERGY, below=True),
    Row("following_error_mm", "R2", "following_error_mm", "HOLD", ENERGY, bound_ms=50.0, subject="Robot"),
    Row("kerma_mgy", "D1k", "kerma_notify_mgy", "ALERT", bound_ms=1000.0),
    Row("kerma_mgy", "D1K", "kerma_substantial_mgy", "ALERT", bound_ms=1000.0),
    Row("kap_gycm2", "D1a", "kap_notify_gycm2", "ALERT", bound_ms=1000.0),
    Row("kap_gycm2", "D1A", "kap_substantial_gycm2", "ALERT", bound_ms=1000.0),
    Row("fluoroscopy_min", "D1t", "fluoroscopy_notify_min", "ALERT", bound_ms=1000.0),
    Row("fluoroscopy_min", "D1T", "fluoroscopy_substantial_min", "ALERT", bound_ms=1000.0),
)
HEALTH: tuple[Row, ...] = (
    Row("record_free_mb", "C3", "record_free_mb", "BLOCK", bound_ms=1000.0, below=True),
    Row("record_sync_ms", "C3s", "record_sync_ms", "BLOCK", bound_ms=1000.0),
    Row("record_lost", "C3l", "record_lost", "BLOCK", bound_ms=1000.0),
    Row("supervisor_stops", "C2p", "supervisor_stops", "STOP", bound_ms=100.0),
    Row("plan_edited_files", "P1e", "plan_conflicts", "BLOCK", bound_ms=1000.0),
    Row("alert_age_ms", "N4a", "alert_age_ms", "ALERT", bound_ms=1000.0, lasting_ms=500.0),
)
LANES: dict[str, tuple[Row, ...]] = {  # kind of job -> what its answers say; `*` = what stands there is the subject
    "cine": (
        Row("quality", "M2", "motion_quality", "HOLD", ENERGY, 50.0, below=True),
        Row("unlike_frames", "M2p", "through_plane_frames", "HOLD", ENERGY, 50.0),
        Row("sudden_motion", "M3", "target_jump_mm", "ALERT", ARMED, 50.0),
        Row("drift_mm", "M4", "target_drift_mm", "ALERT", ARMED, 50.0),
    ),
    "iceball": (
        Row("*.gap_next_mm", "T1g", "ice_gap_warn_mm", "ALERT", bound_ms=50.0, below=True),
        Row("*.gap_next_mm", "T1gs", "ice_gap_stop_mm", "STOP", bound_ms=50.0, below=True),
        Row("*.cold_c", "T1k", "organ_cold_c", "STOP", ENERGY, 50.0, below=True),
    ),
    "damage": (
        Row("heating_c_per_s", "T4w", "slow_frame_c_per_s", "ALERT", ENERGY, 100.0, subject="MR"),
        Row("over_plan", "T5f", "forecast_over_plan", "BLOCK", bound_ms=100.0),
    ),
}  # fmt: skip
ROLES: dict[str, tuple[str, str, str, str, frozenset[str]]] = {  # role of a guard -> what of it is limited
    "unheated": ("mean_c", "T4d", "reference_drift_c", "HOLD", ARMED),
    "near_field": ("dose_upper_cem43_min", "H1", "near_field_dose_cem43_min", "HOLD", ARMED),
    "target": ("max_c", "H2b", "boiling_c", "STOP", ALWAYS),
}


def _over(row: Row, told: Iterable[Told], limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """The first evidence of every time that a value was beyond its limit, and when that was over."""
    since: dict[str, int] = {}
    limit = limits[row.limit]
    for item in told:
        value = item.values.get(row.value)
        if value is None:
            continue
        beyond = value in FAULT_CODES if row.value == "code" else value < limit if row.below else abs(value) > limit
        if beyond:
            since.setdefault(item.source, item.at_ns)
        elif item.source in since:
            yield from _run(row, item.source, since.pop(item.source), item.at_ns)
    for source, begin in since.items():
        yield from _run(row, source, begin, until_ns)


def _run(row: Row, source: str, begin_ns: int, end_ns: int) -> Iterator[Expectation]:
    ripe_ns = begin_ns + round(row.lasting_ms * MS)
    optional = bool(row.lasting_ms) and end_ns <= ripe_ns + GRACE_NS
    phases, subject = row.phases, row.subject or source
    yield Expectation(
        row.rule[:2], row.rule, subject, ripe_ns, row.bound_ms, row.effect, phases, optional, ends_ns=end_ns
    )


def told_values(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """H2, E1, R2, D1: what devices say; C3, C2p, P1e, N4a: what the service says of itself."""
    for rows, told in ((READINGS, trace.told), (HEALTH, trace.health)):
        for row in rows:
            yield from _over(row, told, limits, until_ns)


def told_answers(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """M2 to M4, T1g, T1k, T4w, T5f: what lanes found."""
    for kind, rows in LANES.items():
        for row in rows:
            yield from _over(row, _told_by(trace, kind, row), limits, until_ns)


def _told_by(trace: Trace, kind: str, row: Row) -> Iterator[Told]:
    """What the answers say of this value, each under the name that it is about."""
    settings = trace.settings
    target = settings.motion or settings.laser or settings.cryo
    name = target.target if target is not None else ""
    for answer in trace.jobs.get(kind, ()):
        facts = answer.facts
        if facts.get("known") is False or facts.get("state") == "acquiring_reference" or not facts:
            continue
        if kind == "damage" and float(facts.get("frame_s") or 0.0) <= 2.0 and row.rule == "T4w":
            continue
        ending = row.value.removeprefix("*")
        for key, value in facts.items():
            if key == row.value:
                yield Told(answer.at_ns, name, {row.value: value})
            elif row.value.startswith("*") and key.endswith(ending):
                yield Told(answer.at_ns, key.removesuffix(ending), {row.value: value})


def told_guards(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """T4d, H1, H2b: guards with a role of their own; T5: heat that is still there at rest."""
    t0_c = trace.settings.thermometry.t0_c if trace.settings.thermometry else None
    warm: dict[str, int] = {}
    for answer in trace.answers:
        for guard in trace.settings.guards:
            name = guard.structure
            if not answer.facts.get(f"{name}.known") or t0_c is None:
                if name in warm:  # not known to have lasted longer; what is unknown blocks arming by itself
                    yield from _refused(trace, name, warm.pop(name), answer.at_ns)
                continue
            mean_c = float(answer.facts[f"{name}.mean_c"])
            if guard.role in ROLES:
                key, rule, limit, effect, phases = ROLES[guard.role]
                value = abs(mean_c - t0_c) if key == "mean_c" else float(answer.facts[f"{name}.{key}"])
                if value > limits[limit]:
                    bound_ms = trace.period_ns / 1e6 + 50.0
                    yield Expectation(rule[:2], rule, name, answer.told_ns, bound_ms, effect, phases)
            if mean_c - t0_c > limits["residual_heat_c"] and trace.phase_at(answer.at_ns) not in ENERGY:
                warm.setdefault(name, answer.at_ns)
            elif name in warm:
                yield from _refused(trace, name, warm.pop(name), answer.at_ns)
    for name, since_ns in warm.items():
        yield from _refused(trace, name, since_ns, until_ns)


def _refused(trace: Trace, name: str, since_ns: int, end_ns: int) -> Iterator[Expectation]:
    """Nothing is armed over heat that has lasted for a second, until it is gone."""
    ripe_ns = since_ns + 1000 * MS
    if end_ns > ripe_ns:
        begin_ns, optional = max(ripe_ns, trace.began_ns), end_ns < ripe_ns + GRACE_NS
        yield Expectation("T5", "T5", name, begin_ns, trace.period_ns / 1e6, "REFUSED", REST, optional, ends_ns=end_ns)


def unseen_targets(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """T7, T1i: control or the iceball has not seen its target in so many frames."""
    heating, cryo = trace.settings.heating, trace.settings.cryo
    for kind, rule, limit, target in (
        ("heating", "T7", "target_unseen_frames", heating.target if heating else ""),
        ("iceball", "T1i", "guard_unseen_hold_frames", cryo.target if cryo else ""),
    ):
        count, seen = 0, False
        for answer in trace.jobs.get(kind, ()):
            known = bool(answer.facts.get("known"))
            seen = seen or known
            count = 0 if known else count + 1
            if count > limits[limit] and seen:
                yield Expectation(rule[:2], rule, target, answer.at_ns, 50.0, "HOLD", ARMED)


def late_answers(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """T2l: frames come, and no answer to them."""
    over_ns = round(limits["thermometry_stop_periods"] * trace.period_ns)
    for now, following in pairwise([*(answer.at_ns for answer in trace.answers if answer.facts), until_ns]):
        if following > now + over_ns:
            optional = following <= now + over_ns + GRACE_NS
            yield Expectation("T2", "T2l", trace.thermometry, now + over_ns, 100.0, "STOP", ENERGY, optional)


def emitting_devices(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """N2e: power is told for longer than a device may take to obey after the permit ended."""
    spells = list(_without_permit(trace, until_ns))
    for number, told in enumerate(trace.told):
        power_w = told.values.get("power_w")
        if power_w is None or power_w <= limits["forbidden_power_w"]:
            continue
        over_ns = next((row.at_ns for row in trace.told[number + 1 :] if row.source == told.source), until_ns)
        for off_ns, on_ns in spells:
            since_ns = max(told.at_ns, off_ns + 300 * MS)
            if since_ns + GRACE_NS < min(over_ns, on_ns):
                yield Expectation("N2", "N2e", told.source, since_ns, 50.0, "STOP", ALWAYS)


def _without_permit(trace: Trace, until_ns: int) -> Iterator[tuple[int, int]]:
    """From when to when the permit was refused without a break."""
    off_ns = 0
    for row in trace.said:
        if row.verb == "PERMIT" and row.permit and off_ns:
            yield off_ns, row.at_ns
        if row.verb == "PERMIT":
            off_ns = 0 if row.permit else off_ns or row.at_ns
    if off_ns:
        yield off_ns, until_ns


def people(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """N1c, O1l, O2: what the console in control says no longer; O1n: no console shows alarms."""
    control = trace.settings.control
    rows = [("BEAT", "N1c", "console_beat_ms", "STOP", ENERGY, CONSOLE, 50.0)]
    rows += [("LEASE", "O1l", "console_lease_ms", "BLOCK", ALWAYS, CONSOLE, 100.0)]
    rows += [("LEASE", "O1n", "console_lease_ms", "BLOCK", ALWAYS, "room", 100.0)] if control.consoles else []
    rows += [("HELD", "O2", "held_control_ms", "HOLD", ENERGY, "control", 50.0)] if control.held != "none" else []
    for verb, rule, limit, effect, phases, subject, bound_ms in rows:
        times = [at for at, said, _ in trace.acts if said == verb]
        for now, following in pairwise([*times, until_ns] if times else []):
            over = now + round(limits[limit] * MS)
            if following > over:
                optional = following <= over + GRACE_NS
                yield Expectation(rule[:2], rule, subject, over, bound_ms, effect, phases, optional, ends_ns=following)


def nobody_looks(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """O1: an alarm that stopped the room stands unacknowledged for ten seconds."""
    first: dict[str, int] = {}
    for at, name, state in trace.alerts:
        if state != "active":
            first.pop(name, None)
        elif name in trace.calling:
            first.setdefault(name, at)
    seen = [at for at, verb, _ in trace.acts if verb == "ACKNOWLEDGE"]
    for at in sorted(first.values())[:1]:
        over = at + round(limits["alarm_unseen_ms"] * MS)
        if until_ns > over and not any(at <= when <= over for when in seen):
            yield Expectation("O1", "O1", "alarms", over, 100.0, "BLOCK", ALWAYS, until_ns <= over + GRACE_NS)


def lost_links(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """N1: a motion device's or the controlling console's link is down; C2w: the supervisor's is."""
    rows = [("robot", "N1", "robot", "link_down_ms", "STOP", ENERGY, 300.0)] if trace.settings.robot else []
    rows += [(CONSOLE, "N1", CONSOLE, "link_down_ms", "STOP", ENERGY, 300.0)]
    rows += [("supervisor", "C2w", "supervisor", "supervisor_age_ms", "HOLD", ALWAYS, 1000.0)]
    for link, rule, subject, limit, effect, phases, bound_ms in rows:
        changes = [(at, up) for at, name, up in trace.links if name == link]
        for (at, up), (back, _) in pairwise([*changes, (until_ns, True)]):
            over = at + round(limits[limit] * MS)
            if not up and back > over:
                optional = back <= over + GRACE_NS
                yield Expectation(rule[:2], rule, subject, at, bound_ms, effect, phases, optional, over)


def losses(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """N3m: many messages refused within ten seconds; N4: many shed."""
    for rule, limit, rows, bound_ms in (
        ("N3m", "bad_messages_many", trace.refused, 50.0),
        ("N4", "shed_messages", trace.shed, 1000.0),
    ):
        for n, (at, link, _) in enumerate(rows):
            within = sum(count for when, other, count in rows[: n + 1] if other == link and at - when <= 10_000 * MS)
            if within > limits[limit]:
                yield Expectation(rule[:2], rule, link, at, bound_ms, "ALERT", ALWAYS)


def standstill(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """C2: the service's own ticks show that it stood still; the supervisor acts meanwhile (campaign C)."""
    for (before, _), (at, _) in pairwise(trace.walls):
        if at - before > limits["tick_gap_ms"] * MS:
            yield Expectation("C2", "C2", "service", at, 50.0, "STOP", ENERGY)


def set_up(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """P1, P2, K4f, K6, H3: what was wrong at loading, and P1i: who an image says that it shows."""
    plan, since = trace.plan, trace.began_ns
    for rule, subject, wrong in _set_up_faults(trace, limits):
        if wrong:
            yield Expectation(rule[:2], rule, subject, since, 100.0, "BLOCK", ALWAYS)
    for told in trace.tags:
        other = told.values.get("PatientID")
        if plan is not None and other is not None and other != plan.patient_id:
            yield Expectation("P1", "P1i", told.source, told.at_ns, 50.0, "BLOCK", ALWAYS)


def _set_up_faults(trace: Trace, limits: Limits) -> Iterator[tuple[str, str, bool]]:
    settings, plan = trace.settings, trace.plan
    if plan is not None and settings.patient is not None:
        asked: Mapping[str, Any] = settings.patient.model_dump()
        yield "P1", plan.name, any(value not in (None, getattr(plan, key)) for key, value in asked.items())
    matrices = {row.moving: row.fixed_from_moving for row in settings.space.static if row.fixed == "RAS"}
    for golden in settings.golden:
        matrix = matrices.get(golden.frame)
        if matrix is not None:
            at = (np.array(matrix) @ np.array([*golden.at_mm, 1.0]))[:3]
            yield "P2", golden.name, bool(math.dist(at, golden.ras_mm) > limits["golden_point_mm"])
    for row in settings.space.static:
        if row.fre_mm is not None:
            yield "K4f", row.moving, row.fre_mm > limits["registration_fre_mm"]
        if row.made_ns:
            yield "K6", f"{row.moving}-{row.fixed}", (trace.began_ns - row.made_ns) / 1e9 > row.valid_s
    if settings.thermometry is not None and settings.thermometry.t0_c is not None:
        yield "H3", "patient", settings.thermometry.t0_c < limits["body_temperature_low_c"]
        yield "H3h", "patient", settings.thermometry.t0_c > limits["body_temperature_high_c"]
    tissues = {row.name: row.tissue for row in plan.structures} if plan is not None else {}
    for guard in settings.guards:
        yield "H3g", guard.structure, tissues.get(guard.structure) in ("bone", "fat", "gas")


def quiet_device(trace: Trace, limits: Limits, until_ns: int) -> Iterator[Expectation]:
    """D1l: an X-ray device has told no dose for ten seconds."""
    links = {row.id for row in trace.settings.links if row.role == "xray"}
    for stream in (row.name for row in trace.settings.streams if row.link in links):
        times = [row.at_ns for row in trace.told if row.source == stream]
        for now, following in pairwise([*times, until_ns] if times else []):
            over = now + round(limits["xray_dose_age_ms"] * MS)
            if following > over:
                yield Expectation("D1", "D1l", stream, over, 100.0, "ALERT", ALWAYS, following <= over + GRACE_NS)


ORACLES = (
    told_values, told_answers, told_guards, unseen_targets, late_answers, emitting_devices, people, nobody_looks,
    lost_links, losses, standstill, set_up, quiet_device,
)  # fmt: skip
