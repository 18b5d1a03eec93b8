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


class Role(StrEnum):
    """What a page may do."""

    OPERATOR = "operator"  # everything, while it holds control
    ASSISTANT = "assistant"  # STOP and acknowledge
    VIEWER = "viewer"  # look


TWO_STEPS = frozenset({"ARM", "START", "RESUME"})  # acts that a page must prepare, show and confirm


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
    """One connected page; who holds control and whose lease runs is the core's business."""

    id: str
    role: Role
    actor: str
    refused: str = "it has not confirmed yet"  # why its last echo did not count; "" = it counted


class Consoles:
    """Every connected page by its id."""

    def __init__(self) -> None:
        self.present: dict[str, Console] = {}
        self._count = 0

    def join(self, role: Role, name: str) -> Console:
        """A page came."""
        self._count += 1
        actor = f"{name or role.value}-{self._count}"
        console = Console(f"page-{self._count}", role, actor)
        self.present[console.id] = console
        return console

    def leave(self, console: Console) -> None:
        """A page went."""
        self.present.pop(console.id, None)
