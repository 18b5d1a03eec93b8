"""Facts: measured quantities that rules judge. What is not proven is unknown, and unknown is unsafe."""

import math

import msgspec


class Fact(msgspec.Struct, frozen=True, gc=False):
    """One measured value: `value` in the unit of its name, evidence received at `at_ns`.

    `proven` is False where the source itself says that it does not know.
    """

    value: float
    at_ns: int
    proven: bool = True
    limit: float | None = None  # the subject's own limit, where the plan or the stream sets one


class Facts:
    """The board of facts, by name and subject."""

    def __init__(self) -> None:
        self._board: dict[str, dict[str, Fact | None]] = {}

    def declare(self, name: str, subject: str) -> None:
        """Say that this fact must exist; until it is measured it is unknown."""
        self._board.setdefault(name, {}).setdefault(subject, None)

    def set(self, name: str, subject: str, fact: Fact) -> None:
        """Measure it. Undeclared facts are accepted: a rule may learn of a subject at run time."""
        self._board.setdefault(name, {})[subject] = fact

    def forget(self, name: str, subject: str) -> None:
        """It does not exist any more, e.g. a console that signed off."""
        self._board.get(name, {}).pop(subject, None)

    def get(self, name: str, subject: str) -> Fact | None:
        """The latest fact, or None where it was never measured."""
        return self._board.get(name, {}).get(subject)

    def subjects(self, name: str) -> dict[str, Fact | None]:
        """All subjects of a fact with its latest value, in the order in which they were declared."""
        return self._board.get(name, {})


def is_measured(fact: Fact, now_ns: int, fresh_ms: float) -> bool:
    """True for proven evidence younger than `fresh_ms` (0 = any age), whatever its value."""
    return fact.proven and (fresh_ms <= 0 or now_ns - fact.at_ns <= fresh_ms * 1e6)


def is_known(fact: Fact | None, now_ns: int, fresh_ms: float) -> bool:
    """True only for a proven, finite fact whose evidence is younger than `fresh_ms` (0 = any age)."""
    return fact is not None and math.isfinite(fact.value) and is_measured(fact, now_ns, fresh_ms)
