"""Evidence of links, clocks and the service's own beat."""

from collections import deque
from collections.abc import Iterable, Mapping

from guidance.safety.facts import Fact, Facts
from guidance.timing.streams import StreamState
from guidance.units import ms

BEATS = 3
LEAST_SILENT_MS = 300.0
WINDOW_NS = ms(10_000)
REFUSED = ("rejected", "refused", "protocol", "invalid", "malformed")  # words in the reason of a loss


def link_facts(facts: Facts, down_since_ns: Mapping[str, int], now_ns: int) -> None:
    """How long each link that must be up has been down; 0 = up, never up = unknown."""
    for link, since_ns in down_since_ns.items():
        down_ms = (now_ns - since_ns) / 1e6 if since_ns > 0 else 0.0
        facts.set("link_down_ms", link, Fact(down_ms, now_ns, proven=since_ns >= 0))


def stop_facts(facts: Facts, unconfirmed_ms: Mapping[str, float], now_ns: int) -> None:
    """How long the STOP of each device has been unconfirmed."""
    for device, waiting_ms in unconfirmed_ms.items():
        facts.set("stop_unconfirmed_ms", device, Fact(waiting_ms, now_ns))


def device_silence(facts: Facts, states: Iterable[StreamState], now_ns: int) -> None:
    """Age of the newest reading of each energy or motion device; its own limit is three of its beats."""
    for state in states:
        limit = max(BEATS * state.settings.period_ms, LEAST_SILENT_MS)
        facts.set(
            "device_silent_ms", state.settings.name, Fact(state.age_ms(now_ns), now_ns, state.received > 0, limit)
        )


class Counts:
    """How many of something came within the last ten seconds."""

    def __init__(self) -> None:
        self._rows: deque[tuple[int, int]] = deque()
        self._sum = 0

    def add(self, count: int, now_ns: int) -> None:
        """Count some."""
        self._rows.append((now_ns, count))
        self._sum += count

    def within(self, now_ns: int) -> int:
        """What came within the window."""
        while self._rows and now_ns - self._rows[0][0] > WINDOW_NS:
            self._sum -= self._rows.popleft()[1]
        return self._sum


class MessageWatch:
    """Messages refused from peers and messages shed for slow readers, by link."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], Counts] = {}

    def take(self, link: str, count: int, reason: str, now_ns: int) -> None:
        """One loss that a link told, sorted by the words of its reason."""
        words = reason.lower()
        fact = "bad_messages" if any(word in words for word in REFUSED) else "shed_messages"
        self._counts.setdefault((fact, link), Counts()).add(count, now_ns)

    def measure(self, facts: Facts, now_ns: int) -> None:
        """Counts of the last ten seconds."""
        for (fact, link), counts in self._counts.items():
            facts.set(fact, link, Fact(float(counts.within(now_ns)), now_ns))


class TickGap:
    """The longest standstill of the service within the last second, by its own ticks."""

    def __init__(self) -> None:
        self._last_ns = 0
        self._gap_ns = 0
        self._gap_at_ns = 0

    def measure(self, facts: Facts, now_ns: int) -> None:
        """One tick."""
        gap = now_ns - self._last_ns if self._last_ns else 0
        if gap >= self._gap_ns or now_ns - self._gap_at_ns > ms(1000):
            self._gap_ns, self._gap_at_ns = gap, now_ns
        self._last_ns = now_ns
        facts.set("tick_gap_ms", "service", Fact(self._gap_ns / 1e6, now_ns))


class ClockWatch:
    """The wall clock against the clock that never steps: the largest step of the last ten seconds."""

    def __init__(self) -> None:
        self._difference_ns: int | None = None
        self._step_ns = 0
        self._step_at_ns = 0

    def measure(self, facts: Facts, wall_ns: int, now_ns: int) -> None:
        """Compare both clocks once a tick; a step stays a fact long enough for a person to read of it.

        `wall_ns` 0 means that this tick has no wall clock: nothing is learned.
        """
        difference = wall_ns - now_ns if wall_ns else self._difference_ns
        if difference is None:
            return
        step = abs(difference - self._difference_ns) if self._difference_ns is not None else 0
        self._difference_ns = difference
        if step >= self._step_ns or now_ns - self._step_at_ns > WINDOW_NS:
            self._step_ns, self._step_at_ns = step, now_ns
        facts.set("clock_step_ms", "clock", Fact(self._step_ns / 1e6, now_ns))
