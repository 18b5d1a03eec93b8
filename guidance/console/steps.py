"""What is missing at each step of a procedure, and every precondition of arming with its value."""

from typing import Any

from guidance.core import Core
from guidance.safety.facts import is_known
from guidance.safety.rules import RULES, Reaction

STEPS = ("plan", "target", "monitor", "control", "verify", "connections")
_BLOCKING = (Reaction.BLOCK, Reaction.HOLD, Reaction.STOP)


def missing(core: Core, now_ns: int, links: dict[str, dict[str, Any]], treated: bool) -> dict[str, list[str]]:
    """Step -> what it still lacks, in words."""
    plan = core.plan
    waits = not_live(core, now_ns)
    tools = [tool.name for tool in core.settings.tools if tool.role == "tool"]
    streams = {name: state for name, state in core.streams.items() if state.settings.required}
    measured = core.settings.therapy is not None and core.settings.thermometry is not None
    return {
        "plan": (["no plan is loaded"] if plan is None else [] if plan.targets else ["the plan has no target"]),
        "target": [f"{name} is not live: {waits[name]}" for name in tools if name in waits],
        "monitor": [f"stream {name} is not live" for name, state in streams.items() if not state.is_live(now_ns)],
        "control": blocking(core, now_ns),
        "verify": [] if treated or not measured else ["nothing is treated yet"],
        "connections": [f"link {name} is down" for name, row in links.items() if row["up"] is False],
    }


def not_live(core: Core, now_ns: int) -> dict[str, str]:
    """Every tool that may not be shown as live, and why."""
    tracking = core.scene.tracking
    why = {name: "; ".join(tracking.why_not_live(name, now_ns)) for name in tracking.tools}
    return {name: words for name, words in why.items() if words}


def blocking(core: Core, now_ns: int) -> list[str]:
    """Why nothing can be armed now."""
    if core.settings.therapy is None:
        return []
    unknown = [f"{name} is unknown" for name in core.judge.unknown(now_ns)]
    present = [alarm for reaction in _BLOCKING for alarm in core.judge.present(reaction)]
    return unknown + [f"{alarm.id} is present" for alarm in present]


def preconditions(core: Core, now_ns: int) -> list[dict[str, Any]]:
    """One row for every fact that arming needs: its value, limit, age and whether it is proven and in range."""
    rows: dict[str, dict[str, Any]] = {}
    unknown = set(core.judge.unknown(now_ns))
    present = {(alarm.rule.fact, alarm.subject) for reaction in _BLOCKING for alarm in core.judge.present(reaction)}
    for rule in RULES:
        for subject, fact in core.scene.facts.subjects(rule.fact).items():
            name = f"{rule.fact}.{subject}"
            known = is_known(fact, now_ns, rule.fresh_ms) and name not in unknown
            rows.setdefault(
                name,
                {
                    "name": rule.fact,
                    "subject": subject,
                    "value": fact.value if fact is not None and known else None,
                    "limit": core.judge.limit_of(rule, fact),
                    "compare": rule.compare.value,
                    "age_ms": (now_ns - fact.at_ns) / 1e6 if fact is not None and fact.at_ns else None,
                    "ok": known and (rule.fact, subject) not in present,
                },
            )
    return sorted(rows.values(), key=lambda row: (row["ok"], row["name"], row["subject"]))
