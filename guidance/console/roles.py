"""Who may do what: roles by token, and the one console that holds control."""

import hmac
import os
import secrets
from enum import StrEnum

import msgspec

from devices.errors import LocalProtocolError
from guidance.errors import SettingsError

TOKEN_VARIABLE = "GUIDANCE_OPERATOR_TOKEN"  # where a site keeps one token over restarts
SHORTEST = 16
LEASE_NS = 2_000_000_000


class Role(StrEnum):
    """What a page may do."""

    OPERATOR = "operator"  # everything, while it holds control
    ASSISTANT = "assistant"  # STOP and acknowledge
    VIEWER = "viewer"  # look


# verb -> (roles, needs control, two steps)
VERBS: dict[str, tuple[frozenset[Role], bool, bool]] = {
    "STOP": (frozenset({Role.OPERATOR, Role.ASSISTANT}), False, False),
    "ACKNOWLEDGE": (frozenset({Role.OPERATOR, Role.ASSISTANT}), False, False),
    "RESET": (frozenset({Role.OPERATOR}), True, False),
    "ARM": (frozenset({Role.OPERATOR}), True, True),
    "START": (frozenset({Role.OPERATOR}), True, True),
    "RESUME": (frozenset({Role.OPERATOR}), True, True),
    "HOLD": (frozenset({Role.OPERATOR}), True, False),
    "FINISH": (frozenset({Role.OPERATOR}), True, False),
    "RE_ZERO": (frozenset({Role.OPERATOR}), True, False),
    "PLACE_POINT": (frozenset({Role.OPERATOR}), True, False),
}


class Tokens:
    """The session's tokens, made at start unless the site gives one; kept in memory only, compared in constant time."""

    def __init__(self) -> None:
        self.operator = os.environ.get(TOKEN_VARIABLE, "") or secrets.token_urlsafe(18)
        if len(self.operator) < SHORTEST:
            raise SettingsError(TOKEN_VARIABLE, [f"a token has at least {SHORTEST} characters"])
        self.assistant = secrets.token_urlsafe(18)

    def role(self, token: str) -> Role:
        """The role of a token; no token is a viewer. LocalProtocolError for a token that is not ours."""
        if not token:
            return Role.VIEWER
        given = token.encode("utf-8", "replace")
        if hmac.compare_digest(given, self.operator.encode()):
            return Role.OPERATOR
        if hmac.compare_digest(given, self.assistant.encode()):
            return Role.ASSISTANT
        raise LocalProtocolError("this token is not of this session; open the address that the service printed")


class Console(msgspec.Struct):
    """One connected page."""

    id: str
    role: Role
    actor: str
    confirmed_ns: int = 0  # when it last proved that it shows the alarms; 0 = never
    refused: str = "it has not confirmed yet"  # why its last echo did not count

    def is_live(self, now_ns: int) -> bool:
        """True while its lease runs."""
        return self.confirmed_ns > 0 and now_ns - self.confirmed_ns <= LEASE_NS


class Consoles:
    """Every connected page, and which of them holds control."""

    def __init__(self) -> None:
        self.present: dict[str, Console] = {}
        self.holder: Console | None = None
        self._count = 0

    def join(self, role: Role, name: str) -> Console:
        """A page came. Control is free for the first operator who asks; nobody gets it unasked."""
        self._count += 1
        console = Console(str(self._count), role, f"{name or role.value}-{self._count}")
        self.present[console.id] = console
        return console

    def leave(self, console: Console) -> None:
        """A page went; control that it held is free."""
        self.present.pop(console.id, None)
        if self.holder is console:
            self.holder = None

    def take(self, console: Console, now_ns: int) -> str:
        """Take control; the reason for a refusal, or an empty text."""
        if console.role is not Role.OPERATOR:
            return f"a {console.role.value} cannot hold control"
        holder = self.holder
        if holder is not None and holder is not console and holder.is_live(now_ns):
            return f"{holder.actor} holds control; it must hand over, or its lease must lapse"
        self.holder = console
        return ""

    def hand_over(self, console: Console) -> str:
        """Give control up."""
        if self.holder is not console:
            return "this console does not hold control"
        self.holder = None
        return ""

    def refusal(self, console: Console, verb: str) -> str:
        """Why this page may not do `verb`, or an empty text; the core judges what remains."""
        row = VERBS.get(verb)
        if row is None:
            return f"unknown act {verb!r} (have {sorted(VERBS)})"
        roles, control, _ = row
        if console.role not in roles:
            return f"role {console.role.value} may not {verb}"
        if control and self.holder is not console:
            return "this console does not hold control"
        return ""

    def live(self, now_ns: int) -> dict[str, bool]:
        """Which consoles are annunciating now, by actor."""
        return {console.actor: console.is_live(now_ns) for console in self.present.values()}

    def confirmed_ns(self) -> dict[str, int]:
        """Last confirmed lease of every operator's and assistant's console, by id."""
        return {c.id: c.confirmed_ns for c in self.present.values() if c.role is not Role.VIEWER}
