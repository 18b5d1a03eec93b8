"""Tools against the plan: where they are, how far off, how near to what must be spared, and what was done."""

from guidance.navigation.applicators import Pair, SpacingLimits, compare_needles, group_faults
from guidance.navigation.cores import Core, CoreLog
from guidance.navigation.fixtures import Fixture, FixtureState, Verdict, judge_fixture
from guidance.navigation.targeting import Targeting
from guidance.navigation.verification import Coverage, verify_coverage
from guidance.navigation.watches import Moved, PairWatch, needle_bend_mm

__all__ = [
    "Core",
    "CoreLog",
    "Coverage",
    "Fixture",
    "FixtureState",
    "Moved",
    "Pair",
    "PairWatch",
    "SpacingLimits",
    "Targeting",
    "Verdict",
    "compare_needles",
    "group_faults",
    "judge_fixture",
    "needle_bend_mm",
    "verify_coverage",
]
