"""Judge: facts against rules, and what follows. One walk over the rows, no special cases."""

import math
from collections.abc import Iterable, Iterator

from devices.messages import Priority
from guidance.safety.alarms import Alarm
from guidance.safety.facts import Fact, Facts, is_known
from guidance.safety.limits import Limits
from guidance.safety.phases import Phase
from guidance.safety.rules import RULES, Compare, Reaction, Rule, check_rules

_ORDER = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}


class Judge:
    """Holds one alarm for each (rule, subject) and judges facts when told to."""

    def __init__(self, facts: Facts, limits: Limits, rules: tuple[Rule, ...] = RULES) -> None:
        check_rules(limits, rules)
        self._facts = facts
        self._limits = limits
        self._by_fact: dict[str, list[Rule]] = {}
        for rule in rules:
            self._by_fact.setdefault(rule.fact, []).append(rule)
        self.alarms: dict[tuple[str, str], Alarm] = {}

    def judge(self, now_ns: int, phase: Phase, names: Iterable[str] | None = None) -> list[Alarm]:
        """Judge the facts called `names` (None = all); the alarms whose state changed, highest first."""
        changed = [
            alarm
            for name in (self._by_fact if names is None else names)
            for rule in self._by_fact.get(name, ())
            for alarm in self._judge_rule(rule, now_ns, phase)
        ]
        return sorted(changed, key=lambda alarm: _ORDER[alarm.rule.priority])

    def _judge_rule(self, rule: Rule, now_ns: int, phase: Phase) -> Iterator[Alarm]:
        applies = phase in rule.phases
        for subject, fact in self._facts.subjects(rule.fact).items():
            alarm = self.alarms.get((rule.id, subject))
            if alarm is None:
                alarm = self.alarms[rule.id, subject] = Alarm(rule=rule, subject=subject)
            limit = self.limit_of(rule, fact)
            known = is_known(fact, now_ns, rule.fresh_ms)
            value = fact.value if fact is not None and known else None
            if value is None:
                violated = phase in rule.unknown_in
            else:
                violated = applies and _outside(rule, value, limit, alarm.present)
            if alarm.update(violated, value, limit, now_ns):
                yield alarm

    def limit_of(self, rule: Rule, fact: Fact | None) -> float:
        """The subject's own limit where it has one, else the row of the limits file."""
        own = fact.limit if fact is not None else None
        return self._limits[rule.limit].value if own is None else own

    def present(self, reaction: Reaction) -> list[Alarm]:
        """Alarms with this reaction whose condition is present now."""
        return [alarm for alarm in self.alarms.values() if alarm.present and alarm.rule.reaction is reaction]

    def shown(self) -> list[Alarm]:
        """Everything that a person should see, highest first, newest first."""
        rows = [alarm for alarm in self.alarms.values() if alarm.shown]
        return sorted(rows, key=lambda alarm: (_ORDER[alarm.rule.priority], -alarm.first_ns))

    def unknown(self, now_ns: int) -> list[str]:
        """Declared facts that are not proven now: each one blocks arming."""
        return [
            f"{name}.{subject}"
            for name, rules in self._by_fact.items()
            for subject, fact in self._facts.subjects(name).items()
            if not is_known(fact, now_ns, max(rule.fresh_ms for rule in rules))
        ]


def _outside(rule: Rule, value: float, limit: float, present: bool) -> bool:
    margin = rule.hysteresis if present else 0.0
    if not math.isfinite(value):
        return True
    return value > limit - margin if rule.compare is Compare.ABOVE else value < limit + margin
