"""The hazard table as rows. Detection, documentation and the fault campaign read the same rows."""

from collections import Counter

from guidance.errors import SettingsError
from guidance.safety.limits import Limits
from guidance.safety.rules import cryo, devices, motion, navigation, network, operator, plan, process, thermal, tracking
from guidance.safety.rules.row import ALWAYS, ARMED, ENERGY, Compare, Reaction, Rule

__all__ = ["ALWAYS", "ARMED", "ENERGY", "RULES", "Compare", "Reaction", "Rule", "check_rules"]

RULES: tuple[Rule, ...] = (
    *thermal.RULES,
    *cryo.RULES,
    *motion.RULES,
    *tracking.RULES,
    *navigation.RULES,
    *plan.RULES,
    *network.RULES,
    *process.RULES,
    *operator.RULES,
    *devices.RULES,
)


def check_rules(limits: Limits, rules: tuple[Rule, ...] = RULES) -> None:
    """A rule without a limit, a limit without a rule or an id used twice is an error at start."""
    named = [(rule.id, name) for rule in rules for name in (rule.limit, rule.step) if name]
    wanted = {name for _, name in named}
    faults = [f"rule {rule}: there is no limit {name!r}" for rule, name in named if name not in limits]
    faults += [f"{name}: no rule uses this limit" for name in limits if name not in wanted]
    faults += [f"rule {name}: is defined {count} times" for name, count in _ids(rules).items() if count > 1]
    if faults:
        raise SettingsError("safety limits", faults)


def _ids(rules: tuple[Rule, ...]) -> Counter[str]:
    return Counter(row.id for row in rules)
