"""Numbers of the target that is heated, as the filter and the control know it: of all its tissue, not of the slices."""

from typing import Any, NamedTuple

from guidance.console.number import number
from guidance.core import Core


class _Told(NamedTuple):
    fact: str  # of the control
    name: str
    unit: str
    factor: float = 1.0
    graph: bool = False


Table = dict[str, tuple[_Told, ...]]  # goal of the heating -> what is told, in this order
FIRST: Table = {  # right after the hottest voxel, instead of the share with an ablative dose
    "temperature": (
        _Told("t50_c", "T50", "degC", graph=True),
        _Told("t90_c", "T90", "degC", graph=True),
        _Told("release_mean", "drug set free in", "%", 100.0),
    ),
    "dose": (),
}
REST: Table = {  # after what must be spared
    "temperature": (
        _Told("t10_c", "T10", "degC", graph=True),
        _Told("window_share", "time at 40-43 degC of", "%", 100.0),
    ),
    "dose": (
        _Told("coverage", "full dose in", "%", 100.0),
        _Told("coverage_lower", "surely in", "%", 100.0),
        _Told("margin_coverage", "with margin", "%", 100.0),
    ),
}


def heated(core: Core, table: Table, live: bool, age_ms: float) -> list[dict[str, Any]]:
    """Rows of the table for this room's heating, none without one."""
    row = core.settings.heating
    if row is None:
        return []
    facts = core.control.facts if live else {}
    out = []
    for told in table[row.goal]:
        value = facts.get(told.fact)
        shown = told.factor * value if isinstance(value, float) else None
        digits = 0 if told.unit == "%" else 1
        name = f"{told.name} {row.target}"
        out.append(number(f"{row.target}.{told.fact}", name, shown, told.unit, digits, age_ms, graph=told.graph))
    return out
