"""The console's desk: everything that all pages of a room share."""

import asyncio
import secrets
from typing import Any

import msgspec
import numpy as np

from guidance.console.regions import WINDOW
from guidance.console.roles import TWO_STEPS, Console, Consoles, Role, Tokens
from guidance.console.sources import VOLUME, Sources
from guidance.console.state import State
from guidance.console.steps import preconditions
from guidance.console.welcome import welcome
from guidance.safety.treatment import Verdict
from guidance.service.room import Room

TICKET_NS = 10_000_000_000
MOST_PLANES = 4
DOUBLE_CLICK_NS = 400_000_000  # a confirmation that comes sooner was not read


class Ticket(msgspec.Struct):
    """The first of two steps: what was shown to whom, and when."""

    verb: str
    console: str
    shown: dict[str, Any]
    at_ns: int


class Desk:
    """Sources, state, tokens and consoles of one room; judges who may act and asks the core for the rest."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.sources = Sources(room)
        self.state = State(room, self.sources)
        self.tokens = Tokens()
        self.consoles = Consoles()
        self.drawn = self.state.numbers.drawn
        self._tickets: dict[str, Ticket] = {}
        self._static = welcome(room.core, self.sources.regions)
        self._encoded = ""
        self._encoded_ns = 0
        self._encoded_changes = -1

    def now_ns(self) -> int:
        """Service time."""
        return self.room.clock.now_ns()

    def encoded_state(self) -> str:
        """The state message, made at most every 50 ms and whenever an alarm changed."""
        now_ns = self.now_ns()
        if now_ns - self._encoded_ns >= 50_000_000 or self._encoded_changes != self.state.changes:
            self._encoded_ns, self._encoded_changes = now_ns, self.state.changes
            self._encoded = self.state.encoded(self.shared(now_ns))
        return self._encoded

    def shared(self, now_ns: int) -> dict[str, Any]:
        """Who is there, who holds control, whose tones are silent: from the core's own books."""
        consoles, signals = self.room.core.consoles, self.room.core.signals
        known = {name: row.actor for name, row in consoles.known.items()}
        pages = {row.id: row.actor for row in self.consoles.present.values()}
        return {
            "control": known.get(consoles.holder, consoles.holder),
            "control_live": consoles.is_live(consoles.holder, now_ns),
            "consoles": {actor: consoles.is_live(name, now_ns) for name, actor in {**known, **pages}.items()},
            "paused_ms": max(0.0, (signals.paused_until_ns - now_ns) / 1e6),
            "paused_by": signals.paused_by,
            "calling": known.get(signals.calling, ""),
        }

    def is_live(self, console: Console) -> bool:
        """True while this page's lease runs."""
        return self.room.core.consoles.is_live(console.id, self.now_ns())

    def leave(self, console: Console, signed_off: bool) -> None:
        """A page went: one that closed is not missed, one that was lost is (its lease lapses, which is an alarm)."""
        self.consoles.leave(console)
        if signed_off and console.role is not Role.VIEWER:
            self.room.act("LEAVE", console.actor, console.id, console.role.value)

    def welcome(self, console: Console) -> dict[str, Any]:
        """The first message to a page, with the graphs' history."""
        return {
            "kind": "welcome",
            "console": console.id,
            "actor": console.actor,
            "role": console.role.value,
            "history": list(self.state.history),
            **self._static,
        }

    # --- questions ------------------------------------------------------------------------------

    async def outlines(self, at: Any, planes: Any = None) -> dict[str, Any]:
        """Outlines of the plan on the three planes through `at` (RAS mm), and on planes of the page's own choice."""
        point = _point(at)
        own = {str(name)[:20]: _plane(row, point) for name, row in dict(planes or {}).items()}
        if len(own) > MOST_PLANES:
            raise ValueError(f"at most {MOST_PLANES} planes, not {len(own)}")
        lines = await asyncio.to_thread(self.sources.regions.outlines, point, own)
        return {"kind": "outlines", "at": point.tolist(), "views": lines}

    def probe(self, at: Any) -> dict[str, Any]:
        """The voxel at `at` as it was measured."""
        point = _point(at)
        return {
            "kind": "probe",
            "at": point.tolist(),
            "values": self.sources.regions.at(self.sources.newest(VOLUME), point),
            "seq": self.sources.numbers().get(VOLUME, 0),
        }

    def preconditions(self) -> dict[str, Any]:
        """Every precondition of arming."""
        return {"kind": "preconditions", "rows": preconditions(self.room.core, self.now_ns())}

    # --- acts -----------------------------------------------------------------------------------

    def shown(self) -> dict[str, Any]:
        """The values that a two-step act confirms."""
        core = self.room.core
        return {
            "power_w": core.treatment.shown().get("power_w"),
            "plan": core.plan.content_sha256[:8] if core.plan else "none",
            "phase": core.treatment.phase.value,
        }

    def prepare(self, console: Console, verb: str) -> dict[str, Any]:
        """First step of a two-step act: a ticket that lives ten seconds."""
        now_ns = self.now_ns()
        core = self.room.core
        if verb not in TWO_STEPS or console.role is not Role.OPERATOR or core.consoles.holder != console.id:
            refusal = f"{console.actor} does not hold control" if verb in TWO_STEPS else f"{verb} has no two steps"
            return {"kind": "prepared", "verb": verb, "ticket": "", "reasons": [refusal]}
        self._tickets = {key: row for key, row in self._tickets.items() if now_ns - row.at_ns <= TICKET_NS}
        key = secrets.token_hex(8)
        self._tickets[key] = Ticket(verb, console.id, self.shown(), now_ns)
        return {
            "kind": "prepared",
            "verb": verb,
            "ticket": key,
            "shown": self._tickets[key].shown,
            "lives_ms": TICKET_NS / 1e6,
            "reasons": [],
        }

    def act(
        self, console: Console, verb: str, values: dict[str, Any] | None = None, ticket: str = "", shown: Any = None
    ) -> Verdict:
        """An act of a page, with its role: rights, control and what is possible are judged by the core."""
        refusal = self._step_fault(console, verb, ticket, shown)
        if refusal:
            return Verdict(False, (refusal,))
        given = {**(values or {}), **(shown if verb in TWO_STEPS else {})}
        plain = {key: value for key, value in given.items() if isinstance(value, (str, int, float, bool))}
        return self.room.act(verb, console.actor, console.id, console.role.value, **plain)

    def _step_fault(self, console: Console, verb: str, ticket: str, shown: Any) -> str:
        if verb not in TWO_STEPS:
            return ""
        row = self._tickets.pop(ticket, None)
        if row is None or row.console != console.id or row.verb != verb:
            return f"{verb} needs two steps: prepare it first"
        waited = self.now_ns() - row.at_ns
        if waited > TICKET_NS:
            return f"confirmed too late ({waited / 1e9:.1f} s, at most {TICKET_NS / 1e9:.0f} s)"
        if waited < DOUBLE_CLICK_NS:
            return "confirmed too soon to have been read; begin again"
        if shown != row.shown or row.shown != self.shown():
            return "the values changed since they were shown; begin again"
        return ""


def _plane(row: Any, point: Any) -> Any:
    """`ras_from_pixel` of a square plane through `point`; ValueError unless its two directions are a right angle."""
    columns, rows = (_point(row[key]) for key in ("columns", "rows"))
    square = np.array([[columns @ columns, columns @ rows], [rows @ columns, rows @ rows]])
    if np.abs(square - np.eye(2)).max() > 1e-3:
        raise ValueError("columns and rows of a plane are unit vectors at a right angle")
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = columns, rows, np.cross(columns, rows)
    matrix[:3, 3] = point - (columns + rows) * (WINDOW - 1) / 2.0
    return matrix


def _point(at: Any) -> Any:
    """(3,) RAS mm of a page's message; ValueError for anything else."""
    point = np.asarray(at, np.float64)
    if point.shape != (3,) or not np.isfinite(point).all() or np.abs(point).max() > 1e4:
        raise ValueError(f"a point is three numbers in mm, got {at!r}")
    return point
