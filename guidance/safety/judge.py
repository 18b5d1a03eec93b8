"""Judge: facts against rules, and what follows. One walk over the rows, no special cases."""

import math
from collections.abc import Iterable, Iterator, Mapping

from devices.messages import Priority
from guidance.safety.alarms import Alarm
from guidance.safety.facts import Fact, Facts, is_known, is_measured
from guidance.safety.limits import Limits
from guidance.safety.phases import Phase
from guidance.safety.rules import RULES, Compare, Reaction, Rule, check_rules

_ORDER = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}
Subjects = Mapping[str, Fact | None]
BLOCKING = (Reaction.STOP, Reaction.HOLD, Reaction.BLOCK)


class Judge:
    """Holds one alarm for each (rule, subject) and judges facts when told to."""

    def __init__(self, facts: Facts, limits: Limits, rules: tuple[Rule, ...] = RULES) -> None:
        check_rules(limits, rules)
        self._facts = facts
        self._limits = limits
        self._rules = rules
        self._by_fact: dict[str, list[Rule]] = {}
        for rule in rules:
            self._by_fact.setdefault(rule.fact, []).append(rule)
        self._of_rule: dict[str, dict[str, Alarm]] = {rule.id: {} for rule in rules}
        self._of_reaction = {
            reaction: [self._of_rule[rule.id] for rule in rules if rule.reaction is reaction] for reaction in Reaction
        }

    @property
    def alarms(self) -> dict[tuple[str, str], Alarm]:
        """Every alarm there ever was, by (rule, subject)."""
        return {(rule, alarm.subject): alarm for rule, rows in self._of_rule.items() for alarm in rows.values()}

    def judge(self, now_ns: int, phase: Phase, names: Iterable[str] | None = None) -> list[Alarm]:
        """Judge the facts called `names` (None = all); the alarms whose state changed, highest first."""
        changed: list[Alarm] = []
        for name in self._by_fact if names is None else names:
            subjects = self._facts.subjects(name)
            for rule in self._by_fact.get(name, ()):
                if subjects or self._of_rule[rule.id]:
                    changed += self._judge_rule(rule, subjects, now_ns, phase)
        return sorted(changed, key=lambda alarm: _ORDER[alarm.priority])

    def _judge_rule(self, rule: Rule, subjects: Subjects, now_ns: int, phase: Phase) -> Iterator[Alarm]:
        alarms = self._of_rule[rule.id]
        for subject, fact in subjects.items():
            alarm = alarms.get(subject)
            if alarm is None:
                alarm = alarms[subject] = Alarm(rule=rule, subject=subject, priority=rule.priority)
            stays = alarm.present and rule.latch  # a latched condition ends with its cause, not with the phase
            violated, value, limit = self._violated(rule, fact, now_ns, phase, alarm.present, stays)
            step = self._limits[rule.step].value if rule.step else 0.0
            if alarm.update(violated, value, limit, now_ns, phase, step):
                yield alarm
        if len(alarms) > len(subjects):  # somebody signed off
            for subject in alarms.keys() - subjects.keys():
                if alarms[subject].update(False, None, 0.0, now_ns, phase):
                    yield alarms[subject]

    def _violated(
        self, rule: Rule, fact: Fact | None, now_ns: int, phase: Phase, present: bool, stays: bool
    ) -> tuple[bool, float | None, float]:
        limit = self.limit_of(rule, fact)
        if fact is None or not (is_known(fact, now_ns, rule.fresh_ms) or _endless(rule, fact, now_ns)):
            return stays or phase in rule.unknown_in, None, limit
        applies = stays or phase in rule.phases
        return applies and _outside(rule, fact.value, limit, present), fact.value, limit

    def limit_of(self, rule: Rule, fact: Fact | None) -> float:
        """The subject's own limit where it has one, else the row of the limits file."""
        own = fact.limit if fact is not None else None
        return self._limits[rule.limit].value if own is None else own

    def unit_of(self, rule: Rule) -> str:
        """The unit of what the rule compares."""
        return self._limits[rule.limit].unit

    def would(self, now_ns: int, phase: Phase) -> list[tuple[Rule, str]]:
        """(rule, subject) of every blocking row that would be violated in `phase`; no alarm is touched."""
        return [
            (rule, subject)
            for rule in self._rules
            if rule.reaction in BLOCKING
            for subject, fact in self._facts.subjects(rule.fact).items()
            if self._violated(rule, fact, now_ns, phase, present=False, stays=False)[0]
        ]

    def remind(self, now_ns: int) -> list[Alarm]:
        """Acknowledged alarms that have lasted and ask again."""
        return [alarm for alarm in self.shown() if alarm.remind(now_ns)]

    def present(self, reaction: Reaction) -> list[Alarm]:
        """Alarms with this reaction whose condition is present now."""
        return [alarm for rows in self._of_reaction[reaction] for alarm in rows.values() if alarm.present]

    def refusing(self) -> list[Alarm]:
        """What keeps energy off, told to people already or not: conditions that are present, and latched ones."""
        rows = (alarm for reaction in BLOCKING for kind in self._of_reaction[reaction] for alarm in kind.values())
        return [alarm for alarm in rows if (alarm.present or alarm.shown) and not alarm.rule.gate]

    def shown(self) -> list[Alarm]:
        """Everything that a person should see, highest first, newest first."""
        rows = [alarm for rows in self._of_rule.values() for alarm in rows.values() if alarm.shown]
        return sorted(rows, key=lambda alarm: (_ORDER[alarm.priority], -alarm.first_ns))

    def unknown(self, now_ns: int) -> list[str]:
        """Declared facts that are not proven now: each one blocks arming. What only gates the beam is waited for."""
        return [
            f"{name}.{subject}"
            for name, rules in self._by_fact.items()
            if not all(rule.gate for rule in rules)
            for subject, fact in self._facts.subjects(name).items()
            if not is_known(fact, now_ns, max(rule.fresh_ms for rule in rules))
        ]


def _endless(rule: Rule, fact: Fact, now_ns: int) -> bool:
    """True for proven evidence without bound on the violated side: no unknown, but beyond every limit."""
    worst = math.inf if rule.compare is Compare.ABOVE else -math.inf
    return fact.value == worst and is_measured(fact, now_ns, rule.fresh_ms)


def _outside(rule: Rule, value: float, limit: float, present: bool) -> bool:
    margin = rule.hysteresis if present else 0.0
    return value > limit - margin if rule.compare is Compare.ABOVE else value < limit + margin
