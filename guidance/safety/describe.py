"""The hazard table, its limits and the phases as text and picture for docs/, from the rows themselves."""

import math
from collections.abc import Mapping
from html import escape

from guidance.safety.limits import Limit
from guidance.safety.phases import ENERGY_PERMITTED, TRANSITIONS, Cause, Phase
from guidance.safety.rules import ALWAYS, RULES, Rule
from guidance.safety.safe_states import SAFE_STATES

_HEAD = """# Hazards

Generated from the rows in `guidance/safety` and `config/safety/limits.toml` by `python docs/generate.py`; do not edit.

![Phases of a treatment](phases.svg)
"""
# Where each phase stands in the picture: centre x, y
_PLACES = {
    Phase.STOPPED: (110, 300),
    Phase.IDLE: (110, 90),
    Phase.READY: (390, 90),
    Phase.TREATING: (680, 90),
    Phase.HOLD: (680, 300),
}
_BENDS = {(Phase.TREATING, Phase.IDLE): -120.0}  # how far a way is bent to its left; others by 34
_WIDTH, _HEIGHT, _HALF_W, _HALF_H = 820, 400, 68, 24


def hazards(limits: Mapping[str, Limit]) -> str:
    """docs/hazards.md."""
    lines = [_HEAD, "| id | hazard ← cause | violated when | reaction | priority | latch | in phases | bound |"]
    lines += ["|---|---|---|---|---|---|---|---|", *(_row(rule, limits) for rule in RULES)]
    lines += ["", "## Limits", "", "| limit | value | unit | source | why |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {row.value:g} | {row.unit} | {row.source} | {row.rationale} |" for name, row in limits.items()
    ]
    lines += ["", "## Safe states", "", "What STOP means for each kind of device.", "", "| device | safe state |"]
    lines += ["|---|---|", *(f"| {name} | {state.text} |" for name, state in SAFE_STATES.items())]
    return "\n".join(lines) + "\n"


def _row(rule: Rule, limits: Mapping[str, Limit]) -> str:
    limit = limits[rule.limit]
    when = f"`{rule.fact}` {rule.compare.value} {limit.value:g} {limit.unit}"
    when += f", {rule.delay_ms:g} ms long" if rule.delay_ms else ""
    when += f", again each {limits[rule.step].value:g}" if rule.step else ""
    reaction = rule.reaction.value + (", resumes by itself" if rule.auto_resume else "")
    where = "" if rule.quiet_in == ALWAYS else f" in {_in_words(rule.quiet_in)}"
    reaction += f", told after {rule.quiet_ms / 1000:g} s{where}" if rule.quiet_ms else ""
    phases = "all" if rule.phases == ALWAYS else _in_words(rule.phases)
    priority = rule.priority.value + (f", {rule.calm.value} at rest" if rule.calm else "")
    latch = "yes" if rule.latch else "no"
    return (
        f"| {rule.id} | {rule.hazard} ← {rule.cause} | {when} | {reaction} | {priority} | {latch} | {phases} "
        f"| {rule.bound} |"
    )


def _in_words(phases: frozenset[Phase]) -> str:
    return ", ".join(phase for phase in Phase if phase in phases)


def phases_svg() -> str:
    """docs/phases.svg: every way of the transition table; energy may flow only in the filled phase."""
    ways: dict[tuple[Phase, Phase], list[str]] = {}
    for (before, cause), after in TRANSITIONS.items():
        if cause is not Cause.STOP:
            ways.setdefault((before, after), []).append(cause.value)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="13" fill="none" stroke="#333">',
        '<marker id="a" markerWidth="9" markerHeight="9" refX="8" refY="4" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#333" stroke="none"/></marker>',
        *(_way(before, after, names) for (before, after), names in ways.items()),
        *(_phase(phase) for phase in Phase),
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 12}" text-anchor="middle" fill="#333" stroke="none">'
        "stop leads from every phase to STOPPED, where a service also starts; energy flows only in TREATING</text>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _phase(phase: Phase) -> str:
    x, y = _PLACES[phase]
    fill = "#ffd9a0" if phase in ENERGY_PERMITTED else "#fff"
    return (
        f'<rect x="{x - _HALF_W}" y="{y - _HALF_H}" width="{2 * _HALF_W}" height="{2 * _HALF_H}" rx="8" fill="{fill}"/>'
        f'<text x="{x}" y="{y + 5}" text-anchor="middle" fill="#111" stroke="none">{phase.value}</text>'
    )


def _way(before: Phase, after: Phase, names: list[str]) -> str:
    """An arrow bent to its own left, so that there and back do not cover each other."""
    (x1, y1), (x2, y2) = _PLACES[before], _PLACES[after]
    length = math.hypot(x2 - x1, y2 - y1)
    across, along = ((y2 - y1) / length, -(x2 - x1) / length), ((x2 - x1) / length, (y2 - y1) / length)
    cut = min(_HALF_W / max(abs(along[0]), 1e-6), _HALF_H / max(abs(along[1]), 1e-6))
    start = (x1 + along[0] * cut + across[0] * 10, y1 + along[1] * cut + across[1] * 10)
    end = (x2 - along[0] * cut + across[0] * 10, y2 - along[1] * cut + across[1] * 10)
    by = _BENDS.get((before, after), 34.0)
    bend = ((start[0] + end[0]) / 2 + across[0] * by, (start[1] + end[1]) / 2 + across[1] * by)
    beside = by / 2 + math.copysign(10.0, by)
    label = ((start[0] + end[0]) / 2 + across[0] * beside, (start[1] + end[1]) / 2 + across[1] * beside + 4)
    return (
        f'<path d="M{start[0]:.0f} {start[1]:.0f}Q{bend[0]:.0f} {bend[1]:.0f} {end[0]:.0f} {end[1]:.0f}" '
        f'marker-end="url(#a)"/><text x="{label[0]:.0f}" y="{label[1]:.0f}" text-anchor="middle" fill="#333" '
        f'stroke="#fff" stroke-width="5" paint-order="stroke">{escape(", ".join(names))}</text>'
    )
